"""`load`: a battery from any file or table that holds stimuli, or a clear account of why not."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from interp.errors import DataError, ResourceError, UsageError
from stimuli import review, weighing
from stimuli.battery import Battery, Stimulus
from stimuli.columns import check_by_hand
from stimuli.drafts import Draft
from stimuli.formats import drafts, given_drafts, tie_controls
from stimuli.given import given_rows
from stimuli.parsing import make_printable
from stimuli.rows import Ledger, Limits, shown, stem
from stimuli.screen import check_characters, check_types, normalise_newlines

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The batteries that come with the package."""
    return sorted(path.stem for path in _HERE.glob("*.jsonl"))


def load(
    source: str | Path | Sequence[tuple[str, str, str]] | Any,
    *,
    drop_unmatched: bool = False,
    normalise_labels: bool = False,
    dedupe: bool = False,
    allow_control: bool = False,
    strict: bool = False,
    emotions: Sequence[str] | None = None,
    limits: Limits | None = None,
    columns: Mapping[str, str] | None = None,
) -> Battery:
    """The battery of this name, in this file or folder, or in this table or list.

    `source` is a name of `names()`; a path, whose format is told by content (stimuli/README.md); a
    pandas DataFrame, a `datasets.Dataset` or another table with `to_pandas`; or a list of
    (affective text, neutral text, emotion). Columns that are not ours are kept in `fields`.
    `drop_unmatched` leaves out pairs that are not one affective and one neutral text;
    `normalise_labels` merges spellings of a label; `dedupe` drops identical rows; `allow_control`
    lets control characters pass; `strict` makes every warning an error; `emotions` keeps these
    emotions (and neutral texts) and declares their labels as meant; `limits` caps what the file may
    ask for; `columns` maps our columns to the file's (`{"text": "Satz"}`, or numbers from 1 for a
    table without names). Raises `DataError` at file:line:column, `UsageError` for an unknown name,
    `ResourceError` for an unreadable file.
    """
    ledger = Ledger()
    check_by_hand(columns or {})
    if isinstance(source, str | Path):
        path = battery_path(source)
        name, where = stem(path.name), shown(path)
        reading = drafts(path, limits or Limits(), ledger, columns or {})
    else:
        name, rows = given_rows(source, limits or Limits(), ledger)
        where = name
        reading = given_drafts(rows, ledger, columns or {})
    found = _read(where, reading, ledger, allow_control=allow_control, declared=emotions or ())
    if normalise_labels:
        review.normalise(found, ledger)
    found = review.check_ids(found, ledger, dedupe=dedupe)
    if found:
        review.check_labels(found, emotions or ())
    found = review.keep_emotions(found, emotions or (), ledger)
    found = review.check_twins(found, ledger, drop_unmatched=drop_unmatched)
    review.check_groups(found)
    review.join_repeats(found, ledger)
    weighing.weigh_unseen(found, ledger)
    weighing.weigh_lengths(found, ledger)
    if not found:
        raise DataError(_nothing_left(where, ledger))
    return _battery(name, where, found, ledger, strict=strict)


def battery_path(name_or_path: str | Path) -> Path:
    """The file or folder of the battery of this name; raises `UsageError` where there is none."""
    if isinstance(name_or_path, str) and name_or_path in names():
        return _HERE / f"{name_or_path}.jsonl"
    path = Path(name_or_path)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"'{shown(path)[:100]}' is no path: {make_printable(str(error))[:100]}."
        ) from error
    if not exists:
        near = get_close_matches(str(name_or_path), names(), n=3)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(
            f"no battery and no file is named '{shown(path)}'.{meant} Batteries here: "
            f"{', '.join(names()) or 'none'}."
        )
    return path


def _read(
    where: str,
    reading: Iterator[Draft],
    ledger: Ledger,
    *,
    allow_control: bool,
    declared: Sequence[str],
) -> list[Draft]:
    found = []
    try:
        for draft in reading:
            draft.values = check_types(draft, declared=declared)
            draft.values["text"] = normalise_newlines(draft.values["text"])
            check_characters(draft, draft.values, ledger, allow_control=allow_control)
            found.append(draft)
    except OSError as error:
        raise ResourceError(f"cannot read {where}: {error.strerror or error}.") from error
    tie_controls(found)
    return found


def _nothing_left(where: str, ledger: Ledger) -> str:
    reasons = "; ".join(f"{count} {reason}" for reason, count in ledger.dropped.items())
    dropped = sum(ledger.dropped.values())
    told = "the file has no rows"
    if reasons:
        told = f"{ledger.read} read, {dropped} dropped: {reasons}"
    what = "pairs" if any("pair" in reason for reason in ledger.dropped) else "texts"
    return f"0 usable {what} in {where} ({told})."


def _battery(
    name: str,
    where: str,
    found: Sequence[Draft],
    ledger: Ledger,
    *,
    strict: bool,
) -> Battery:
    warnings = ledger.warnings() + tuple(
        f"left out {count} of {ledger.read} rows: they {reason}"
        for reason, count in ledger.dropped.items()
        if "unmatched" not in reason
    )
    if strict and warnings:
        doubts = "; ".join(warnings)
        raise DataError(f"{where}: --strict refuses what would be a warning: {doubts}.")
    items = []
    for draft in found:
        values = draft.values
        items.append(
            Stimulus(
                id=values["id"],
                text=values["text"],
                emotion=values["emotion"],
                arm=values["arm"],
                pair=values.get("pair"),
                group=values.get("group") or "",
                intensity=values.get("intensity"),
                domain=values.get("domain"),
                fields=review.kept_fields(draft),
            )
        )
    return Battery(name, tuple(items), warnings, tuple(ledger.notes))
