"""Stimuli that are in memory already: a table, or triples of texts and an emotion.

A table is whatever pandas can make one of: a DataFrame, or what has a `to_pandas` (a
`datasets.Dataset`, a polars frame, a pyarrow table). Its columns are told as those of a file are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from interp.errors import DataError, UsageError
from stimuli.battery import NEUTRAL
from stimuli.rows import Ledger, Limits, Row, count_row, plain_values


def given_rows(source: object, limits: Limits, ledger: Ledger) -> tuple[str, Iterator[Row]]:
    """What `source` is called, and its rows.

    Raises `UsageError` for what is neither a table nor a list, `DataError` for a member of a list
    that is no (affective text, neutral text, emotion), and for more rows than `limits` allow.
    """
    if hasattr(source, "to_pandas"):
        return type(source).__name__, _counted(_dataset(source), type(source).__name__, limits, ledger)
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return type(source).__name__, _counted(_table(source), type(source).__name__, limits, ledger)
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray):
        return "pairs", _counted(_twins(source), "pairs", limits, ledger)
    raise UsageError(
        f"stimuli cannot be read from a {type(source).__name__}: give a name, a path, a table "
        "(pandas, datasets), or a list of (affective text, neutral text, emotion)."
    )


def _counted(members: Iterable[tuple[int, Mapping[str, Any]]], name: str, limits: Limits, ledger: Ledger) -> Iterator[Row]:
    for line, values in members:
        count_row(name, limits, ledger)
        yield Row(name, line, dict(plain_values(values)))


def _table(frame: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a DataFrame, counted from 1; a missing value of any kind is None."""
    names = [str(name) for name in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None)
    for line, values in enumerate(cells.itertuples(index=False, name=None), start=1):
        yield line, {name: _as_python(value) for name, value in zip(names, values, strict=True)}


def _dataset(source: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a dataset, whose label numbers its own `features` name."""
    features = getattr(source, "features", None) or {}
    names = {column: kind.names for column, kind in features.items() if hasattr(kind, "int2str")}
    renamed = dict.fromkeys(names, "emotion") if len(names) == 1 and "emotion" not in features else {}
    for line, values in _table(source.to_pandas()):
        told = {
            column: names[column][value] if column in names and value is not None else value for column, value in values.items()
        }
        yield line, {renamed.get(column, column): value for column, value in told.items()}


def _twins(triples: Sequence[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
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
    return isinstance(given, tuple | list) and len(given) == 3 and all(isinstance(part, str) for part in given)


def _as_python(value: Any) -> Any:
    """A number or an array of numpy's as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value
