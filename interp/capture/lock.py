"""The lock of a run's folder: advice that keeps two writers from doing the same work twice.

An exclusive lock serves a whole run; a shared one serves a worker that writes its own shards (`--shard i/N`) beside others.
The kernel frees the lock when its holder dies, so a LOCK file left by a dead process never has to be removed by hand. Where
the file system does not carry locks between machines, the heartbeat inside the file speaks for a holder on another host.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import BusyError
from interp.files import resource_error

HEARTBEAT_SECONDS = 120.0
"""A holder on another host that has not written for this long counts as dead."""


class Lock:
    """A held lock; `beat` says that its holder lives, `release` gives it back.

    Who shares a lock and leaves takes back only a note of its own: another's speaks for one who is still at work.
    """

    def __init__(self, descriptor: int, *, shared: bool) -> None:
        self._descriptor = descriptor
        self._shared = shared
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "start": time.time()}
        self._last = 0.0

    def beat(self) -> None:
        """Write who holds the lock and when it was last seen, at most every ten seconds."""
        now = time.time()
        if now - self._last < 10.0:
            return
        self._last = now
        os.pwrite(self._descriptor, json.dumps({**self._me, "heartbeat": now}).encode().ljust(256) + b"\n", 0)

    def release(self) -> None:
        """Take the note back and free the lock."""
        try:
            if not self._shared or _holder(self._descriptor).items() >= self._me.items():
                os.ftruncate(self._descriptor, 0)
        finally:
            os.close(self._descriptor)


@contextmanager
def locked(path: Path, *, shared: bool = False, heed_note: bool = True) -> Iterator[Lock]:
    """Hold the lock at `path`; raises `BusyError` (exit 75) naming the holder when another process has it.

    `heed_note` False is for who knows that nobody elsewhere has anything left to do, whatever the note says.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise resource_error(path, error) from error
    try:
        _claim(descriptor, path, shared=shared, heed_note=heed_note and not shared)
        lock = Lock(descriptor, shared=shared)
        lock.beat()
    except BaseException:
        os.close(descriptor)
        raise
    try:
        yield lock
    finally:
        lock.release()


def _claim(descriptor: int, path: Path, *, shared: bool, heed_note: bool) -> None:
    holder = _holder(descriptor)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise resource_error(path, error) from error
        raise BusyError(_held(path, holder)) from error
    elsewhere = holder.get("host", socket.gethostname()) != socket.gethostname()
    if heed_note and elsewhere and time.time() - float(holder.get("heartbeat", 0)) < HEARTBEAT_SECONDS:
        raise BusyError(_held(path, holder))


def _holder(descriptor: int) -> dict[str, Any]:
    """What the lock file says of its last holder; a torn or foreign note says nothing."""
    try:
        found = json.loads(os.pread(descriptor, 1024, 0))
    except ValueError:
        return {}
    numbers = isinstance(found, dict) and all(isinstance(found.get(key), int | float) for key in ("pid", "start", "heartbeat"))
    return found if numbers else {}


def _held(path: Path, holder: dict[str, Any]) -> str:
    since = time.strftime("%H:%M", time.localtime(float(holder.get("start", time.time()))))
    return (
        f"the run {path.parent} is held by pid {holder.get('pid', 'unknown')} on {holder.get('host', 'an unknown host')} since "
        f"{since}: wait for it, or give another --out."
    )
