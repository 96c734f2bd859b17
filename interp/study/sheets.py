"""Sheets for people in the folder of an evaluation of steering: written beside it, and scored into
it when they are filled in.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.causal.pooled import ALL
from interp.errors import ArtefactError, DataError, UsageError
from interp.evaluation.sheets import SheetKey, read_sheet, sheet_of, sheet_rows
from interp.files import make_folder, read_regular, sha256_bytes, write_atomic
from interp.records import MOST_BYTES, read_record
from interp.results import TableRows, read_tables, table, table_bytes, table_path

KEY_FILE = "sheet_key.csv"
"""The file of an evaluation's folder that says which id is which text."""

SHEET_SCORES = "sheet_scores"
"""The table of what people say."""

STEERED_TEXTS = "steered_texts"
"""The table of the texts that people read."""

_MOST = 1 << 26


def check_sheet(path: Path) -> None:
    """Raise `ArtefactError` where a file is there already: somebody may have filled it in."""
    if path.exists():
        raise ArtefactError(f"{path} is there already: choose another --sheet, or move it away.")


def write_sheet(path: Path, out: Path, texts: TableRows, *, seed: int) -> None:
    """Write the sheet of these texts to `path`, and its key into the folder `out`."""
    sheet, key = sheet_of(texts, _emotions(texts), seed=seed)
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("id", "digest"), *key.items()])
    make_folder(path.parent)
    write_atomic(out / KEY_FILE, written.getvalue().encode())
    # the mark at the start tells a spreadsheet that this is UTF-8
    write_atomic(path, sheet.encode("utf-8-sig"))


def score_sheets(paths: Sequence[Path], run: Path) -> pd.DataFrame:
    """The table of what the sheets say, each a judge by its file's name, beside the judges of the
    evaluation in `run`; it is written there, too, as `SHEET_SCORES`.

    Raises `UsageError` for two sheets of one name, or one that a judge has, `DataError` as
    `read_sheet`, and `ArtefactError` for a folder without texts or key.
    """
    record = read_record(run / "run.json")
    if STEERED_TEXTS not in read_tables(run, [STEERED_TEXTS]):
        raise ArtefactError(
            f"{run} has no table {STEERED_TEXTS}: give an evaluate-steering folder."
        )
    texts = _as_text(table_path(run, STEERED_TEXTS))
    names = [path.stem for path in paths]
    taken = [*names, *{row["judge"] for row in texts}]
    if twice := [name for name in names if taken.count(name) > 1]:
        raise UsageError(f"two judges are called {twice[0]!r}: give each sheet a name of its own.")
    key, emotions = _key(run), _emotions(texts)
    said = {
        name: read_sheet(str(path), _read(path), key, emotions)
        for name, path in zip(names, paths, strict=True)
    }
    place: dict[str, Any] = {"method": "steering", "half": "report"}
    place |= {"site": texts[0]["site"], "layer": int(float(texts[0]["layer"]))}
    rows = [record.row(**{**place, **row}) for row in sheet_rows(texts, said)]
    scores = table(rows)
    data = table_bytes(scores)
    write_atomic(table_path(run, SHEET_SCORES), data)
    record.joined(tables={SHEET_SCORES: sha256_bytes(data)}).write(run / "run.json")
    return scores


def agreed(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """What a person is told of agreement: kappa of every two judges, with its interval."""
    rows = scores[scores["metric"] == "kappa"]
    return [
        {
            "judge": row["judge"],
            "with": row["target"],
            "kappa": f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]",
            "n": int(row["n"]),
        }
        for _, row in rows.iterrows()
    ]


def _as_text(path: Path) -> TableRows:
    """A table's rows with every cell as the text that it is: a steered text may look like a
    number.
    """
    content = read_regular(path, most=MOST_BYTES).decode()
    return [dict(row) for row in csv.DictReader(io.StringIO(content, newline=""))]


def _emotions(texts: TableRows) -> list[str]:
    return sorted({str(row["emotion"]) for row in texts} - {ALL})


def _key(run: Path) -> SheetKey:
    path = run / KEY_FILE
    try:
        rows = list(csv.reader(io.StringIO(read_regular(path, most=_MOST).decode())))
        if rows[0] != ["id", "digest"]:
            raise ValueError("its first row is not id,digest")
        return dict(rows[1:])
    except FileNotFoundError as error:
        raise ArtefactError(
            f"{run} has no {KEY_FILE}: its evaluation wrote no sheet; say --sheet FILE.csv there."
        ) from error
    except (OSError, ValueError, IndexError) as error:
        raise ArtefactError(f"{path} is no key of a sheet: {error}.") from error


def _read(path: Path) -> str:
    try:
        return read_regular(path, most=_MOST).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the sheet {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 at byte {error.start}: save it as CSV UTF-8."
        ) from error
