"""Label numbers become names by a codebook that is known, never by one that is assumed.

A codebook is `labels.txt` or `emotions.txt` beside the file: a name per line, counted from 0 (or
from 1, where the numbers say so), or numbers and names. Without one, a known data set's numbers are
read only where the columns are its own and the numbers reach its last label, so that no shorter
list of labels can have been meant.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from interp.errors import DataError
from interp.files import open_regular
from stimuli.drafts import Draft
from stimuli.labels import scheme
from stimuli.rows import Ledger, shown

BESIDE = ("labels.txt", "emotions.txt")

_ISEAR = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
_LARGEST = 1 << 16
_NUMBERED = re.compile(r"(?P<number>\d+)\s*[\s,:;=]\s*(?P<name>\S.*)")
_NAMED = re.compile(r"(?P<name>\S.*?)\s*[\t,:;=]\s*(?P<number>\d+)")

Codebook = Mapping[int, str]


def data_set_codebook(name: str) -> Codebook:
    """The label numbers of a known data set.

    GoEmotions: 0 to 27 (Demszky et al. 2020); ISEAR: 1 to 7 (Scherer & Wallbott 1994).
    """
    if name == "ISEAR":
        return dict(enumerate(_ISEAR, start=1))
    return dict(enumerate(scheme("goemotions")))


def name_numbers(found: Sequence[Draft], path: Path | None, ledger: Ledger) -> None:
    """Give the drafts of one file whose emotion is a number (`codes`) its name, and say by which
    codebook. No `path`: the rows are in memory, and nothing lies beside them.
    Raises `DataError` where none is sure, with both remedies.
    """
    coded = [draft for draft in found if draft.codes]
    if not coded:
        return
    numbers = {number for draft in coded for number in draft.codes}
    book, told = _choose(coded[0], path, numbers, ledger)
    ledger.note(told)
    for draft in coded:
        draft.name_codes(book)


def _choose(
    draft: Draft,
    path: Path | None,
    numbers: set[int],
    ledger: Ledger,
) -> tuple[Codebook, str]:
    """The codebook of these numbers, and the sentence that says which it is."""
    beside = {name: _read(path.parent / name) for name in BESIDE} if path else {}
    readings = {name: _fitting(lines, numbers) for name, lines in beside.items() if lines}
    fitting = [(name, book) for name, books in readings.items() for book in books]
    distinct = {tuple(sorted((n, book[n]) for n in numbers)) for _, book in fitting}
    if len(distinct) > 1:
        names = " and ".join(dict.fromkeys(name for name, _ in fitting))
        told = "; ".join(", ".join(f"{n} {one}" for n, one in book[:4]) for book in distinct)
        draft.fail(
            "emotion",
            f"two readings of the label numbers fit {names} ({told}): write the names into the "
            "column, or numbers and names into labels.txt (lines such as '0 anger').",
        )
    if fitting:
        return fitting[0][1], f"label numbers were named by {fitting[0][0]} beside the file"
    known = data_set_codebook(draft.data_set) if draft.data_set else {}
    if known and numbers <= known.keys() and max(known) in numbers:
        if readings:
            ledger.find(
                f"label numbers were read as {draft.data_set}'s, since they reach its last one",
                f"{' and '.join(readings)} beside the file lacks some of them",
            )
        return known, f"format: {draft.data_set}"
    raise _no_codebook(draft, numbers, readings)


def _no_codebook(draft: Draft, numbers: set[int], lacking: Iterable[str]) -> DataError:
    """The error for label numbers that no codebook explains, with both remedies."""
    few = ", ".join(map(str, sorted(numbers)[:8])) + (", ..." if len(numbers) > 8 else "")
    told = f"the emotions are numbers ({few}), and nothing says what they mean: "
    if known := data_set_codebook(draft.data_set) if draft.data_set else {}:
        outside = sorted(numbers - known.keys())
        ids = f"is not a list of label ids from {min(known)} to {max(known)}"
        why = f"{str(outside[0])!r} {ids}" if outside else f"{max(known)} does not occur"
        told = f"{why}, as in {draft.data_set}; {told}"
    beside = "".join(f"{name} beside the file does not name them all; " for name in lacking)
    return DataError(
        f"{draft.at('emotion')}: {told}{beside}either put labels.txt beside the file (one name per "
        "line, the first is 0), or write the names into the column."
    )


def _fitting(lines: Sequence[str], numbers: set[int]) -> list[Codebook]:
    """Every way to read the lines as a codebook of these numbers."""
    for pattern in (_NUMBERED, _NAMED):
        matches = [pattern.fullmatch(line) for line in lines]
        if all(matches):
            explicit = {int(m["number"]): m["name"].strip() for m in matches if m}
            return [explicit] if numbers <= explicit.keys() else []
    counted = [dict(enumerate(lines, start=first)) for first in (0, 1)]
    if 0 in numbers:
        counted = counted[:1]
    elif len(lines) in numbers:
        counted = counted[1:]
    return [book for book in counted if numbers <= book.keys()]


def _read(path: Path) -> list[str]:
    """The lines of a codebook that are not blank; none where there is no such file."""
    if not path.is_file():
        return []
    with open_regular(path) as stream:
        data = stream.read(_LARGEST + 1)
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)}: the codebook is not UTF-8; write it anew.") from error
    found = [line for line in lines if line]
    if len(data) > _LARGEST or len(set(found)) < len(found):
        raise DataError(f"{shown(path)}: a codebook has each name once, one per line.")
    return found
