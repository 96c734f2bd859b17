"""What every reader shares: limits, a row with its place, and the ledger of what reading met.

One row is in memory beyond what is kept; `Limits` bound a row, the number of rows and the depth of
JSON, because a stimulus file may come from anywhere.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from interp.errors import DataError
from stimuli.parsing import make_printable


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a stimulus file may ask for.

    rows; bytes of one row; bytes of a file that is read whole (a JSON list, a workbook); bytes that
    a packed file (gzip, Parquet, Arrow, a workbook) may unpack to; depth of JSON.
    """

    rows: int = 1_000_000
    row_bytes: int = 1 << 20
    file_bytes: int = 64 << 20
    unpacked_bytes: int = 256 << 20
    depth: int = 16


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file: its values by column, and where it stands (`line` counts from 1).

    `own` tells the file's own name of a column that was read under another one.
    """

    file: str
    line: int
    values: Mapping[str, Any]
    raw: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)

    def at(self, column: str | None = None) -> str:
        """`file:line:column`, in characters for JSON lines and in cells for a table."""
        return f"{self.file}:{self.line}:{self._column(column)}"

    def _column(self, column: str | None) -> int:
        if column is None:
            return 1
        if self.raw is not None:
            return self.raw.find(f'"{self.own.get(column, column)}"') + 1 or 1
        names = list(self.values)
        return names.index(column) + 1 if column in names else 1

    def fail(self, column: str | None, message: str) -> NoReturn:
        """Raise a `DataError` that begins with this row's place."""
        raise DataError(f"{self.at(column)}: {make_printable(message)}")


@dataclass
class Ledger:
    """What reading met on its way: rows read, rows dropped by reason, how bytes were normalised,
    findings by kind.
    """

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
        return tuple(
            f"{kind} ({len(where)}): {', '.join(where[:10])}"
            for kind, where in self.findings.items()
        )


def shown(path: Path) -> str:
    """A path as text that is safe on a terminal."""
    return make_printable(str(path))


def stem(file: str) -> str:
    """A file's name without its folder and endings, `.gz` too: `pairs` for `data/pairs.csv.gz`."""
    return Path(file.removesuffix(".gz")).stem


def count_row(path: Path | str, limits: Limits, ledger: Ledger) -> None:
    """Count a row against `limits.rows`."""
    ledger.read += 1
    if ledger.read > limits.rows:
        most = f"{make_printable(str(path))} has more than {limits.rows:,} rows"
        raise DataError(f"{most}: raise it with limits=Limits(rows=...).")


def plain_values(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Columns with values as JSON knows them: NaN is missing, a date is its ISO form."""
    for name, value in values.items():
        if isinstance(value, date | time):
            yield name, value.isoformat()
        elif isinstance(value, Decimal):
            yield name, str(value)
        else:
            yield name, None if value != value else value
