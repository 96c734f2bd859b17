"""Draft: a stimulus to be, as a file gives it and before it is checked."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from stimuli.battery import NEUTRAL
from stimuli.rows import FileRow, Ledger, stem


@dataclass(slots=True)
class Draft:
    """Our fields as the file gives them, and the row they came from.

    `columns` tells the file's own name of a field where it differs; `control` is the id of the twin
    that the row names; `codes` are label numbers that still want their names, and `data_set` is the
    known data set whose columns these are.
    """

    row: FileRow
    values: dict[str, Any]
    columns: Mapping[str, str] | None = None
    control: str | None = None
    codes: tuple[int, ...] = ()
    data_set: str | None = None

    def fail(self, name: str, message: str) -> NoReturn:
        """Raise a `DataError` at the place of the field `name` in the file."""
        self.row.fail((self.columns or {}).get(name, name), message)

    def at(self, name: str) -> str:
        """The place of the field `name` in the file."""
        return self.row.at((self.columns or {}).get(name, name))

    def name_codes(self, book: Mapping[int, str]) -> None:
        """Put the name of the label number in its place; rows with several numbers keep the
        first.
        """
        self.values["emotion"] = book[self.codes[0]]
        self.values["arm"] = self.values.get("arm") or arm_of(self.values["emotion"])


Converter = Callable[[Iterable[FileRow], Ledger], Iterator[Draft]]
"""Rows of one file -> drafts."""


def arm_of(emotion: Any) -> str:
    """The arm of a text of which only the label is known."""
    return NEUTRAL if emotion == NEUTRAL else "keyword_free"


def default_id(row: FileRow) -> str:
    """The id of a row that has none: its file's name and its line."""
    return f"{stem(Path(row.file).name)}-{row.line:06d}"


def blank(value: Any) -> Any:
    """An empty cell is a missing value."""
    return None if value == "" else value
