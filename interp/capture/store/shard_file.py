"""A shard's file, read: nothing is handed out before an audit that needs no trust in who wrote it.

The audit asks for hard links, plain datasets of known types and sizes, no filter but fletcher32,
nothing stored elsewhere, nothing larger than the file itself. What is not read is not opened;
`ShardFile.audit` looks at everything.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import h5py
import numpy as np

from interp.capture.store.shard import SHARD_SCHEMA, STATISTICS, Statistics
from interp.capture.store.verified_file import VerifiedFile
from interp.errors import ArtefactError
from interp.files import open_regular

_NAME = re.compile(r"[A-Za-z0-9_.()\[\]-]{1,128}")
_MOST_OBJECTS = 20_000
_TYPES = ("<f8", "<f4", "<f2", "<i8", "<i4", "|i1")


@contextmanager
def open_hdf5(path: Path, *, verified: Callable[[BinaryIO], VerifiedFile]) -> Iterator["ShardFile"]:
    """The shard at `path`; HDF5 parses only bytes that `verified` lets through.

    Raises `ArtefactError` naming the file and the broken rule.
    """
    with open_shard(path) as stream:
        try:
            content = verified(stream)
            with h5py.File(content, "r") as file:
                yield ShardFile(file, path, content.size)
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


class ShardFile:
    """A shard that is open: each of its datasets passes the audit before it is handed out.

    Raises `ArtefactError` for what breaks a rule, and for a dataset that is not there.
    """

    def __init__(self, file: h5py.File, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        _audit_attributes(file, self._refuse)

    def __getitem__(self, name: str) -> h5py.Dataset:
        """The dataset `name`, such as `SITE/POSITION`."""
        *groups, last = name.split("/")
        place: h5py.Group = self._file
        for group in groups:
            place = self._member(place, group, name)
            if not isinstance(place, h5py.Group):
                self._refuse(f"{group!r} is no group")
        found = self._member(place, last, name)
        if not isinstance(found, h5py.Dataset):
            self._refuse(f"{name!r} is no dataset")
        if (claimed := _audit_dataset(found, name, self._refuse)) > self._size:
            self._refuse(f"{name!r} claims {claimed} bytes of data in a file of {self._size}")
        return found

    def _member(self, place: h5py.Group, name: str, whole: str) -> Any:
        link = place.get(name, getlink=True)
        if link is None:
            raise ArtefactError(
                f"{self._path} lacks {whole!r}, which its run recorded. `interp capture --repair` "
                "computes it again."
            )
        if not isinstance(link, h5py.HardLink):
            self._refuse(f"{whole!r} is a link to elsewhere")
        return place[name]

    def statistics(self, names: Sequence[str]) -> Statistics:
        """The statistics of the arrays `names`, which are all that the shard has."""
        told = self[STATISTICS]
        if told.shape != (len(names), 2) or not np.isfinite(told[...]).all():
            self._refuse(f"its statistics are not two numbers for each of {len(names)} arrays")
        return dict(zip(sorted(names), map(tuple, told[...].tolist()), strict=True))

    def check_owner(self, *, plan: str, places: Sequence[int]) -> None:
        """Raise `ArtefactError` unless the shard belongs to this plan and holds the items at these
        places.
        """
        if bytes(self._file.attrs["plan"]).decode() != plan or not np.array_equal(
            self["item"][...], places
        ):
            raise ArtefactError(
                f"{self._path} belongs to another plan, or to other items, than its manifest says."
            )

    def audit(self) -> None:
        """Look at everything in the file, also at what nobody asks for."""
        seen: set[int] = set()
        total = 0
        pending: list[tuple[h5py.Group, str]] = [(self._file, "")]
        while pending:
            group, prefix = pending.pop()
            if group.id.get_num_objs() > _MOST_OBJECTS:
                self._refuse(f"more than {_MOST_OBJECTS} objects in one group")
            for name in group:
                whole = f"{prefix}{name}"
                if not _NAME.fullmatch(name):
                    self._refuse(f"the name {name!r}")
                thing = self._member(group, name, whole)
                address = h5py.h5o.get_info(group.id, name.encode()).addr
                if address in seen or len(seen) > _MOST_OBJECTS:
                    self._refuse(
                        f"{whole!r} is reached twice, or there are more than {_MOST_OBJECTS} "
                        "objects"
                    )
                seen.add(address)
                if isinstance(thing, h5py.Dataset):
                    total += _audit_dataset(thing, whole, self._refuse)
                elif isinstance(thing, h5py.Group) and not prefix:
                    pending.append((thing, f"{whole}/"))
                else:
                    self._refuse(f"{whole!r} is neither a dataset nor a group of the first level")
        if total > self._size:
            self._refuse(f"it claims {total} bytes of data in a file of {self._size}")

    def _refuse(self, reason: str) -> NoReturn:
        raise ArtefactError(f"{self._path} breaks a rule of the store and is not read: {reason}.")


def _audit_attributes(file: h5py.File, refuse: Callable[[str], NoReturn]) -> None:
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


def _audit_dataset(data: h5py.Dataset, name: str, refuse: Callable[[str], NoReturn]) -> int:
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
