"""Stimuli that are in memory already: a table, or triples of texts and an emotion.

A table is whatever pandas can make one of: a DataFrame, or what has a `to_pandas` (a
`datasets.Dataset`, a polars frame, a pyarrow table). Its columns are told as those of a file are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from interp.errors import DataError, UsageError
from stimuli.battery import NEUTRAL
from stimuli.rows import FileRow, Ledger, Limits, count_row, plain_values


def given_rows(source: object, limits: Limits, ledger: Ledger) -> tuple[str, Iterator[FileRow]]:
    """What `source` is called, and its rows.

    Raises `UsageError` for what is neither a table nor a list, `DataError` for a member of a list
    that is no (affective text, neutral text, emotion), and for more rows than `limits` allow.
    """
    name = type(source).__name__
    if hasattr(source, "to_pandas"):
        members = _dataset(source)
    elif hasattr(source, "to_dict") and hasattr(source, "columns"):
        members = _table(source)
    elif isinstance(source, Sequence) and not isinstance(source, bytes | bytearray):
        name, members = "pairs", _twins(source)
    else:
        raise UsageError(
            f"stimuli cannot be read from a {name}: give a name, a path, a table (pandas, "
            "datasets), or a list of (affective text, neutral text, emotion)."
        )
    return name, _counted(name, members, limits, ledger)


Members = Iterator[tuple[int, Mapping[str, Any]]]
"""A row's line, counted from 1, and its values by column."""


def _counted(name: str, members: Members, limits: Limits, ledger: Ledger) -> Iterator[FileRow]:
    for line, values in members:
        count_row(name, limits, ledger)
        yield FileRow(name, line, dict(plain_values(values)))


def _table(frame: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a DataFrame, counted from 1; a missing value of any kind is None."""
    names = [str(name) for name in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None)
    for line, values in enumerate(cells.itertuples(index=False, name=None), start=1):
        yield line, {name: _as_python(value) for name, value in zip(names, values, strict=True)}


def _dataset(source: Any) -> Members:
    """The rows of a dataset, whose label numbers its own `features` name."""
    features = getattr(source, "features", None) or {}
    names = {column: kind.names for column, kind in features.items() if hasattr(kind, "int2str")}
    labels_emotion = len(names) == 1 and "emotion" not in features
    ours = dict.fromkeys(names, "emotion") if labels_emotion else {}
    for line, values in _table(source.to_pandas()):
        for column, known in names.items():
            values[column] = None if values[column] is None else known[values[column]]
        yield line, {ours.get(column, column): value for column, value in values.items()}


def _twins(triples: Sequence[Any]) -> Members:
    """Two rows for each (affective text, neutral text, emotion), both of one line and pair."""
    for line, triple in enumerate(triples, start=1):
        if not _is_triple(triple):
            raise DataError(
                f"pairs:{line}: expected (affective text, neutral text, emotion), three strings, "
                f"and it is {str(triple)[:60]!r}."
            )
        affective, neutral, emotion = triple
        pair = f"pair-{line:06d}"
        yield line, {"id": f"{pair}-affective", "text": affective, "emotion": emotion, "pair": pair}
        yield line, {"id": f"{pair}-neutral", "text": neutral, "emotion": NEUTRAL, "pair": pair}


def _is_triple(given: Any) -> bool:
    three = isinstance(given, tuple | list) and len(given) == 3
    return three and all(isinstance(part, str) for part in given)


def _as_python(value: Any) -> Any:
    """A number or an array of numpy's as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value
