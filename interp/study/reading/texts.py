"""Texts to read, one after the other: rows of a JSONL, CSV or TSV file, lines of a text file or of
stdin. They stream: no more of a file is held than the row at work.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from interp.errors import DataError, UsageError
from interp.files import open_regular, sha256_file
from interp.models.texts.conversations import FIELD, Prompt, prompt_of, text_of

STDIN = "-"
MOST_LINE = 1 << 24
"""Bytes of a line, at most: what is longer is no text of a data set."""

COLUMN, ID = "text", "id"


class TextRow(NamedTuple):
    """A text or a conversation, its id in tables, and where it stands, for messages."""

    id: str
    where: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class RowSource:
    """Where rows come from: a file, or stdin (`-`). `column` holds the text; a row with `messages`
    is that conversation. A row's name is its `id`, or else its number from 1.

    Raises `UsageError` for a file that is not there, or of an unknown kind.
    """

    name: str
    column: str = COLUMN

    def __post_init__(self) -> None:
        if self.name == STDIN:
            return
        suffix = Path(self.name).suffix
        if suffix not in _READERS:
            known = ", ".join(_READERS)
            raise UsageError(
                f"cannot tell the kind of {self.name}: a file of texts ends in {known}; or give "
                "a text per line on stdin, as -."
            )
        self._open().close()

    @property
    def sha256(self) -> str | None:
        """The digest of the file; None for stdin, which can be read once only."""
        return None if self.name == STDIN else sha256_file(Path(self.name))

    def rows(self) -> Iterator[TextRow]:
        """The rows in order. Raises `DataError` naming the row that is none, and why."""
        if self.name == STDIN:
            yield from _lines(sys.stdin.buffer, "stdin")
            return
        with self._open() as stream:
            yield from _READERS[Path(self.name).suffix](stream, self.name, self.column)

    def _open(self) -> BinaryIO:
        try:
            return open_regular(self.name)
        except OSError as error:
            raise UsageError(f"cannot read {self.name}: {error.strerror}.") from error


def numbered_texts(prompts: Iterable[Prompt]) -> list[TextRow]:
    """Texts that are in memory, numbered from 1. Raises `DataError` for one that is blank."""
    rows = [
        TextRow(str(number), f"text {number}", prompt)
        for number, prompt in enumerate(prompts, start=1)
    ]
    return [_checked(row) for row in rows]


def _jsonl(stream: BinaryIO, file: str, column: str) -> Iterator[TextRow]:
    for number, line in _numbered(stream, file):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}, row {number}: this is no JSON ({error}).") from error
        if not isinstance(found, dict):
            raise DataError(f'{file}, row {number}: expected an object such as {{"text": "..."}}.')
        yield _row(found, f"{file}, row {number}", str(number), column)


def _table(stream: BinaryIO, file: str, column: str, *, delimiter: str) -> Iterator[TextRow]:
    with TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        cells = csv.DictReader(text, delimiter=delimiter, strict=True)
        number = 0
        try:
            for number, found in enumerate(cells, start=1):
                yield _row(found, f"{file}, row {number}", str(number), column)
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8 behind row {number}: convert it.") from error
        except csv.Error as error:
            raise DataError(f"{file}, row {number + 1}: {error}.") from error


def _text_file(stream: BinaryIO, file: str, column: str) -> Iterator[TextRow]:
    return _lines(stream, file)


def _lines(stream: BinaryIO, file: str) -> Iterator[TextRow]:
    """A text per line; blank lines at the end are none."""
    blank = 0
    for number, line in _numbered(stream, file):
        if not line.strip():
            blank = blank or number
            continue
        if blank:
            raise DataError(f"{file}, row {blank} is blank: write the text or drop the row.")
        yield TextRow(str(number), f"{file}, row {number}", line)


_READERS: Mapping[str, Any] = {
    ".jsonl": _jsonl,
    ".csv": partial(_table, delimiter=","),
    ".tsv": partial(_table, delimiter="\t"),
    ".txt": _text_file,
}


def _numbered(stream: BinaryIO, file: str) -> Iterator[tuple[int, str]]:
    number = 0
    while line := stream.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE:
            raise DataError(f"{file}, row {number} has more than {MOST_LINE:,} bytes: split it.")
        try:
            coding = "utf-8-sig" if number == 1 else "utf-8"
            yield number, line.decode(coding).rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{file}, row {number}: not UTF-8: convert it.") from error


def _row(found: Mapping[Any, Any], where: str, number: str, column: str) -> TextRow:
    """The text or the conversation of a row of fields."""
    name = found.get(ID)
    if found.get(FIELD) in (None, "") and not isinstance(found.get(column), str):
        if column in found and found[column] is not None:
            raise DataError(f"{where}: {column} is {found[column]!r:.60}; expected a text.")
        there = ", ".join(str(key) for key in found if key is not None) or "nothing"
        raise DataError(
            f"{where} has no {column!r}; it has {there}. Name the column of the texts "
            "(--column NAME)."
        )
    prompt = prompt_of(found.get(column) or "", found, name=where)
    return _checked(TextRow(number if name in (None, "") else str(name), where, prompt))


def _checked(row: TextRow) -> TextRow:
    if not isinstance(row.prompt, str):
        prompt_of("", {FIELD: row.prompt}, name=row.where)
    if not text_of(row.prompt).strip():
        raise DataError(f"{row.where}: the text is empty: write it or drop the row.")
    return row
