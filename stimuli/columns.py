"""Which column of a file is which of ours: by its name in any case, or as a person says by hand."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from interp.errors import UsageError
from stimuli.labels import did_you_mean, nearest
from stimuli.rows import FileRow, Ledger

OURS = ("id", "text", "emotion", "arm", "pair", "group", "intensity", "domain")
"""The columns that become attributes of a `Stimulus`; all others are kept in its `fields`."""

REQUIRED = ("text", "emotion")

THEIRS = (
    "theme", "scenario", "event", "skeleton_id", "stimulus_set", "matched_control_id",
    "domain_label", "split", "labels",
)  # fmt: skip
"""Columns of other formats that our readers ask for by name."""

HINTS = {
    "text": ("sentence", "content", "stimulus", "prompt", "story", "scenario", "tweet", "utterance",
             "generated_text", "sit"),
    "emotion": ("label", "emotions", "category", "sentiment", "feeling", "class", "prior_emotion",
                "emot", "labels"),
    "pair": ("pair_id", "pairs", "twin"),
}  # fmt: skip
"""Other people's names for our columns: hints for messages, never applied."""


def is_column(name: str) -> bool:
    """Whether a word is a column's name in any format that is read here, capitals apart."""
    return name.strip().strip("\"'").casefold() in _all_names()


@lru_cache(maxsize=1)
def _all_names() -> frozenset[str]:
    hints = (hint for listed in HINTS.values() for hint in listed)
    return frozenset({*OURS, *THEIRS, *hints})


def check_by_hand(columns: Mapping[str, str]) -> None:
    """Raise `UsageError` where a name to the left of `=` is none of ours, or a column serves
    twice.
    """
    for name in columns:
        if name not in OURS:
            raise UsageError(
                f"--columns: {name!r} is no column of ours{did_you_mean(nearest(name, OURS))} "
                f"Write OURS=THEIRS, ours being one of {', '.join(OURS)}."
            )
    twice = [theirs for theirs in columns.values() if list(columns.values()).count(theirs) > 1]
    if twice:
        raise UsageError(f"--columns: the column {twice[0]!r} is named twice.")


def named(rows: Iterable[FileRow], by_hand: Mapping[str, str], ledger: Ledger) -> Iterator[FileRow]:
    """The rows with their columns under our names.

    `by_hand` maps ours to the file's. Else a column that differs from one of ours by capitals or
    blanks alone is read as that one, which is noted. Raises `DataError` where two are as near, and
    where a column named by hand is not there.
    """
    cache: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        names = tuple(row.values)
        if names not in cache:
            whole = set(OURS) <= row.values.keys()  # as `save` writes it: nothing to find out
            found = _by_hand(row, by_hand) if by_hand else {} if whole else _by_case(row)
            cache[names] = found
            for ours, theirs in cache[names].items():
                ledger.note(f"the column {theirs!r} was read as {ours}")
        yield _renamed(row, cache[names]) if cache[names] else row


def _by_hand(row: FileRow, by_hand: Mapping[str, str]) -> dict[str, str]:
    present = [str(name) for name in row.values]
    for ours, theirs in by_hand.items():
        if theirs not in present and not (theirs.isdecimal() and ours in present):
            row.fail(
                None,
                f"--columns: there is no column {theirs!r}{did_you_mean(nearest(theirs, present))} "
                f"Columns here: {', '.join(map(repr, present))}.",
            )
    return {o: t for o, t in by_hand.items() if o != t and t in present}


def _by_case(row: FileRow) -> dict[str, str]:
    found: dict[str, str] = {}
    for ours in (*OURS, *THEIRS):
        if ours in row.values:
            continue
        alike = [name for name in row.values if str(name).strip().casefold() == ours]
        if len(alike) > 1:
            row.fail(
                alike[0],
                f"two columns can be read as {ours}: {', '.join(map(repr, alike))}. Say which: "
                f"--columns {ours}=NAME.",
            )
        if alike:
            found[ours] = alike[0]
    return found


def _renamed(row: FileRow, found: Mapping[str, str]) -> FileRow:
    ours = {theirs: name for name, theirs in found.items()}
    values = {}
    for name, value in row.values.items():
        shadowed = name in found and name not in ours
        values[ours.get(name, f"{name} (in the file)" if shadowed else name)] = value
    return replace(row, values=values, own={**row.own, **found})
