"""A sheet for people: the texts of an evaluation of steering, blinded and shuffled, with an empty
column for the emotion; and what filled-in sheets say, each as one more judge.

A sheet shows a text and nothing of what made it. Equal texts stand on it once, blank ones not at
all. Its key (`SheetKey`) knows of every id only the digest of its text: what made a text is looked
up in the evaluation's own table.
"""

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interp.causal.pooled import ALL
from interp.errors import DataError
from interp.evaluation.agreement import Verdicts, agreement_rows
from interp.evaluation.endpoint import NO_EMOTION
from interp.evaluation.steering_rows import Spoken, reached, success_rows_of
from interp.files import sha256_bytes
from interp.results import TableRow, TableRows, defuse
from stimuli.battery import NEUTRAL

UNREADABLE = "unreadable"
"""What a person writes of a text that is no language: no verdict."""

SheetKey = Mapping[str, str]
"""The digest of the text of each id."""

_ID, _TEXT, _EMOTION = "id", "text", "emotion"


def choices_of(emotions: Sequence[str]) -> list[str]:
    """What may be written into a sheet."""
    return [*emotions, NO_EMOTION, UNREADABLE]


def sheet_of(texts: TableRows, emotions: Sequence[str], *, seed: int) -> tuple[str, SheetKey]:
    """A sheet, as CSV, and its key, of the table of steered texts.

    It has the texts of the half that is reported: of every arm, but of random directions those of
    the first one alone. Raises `DataError` where all of them are blank.
    """
    shown = sorted({digest(row["text"]): row["text"] for row in _reported(texts)}.items())
    shown = [(mark, text) for mark, text in shown if text.strip()]
    if not shown:
        raise DataError("all texts are blank: there is nothing to fill in a sheet with.")
    order = np.random.default_rng(seed).permutation(len(shown))
    width = max(3, len(str(len(shown))))
    named = {f"T{number:0{width}}": shown[at] for number, at in enumerate(order, start=1)}
    written = io.StringIO()
    sheet = csv.writer(written, lineterminator="\n")
    sheet.writerow([_ID, _TEXT, f"{_EMOTION}: {', '.join(choices_of(emotions))}"])
    sheet.writerows([name, defuse(text), ""] for name, (_, text) in named.items())
    return written.getvalue(), {name: mark for name, (mark, _) in named.items()}


def digest(text: str) -> str:
    """The digest of a text, whatever a spreadsheet does to its white space."""
    return sha256_bytes(" ".join(defuse(text).split()).encode())


def read_sheet(
    name: str, content: str, key: SheetKey, emotions: Sequence[str]
) -> dict[str, str | None]:
    """What the sheet called `name` says of each text, by the text's digest: an emotion, `neutral`
    for "none", None for "unreadable".

    Columns stand in any order, between commas or semicolons. Raises `DataError` naming the row for
    an id that the key lacks, or that comes twice, a text that was changed, a cell that is empty or
    no choice; and for a row that is missing.
    """
    header, *lines = _cells(name, content)
    places = _places(name, header)
    found: dict[str, str | None] = {}
    seen: dict[str, int] = {}
    for number, cells in lines:
        row = {head: cells[at] if at < len(cells) else "" for head, at in places.items()}
        told = f"{name}, row {number}"
        mark = row[_ID].strip()
        if mark not in key:
            raise DataError(f"{told}: the id {mark!r} is none of this sheet's: write it as it was.")
        if mark in seen:
            raise DataError(f"{told}: {mark} stands in row {seen[mark]} already: leave one.")
        if digest(row[_TEXT]) != key[mark]:
            raise DataError(
                f"{told}: the text of {mark} was changed: take it from the first sheet."
            )
        seen[mark] = number
        found[key[mark]] = _verdict(f"{told} ({mark})", row[_EMOTION], emotions)
    if lost := [mark for mark in key if mark not in seen]:
        raise DataError(
            f"{name} lacks {len(lost)} of {len(key)} rows, the first {lost[0]}: add it."
        )
    return found


def sheet_rows(texts: TableRows, said: Mapping[str, Mapping[str, str | None]]) -> TableRows:
    """Rows of `success` and `success_above` by each judge, people (by the names of `said`) and
    those of the table alike, on the texts that a sheet shows; and of `kappa` of every two of them.
    Intervals are over scenarios.
    """
    rows = _reported(texts)
    items = {row["item"]: row["group"] for row in rows}
    spoken = _spoken(rows, list(items), said)
    groups = list(map(str, items.values()))
    emotions = sorted({row["emotion"] for row in rows} - {ALL})
    found: TableRows = []
    for judge in spoken[0].verdicts:
        mine = success_rows_of(reached(spoken, emotions, judge), groups, emotions)
        found += [{"judge": judge, **row} for row in mine]
    pooled = {
        judge: [verdict for one in spoken for verdict in one.verdicts[judge]]
        for judge in spoken[0].verdicts
    }
    agreed = agreement_rows(pooled, np.tile(np.asarray(groups), len(spoken)))
    return [*found, *({"emotion": ALL, "control": "", **row} for row in agreed)]


def _reported(texts: TableRows) -> TableRows:
    """The rows of the texts that a sheet shows."""
    return [
        row
        for row in texts
        if row["half"] == "report" and (row["control"] != "random" or float(row["draw"]) == 0)
    ]


def _spoken(
    rows: TableRows, items: Sequence[str], said: Mapping[str, Mapping[str, str | None]]
) -> list[Spoken]:
    """The arms, with the verdicts of the people before those of the table's judges."""
    arms: dict[tuple[str, str, float], dict[str, dict[str, TableRow]]] = {}
    for row in rows:
        arm = (row["control"], row["emotion"], float(row["scale"]))
        arms.setdefault(arm, {}).setdefault(row["judge"], {})[row["item"]] = row
    found = []
    for arm, judged in arms.items():
        verdicts: dict[str, Verdicts] = {}
        first = next(iter(judged.values()))
        for person, heard in said.items():
            # a blank text is not on the sheet: nobody has a verdict on it
            verdicts[person] = [heard.get(digest(first[item]["text"])) for item in items]
        for judge, mine in judged.items():
            verdicts[judge] = [mine[item]["verdict"] or None for item in items]
        found.append(Spoken(*arm, verdicts=verdicts))
    return found


def _cells(name: str, content: str) -> list[Any]:
    """The header, and each other row that is not empty with its number."""
    first = content.partition("\n")[0]
    between = ";" if first.count(";") > first.partition(f"{_EMOTION}:")[0].count(",") else ","
    try:
        rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=between))
    except csv.Error as error:
        raise DataError(f"{name} is no CSV file: {error}.") from error
    told = [(number, row) for number, row in enumerate(rows[1:], start=2) if any(row)]
    return [rows[0] if rows else [], *told]


def _places(name: str, header: Sequence[str]) -> dict[str, int]:
    """Where each column stands."""
    heads = [head.strip().partition(":")[0] for head in header]
    lacking = [wanted for wanted in (_ID, _TEXT, _EMOTION) if wanted not in heads]
    if lacking:
        raise DataError(
            f"{name} has no column {lacking[0]!r}: its first row must have id, text and emotion."
        )
    return {wanted: heads.index(wanted) for wanted in (_ID, _TEXT, _EMOTION)}


def _verdict(told: str, cell: str, emotions: Sequence[str]) -> str | None:
    label, choices = cell.strip().casefold(), choices_of(emotions)
    known = {choice.casefold(): choice for choice in choices}
    if label not in known:
        near = difflib.get_close_matches(label, known, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        what = f"{cell.strip()!r} is no choice" if label else "the emotion is not filled in"
        raise DataError(f"{told}: {what}: write one of {', '.join(choices)}.{meant}")
    return {NO_EMOTION: NEUTRAL, UNREADABLE: None}.get(label, known[label])
