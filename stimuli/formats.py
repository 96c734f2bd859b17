"""The formats that stimuli come in, told apart by their content, each turned into drafts of our own fields.

A converter takes one row and yields `Draft`s; `tie_controls` then joins twins that a file ties by `matched_control_id`.
To read a further format, write a converter and its line in `by_columns`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.errors import DataError
from stimuli.battery import NEUTRAL
from stimuli.labels import known_labels, scheme
from stimuli.rows import (
    Ledger,
    Limits,
    Row,
    count_row,
    json_document,
    json_lines,
    open_stream,
    parquet_rows,
    shown,
    table_rows,
    text_lines,
)

OURS = ("id", "text", "emotion", "arm", "pair", "group", "intensity", "domain")
"""The columns that become attributes of a `Stimulus`; every other column is kept in its `fields`."""

REQUIRED = ("text", "emotion")

_SPLIT_ARMS = {"clinical": "keyword_free", "neutral": "neutral", "moderate": "moderate", "complex_neutral": "complex_neutral"}
_GOEMOTIONS_ROW = re.compile(r"[^\t]*\t\d+(,\d+)*\t[^\t]+\s*")
_LARGEST_HEADER = 1 << 16


@dataclass(slots=True)
class Draft:
    """A stimulus to be: our fields as the file gives them, not yet checked, and the row they came from.

    `columns` tells the file's own name of a field where it differs; `control` is the id of the twin that the row names.
    """

    row: Row
    values: dict[str, Any]
    columns: Mapping[str, str] | None = None
    control: str | None = None

    def fail(self, name: str, message: str) -> None:
        """Raise a `DataError` at the place of the field `name` in the file."""
        self.row.fail((self.columns or {}).get(name, name), message)

    def at(self, name: str) -> str:
        """The place of the field `name` in the file."""
        return self.row.at((self.columns or {}).get(name, name))


Converter = Callable[[Row, Ledger], Iterator[Draft]]


def drafts(path: Path, limits: Limits, ledger: Ledger) -> Iterator[Draft]:
    """Drafts of all stimuli in a file or folder of any known format, whose name is noted in `ledger`."""
    if path.is_dir():
        yield from _folder(path, limits, ledger)
        return
    with open_stream(path) as stream:
        head = stream.read(_LARGEST_HEADER)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return
    if start.startswith(b"PAR1"):
        yield from _converted(parquet_rows(path, limits, ledger), ledger)
    elif start.startswith(b"["):
        yield from _repe(path, limits, ledger)
    elif start.startswith(b"{"):
        yield from _converted(json_lines(path, limits, ledger), ledger)
    else:
        yield from _table(path, limits, ledger)


def _folder(path: Path, limits: Limits, ledger: Ledger) -> Iterator[Draft]:
    parts = sorted(p for p in [*path.glob("*"), *path.glob("*/*")] if p.suffix in (".json", ".parquet", ".csv") and p.is_file())
    if not parts:
        raise DataError(f"{shown(path)} is a folder without a .json, .parquet or .csv file: name the stimulus file itself.")
    for part in parts:
        yield from drafts(part, limits, ledger)


def _table(path: Path, limits: Limits, ledger: Ledger) -> Iterator[Draft]:
    first = next(text for _, text in text_lines(path, limits, Ledger()) if text.strip())
    if _GOEMOTIONS_ROW.fullmatch(first):
        ledger.note("format: GoEmotions")
        rows = table_rows(path, limits, ledger, delimiter="\t", header=["text", "labels", "id"])
        for row in rows:
            yield from _goemotions(row, ledger)
        return
    delimiter = max(",\t;", key=first.count)
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    if not set(names) & {"id", "text", "emotion"}:
        raise DataError(
            f"{shown(path)}:1:1: no known format. Expected JSON lines, a table whose first line names the columns text and "
            f"emotion, Parquet, or a JSON list; the first line is {first[:60]!r}."
        )
    yield from _converted(table_rows(path, limits, ledger, delimiter=delimiter, header=None), ledger)


def _converted(rows: Iterator[Row], ledger: Ledger) -> Iterator[Draft]:
    convert: Converter | None = None
    for row in rows:
        if convert is None:
            name, convert = by_columns(set(row.values))
            ledger.note(f"format: {name}")
        yield from convert(row, ledger)


def by_columns(columns: set[str]) -> tuple[str, Converter]:
    """The name and converter of the format whose first row has these columns."""
    if {"theme", "scenario", "event"} <= columns:
        return "SEV", _sev
    if {"stimulus_set", "emotion"} <= columns:
        return "affect-reception", _affect_reception
    if {"matched_control_id", "emotion"} <= columns:
        return "AIPsy-Affect", _aipsy
    if {"id", "arm"} & columns == {"id", "arm"}:
        return "ours", _plain
    return "plain", _plain


def _plain(row: Row, ledger: Ledger) -> Iterator[Draft]:
    values = {name: _blank(value) if name in OURS else value for name, value in row.values.items()}
    values.setdefault("id", f"{Path(row.file).stem}-{row.line:06d}")
    if values.get("arm") is None:
        values["arm"] = NEUTRAL if values.get("emotion") == NEUTRAL else "keyword_free"
    yield Draft(row, values)


def _blank(value: Any) -> Any:
    return None if value == "" else value


def _aipsy(row: Row, ledger: Ledger) -> Iterator[Draft]:
    values = {name: _blank(value) for name, value in row.values.items()}
    control = values.pop("matched_control_id", None)
    split = values.get("split") or _split_of_file(row.file)
    if split is not None and str(split) not in _SPLIT_ARMS:
        row.fail("split", f"the split {split!r} is not one of {', '.join(_SPLIT_ARMS)}.")
    values["arm"] = _SPLIT_ARMS[str(split)] if split else _arm_of(values)
    values["domain"] = _domain(values)
    yield Draft(row, values, {"domain": "domain_label"}, control)


def _split_of_file(file: str) -> str | None:
    """Hub folders keep one Parquet file a split and no column for it: `data/clinical-00000-of-00001.parquet`."""
    name = Path(file).name
    return next(
        (split for split in sorted(_SPLIT_ARMS, key=len, reverse=True) if name.startswith((split + "-", split + "."))), None
    )


def _arm_of(values: Mapping[str, Any]) -> str:
    if values.get("emotion") == NEUTRAL:
        return "complex_neutral" if values.get("intensity") == "complex" else NEUTRAL
    return "moderate" if values.get("intensity") == "moderate" else "keyword_free"


def _domain(values: dict[str, Any]) -> str | None:
    """The domain's label; its bare number, which only the label explains, moves to the field `domain_number`."""
    number, label = values.get("domain"), values.get("domain_label")
    if label and number is not None:
        values["domain_number"] = number
    return label or (None if number is None else str(number))


def _affect_reception(row: Row, ledger: Ledger) -> Iterator[Draft]:
    values = {name: _blank(value) for name, value in row.values.items()}
    control = values.pop("matched_control_id", None)
    evoking = "keyword_rich" if values.get("stimulus_set") == "A_standard" else "keyword_free"
    values["arm"] = NEUTRAL if values.get("emotion") == NEUTRAL else evoking
    values["domain"] = _domain(values)
    yield Draft(row, values, {"domain": "domain_label"}, control)


def _sev(row: Row, ledger: Ledger) -> Iterator[Draft]:
    """Three texts a row, labelled by valence. They are one group and no pair: the neutral event is the twin of both."""
    event = row.values.get("event")
    if not isinstance(event, dict) or set(event) != {"positive", "neutral", "negative"}:
        found = sorted(event) if isinstance(event, dict) else type(event).__name__
        row.fail("event", f"an event needs the texts positive, neutral and negative; found {found}.")
    skeleton = str(row.values.get("skeleton_id") or f"row-{row.line:06d}")
    others = {name: value for name, value in row.values.items() if name not in ("theme", "event")}
    for valence, text in event.items():
        values = {
            **others, "id": f"{skeleton}-{valence}", "text": text, "emotion": valence, "group": skeleton,
            "arm": NEUTRAL if valence == NEUTRAL else "keyword_free", "domain": row.values.get("theme"),
        }  # fmt: skip
        yield Draft(row, values, {"text": "event", "id": "skeleton_id", "domain": "theme", "group": "skeleton_id"})


def _repe(path: Path, limits: Limits, ledger: Ledger) -> Iterator[Draft]:
    """A JSON list of strings, whose emotion is the file's name (`anger.json`, `repe_anger.json`)."""
    texts = json_document(path, limits, ledger)
    if not texts or not all(isinstance(text, str) for text in texts):
        kind = "an empty list" if not texts else "a list that holds other things than strings"
        raise DataError(f"{shown(path)}:1:1: {kind}; expected a list of texts, or one JSON object a line (JSON lines).")
    ledger.note("format: RepE")
    parts = re.split(r"[^a-zA-Z]+", path.stem.lower())
    emotion = next((part for part in parts if part in known_labels()), path.stem)
    for number, text in enumerate(texts, start=1):
        count_row(path, limits, ledger)
        arm = NEUTRAL if emotion == NEUTRAL else "keyword_free"
        row = Row(shown(path), number, {"text": text})
        yield Draft(row, {"id": f"{emotion}-{number:04d}", "text": text, "emotion": emotion, "arm": arm})


def _goemotions(row: Row, ledger: Ledger) -> Iterator[Draft]:
    """A comment with exactly one label; one with several is dropped, counted, and the count becomes a warning."""
    names = list(scheme("goemotions"))
    try:
        labels = [names[int(number)] for number in row.values["labels"].split(",")]
    except (ValueError, IndexError):
        row.fail("labels", f"{row.values['labels']!r} is not a list of label ids from 0 to {len(names) - 1}.")
    if len(labels) > 1:
        ledger.dropped["carry several labels"] += 1
        return
    arm = NEUTRAL if labels == [NEUTRAL] else "keyword_free"
    yield Draft(
        row, {"id": row.values["id"], "text": row.values["text"], "emotion": labels[0], "arm": arm}, {"emotion": "labels"}
    )


def tie_controls(found: list[Draft]) -> None:
    """Give twins tied by `matched_control_id`, in either direction or both, a common pair, group and domain.

    The pair is named after its neutral member. A moderate text joins its control's group only: a pair has two members.
    A control that the file lacks leaves a pair of one, which the check for unmatched pairs names.
    """
    by_id = {draft.values["id"]: draft for draft in found}
    tied = [draft for draft in found if draft.control]
    for draft in tied:
        if draft.values["emotion"] != NEUTRAL:
            _join(draft, str(draft.control), by_id.get(str(draft.control)))
    for draft in tied:
        if draft.values["emotion"] == NEUTRAL and draft.values.get("pair") is None:
            other = by_id.get(str(draft.control))
            if other is None or (other.control and other.values["arm"] != "moderate"):
                draft.values["pair"] = draft.values["id"]
            else:
                _join(other, draft.values["id"], draft)


def _join(affective: Draft, name: str, neutral: Draft | None) -> None:
    affective.values["group"] = name
    if affective.values["arm"] == "moderate":
        return
    affective.values["pair"] = name
    if neutral is not None:
        neutral.values.update(pair=name, group=name, domain=affective.values.get("domain"))
