"""The cells of our own CSV: what a spreadsheet can show, and what reads back to the same value.

A table is ours when its first columns are ours, in our order. A cell that a spreadsheet would run
as a formula has an apostrophe before it. In columns that are not ours, whatever is no plain string
stands as JSON, and so does a string that would read as JSON; an empty cell says that the item has
no such field.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from interp.errors import DataError
from stimuli.parsing import parse_json
from stimuli.rows import FileRow

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_DEFUSED = re.compile(r"'+[=+\-@\t\r]")
_DEPTH = 64


def guard(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(cell: str) -> str:
    """The text that `guard` was given."""
    return cell[1:] if _DEFUSED.match(cell) else cell


def json_text(value: Any) -> str:
    """The value as JSON; raises `DataError` where it has none."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a field cannot be written as JSON ({error}): use strings, finite numbers, lists "
            "and dicts."
        ) from error


def field_cell(value: Any) -> str:
    """A value of a column that is not ours, as its cell."""
    if not isinstance(value, str) or "\r" in value:
        return json_text(value)
    if _FORMULA.match(value):
        return guard(value)
    return json_text(value) if value == "" or _reads_as_json(value) else value


def field_value(cell: str, place: str) -> Any:
    """The value that `field_cell` was given; raises `DataError` at `place` as `parse_json` does."""
    if _DEFUSED.match(cell):
        return unguard(cell)
    return parse_json(cell, place, depth=_DEPTH) if _reads_as_json(cell) else cell


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def own_row(row: FileRow, ours: Sequence[str]) -> FileRow:
    """A row of our own CSV with its values as they were when the battery was saved."""
    values: dict[str, Any] = {}
    for name, cell in row.values.items():
        if name in ours:
            values[name] = unguard(cell)
        elif cell != "":
            values[name] = field_value(cell, row.at(name))
    return FileRow(row.file, row.line, values)


def is_own(names: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether a table with these columns is one that `stimuli.save` wrote."""
    return tuple(names[: len(ours)]) == tuple(ours)


def own_names(cells: Sequence[str]) -> list[str]:
    """The column names in the first line of our own CSV."""
    return [unguard(cell) for cell in cells]
