"""Tidy tables: the one form in which every method answers.

A table is a pandas DataFrame, one row per measurement, whose columns begin with `COLUMNS`; a method
may add columns of its own behind them (emotion, position, control, k, ...). A figure is a function
of such a table and of nothing else. The record knows each table by its digest.
"""

import math
from collections.abc import Iterable, Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import ArtefactError, InternalError
from interp.files import read_regular, sha256_bytes, write_atomic
from interp.records import MOST_BYTES, read_record

TableRow = dict[str, Any]
"""One row of a table: a value per column."""

TableRows = list[TableRow]

COLUMNS = (
    "run", "model", "battery", "site", "layer", "depth", "head",
    "method", "metric", "value", "ci_low", "ci_high", "n", "seed",
)  # fmt: skip
"""The columns every table begins with. `depth` is (layer + 1) / n_layers; `n` counts what the value
is a mean over.
"""

_NUMBERS = ("layer", "depth", "head", "value", "ci_low", "ci_high", "n", "seed")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(rows: Iterable[Mapping[str, Any]], *, n_layers: int | None = None) -> pd.DataFrame:
    """Rows (see `RunRecord.row`) as a checked table: `COLUMNS` first, numbers as numbers.

    What a row lacks is NaN or "". With `n_layers`, the model's, `depth` is filled in.
    """
    frame = pd.DataFrame(list(rows))
    for column in COLUMNS:
        if column not in frame:
            frame[column] = math.nan if column in _NUMBERS else ""
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]) and column not in _NUMBERS:
            frame[column] = frame[column].fillna("")
    if frame.empty:
        frame = frame.astype(dict.fromkeys(_NUMBERS, float))
    if n_layers is not None:
        frame["depth"] = (frame["layer"] + 1) / n_layers
    frame = frame[[*COLUMNS, *(column for column in frame.columns if column not in COLUMNS)]]
    check_table(frame)
    return frame


def check_table(frame: pd.DataFrame) -> None:
    """Raise `InternalError` unless `frame` has the columns, numbers are numbers, and every value
    has its n and metric.
    """
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise InternalError(f"the table lacks the columns {missing}.")
    for column in _NUMBERS:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise InternalError(
                f"column {column!r} must hold numbers, it holds {frame[column].dtype}."
            )
    if len(frame) and (
        frame["n"].isna().any() or (frame["metric"] == "").any() or (frame["method"] == "").any()
    ):
        raise InternalError("every row of a table needs its method, metric and n.")
    outside = frame["ci_low"].gt(frame["ci_high"])
    if outside.any():
        raise InternalError(f"ci_low is above ci_high in row {int(outside.to_numpy().argmax())}.")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a checked table as CSV (see `table_bytes`), atomically."""
    write_atomic(path, table_bytes(frame))


def table_bytes(frame: pd.DataFrame) -> bytes:
    """A checked table as CSV, as `csv_bytes` writes it."""
    check_table(frame)
    return csv_bytes(frame)


def csv_bytes(frame: pd.DataFrame, *, header: bool = True) -> bytes:
    """Any table as CSV, with or without its line of names.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(defuse)
    buffer = StringIO()
    safe.to_csv(buffer, index=False, lineterminator="\n", header=header)
    return buffer.getvalue().encode("utf-8")


def read_table(path: Path, *, sha256: str | None = None) -> pd.DataFrame:
    """Read a table back.

    Raises `ArtefactError` when the file is not one, or has not the digest `sha256`, if one is
    given.
    """
    try:
        data = read_regular(path, most=MOST_BYTES)
        if sha256 is not None and sha256_bytes(data) != sha256:
            raise ArtefactError(
                f"{path} was changed after it was written: it has not the digest that run.json "
                "gives it. Delete it and run the same command again, which computes it anew."
            )
        frame = pd.read_csv(
            BytesIO(data), keep_default_na=False, na_values={column: [""] for column in _NUMBERS}
        )
        if frame.empty:
            frame = frame.astype({column: float for column in _NUMBERS if column in frame})
        for column in frame.columns.difference(list(COLUMNS)):
            frame[column] = _as_numbers(frame[column])
        check_table(frame)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (InternalError, ValueError, TypeError, OverflowError) as error:
        raise ArtefactError(f"{path} is not a table of interp: {error}") from error
    return frame


def read_tables(run: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Those of a run's tables `names` that are there, by name, each as the run wrote it.

    Raises `ArtefactError` for a table that was changed since. A run of an older interp gives no
    digests (`undigested` names such tables).
    """
    digests = read_record(run / "run.json").provenance.get("tables", {})
    return {
        name: read_table(path, sha256=digests.get(name))
        for name in names
        if (path := table_path(run, name)).exists()
    }


def undigested(run: Path, names: Iterable[str]) -> list[str]:
    """Those of a run's tables `names` that are there and whose digest its record does not give."""
    digests = read_record(run / "run.json").provenance.get("tables", {})
    return [name for name in names if name not in digests and table_path(run, name).exists()]


def table_path(run: Path, name: str) -> Path:
    """Where the table `name` of a run lies."""
    return run / "tables" / f"{name}.csv"


def _as_numbers(column: pd.Series) -> pd.Series:
    """A method's own column (p, k, scale) of which some rows have no number: numbers with NaN
    there, not text.
    """
    filled = column.astype(str) != ""
    numbers = pd.to_numeric(column.where(filled), errors="coerce")
    return numbers if filled.any() and numbers.notna().equals(filled) else column


def defuse(value: Any) -> Any:
    """`value`; a text that a spreadsheet would run as a formula with an apostrophe before it, and
    with plain line ends.
    """
    if not isinstance(value, str):
        return value
    safe = f"'{value}" if value.startswith(_FORMULA) else value
    # A bare carriage return inside a cell would end the row for most readers of CSV.
    return safe.replace("\r\n", "\n").replace("\r", "\n")
