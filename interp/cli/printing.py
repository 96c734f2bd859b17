"""What a command prints: rows as JSON or as a table for people, warnings as one line, and nothing
that drives a terminal.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click


def printable(text: str) -> str:
    """`text` with control and bidirectional characters shown as code points, so that data cannot
    drive a terminal.
    """
    return "".join(c if c == "\n" or c.isprintable() else f"<U+{ord(c):04X}>" for c in text)


def show_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning on stderr as one line, without the place in our code that gave it."""
    click.echo(f"interp: warning: {printable(str(message))}", err=True)


def show(rows: Iterable[Mapping[str, Any]], *, as_json: bool, err: bool = False) -> None:
    """Print rows: a JSON list, or a table for people (on stderr, if `err`)."""
    rows = list(rows)
    if as_json:
        show_json(rows)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        grid.add_column(column)
    for row in rows:
        grid.add_row(*(Text(_cell(row.get(column))) for column in columns))
    Console(width=None if sys.stdout.isatty() else 160, stderr=err).print(grid)


def show_said(
    said: Sequence[str], out: Path, *, as_json: bool, **rows: Sequence[Mapping[str, Any]]
) -> None:
    """Print what may be said of a folder and where it is; the tables of `rows` stand before it."""
    if as_json:
        show_json({"out": str(out), "said": said, **rows})
        return
    for table in rows.values():
        show(table, as_json=False)
    click.echo("\n".join(printable(one) for one in [*said, str(out)]))


def records(frame: Any, columns: str) -> list[dict[str, Any]]:
    """The rows of a table, of the columns named in `columns` between blanks."""
    return [{name: row[name] for name in columns.split()} for row in frame.to_dict("records")]


def show_json(told: Any) -> None:
    """Print it as JSON. A number that is not finite (nothing was measured) is null there: JSON has
    no other word for it.
    """
    click.echo(json.dumps(_finite(told), indent=1, default=str, allow_nan=False))


def _finite(told: Any) -> Any:
    if isinstance(told, Mapping):
        return {name: _finite(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN: nothing was measured
        return ""
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
