"""Separated tables as people have them: any separator, quoted or not, with a line of names or none.

What a table is, is found out before its first row is given: the separator by the names in the first
line, quotes by whether every row then has as many cells as there are names.
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from interp.errors import DataError
from stimuli.cells import is_own, own_names, own_row
from stimuli.labels import is_label
from stimuli.rows import FileRow, Ledger, Limits, count_row, shown
from stimuli.sources import opened, text_lines

SEPARATORS = ",\t;|"
CODED = ("text", "labels", "id")
"""The columns of a table without names whose second cell holds label numbers."""

_CODED_ROW = re.compile(r"[^\t]*\t\d+(,\d+)*\t[^\t]+\s*")
_SAMPLE = 50
_WELL_QUOTED = re.compile(r'\s*"(?:[^"]|"")*"\s*')


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is to be cut: `names` is None where its first line holds them; `own` says that it
    is one of our own.
    """

    separator: str
    names: tuple[str, ...] | None = None
    quoted: bool = True
    own: bool = False


def read_cells(
    path: Path,
    limits: Limits,
    ledger: Ledger,
    *,
    known: Callable[[str], bool],
    ours: Sequence[str],
    by_hand: Mapping[str, str],
) -> Iterator[FileRow]:
    """Rows of a separated table; cells in quotes may span lines.

    `known` says whether a word is a column's name in any format, `ours` are our columns, `by_hand`
    maps ours to the file's (names, or numbers from 1 for a table without names). Raises `DataError`
    for what is no table, and for a row with more or fewer cells than columns.
    """
    csv.field_size_limit(max(csv.field_size_limit(), limits.row_bytes))  # csv's own is smaller
    layout = _layout(path, limits, known=known, ours=ours, by_hand=by_hand)
    if layout.names == CODED:
        layout = replace(layout, quoted=False)
    elif not layout.own:
        layout = replace(layout, quoted=_is_quoted(path, limits, ledger, layout))
    if layout.names is not None:
        ledger.note(f"no line of names: the columns were read as {', '.join(layout.names)}")
    names: list[str] | None = None if layout.names is None else list(layout.names)
    file = shown(path)
    for line, cells in _cut(path, limits, ledger, layout):
        if names is None:
            names = own_names(cells) if layout.own else _header(cells, file)
            continue
        count_row(path, limits, ledger)
        row = FileRow(file, line, dict(zip(names, _fill(path, line, cells, names), strict=True)))
        yield own_row(row, ours) if layout.own else row


def _layout(
    path: Path,
    limits: Limits,
    *,
    known: Callable[[str], bool],
    ours: Sequence[str],
    by_hand: Mapping[str, str],
) -> Layout:
    lines = (text for _, text in text_lines(path, limits, Ledger()) if text.strip())
    sample = list(islice(lines, _SAMPLE))
    first = sample[0].rstrip("\n")
    if is_own(first.split(","), ours):
        return Layout(",", own=True)
    if by_hand and all(column.isdecimal() for column in by_hand.values()):
        return _numbered(path, sample, by_hand)
    if _CODED_ROW.fullmatch(first):
        return Layout("\t", CODED)
    counts = {one: sum(map(known, _names(first, one))) for one in SEPARATORS}
    separator = max(SEPARATORS, key=lambda one: (counts[one], first.count(one)))
    if counts[separator]:
        return Layout(separator)
    if labelled := _labelled(sample):
        return labelled
    raise DataError(
        f"{shown(path)}:1:1: no known format. Expected JSON lines, a table whose first line names "
        f"the columns text and emotion, Parquet, or a JSON list; the first line is {first[:60]!r}. "
        "Other names can be told: --columns text=NAME,emotion=NAME (numbers where there are none)."
    )


def _names(line: str, separator: str) -> list[str]:
    return [name.strip().strip("\"'") for name in line.split(separator)]


def _numbered(path: Path, sample: Sequence[str], by_hand: Mapping[str, str]) -> Layout:
    """A table without names whose columns were numbered by hand."""
    separator = max(SEPARATORS, key=lambda one: min(line.count(one) for line in sample))
    width = len(next(csv.reader(sample[:1], delimiter=separator)))
    wanted = {int(number): name for name, number in by_hand.items()}
    if wrong := [number for number in wanted if not 1 <= number <= width]:
        raise DataError(f"{shown(path)}:1: no column {wrong[0]}: its first line has {width} cells.")
    names = tuple(str(wanted.get(place, f"column_{place}")) for place in range(1, width + 1))
    return Layout(separator, names)


def _labelled(sample: Sequence[str]) -> Layout | None:
    """Two cells per line, one of them an emotion's name in every line: `text;joy` or `joy,text`."""
    for separator in SEPARATORS:
        rows = list(csv.reader(sample, delimiter=separator))
        if any(len(cells) != 2 for cells in rows):
            continue
        for place in (1, 0):
            if all(is_label(cells[place]) for cells in rows):
                return Layout(separator, ("text", "emotion") if place else ("emotion", "text"))
    return None


def _is_quoted(path: Path, limits: Limits, ledger: Ledger, layout: Layout) -> bool:
    """Whether quotes enclose cells. They do not where reading them so breaks a row, as where a text
    only begins with a quote, and every row is whole without. Raises `DataError` where both readings
    are possible and differ.
    """
    if not _holds_quotes(path):
        return True
    plain = replace(layout, quoted=False)
    try:
        spans = [line for line, cells in _whole_rows(path, limits, layout) if _spans(cells)]
    except DataError:
        if not _is_whole(path, limits, plain) or _looks_quoted(path, limits, plain):
            raise
        ledger.note("quotes are part of the texts: a cell begins with one that never closes")
        return False
    if spans and _is_whole(path, limits, plain):
        raise DataError(
            f"{shown(path)}:{spans[0]}:1: two readings fit: one cell in quotes over several lines, "
            "or rows of their own. Double the quotes inside a text, or take them out."
        )
    return True


def _holds_quotes(path: Path) -> bool:
    with opened(path) as stream:
        return any(b'"' in block for block in iter(lambda: stream.read(1 << 20), b""))


def _spans(cells: Sequence[str]) -> bool:
    return any("\n" in cell for cell in cells)


def _whole_rows(path: Path, limits: Limits, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, each checked to have as many cells as the first."""
    names: list[str] | None = None if layout.names is None else list(layout.names)
    for number, (line, cells) in enumerate(_cut(path, limits, Ledger(), layout)):
        if number > limits.rows:
            return
        names = cells if names is None else names
        _fill(path, line, cells, names)
        yield line, cells


def _is_whole(path: Path, limits: Limits, layout: Layout) -> bool:
    try:
        return all(cells for _, cells in _whole_rows(path, limits, layout))
    except DataError:
        return False


def _looks_quoted(path: Path, limits: Limits, plain: Layout) -> bool:
    """Whether more cells are quoted as they should be than only begin with a quote."""
    well = badly = 0
    for _, cells in _whole_rows(path, limits, plain):
        for cell in cells:
            if cell.lstrip().startswith('"'):
                whole = bool(_WELL_QUOTED.fullmatch(cell))
                well, badly = well + whole, badly + (not whole)
    return well > badly


def _cut(
    path: Path, limits: Limits, ledger: Ledger, layout: Layout
) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, cut into cells, each with the line on which it began."""
    started: list[int] = []
    lines = _watched(text_lines(path, limits, ledger), started, limits, shown(path))
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=layout.separator, quoting=quoting, strict=True)
    try:
        for cells in reader:
            line = started[0] if started else 1
            started.clear()
            if cells:
                yield line, cells
    except csv.Error as error:
        line = started[0] if started else 1
        raise DataError(
            f"{shown(path)}:{line}:1: not a table ({error}); check the quotes."
        ) from error


def _watched(
    lines: Iterable[tuple[int, str]], started: list[int], limits: Limits, file: str
) -> Iterator[str]:
    """Lines for the csv reader, which clears `started` after each row: so its first entry is where
    the row began.
    """
    size = 0
    for number, text in lines:
        size = size + len(text) if started else len(text)
        started.append(number)
        if size > limits.row_bytes:
            raise DataError(
                f"{file}:{started[0]}:1: a quoted cell opened here runs past "
                f"{limits.row_bytes:,} bytes; close the quote, or raise "
                "limits=Limits(row_bytes=...)."
            )
        yield text


def _header(cells: Sequence[str], file: str) -> list[str]:
    """The names of the columns; empty ones at the end, which spreadsheets leave, are taken off."""
    names = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
    while len(names) > 1 and not names[-1]:
        names.pop()
    seen: set[str] = set()
    for place, name in enumerate(names, start=1):
        if name in seen:
            raise DataError(f"{file}:1:{place}: the column {name!r} occurs twice in the header.")
        seen.add(name)
    return names


def _fill(path: Path, line: int, cells: list[str], names: Sequence[str]) -> list[str]:
    """The cells of a row, as many as there are names; more may only be empty."""
    surplus = cells[len(names) :]
    if len(cells) < len(names) or any(cell.strip() for cell in surplus):
        raise DataError(
            f"{shown(path)}:{line}:{min(len(cells), len(names)) + 1}: {len(cells)} cells, the "
            f"header names {len(names)}; quote a text that holds the delimiter."
        )
    return cells[: len(names)]
