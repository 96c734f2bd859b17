"""JSON as people keep texts in it: JSON lines, a list of records or texts, columns, pandas'
forms.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interp.errors import DataError
from stimuli.columns import is_column
from stimuli.labels import known_labels
from stimuli.parsing import parse_json, parse_list
from stimuli.rows import FileRow, Ledger, Limits, count_row, shown
from stimuli.sources import text_lines, whole_text

_OPEN_ENDS = ("{", "[", ",", ":")


def json_rows(path: Path, limits: Limits, ledger: Ledger) -> Iterator[FileRow]:
    """Rows of a file that begins with `{`: JSON lines, or one object that holds whole columns."""
    if _is_document(path, limits):
        yield from _document_rows(path, limits, ledger)
    else:
        yield from json_lines(path, limits, ledger)


def json_lines(path: Path, limits: Limits, ledger: Ledger) -> Iterator[FileRow]:
    """Rows of a JSON lines file; blank lines are passed over."""
    file = shown(path)
    for number, text in text_lines(path, limits, ledger):
        if not text.strip():
            continue
        count_row(path, limits, ledger)
        values = parse_json(text.rstrip("\n"), f"{file}:{number}", depth=limits.depth)
        if not isinstance(values, dict):
            raise DataError(
                f"{file}:{number}:1: expected one JSON object per line, found {_kind(values)}."
            )
        yield FileRow(file, number, values, text)


def json_members(path: Path, limits: Limits, ledger: Ledger) -> Iterator[tuple[int, Any]]:
    """The members of a file that is one JSON list, all of one kind, each with its line.

    Raises `DataError` for an empty list, and for members that are neither all texts nor all
    records.
    """
    text = whole_text(path, limits, ledger)
    kinds: set[type] = set()
    longest = limits.row_bytes
    for line, value in parse_list(text, shown(path), depth=limits.depth, longest=longest):
        kinds.add(type(value))
        if len(kinds) > 1 or not kinds <= {str, dict}:
            other = "other things than strings" if str in kinds else _kind(value)
            raise DataError(
                f"{shown(path)}:{line}:1: a list that holds {other}; expected a list of texts or a "
                "list of records, or one JSON object per line (JSON lines)."
            )
        count_row(path, limits, ledger)
        yield line, value
    if not kinds:
        raise DataError(f"{shown(path)}:1:1: an empty list; expected a list of texts or records.")


def _is_document(path: Path, limits: Limits) -> bool:
    """Whether the file is one object over many lines, or one line that holds whole columns."""
    lines = (text for _, text in text_lines(path, Limits(row_bytes=limits.file_bytes), Ledger()))
    first = next(text for text in lines if text.strip()).strip()
    if first.endswith(_OPEN_ENDS):
        return True
    if any(text.strip() for text in lines):
        return False
    values = parse_json(first, f"{shown(path)}:1", depth=limits.depth)
    whole = bool(values) and all(isinstance(value, list | dict) for value in values.values())
    tables = [value for value in values.values() if isinstance(value, list) and _all(value, dict)]
    return whole or (bool(tables) and not any(map(is_column, values)))


def _document_rows(path: Path, limits: Limits, ledger: Ledger) -> Iterator[FileRow]:
    values = parse_json(
        whole_text(path, limits, ledger), shown(path), depth=limits.depth, whole=True
    )
    for number, record in enumerate(_records(path, values), start=1):
        count_row(path, limits, ledger)
        if (
            sum(len(value) for value in record.values() if isinstance(value, str))
            > limits.row_bytes
        ):
            raise DataError(
                f"{shown(path)}: record {number} is longer than {limits.row_bytes:,} bytes: "
                "raise limits=Limits(row_bytes=...)."
            )
        yield FileRow(shown(path), number, record)


def _records(path: Path, values: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The records of one object, whichever way it keeps them."""
    lists = {name: value for name, value in values.items() if isinstance(value, list)}
    if {"columns", "data"} <= lists.keys():  # pandas, orient="split"
        yield from _split_records(path, lists["columns"], lists["data"])
    elif len(tables := [rows for rows in lists.values() if rows and _all(rows, dict)]) == 1:
        yield from tables[0]  # {"data": [{...}, ...]}
    elif lists.keys() == values.keys() <= known_labels() and all(map(_texts, lists.values())):
        yield from ({"text": t, "emotion": label} for label, ts in lists.items() for t in ts)
    elif lists.keys() == values.keys():
        yield from _column_records(path, lists)
    elif values and _all(list(values.values()), dict):  # pandas, orient="columns"
        yield from _column_records(path, {k: list(v.values()) for k, v in values.items()})
    else:
        yield values


def _all(parts: list[Any], kind: type) -> bool:
    return all(isinstance(part, kind) for part in parts)


def _texts(parts: list[Any]) -> bool:
    return _all(parts, str)


def _split_records(path: Path, names: list[Any], rows: list[Any]) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise DataError(f"{shown(path)}: record {number} does not fill the columns {names}.")
        yield dict(zip(map(str, names), row, strict=True))


def _column_records(path: Path, columns: Mapping[str, list[Any]]) -> Iterator[Mapping[str, Any]]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
        raise DataError(f"{shown(path)}: its columns differ in length ({told[:200]}): mend them.")
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", type(None): "null", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
