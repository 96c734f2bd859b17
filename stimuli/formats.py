"""The formats that stimuli come in, told apart by their content, each turned into drafts.

A converter takes a file's rows and yields `Draft`s; `tie_controls` then joins twins that a file
ties by `matched_control_id`. To read a further format, write a converter and its line in
`by_columns`, or in `corpora.find_corpus`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from interp.errors import DataError
from stimuli import arrow
from stimuli.battery import NEUTRAL
from stimuli.codebook import name_numbers
from stimuli.columns import OURS, is_column, named
from stimuli.corpora import find_corpus, labelled
from stimuli.documents import json_members, json_rows
from stimuli.drafts import Converter, Draft, arm_of, blank, default_id
from stimuli.labels import known_labels
from stimuli.rows import FileRow, Ledger, Limits, shown, stem
from stimuli.sources import check_extent, is_packed, read_head
from stimuli.tables import read_cells
from stimuli.workbooks import ZIP, workbook_rows

_SPLIT_ARMS = {
    "clinical": "keyword_free",
    "neutral": "neutral",
    "moderate": "moderate",
    "complex_neutral": "complex_neutral",
}
_BOM, _BOMS_16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_ENDINGS = (".json", ".jsonl", ".parquet", ".arrow", ".csv", ".tsv", ".xlsx", ".gz")
_WHOLE = re.compile(r"[+-]?\d+(?:\.0+)?")

ByHand = Mapping[str, str]


def drafts(path: Path, limits: Limits, ledger: Ledger, by_hand: ByHand) -> Iterator[Draft]:
    """Drafts of all stimuli in a file or folder of any known format, whose name is noted in
    `ledger`. `by_hand` maps our columns to the file's.
    """
    if not path.is_dir():
        yield from _with_names(_file(path, limits, ledger, by_hand), path, ledger)
    elif arrow.is_saved_dataset(path):
        rows = (row for _, row in arrow.dataset_rows(path, limits, ledger))
        yield from _with_names(_converted(rows, ledger, by_hand), path / "state.json", ledger)
    else:
        yield from _folder(path, limits, ledger, by_hand)


def given_drafts(rows: Iterable[FileRow], ledger: Ledger, by_hand: ByHand) -> Iterator[Draft]:
    """Drafts of rows that are in memory, told by their columns as those of a file are."""
    yield from _with_names(_converted(rows, ledger, by_hand), None, ledger)


def _folder(path: Path, limits: Limits, ledger: Ledger, by_hand: ByHand) -> Iterator[Draft]:
    inside = [*path.glob("*"), *path.glob("*/*")]
    parts = sorted(p for p in inside if p.suffix in _ENDINGS and p.name[0] not in ".~")
    parts = [part for part in parts if part.is_file()]
    if not parts:
        raise DataError(
            f"{shown(path)} is a folder without a file of stimuli ({', '.join(_ENDINGS)}): name "
            "the stimulus file itself."
        )
    for part in parts:
        yield from drafts(part, limits, ledger, by_hand)


def _file(path: Path, limits: Limits, ledger: Ledger, by_hand: ByHand) -> Iterator[Draft]:
    head = read_head(path)
    start = head.removeprefix(_BOM).lstrip()
    if head.startswith(_BOMS_16):
        start = head[2:].replace(b"\0", b"").lstrip()
    if not start:
        return
    binary = head.startswith((arrow.PARQUET, arrow.ARROW, arrow.ARROW_STREAM, ZIP))
    if binary and is_packed(path):
        raise DataError(f"{shown(path)}: unpack it first (gunzip -k), then name the file inside.")
    if not binary:
        check_extent(path, limits)
    if head.startswith(arrow.PARQUET):
        rows = arrow.parquet_rows(path, limits, ledger)
    elif head.startswith((arrow.ARROW, arrow.ARROW_STREAM)):
        rows = arrow.arrow_rows(path, limits, ledger, prefix=stem(path.name))
    elif head.startswith(ZIP):
        rows = workbook_rows(path, limits, ledger, known=_knows(by_hand))
    elif start.startswith(b"["):
        yield from _list(path, limits, ledger, by_hand)
        return
    elif start.startswith(b"{"):
        rows = json_rows(path, limits, ledger)
    else:
        rows = read_cells(path, limits, ledger, known=_knows(by_hand), ours=OURS, by_hand=by_hand)
    yield from _converted(rows, ledger, by_hand)


def _knows(by_hand: ByHand) -> Any:
    return lambda name: name in by_hand.values() or is_column(name)


def _list(path: Path, limits: Limits, ledger: Ledger, by_hand: ByHand) -> Iterator[Draft]:
    """A JSON list: of records, or of texts whose emotion is the file's name (RepE)."""
    members = json_members(path, limits, ledger)
    line, first = next(members)
    every = chain([(line, first)], members)
    if isinstance(first, dict):
        rows = (FileRow(shown(path), at, values) for at, values in every)
        yield from _converted(rows, ledger, by_hand)
        return
    ledger.note("format: RepE")
    parts = re.split(r"[^a-zA-Z]+", stem(path.name).lower())
    emotion = next((part for part in parts if part in known_labels()), stem(path.name))
    for number, (_, text) in enumerate(every, start=1):
        row = FileRow(shown(path), number, {"text": text})
        values = {"id": f"{emotion}-{number:04d}", "text": text, "emotion": emotion}
        yield Draft(row, {**values, "arm": arm_of(emotion)})


def _converted(rows: Iterable[FileRow], ledger: Ledger, by_hand: ByHand) -> Iterator[Draft]:
    rows = iter(named(rows, by_hand, ledger))
    first = next(rows, None)
    if first is None:
        return
    name, convert = by_columns(set(first.values), by_hand)
    if name:
        ledger.note(f"format: {name}")
    yield from convert(chain([first], rows), ledger)


def _with_names(found: Iterator[Draft], path: Path | None, ledger: Ledger) -> Iterator[Draft]:
    """The drafts of one file, label numbers named; the first of these holds back what follows it,
    since which codebook fits is known only when all numbers are.
    """
    held: list[Draft] = []
    for draft in found:
        if held or draft.codes:
            held.append(draft)
        else:
            yield draft
    name_numbers(held, path, ledger)
    for draft in held:
        if len(draft.codes) > 1:
            ledger.dropped["carry several labels"] += 1
        else:
            yield draft


def by_columns(columns: set[str], by_hand: ByHand) -> tuple[str, Converter]:
    """The name and converter of the format whose first row has these columns."""
    if by_hand:
        return "columns named by hand", _plain
    if set(OURS) <= columns:
        return "ours", _plain
    if {"theme", "scenario", "event"} <= columns:
        return "SEV", _sev
    if {"stimulus_set", "emotion"} <= columns:
        return "affect-reception", _affect_reception
    if {"matched_control_id", "emotion"} <= columns:
        return "AIPsy-Affect", _aipsy
    if columns == {"text", "labels", "id"}:
        return "", labelled  # GoEmotions, if its codebook fits
    if corpus := find_corpus(columns):
        return corpus
    if {"id", "arm"} & columns == {"id", "arm"}:
        return "ours", _plain
    return "plain", _plain


def _plain(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    for row in rows:
        values = {name: blank(v) if name in OURS else v for name, v in row.values.items()}
        if "id" not in values:
            values["id"] = default_id(row)
        draft = Draft(row, values)
        emotion = values.get("emotion")
        number = isinstance(emotion, int | float | str) and not isinstance(emotion, bool)
        if number and _WHOLE.fullmatch(str(emotion).strip()):
            draft.codes = (int(float(str(emotion))),)
        elif values.get("arm") is None:
            values["arm"] = arm_of(emotion)
        yield draft


def _aipsy(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    for row in rows:
        values = {name: blank(value) for name, value in row.values.items()}
        control = values.pop("matched_control_id", None)
        split = values.get("split") or _split_of_file(row.file)
        if split is not None and str(split) not in _SPLIT_ARMS:
            row.fail("split", f"the split {split!r} is not one of {', '.join(_SPLIT_ARMS)}.")
        values["arm"] = _SPLIT_ARMS[str(split)] if split else _arm_of(values)
        values["domain"] = _domain(values)
        yield Draft(row, values, {"domain": "domain_label"}, control)


def _split_of_file(file: str) -> str | None:
    """Hub folders keep one Parquet file per split and no column for it:
    `data/clinical-00000-of-00001.parquet`.
    """
    name = Path(file).name
    longest_first = sorted(_SPLIT_ARMS, key=len, reverse=True)
    return next((s for s in longest_first if name.startswith((s + "-", s + "."))), None)


def _arm_of(values: Mapping[str, Any]) -> str:
    if values.get("emotion") == NEUTRAL:
        return "complex_neutral" if values.get("intensity") == "complex" else NEUTRAL
    return "moderate" if values.get("intensity") == "moderate" else "keyword_free"


def _domain(values: dict[str, Any]) -> str | None:
    """The domain's label; its bare number, which only the label explains, moves to the field
    `domain_number`.
    """
    number, label = values.get("domain"), values.get("domain_label")
    if label and number is not None:
        values["domain_number"] = number
    return label or (None if number is None else str(number))


def _affect_reception(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    for row in rows:
        values = {name: blank(value) for name, value in row.values.items()}
        control = values.pop("matched_control_id", None)
        rich = values.get("stimulus_set") == "A_standard" and values.get("emotion") != NEUTRAL
        values["arm"] = "keyword_rich" if rich else arm_of(values.get("emotion"))
        values["domain"] = _domain(values)
        yield Draft(row, values, {"domain": "domain_label"}, control)


def _sev(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    """Three texts per row, labelled by valence. They are one group and no pair: the neutral event
    is the twin of both.
    """
    for row in rows:
        event = row.values.get("event")
        if not isinstance(event, dict) or set(event) != {"positive", "neutral", "negative"}:
            found = sorted(event) if isinstance(event, dict) else type(event).__name__
            row.fail(
                "event", f"an event needs the texts positive, neutral and negative; found {found}."
            )
        skeleton = str(row.values.get("skeleton_id") or f"row-{row.line:06d}")
        others = {n: value for n, value in row.values.items() if n not in ("theme", "event")}
        for valence, text in event.items():
            values = {
                **others, "id": f"{skeleton}-{valence}", "text": text, "emotion": valence,
                "group": skeleton, "arm": arm_of(valence), "domain": row.values.get("theme"),
            }  # fmt: skip
            names = {"text": "event", "id": "skeleton_id", "domain": "theme"}
            yield Draft(row, values, {**names, "group": "skeleton_id"})


def tie_controls(found: list[Draft]) -> None:
    """Give twins tied by `matched_control_id`, in either direction or both, a common pair, group
    and domain.

    The pair is named after its neutral member. A moderate text joins its control's group only: a
    pair has two members. A control that the file lacks leaves a pair of one, which the check for
    unmatched pairs names.
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
