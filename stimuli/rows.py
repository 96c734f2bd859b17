"""Reading files row by row, without trust: bytes become rows, each with its place, or an error that names the place.

One row is in memory beyond what is kept; `Limits` bound a row, the number of rows and the depth of JSON, because a stimulus
file may come from anywhere. Text is UTF-8 or refused: a guessed letter would change what the model reads.
"""

import csv
import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from interp.errors import DataError, ResourceError
from interp.files import open_regular
from stimuli.parsing import parse_json, printable

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a stimulus file may ask for: rows, bytes of one row, bytes of a file read whole (JSON, Parquet), JSON depth."""

    rows: int = 1_000_000
    row_bytes: int = 1 << 20
    file_bytes: int = 256 << 20
    depth: int = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its values by column, and where it stands (`line` counts from 1)."""

    file: str
    line: int
    values: Mapping[str, Any]
    raw: str | None = None

    def at(self, column: str | None = None) -> str:
        """`file:line:column`, in characters for JSON lines and in cells for a table."""
        return f"{self.file}:{self.line}:{self._column(column)}"

    def _column(self, column: str | None) -> int:
        if column is None:
            return 1
        if self.raw is not None:
            return self.raw.find(f'"{column}"') + 1 or 1
        names = list(self.values)
        return names.index(column) + 1 if column in names else 1

    def fail(self, column: str | None, message: str) -> NoReturn:
        """Raise a `DataError` that begins with this row's place."""
        raise DataError(f"{self.at(column)}: {printable(message)}")


@dataclass
class Ledger:
    """What reading met on its way: rows read, rows dropped by reason, how bytes were normalised, findings by kind."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: dict[str, None] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)

    def note(self, fact: str) -> None:
        """Keep a fact about the file once, such as its byte order mark."""
        self.notes[fact] = None

    def find(self, kind: str, where: str) -> None:
        """Keep a finding that does not forbid use."""
        self.findings.setdefault(kind, []).append(where)

    def warnings(self) -> tuple[str, ...]:
        """Findings as sentences: how many, and the first ten."""
        return tuple(f"{kind} ({len(where)}): {', '.join(where[:10])}" for kind, where in self.findings.items())


def shown(path: Path) -> str:
    """A path as text that is safe on a terminal."""
    return printable(str(path))


def text_lines(path: Path, limits: Limits, ledger: Ledger) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, decoded; a byte order mark and CRLF are taken off and noted.

    Raises `DataError` for a line over `limits.row_bytes`, for NUL, and for what is not UTF-8 (byte offset, guessed encoding).
    """
    offset = 0
    with open_stream(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(limits.row_bytes + 1), b""), start=1):
            if len(line) > limits.row_bytes:
                raise DataError(
                    f"{shown(path)}:{number}:1: the row is longer than {limits.row_bytes:,} bytes. "
                    "Raise it with limits=Limits(row_bytes=...), or split the text."
                )
            text = _decode(path, number, line, offset)
            offset += len(line)
            if number == 1 and line.startswith(_BOM):
                ledger.note("a byte order mark was removed")
                text = text[1:]
            for part in _line_ends(text, ledger):
                yield number, part


def _line_ends(text: str, ledger: Ledger) -> list[str]:
    if "\r" not in text:
        return [text]
    ledger.note("line ends CRLF or CR were read as LF")
    return re.findall(r"[^\n]*\n|[^\n]+", text.replace("\r\n", "\n").replace("\r", "\n"))


def open_stream(path: Path) -> Any:
    """Open a plain file to read its bytes; raises `ResourceError` when the file system refuses."""
    try:
        return open_regular(path)
    except OSError as error:
        raise ResourceError(f"cannot read {shown(path)}: {error.strerror or error}.") from error


def _decode(path: Path, number: int, line: bytes, offset: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise DataError(
            f"{shown(path)}:{number}:{error.start + 1}: not UTF-8 at byte {at} (0x{line[error.start]:02x}); it looks like "
            f"{_guess_encoding(path, line)}. Convert it, for example: iconv -f {_guess_encoding(path, line)} -t utf-8."
        ) from error
    if (nul := text.find("\0")) >= 0:
        raise DataError(
            f"{shown(path)}:{number}:{nul + 1}: NUL at byte {offset + line.find(0)}; no store can keep it: remove it."
        )
    return text


def _guess_encoding(path: Path, line: bytes) -> str:
    with open_stream(path) as stream:
        head = stream.read(4096)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        line.decode("cp1252")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "windows-1252"


def json_lines(path: Path, limits: Limits, ledger: Ledger) -> Iterator[Row]:
    """Rows of a JSON lines file; blank lines are passed over."""
    for number, text in text_lines(path, limits, ledger):
        if not text.strip():
            continue
        count_row(path, limits, ledger)
        values = parse_json(text.rstrip("\n"), f"{shown(path)}:{number}", depth=limits.depth)
        if not isinstance(values, dict):
            raise DataError(f"{shown(path)}:{number}:1: expected one JSON object a line, found {_kind(values)}.")
        yield Row(shown(path), number, values, text)


def json_document(path: Path, limits: Limits, ledger: Ledger) -> Any:
    """The value of a JSON file that is read whole."""
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise DataError(f"{shown(path)} has {size:,} bytes, the limit is {limits.file_bytes:,}: limits=Limits(file_bytes=...).")
    text = "".join(text for _, text in text_lines(path, limits, ledger))
    return parse_json(text, shown(path), depth=limits.depth)


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), f"a {type(value).__name__}")


def table_rows(path: Path, limits: Limits, ledger: Ledger, *, delimiter: str, header: list[str] | None) -> Iterator[Row]:
    """Rows of a CSV or TSV, whose quoted cells may span lines.

    `header` gives the columns of a file without a first line of names; in such a file a quote is a character like any other.
    Raises `DataError` for a row with more or fewer cells than columns.
    """
    started: list[int] = []
    lines = _watched(text_lines(path, limits, ledger), started, limits, shown(path))
    quoting: Literal[0, 3] = csv.QUOTE_NONE if header else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    names = header
    csv.field_size_limit(max(csv.field_size_limit(), limits.row_bytes))
    try:
        for cells in reader:
            line = started[0] if started else 1
            started.clear()
            if not cells:
                continue
            if names is None:
                names = _header(cells, shown(path))
                continue
            count_row(path, limits, ledger)
            if len(cells) != len(names):
                raise DataError(
                    f"{shown(path)}:{line}:{min(len(cells), len(names)) + 1}: {len(cells)} cells, "
                    f"the header names {len(names)}; quote a text that holds the delimiter."
                )
            yield Row(shown(path), line, dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{shown(path)}:{started[0] if started else 1}:1: not a table ({error}); check the quotes.") from error


def _watched(lines: Iterable[tuple[int, str]], started: list[int], limits: Limits, file: str) -> Iterator[str]:
    """Lines for the csv reader, which clears `started` after each row: so its first entry is where the row began."""
    size = 0
    for number, text in lines:
        size = size + len(text) if started else len(text)
        started.append(number)
        if size > limits.row_bytes:
            raise DataError(
                f"{file}:{started[0]}:1: a quoted cell opened here runs past {limits.row_bytes:,} bytes; "
                "close the quote, or raise limits=Limits(row_bytes=...)."
            )
        yield text


def _header(cells: list[str], file: str) -> list[str]:
    names = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
    for place, name in enumerate(names, start=1):
        if names.index(name) != place - 1:
            raise DataError(f"{file}:1:{place}: the column {name!r} occurs twice in the header.")
    return names


def parquet_rows(path: Path, limits: Limits, ledger: Ledger) -> Iterator[Row]:
    """Rows of a Parquet file, NaN read as missing; `line` is the row's number. Raises `ResourceError` without pyarrow."""
    try:
        parquet, arrow = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    except ImportError as error:
        raise ResourceError(f"{shown(path)} is Parquet, and reading it needs pyarrow: pip install pyarrow.") from error
    try:
        file = parquet.ParquetFile(path)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size > limits.file_bytes:
            raise DataError(
                f"{shown(path)} unpacks to {size:,} bytes, the limit is {limits.file_bytes:,}: Limits(file_bytes=...)."
            )
        number = 0
        for batch in file.iter_batches(batch_size=256):
            for values in batch.to_pylist():
                number += 1
                count_row(path, limits, ledger)
                yield Row(shown(path), number, {name: None if value != value else value for name, value in values.items()})
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(path)} cannot be read as Parquet: {error}. Fetch or write it again.") from error


def count_row(path: Path, limits: Limits, ledger: Ledger) -> None:
    """Count a row against `limits.rows`."""
    ledger.read += 1
    if ledger.read > limits.rows:
        raise DataError(f"{shown(path)} has more than {limits.rows:,} rows: raise it with limits=Limits(rows=...).")
