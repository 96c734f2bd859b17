"""Writing files so that a reader sees the old content or the new, never half of either; and digests of content.

The order is: unique temporary name in the same folder, write, fsync, `os.replace`, fsync of the folder. An interrupted
writer leaves at most a temporary, whose name ends in `.tmp`.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from interp.errors import ResourceError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def sha256_bytes(data: bytes | memoryview) -> str:
    """The SHA-256 of `data`, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hex digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def resource_error(path: Path, error: OSError) -> ResourceError:
    """An `OSError` told as what the reader can do about it."""
    reason = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
    return ResourceError(f"cannot write {path}: {reason}. Nothing was left half-written; free space or choose another --out.")


@contextmanager
def replacing(path: Path, *, buffering: int = -1) -> Iterator[BinaryIO]:
    """A new file to read and write that takes the place of `path`, durably, when the block ends without an error.

    Raises `ResourceError` (exit 5) when the file system refuses; no temporary is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x+b", buffering=buffering) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise resource_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` durably: after a crash the file is whole, in its old or its new form. Raises as `replacing` does."""
    with replacing(path) as stream:
        stream.write(data)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> Path:
    """Create `path` (parents too) and prove that a file can be written and renamed in it.

    Raises `ResourceError` (exit 5): the path is a file, a parent is read-only, the name is too long, a link loops.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{secrets.token_hex(4)}.tmp"
        probe.touch(exist_ok=False)
        renamed = probe.with_suffix(".renamed.tmp")
        probe.replace(renamed)
        renamed.unlink()
    except FileExistsError as error:
        raise ResourceError(f"{path} is a file, and a folder is needed there: choose another --out.") from error
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResourceError(f"cannot write in {path}: {reason}. Choose another --out, or mend the permission.") from error
    return path
