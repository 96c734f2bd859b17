"""`save`: a battery as a file, JSON lines for us and CSV for spreadsheets."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.errors import DataError, UsageError
from interp.files import write_atomic
from stimuli.battery import Battery, Stimulus
from stimuli.cells import field_cell, guard, json_text
from stimuli.columns import OURS


def save(battery: Battery, path: Path | str) -> Path:
    """Write the battery atomically, as `.jsonl` or `.csv`; both load back to the same digest.

    In CSV a cell that a spreadsheet would run as a formula gets a leading apostrophe, and fields
    that are no plain strings are JSON (`stimuli.cells`). Raises `UsageError` for another ending,
    `DataError` for a field that has the name of a column of ours or no JSON form, and for a
    carriage return where it would be lost.
    """
    path = Path(path)
    rows = [_row(item) for item in battery]
    if path.suffix == ".jsonl":
        data = "".join(json_text(row) + "\n" for row in rows)
    elif path.suffix == ".csv":
        data = _csv(rows)
    else:
        raise UsageError(f"cannot save as {path.name!r}: the name must end in .jsonl or .csv.")
    write_atomic(path, data.encode("utf-8"))
    return path


def _row(item: Stimulus) -> dict[str, Any]:
    clash = set(item.fields) & set(OURS)
    if clash:
        raise DataError(
            f"stimulus {item.id!r} has the field {min(clash)!r}, which is a column of ours: "
            "rename the field."
        )
    if "\r" in item.text:
        raise DataError(
            f"the text of {item.id!r} holds a carriage return, which reading would make a line "
            "feed: write LF."
        )
    return {**{name: getattr(item, name) for name in OURS}, **item.fields}


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys([*OURS, *(name for row in rows for name in row)]))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(guard, map(_kept, columns)))
    writer.writerows([_cell(row, name) for name in columns] for row in rows)
    return buffer.getvalue()


def _cell(row: Mapping[str, Any], name: str) -> str:
    if name not in row or (name in OURS and row[name] is None):
        return ""
    return guard(_kept(row[name])) if name in OURS else field_cell(row[name])


def _kept(text: str) -> str:
    """The text, where CSV can keep it: raises `DataError` for a carriage return."""
    if "\r" in text:
        raise DataError(
            f"{text!r} holds a carriage return, which CSV does not keep: save as .jsonl."
        )
    return text
