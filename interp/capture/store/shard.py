"""A shard: the activations of some batches, as the bytes of an HDF5 file.

A shard is built in memory and never appended to, so that a crash cannot leave half of one. Its
content is a function of the activations alone (no timestamps), so that equal work gives equal
bytes. Layout:

- `item` int64 [item], the places of the items in the battery; `length` int64 [item], their token
  counts;
- `token` int32 [token], the items' token ids one after another; `chosen/POSITION` int8 [token], 1
  where a pooled rule looked;
- `SITE/POSITION`, such as `blocks.5.hook_resid_post/last`: float32 or float16. Pooled rules: [item,
  ...]; the rule `all`, and attention patterns (whose last axis is the key position): ragged,
  [token, ...], the items' rows one after another;
- `statistics` float64 [array, 2], of these arrays in the order of their names: the largest
  magnitude, and the mean norm of the rows.

`interp.capture.store.shard_file` reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import h5py
import numpy as np
from jaxtyping import Int

from interp.errors import ArtefactError

SHARD_SCHEMA = 3
"""Version of the shard's layout, of the manifest and of run.json."""

CHOSEN, STATISTICS = "chosen", "statistics"

Statistics = Mapping[str, tuple[float, float]]
"""By `SITE/POSITION` the largest magnitude and the mean norm of the finite rows."""

FLOAT16_MOST = float(np.finfo(np.float16).max)

_CHUNK_BYTES = 1 << 20
_META_BYTES = 1 << 12
"""Bytes per dataset, about, of headers and indices: they lie together, so that finding a dataset
touches no other's data.
"""


def is_ragged(name: str) -> bool:
    """Whether the dataset `SITE/POSITION` has a row per token instead of a row per text."""
    return name.endswith("/all") or ".hook_pattern" in name


def text_rows(name: str, lengths: Sequence[int]) -> list[slice]:
    """The rows of each text in the dataset `SITE/POSITION`, whose texts have `lengths` tokens."""
    if not is_ragged(name):
        return [slice(place, place + 1) for place in range(len(lengths))]
    ends = np.cumsum(lengths)
    return [slice(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)]


@dataclass(frozen=True)
class Shard:
    """Activations of the items at `places` of the battery (`lengths` tokens each): arrays by
    `SITE/POSITION`.

    `tokens` are the items' token ids, `chosen` (by rule) marks those that a pooled rule looked at.
    """

    places: Int[np.ndarray, " item"]
    lengths: Int[np.ndarray, " item"]
    arrays: Mapping[str, np.ndarray]
    tokens: Int[np.ndarray, " token"]
    chosen: Mapping[str, Int[np.ndarray, " token"]]


def overhead(n_arrays: int) -> int:
    """More bytes than a shard of so many arrays holds beside them."""
    return (1 << 20) + _META_BYTES * n_arrays


def encode_shard(shard: Shard, statistics: Statistics, *, plan: str, storage: str) -> bytes:
    """The shard as HDF5 bytes, arrays as `storage` ("float32", or "float16" where its range holds
    all values), with the statistics of each array.
    """
    together = _META_BYTES * (len(shard.arrays) + len(shard.chosen) + 5)
    with h5py.File.in_memory(block_size=_CHUNK_BYTES, meta_block_size=together) as file:
        file.attrs.create("schema", np.int64(SHARD_SCHEMA))
        file.attrs.create("plan", np.bytes_(plan))
        _write(file, "item", shard.places.astype(np.int64))
        _write(file, "length", shard.lengths.astype(np.int64))
        _write(file, "token", shard.tokens.astype(np.int32))
        for rule in sorted(shard.chosen):
            _write(file, f"{CHOSEN}/{rule}", shard.chosen[rule].astype(np.int8))
        for name in sorted(shard.arrays):
            _write(file, name, _narrowed(shard.arrays[name], storage))
        told = [statistics[name] for name in sorted(shard.arrays)]
        _write(file, STATISTICS, np.array(told, dtype=np.float64))
        file.flush()
        return cast(bytes, file.id.get_file_image())


def overflows(array: np.ndarray) -> bool:
    """Whether some finite value would become infinite as float16."""
    finite = array[np.isfinite(array)]
    return bool(finite.size) and float(np.abs(finite).max()) > FLOAT16_MOST


def _narrowed(array: np.ndarray, storage: str) -> np.ndarray:
    return (
        array.astype(np.float16)
        if storage == "float16" and not overflows(array)
        else array.astype(np.float32, copy=False)
    )


def _write(file: h5py.File, name: str, array: np.ndarray) -> None:
    """A dataset in chunks of about a MiB over its first axis; rows never written read as NaN."""
    if array.size == 0:
        raise ArtefactError(f"nothing to store under {name!r}.")
    row_bytes = array.itemsize * int(np.prod(array.shape[1:]))
    rows = min(len(array), max(1, _CHUNK_BYTES // row_bytes))
    fill = np.nan if array.dtype.kind == "f" else -1
    little = array.dtype.newbyteorder("<")
    file.create_dataset(
        name,
        data=array.astype(little, copy=False),
        chunks=(rows, *array.shape[1:]),
        fletcher32=True,
        fillvalue=fill,
        track_times=False,
    )
