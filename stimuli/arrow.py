"""Parquet files, Arrow files, and the folders that Hugging Face's `save_to_disk` leaves.

They are read in small batches with pyarrow, the `datasets` library is not needed. Label numbers
whose names stand in the file's own metadata are read as those names.
"""

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from interp.errors import DataError, ResourceError
from stimuli.parsing import parse_json
from stimuli.rows import FileRow, Ledger, Limits, count_row, plain_values, shown
from stimuli.sources import MOST_PACKED, opened

PARQUET, ARROW, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
"""How a Parquet file, an Arrow file and an Arrow stream begin."""

_BATCH = 64
_FREELY_UNPACKED = 64 << 20


def parquet_rows(path: Path, limits: Limits, ledger: Ledger) -> Iterator[FileRow]:
    """Rows of a Parquet file, NaN read as missing; `line` is the row's number.

    Raises `ResourceError` without pyarrow, `DataError` for a damaged file and for one that unpacks
    to more than `limits` allow.
    """
    arrow, parquet = _pyarrow(path, "pyarrow", "pyarrow.parquet")

    def batches() -> Iterator[Any]:
        file = parquet.ParquetFile(path)
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        _check_size(path, sum(group.total_byte_size for group in groups), limits)
        if file.metadata.num_rows > limits.rows:
            count_row(path, limits, Ledger(read=limits.rows))
        _check_schema(path, file.schema_arrow, limits)
        yield from file.iter_batches(batch_size=_BATCH)

    yield from _rows(path, batches(), limits, ledger, arrow=arrow)


def arrow_rows(
    path: Path, limits: Limits, ledger: Ledger, *, prefix: str = ""
) -> Iterator[FileRow]:
    """Rows of an Arrow file or stream; a row without `id` gets `prefix` and its number as one.

    Raises as `parquet_rows`.
    """
    (arrow,) = _pyarrow(path, "pyarrow")
    with opened(path) as stream:
        whole_file = stream.read(len(ARROW)) == ARROW

    def batches() -> Iterator[Any]:
        with arrow.memory_map(str(path)) as source:
            reader = (arrow.ipc.open_file if whole_file else arrow.ipc.open_stream)(source)
            _check_schema(path, reader.schema, limits)
            count = reader.num_record_batches if whole_file else 0
            parts = (reader.get_batch(i) for i in range(count)) if whole_file else reader
            for part in parts:
                part.validate(full=True)  # offsets that point outside would be followed blindly
                for start in range(0, part.num_rows, _BATCH):
                    yield part.slice(start, _BATCH)

    for row in _rows(path, batches(), limits, ledger, arrow=arrow):
        named = row.values if "id" in row.values else {"id": f"{prefix}-{row.line:06d}"}
        yield FileRow(row.file, row.line, {**named, **row.values}, own=row.own)


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by Hugging Face's `save_to_disk`."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def dataset_rows(folder: Path, limits: Limits, ledger: Ledger) -> Iterator[tuple[Path, FileRow]]:
    """Rows of a folder that `save_to_disk` wrote, of all its splits, each with its file.

    Raises as `parquet_rows`, and `DataError` where the folder lacks what its own list names.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _names(folder / "dataset_dict.json", "splits", limits)
        ledger.note(f"all splits were read: {', '.join(splits)}")
        for split in splits:
            yield from dataset_rows(folder / split, limits, ledger)
        return
    listed = parse_listed(folder / "state.json", "_data_files", limits)
    names = [part.get("filename") if isinstance(part, dict) else part for part in listed]
    for place, name in enumerate(names):
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{shown(folder / 'state.json')}: {name!r} is no file's name.")
        path = folder / name
        if not path.is_file():
            raise DataError(f"{shown(path)} is missing, which state.json lists: save it again.")
        for row in arrow_rows(path, limits, ledger, prefix=f"{folder.name}-{place}"):
            yield path, row


def parse_listed(path: Path, key: str, limits: Limits) -> list[Any]:
    """The list under `key` of a small JSON file; raises `DataError` where there is none."""
    if not path.is_file():
        raise DataError(f"{shown(path)} is missing: save the data set again.")
    with opened(path) as stream:
        text = stream.read(limits.row_bytes).decode("utf-8", "replace")
    value = parse_json(text, shown(path), depth=limits.depth)
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{shown(path)}: it has no list {key!r}: save the data set again.")
    return found


def _names(path: Path, key: str, limits: Limits) -> list[str]:
    names = parse_listed(path, key, limits)
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{shown(path)}: {name!r} is no split's name.")
    return names


def _pyarrow(path: Path, *modules: str) -> list[Any]:
    try:
        return [importlib.import_module(module) for module in modules]
    except ImportError as error:
        raise ResourceError(
            f"{shown(path)} is a file of Parquet or Arrow, and reading it needs pyarrow: pip "
            "install pyarrow."
        ) from error


def _rows(
    path: Path, batches: Iterator[Any], limits: Limits, ledger: Ledger, *, arrow: Any
) -> Iterator[FileRow]:
    """Rows of the batches, label numbers named; what pyarrow raises becomes a `DataError`."""
    number = unpacked = 0
    file, packed = shown(path), path.stat().st_size
    labels: Mapping[str, list[str]] | None = None
    own: dict[str, str] = {}
    try:
        for batch in batches:
            if labels is None:
                labels = _label_names(batch.schema)
                own = _emotion_column(batch.schema.names, labels, batch.schema, ledger)
            if batch.nbytes > limits.row_bytes * len(batch):
                _refuse_length(path, number + 1, limits)
            for record in batch.to_pylist():
                number += 1
                count_row(path, limits, ledger)
                values = dict(plain_values(record))
                size = sum(len(value) for value in values.values() if isinstance(value, str))
                unpacked += size  # a text kept once in the file stands here in every row
                _check_size(path, unpacked, limits)
                if unpacked > max(_FREELY_UNPACKED, MOST_PACKED * packed):
                    raise DataError(
                        f"{shown(path)} unpacks to over {MOST_PACKED} times its size, as no texts "
                        "do: write it as CSV yourself if you trust it."
                    )
                if size > limits.row_bytes:
                    _refuse_length(path, number, limits)
                for name, names in labels.items():
                    values[name] = _named(values[name], names)
                yield FileRow(file, number, _renamed(values, own), own=own)
    except (arrow.ArrowException, OSError, UnicodeDecodeError, ValueError, MemoryError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(
            f"{shown(path)} cannot be read as Parquet or Arrow: {told}. Fetch or write it again."
        ) from error


def _refuse_length(path: Path, number: int, limits: Limits) -> NoReturn:
    raise DataError(
        f"{shown(path)}:{number}: the row is longer than {limits.row_bytes:,} bytes: raise "
        "limits=Limits(row_bytes=...)."
    )


def _check_size(path: Path, size: int, limits: Limits) -> None:
    if size > limits.unpacked_bytes:
        raise DataError(
            f"{shown(path)} unpacks to {size:,} bytes, the limit is {limits.unpacked_bytes:,}: "
            "Limits(unpacked_bytes=...)."
        )


def _check_schema(path: Path, schema: Any, limits: Limits) -> None:
    level, depth = [field.type for field in schema], 0
    while level:
        depth += 1
        if depth > limits.depth:
            raise DataError(f"{shown(path)}: columns nested over {limits.depth} deep.")
        level = [kind.field(i).type for kind in level for i in range(kind.num_fields)]


def _label_names(schema: Any) -> dict[str, list[str]]:
    """The names of label numbers by column, from the metadata that Hugging Face writes."""
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = written["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    found = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        inner = feature[0] if isinstance(feature, list) and feature else feature
        names = inner.get("names") if isinstance(inner, dict) else None
        if name in schema.names and isinstance(names, list) and names:
            found[name] = [str(one) for one in names]
    return found


def _named(value: Any, names: list[str]) -> Any:
    """A label number's name, or the list of them; what has no name stays as it is."""
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    known = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if known else value


def _emotion_column(
    columns: list[str], labels: Mapping[str, list[str]], schema: Any, ledger: Ledger
) -> dict[str, str]:
    """Our name for the one column whose numbers are labels: emotion, or labels where it holds
    lists.
    """
    if not labels:
        return {}
    ledger.note("label numbers were named by the file's own metadata")
    if len(labels) > 1 or {"emotion", "labels"} & set(columns):
        return {}
    (column,) = labels
    lists = "list" in str(schema.field(column).type)
    return {"labels" if lists else "emotion": column}


def _renamed(values: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    ours = {theirs: name for name, theirs in own.items()}
    return {ours.get(name, name): value for name, value in values.items()}
