"""ShardRecord: what the manifest says of a committed shard, and how its bytes are known again."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from interp.capture.store.verified_file import VerifiedFile, content_bytes
from interp.errors import ArtefactError


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A manifest line. `part` marks the first batches of a shard that a signal cut short; a resumed
    run continues it.

    `batches` are the (texts, tokens per text) really run, after any halving; `max_abs` is the
    largest magnitude in the shard; `blocks` is the digest of its blocks' digests, which stand at
    the file's end, for reading a part of it; `nonfinite` names items whose rows are NaN, `reused`
    those copied from earlier captures, whose plans have the digests `sources`. `unknown` keeps what
    a later interp of the same schema may have added. What grows with sites and layers stands in the
    shard itself.
    """

    index: int
    file: str
    bytes: int
    sha256: str
    items: tuple[str, ...]
    places: tuple[int, ...]
    batches: tuple[tuple[int, int], ...]
    max_abs: float
    blocks: str
    nonfinite: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    part: bool = False
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> dict[str, Any]:
        """The record as the manifest has it."""
        return {**self.unknown, **{name: getattr(self, name) for name in _FIELDS}}

    def check(self, stream: BinaryIO) -> None:
        """Raise `ArtefactError` unless the stream holds the bytes that were committed."""
        digest = hashlib.sha256()
        size = 0
        while piece := stream.read(1 << 20):
            size += len(piece)
            digest.update(piece)
            if size > self.bytes:
                break
        if size != self.bytes or digest.hexdigest() != self.sha256:
            what = (
                f"{size} bytes instead of {self.bytes}"
                if size != self.bytes
                else "a content that is not the one committed"
            )
            raise ArtefactError(
                f"shard {self.file} has {what}: it is damaged. `interp capture --repair` "
                "computes it again."
            )

    def verified(self, stream: BinaryIO) -> VerifiedFile:
        """The stream's content, of which only bytes that were committed can be read."""
        return VerifiedFile(stream, size=self.bytes, blocks=self.blocks, name=self.file)


_FIELDS = tuple(each.name for each in fields(ShardRecord) if each.name != "unknown")


def read_shard_record(content: Mapping[str, Any], path: Path, *, n_shards: int) -> ShardRecord:
    """A manifest line as a record; raises `ArtefactError` for wrong fields and for a file name that
    could lead elsewhere.
    """
    try:
        record = ShardRecord(
            **{
                **{key: value for key, value in content.items() if key in _FIELDS},
                "items": tuple(map(str, content["items"])),
                "places": tuple(map(int, content["places"])),
                "batches": tuple((int(texts), int(tokens)) for texts, tokens in content["batches"]),
                "max_abs": float(content["max_abs"]),
                "nonfinite": tuple(map(str, content["nonfinite"])),
                "warnings": tuple(content["warnings"]),
                "reused": tuple(map(str, content["reused"])),
                "sources": tuple(map(str, content.get("sources", ()))),
                "unknown": {key: value for key, value in content.items() if key not in _FIELDS},
            }
        )
        kind = ".part" if record.part else ""
        named = (
            record.file == f"{record.index:05d}{kind}-{record.sha256[:8]}.h5"
            and "/" not in record.file
        )
        sizes = (
            len(record.items) == len(record.places) > 0
            and content_bytes(record.bytes) > 0
            and isinstance(record.blocks, str)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"{path} holds a line that is not a shard's record: {error}."
        ) from error
    if (
        not named
        or not sizes
        or not 0 <= record.index < n_shards
        or not math.isfinite(record.max_abs)
    ):
        raise ArtefactError(
            f"{path} names shard {record.index} as {record.file!r}, which no run of ours writes."
        )
    return record
