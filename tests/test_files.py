"""Files: only plain ones are read, and what a file system refuses is told by its own reason."""

import errno
import fcntl
import os
import resource
import signal
from pathlib import Path

import pytest

from interp.errors import InterpError, ResourceError
from interp.files import open_regular, read_regular, resource_error, try_lock, write_atomic


def stands(kind: str, folder: Path) -> Path:
    """Something that is no plain file."""
    if kind == "device":
        return Path("/dev/zero")
    path = folder / kind
    {"pipe": os.mkfifo, "folder": os.mkdir}[kind](path)
    return path


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_a_plain_file_is_opened_and_nobody_waits(kind, tmp_path):
    path = stands(kind, tmp_path)
    linked = tmp_path / "link"
    linked.symlink_to(path)
    for each in (path, linked):
        with pytest.raises(OSError, match=f"it is a {kind}, and a plain file is needed"):
            open_regular(each)


def test_a_plain_file_is_read_whole_and_through_a_link_where_it_may_be(tmp_path):
    path, linked = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"content")
    linked.symlink_to(path)
    assert read_regular(path, most=7) == read_regular(linked, most=7) == b"content"
    with pytest.raises(OSError, match="more than 6 bytes"):
        read_regular(path, most=6)
    with pytest.raises(OSError, match="levels of symbolic links"):
        open_regular(linked, follow=False)
    with pytest.raises(OSError, match="holds a NUL"):
        open_regular(f"{path}\0")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")


REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EFBIG: "larger than this process may write",
    errno.ELOOP: "Too many levels of symbolic links",
    errno.EACCES: "Permission denied",
    errno.EROFS: "Read-only file system",
    errno.ENOENT: "No such file or directory",
}


@pytest.mark.parametrize("code", REASONS)
def test_a_full_disk_is_told_where_a_disk_is_full(code, tmp_path):
    told = str(resource_error(tmp_path, OSError(code, os.strerror(code))))
    assert REASONS[code] in told
    assert (
        ("disk is full" in told) == ("free space" in told) == (code in (errno.ENOSPC, errno.EDQUOT))
    )


def test_a_limit_of_file_sizes_is_told_and_nothing_is_left(tmp_path):
    """As `ulimit -f` sets it; in a child, since it cannot be raised again."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomic(tmp_path / "a", b"x" * 10_000)
        except ResourceError as error:
            os._exit(0 if "ulimit -f" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not list(tmp_path.iterdir())


def test_a_lock_is_had_once_shared_by_many_and_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    one, two = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert try_lock(one, path)
    assert not try_lock(two, path)
    assert not try_lock(two, path, shared=True)
    assert try_lock(one, path, shared=True)
    assert try_lock(two, path, shared=True)
    assert not try_lock(two, path)

    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InterpError, match=r"cannot lock .*lock: the file system carries no locks"):
        try_lock(one, path)
    for descriptor in (one, two):
        os.close(descriptor)
