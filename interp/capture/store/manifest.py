"""The sealed lines of a manifest and a quarantine: read, appended, and a torn last one cut off."""

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from interp.capture.store.sealed_json import LONGEST, seal, unseal
from interp.capture.store.shard import SHARD_SCHEMA
from interp.errors import ArtefactError
from interp.files import (
    open_regular,
    read_regular,
    resource_error,
    sync_folder,
)


def read_manifest_head(path: Path) -> dict[str, Any]:
    """What a capture's run.json says of it; raises `ArtefactError` where it is damaged."""
    try:
        head = unseal(read_regular(path, most=LONGEST), path=path)
    except OSError as error:
        raise ArtefactError(
            f"{path.parent} is not a capture: {path.name} cannot be read "
            f"({error.strerror or error})."
        ) from error
    if head.get("schema") != SHARD_SCHEMA:
        older = isinstance(head.get("schema"), int) and head["schema"] < SHARD_SCHEMA
        what, then = (
            ("an older", "capture again into another --out") if older else ("a newer", "update")
        )
        raise ArtefactError(
            f"{path} was written by {what} interp (schema {head.get('schema')}, this one reads "
            f"{SHARD_SCHEMA}): {then}."
        )
    types = {"plan": str, "config": dict, "provenance": dict, "n_items": int, "n_shards": int}
    wrong = [key for key, kind in types.items() if not isinstance(head.get(key), kind)]
    wrong += [
        key
        for key in ("sites", "positions")
        if not wrong and not _is_texts(head["config"].get(key))
    ]
    if wrong:
        raise ArtefactError(f"{path} lacks {', '.join(wrong)}, or holds another type there.")
    return head


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def sealed_lines(path: Path) -> Iterable[dict[str, Any]]:
    """The lines of a sealed file; a last line without its newline was torn by a crash and does not
    count.
    """
    try:
        stream = open_regular(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
    with stream:
        while line := stream.readline(LONGEST):
            if line.endswith(b"\n"):
                yield unseal(line, path=path)
            elif len(line) >= LONGEST:
                raise ArtefactError(
                    f"{path} holds a line above {LONGEST} bytes, and none of ours is."
                )


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append sealed lines durably, cutting off a torn last line first; safe among several
    writers.
    """
    data = "".join(seal(row) + "\n" for row in rows).encode()
    existed = path.exists()
    try:
        with path.open("ab+", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            before = _cut_torn_line(stream)
            try:
                written = 0
                while written < len(data):
                    written += stream.write(data[written:])
                os.fsync(stream.fileno())
            except BaseException:
                stream.truncate(before)
                raise
        if not existed:
            sync_folder(path.parent)
    except OSError as error:
        raise resource_error(path, error) from error


def _cut_torn_line(stream: Any) -> int:
    """Truncate a file to its last newline; its length then."""
    size = stream.seek(0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - (1 << 16))
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        stream.truncate(end)
    stream.seek(0, os.SEEK_END)
    return end
