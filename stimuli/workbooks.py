"""Excel workbooks (.xlsx), read row by row with openpyxl, the extra `xlsx`."""

import importlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from interp.errors import DataError, ResourceError
from stimuli.rows import FileRow, Ledger, Limits, count_row, plain_values, shown
from stimuli.sources import MOST_PACKED

ZIP = b"PK\x03\x04"
_FREELY_UNPACKED = 1 << 20
_WIDEST = 1000


def workbook_rows(
    path: Path, limits: Limits, ledger: Ledger, *, known: Callable[[str], bool]
) -> Iterator[FileRow]:
    """Rows of the one sheet whose first line names columns that `known` accepts.

    Raises `ResourceError` without openpyxl; `DataError` for a zip that is no workbook, for a
    damaged one, for one that unpacks to more than `limits` allow or to far more than texts do, and
    where no sheet or several hold stimuli.
    """
    _check_zip(path, limits)
    try:
        openpyxl = importlib.import_module("openpyxl")
        unescape = importlib.import_module("openpyxl.utils.escape").unescape
    except ImportError as error:
        raise ResourceError(
            f"{shown(path)} is a workbook, and reading it needs openpyxl: pip install openpyxl "
            "(or emotion-interp[xlsx]); or save it as CSV in UTF-8."
        ) from error
    damaged = (zipfile.BadZipFile, zlib.error, ParseError, KeyError, ValueError, TypeError,
               AttributeError, IndexError, EOFError)  # fmt: skip
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            for row in _sheet_rows(path, _sheet(path, book, ledger, known), limits, ledger):
                yield replace(row, values={k: _plain(v, unescape) for k, v in row.values.items()})
        finally:
            book.close()
    except damaged as error:
        raise DataError(
            f"{shown(path)} cannot be read as a workbook ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]}): save it again, or as CSV in UTF-8."
        ) from error


def _plain(value: Any, unescape: Callable[[str], str]) -> Any:
    """A cell with the characters that Excel writes as `_x000D_` and the like put back."""
    return unescape(value) if isinstance(value, str) and "_x" in value else value


def _check_zip(path: Path, limits: Limits) -> None:
    """A zip that says truly how large it is (its reader stops there), and is a workbook."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise DataError(f"{shown(path)} is a damaged zip ({error}): fetch it again.") from error
    if not any(part.filename == "xl/workbook.xml" for part in parts):
        raise DataError(f"{shown(path)} is a zip archive: unpack it and name the file inside.")
    size = sum(part.file_size for part in parts)
    if size > limits.file_bytes:
        raise DataError(
            f"{shown(path)} unpacks to {size:,} bytes, the limit is {limits.file_bytes:,}: "
            "save it as CSV in UTF-8, or raise limits=Limits(file_bytes=...)."
        )
    if size > max(_FREELY_UNPACKED, MOST_PACKED * path.stat().st_size):
        raise DataError(
            f"{shown(path)} unpacks to over {MOST_PACKED} times its size, as no texts do: "
            "save it as CSV in UTF-8 if you trust it."
        )


def _sheet(path: Path, book: Any, ledger: Ledger, known: Callable[[str], bool]) -> Any:
    """The one sheet that holds stimuli."""
    found = []
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what a sheet says of its size may be a lie
        first = next((cells for _, cells in _cells(sheet)), ())
        if any(known(str(cell)) for cell in first if cell is not None):
            found.append(sheet)
    if len(found) != 1:
        names = ", ".join(repr(sheet.title) for sheet in found or book.worksheets)
        kind = "several sheets" if found else "no sheet"
        raise DataError(
            f"{shown(path)}: {kind} whose first line names the columns text and emotion ({names}): "
            "keep the stimuli in one sheet."
        )
    if len(book.worksheets) > 1:
        ledger.note(f"the sheet {found[0].title!r} was read")
    return found[0]


def _cells(sheet: Any) -> Iterator[tuple[int, Sequence[Any]]]:
    """The rows that are not empty, each with its number."""
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        if any(cell is not None and cell != "" for cell in cells):
            yield number, cells


def _sheet_rows(path: Path, sheet: Any, limits: Limits, ledger: Ledger) -> Iterator[FileRow]:
    names: list[str] = []
    for number, cells in _cells(sheet):
        filled = list(cells[:_WIDEST])
        if any(cell is not None for cell in cells[_WIDEST:]):
            raise DataError(f"{shown(path)}:{number}: more than {_WIDEST} columns.")
        if not names:
            names = _header(path, number, filled)
            continue
        count_row(path, limits, ledger)
        width = len(names)
        if any(cell is not None for cell in filled[width:]):
            raise DataError(
                f"{shown(path)}:{number}:{width + 1}: a cell in a column without a name."
            )
        filled += [None] * (width - len(filled))
        values = dict(plain_values(dict(zip(names, filled[:width], strict=True))))
        if sum(len(cell) for cell in values.values() if isinstance(cell, str)) > limits.row_bytes:
            raise DataError(
                f"{shown(path)}:{number}:1: the row is longer than {limits.row_bytes:,} bytes."
            )
        yield FileRow(shown(path), number, values)


def _header(path: Path, number: int, cells: list[Any]) -> list[str]:
    names = ["" if cell is None else str(cell).strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    for place, name in enumerate(names, start=1):
        if names.index(name) != place - 1:
            raise DataError(
                f"{shown(path)}:{number}:{place}: the column {name!r} occurs twice in the header."
            )
    return names
