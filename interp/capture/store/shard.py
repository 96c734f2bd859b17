"""A shard: the activations of some batches, as the bytes of an HDF5 file; the only module that
opens HDF5.

A shard is built in memory and never appended to, so that a crash cannot leave half of one. Its
content is a function of the activations alone (no timestamps), so that equal work gives equal
bytes. Layout:

- `item` int64 [item], the places of the items in the battery; `length` int64 [item], their token
  counts;
- `token` int32 [token], the items' token ids one after another; `chosen/POSITION` int8 [token], 1
  where a pooled rule looked;
- `SITE/POSITION`, such as `blocks.5.hook_resid_post/last`: float32 or float16. Pooled rules: [item,
  ...]; the rule `all`, and attention patterns (whose last axis is the key position): ragged,
  [token, ...], the items' rows one after another.

A file is read only after an audit that needs no trust in who wrote it: hard links, plain datasets
of known names, types and sizes, no filter but fletcher32, nothing stored elsewhere, nothing larger
than the file itself.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
import numpy as np
from jaxtyping import Int

from interp.capture.store.verified_file import VerifiedFile
from interp.errors import ArtefactError
from interp.files import open_regular

SHARD_SCHEMA = 2
"""Version of the shard's layout, of the manifest and of run.json."""

CHOSEN = "chosen"

FLOAT16_MOST = float(np.finfo(np.float16).max)

_CHUNK_BYTES = 1 << 20
_META_BYTES = 1 << 12
"""Bytes per dataset, about, of headers and indices: they lie together, so that finding a dataset
touches no other's data.
"""

OVERHEAD = 1 << 20
"""More than what a shard holds beside its arrays, for asking whether a disk has room."""

_NAME = re.compile(r"[A-Za-z0-9_.()\[\]-]{1,128}")
_MOST_OBJECTS = 20_000
_TYPES = ("<f4", "<f2", "<i8", "<i4", "|i1")


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


def encode_shard(shard: Shard, *, plan: str, storage: str) -> bytes:
    """The shard as HDF5 bytes, arrays as `storage` ("float32", or "float16" where its range holds
    all values).
    """
    together = _META_BYTES * (len(shard.arrays) + len(shard.chosen) + 4)
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


@contextmanager
def open_hdf5(
    path: Path, *, verified: Callable[[BinaryIO], VerifiedFile], audit: bool = True
) -> Iterator[h5py.File]:
    """The shard at `path`; HDF5 parses only bytes that `verified` lets through, and nothing before
    the audit.

    `audit=False` is for a shard whose audit was passed before: digests say that it is the same.
    Raises `ArtefactError` naming the file and the broken rule.
    """
    with open_shard(path) as stream:
        try:
            with h5py.File(verified(stream), "r") as file:
                if audit:
                    _audit(file, path, os.fstat(stream.fileno()).st_size)
                yield file
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise ArtefactError(
                f"{path} cannot be read as a shard: {error}. `interp capture --repair` computes "
                "it again."
            ) from error


def open_shard(path: Path) -> BinaryIO:
    """Open a shard, which is a plain file and nothing else; raises `ArtefactError`."""
    try:
        return open_regular(path, follow=False)
    except OSError as error:
        raise ArtefactError(
            f"{path} cannot be opened: {error.strerror}. `interp capture --repair` computes it "
            "again."
        ) from error


def _audit(file: h5py.File, path: Path, size: int) -> None:
    def refuse(reason: str) -> None:
        raise ArtefactError(f"{path} breaks a rule of the store and is not read: {reason}.")

    _audit_attributes(file, refuse)
    seen: set[int] = set()
    total = 0
    pending: list[tuple[h5py.Group, str]] = [(file, "")]
    while pending:
        group, prefix = pending.pop()
        if group.id.get_num_objs() > _MOST_OBJECTS:
            refuse(f"more than {_MOST_OBJECTS} objects in one group")
        for name in group:
            whole = f"{prefix}{name}"
            if not _NAME.fullmatch(name):
                refuse(f"the name {name!r}")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                refuse(f"{whole!r} is a link to elsewhere")
            address = h5py.h5o.get_info(group.id, name.encode()).addr
            if address in seen or len(seen) > _MOST_OBJECTS:
                refuse(
                    f"{whole!r} is reached twice, or there are more than {_MOST_OBJECTS} objects"
                )
            seen.add(address)
            thing = group[name]
            if isinstance(thing, h5py.Dataset):
                total += _audit_dataset(thing, whole, refuse)
            elif isinstance(thing, h5py.Group) and not prefix:
                pending.append((thing, f"{whole}/"))
            else:
                refuse(f"{whole!r} is neither a dataset nor a group of the first level")
    if total > size:
        refuse(f"it claims {total} bytes of data in a file of {size}")


def _audit_attributes(file: h5py.File, refuse: Callable[[str], None]) -> None:
    names = {
        h5py.h5a.open(file.id, index=place).name
        for place in range(min(h5py.h5a.get_num_attrs(file.id), 3))
    }
    if names != {b"schema", b"plan"}:
        refuse("its attributes are not exactly schema and plan")
    schema = file.attrs.get_id("schema")
    if schema.shape != () or schema.dtype != np.dtype("<i8"):
        refuse("its schema is not a number")
    if int(file.attrs["schema"]) > SHARD_SCHEMA:
        refuse(
            f"it was written by a newer interp (schema {int(file.attrs['schema'])}, this one "
            f"reads {SHARD_SCHEMA}): update"
        )


def _audit_dataset(data: h5py.Dataset, name: str, refuse: Callable[[str], None]) -> int:
    """Check type, layout, filters and that every byte claimed is in the file; the number of bytes
    claimed.
    """
    creation = data.id.get_create_plist()
    kind = data.id.get_type()
    if (
        not isinstance(kind, h5py.h5t.TypeFloatID | h5py.h5t.TypeIntegerID)
        or data.dtype.str not in _TYPES
    ):
        refuse(f"{name!r} has the type {type(kind).__name__}")
    if creation.get_layout() != h5py.h5d.CHUNKED or creation.get_external_count():
        refuse(f"{name!r} is not stored in chunks of this file")
    filters = [creation.get_filter(place)[0] for place in range(creation.get_nfilters())]
    if filters != [h5py.h5z.FILTER_FLETCHER32]:
        refuse(f"{name!r} has the filters {filters}, and only fletcher32 is used")
    if data.maxshape != data.shape or not 1 <= len(data.shape) <= 4:
        refuse(f"{name!r} has the shape {data.shape}, growing to {data.maxshape}")
    claimed = (
        int(np.prod([int(extent) for extent in data.shape], dtype=object)) * data.dtype.itemsize
    )
    chunk = (
        int(np.prod([int(extent) for extent in data.chunks], dtype=object)) * data.dtype.itemsize
    )
    if (
        data.id.get_storage_size() < claimed
        or not 0 < chunk <= claimed
        or h5py.h5a.get_num_attrs(data.id)
    ):
        refuse(
            f"{name!r} claims {claimed} bytes in chunks of {chunk} and holds "
            f"{data.id.get_storage_size()}, or has attributes"
        )
    return claimed


def check_owner(file: h5py.File, path: Path, *, plan: str, places: Sequence[int]) -> None:
    """Raise `ArtefactError` unless the shard belongs to this plan and holds the items at these
    places.
    """
    if bytes(file.attrs["plan"]).decode() != plan or not np.array_equal(file["item"][...], places):
        raise ArtefactError(
            f"{path} belongs to another plan, or to other items, than its manifest says."
        )


def rows_of(file: h5py.File, name: str, *, path: Path) -> Any:
    """The dataset `name` (`SITE/POSITION`); raises `ArtefactError` when the shard lacks it."""
    if name not in file:
        raise ArtefactError(
            f"{path} lacks {name!r}, which its run recorded. `interp capture --repair` computes "
            "it again."
        )
    return file[name]
