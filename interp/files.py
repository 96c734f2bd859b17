"""Files: read only where they are plain files, written so that nobody sees half of one.

A reader sees the old content or the new, never half of either. The order is: unique temporary name
in the same folder, write, fsync, `os.replace`, fsync of the folder. An interrupted writer leaves at
most a temporary, whose name ends in `.tmp`.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from interp.errors import ArtefactError, ResourceError

_FULL = {errno.ENOSPC, errno.EDQUOT}
"""What a full disk answers."""

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}
"""What a file system answers that carries no locks."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """Open a plain file to read its bytes, and nothing else; a link is followed if `follow`.

    A pipe could wait without end, and a device is no file. Raises `OSError` as `open` does, and
    where something else stands there, with what it is as its reason.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name holds a NUL", str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise OSError(errno.EINVAL, f"it is {what}, and a plain file is needed", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path | str, *, most: int, follow: bool = True) -> bytes:
    """The bytes of a plain file. Raises as `open_regular`, and for more than `most` bytes."""
    with open_regular(path, follow=follow) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EINVAL, f"it has more than {most:,} bytes", str(path))
    return data


def sha256_bytes(*parts: bytes | memoryview) -> str:
    """The SHA-256 of `parts`, one after another, as 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hex digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def resource_error(path: Path, error: OSError) -> ResourceError:
    """An `OSError` of writing told as what the reader can do about it."""
    if error.errno in _FULL:
        reason, fix = "the disk is full", "free space or choose another --out"
    elif error.errno == errno.EFBIG:
        reason = "the file would be larger than this process may write"
        fix = "raise the limit (ulimit -f) or choose another --out"
    else:
        reason = error.strerror or str(error)
        fix = "mend that or choose another --out"
    return ResourceError(f"cannot write {path}: {reason}. Nothing was left half-written; {fix}.")


def try_lock(descriptor: int, path: Path, *, shared: bool = False, wait: bool = False) -> bool:
    """Take the kernel's lock of an open file (or change it); whether we have it then.

    With `wait` it is waited for. The kernel takes it back when its holder dies. Raises
    `ResourceError` where the file system of `path` carries no locks.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in _NO_LOCKS:
            raise ResourceError(
                f"cannot lock {path}: the file system carries no locks ({error.strerror}), so that "
                "two commands could spoil each other's work there. Choose another --out."
            ) from error
        raise resource_error(path, error) from error
    return True


@contextmanager
def replacing(path: Path, *, buffering: int = -1) -> Iterator[BinaryIO]:
    """A new file to read and write that takes the place of `path`, durably, when the block ends
    without an error.

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


def write_atomic(path: Path, *parts: bytes) -> None:
    """Put `parts`, one after another, at `path` durably: after a crash the file is whole, old or
    new.

    Raises as `replacing` does.
    """
    with replacing(path) as stream:
        for part in parts:
            stream.write(part)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def caches() -> Path:
    """Where programs keep what they can make again: `XDG_CACHE_HOME`, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def make_folder(path: Path) -> Path:
    """Create `path` (parents too) and prove that a file can be written and renamed in it.

    Raises `ResourceError` (exit 5): the path is a file, a parent is read-only, the name is too
    long, a link loops.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{secrets.token_hex(4)}.tmp"
        probe.touch(exist_ok=False)
        renamed = probe.with_suffix(".renamed.tmp")
        probe.replace(renamed)
        renamed.unlink()
    except FileExistsError as error:
        raise ResourceError(
            f"{path} is a file, and a folder is needed there: choose another --out."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResourceError(
            f"cannot write in {path}: {reason}. Choose another --out, or mend the permission."
        ) from error
    return path


def check_out(out: Path) -> None:
    """Raise `ResourceError` for a folder that the file system cannot name."""
    try:
        (out / "activations" / "shards" / "00000.part-00000000.h5").stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResourceError(f"cannot use {str(out)[:80]!r} as --out: {reason}.") from error


def check_new(out: Path, *, named: str = "--out", begun: str | None = None) -> None:
    """Raise `ArtefactError` for a folder that holds something, `named` so where it was asked for,
    and as `check_out`. A folder `begun` in it says that it is not filled to its end.
    """
    check_out(out)
    if begun is not None and (out / begun).is_dir():
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtefactError(f"{out} is there already and holds something: choose another {named}.")
