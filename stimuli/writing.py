"""`save`: a battery as a file, JSON lines for us and CSV for spreadsheets."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from interp.errors import DataError, UsageError
from interp.files import write_atomic
from stimuli.battery import Battery, Stimulus
from stimuli.formats import OURS

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def save(battery: Battery, path: Path | str) -> Path:
    """Write the battery atomically: `.jsonl` keeps everything and loads back to the same digest, `.csv` is for spreadsheets.

    In CSV a cell that a spreadsheet would run as a formula gets a leading apostrophe, and nested fields are JSON.
    Raises `UsageError` for another ending, `DataError` for a field that has the name of a column of ours or no JSON form.
    """
    path = Path(path)
    rows = [_row(item) for item in battery]
    if path.suffix == ".jsonl":
        data = "".join(_json(row) + "\n" for row in rows)
    elif path.suffix == ".csv":
        data = _csv(rows)
    else:
        raise UsageError(f"cannot save as {path.name!r}: the name must end in .jsonl or .csv.")
    write_atomic(path, data.encode("utf-8"))
    return path


def _row(item: Stimulus) -> dict[str, Any]:
    clash = set(item.fields) & set(OURS)
    if clash:
        raise DataError(f"stimulus {item.id!r} has the field {min(clash)!r}, which is a column of ours: rename the field.")
    return {**{name: getattr(item, name) for name in OURS}, **item.fields}


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a field cannot be written as JSON ({error}): use strings, finite numbers, lists and dicts."
        ) from error


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys([*OURS, *(name for row in rows for name in row)]))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    text = value if isinstance(value, str) else _json(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
