"""The lock of a run's folder: advice that keeps two writers from doing the same work twice.

An exclusive lock serves a whole run; a shared one serves a worker that writes its own shards
(`--shard i/N`) beside others. The kernel frees the lock when its holder dies, so a LOCK file left
by a dead process never has to be removed by hand. Where the file system does not carry locks
between machines, the heartbeat inside the file speaks for a holder on another host.
"""

import json
import math
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError, BusyError
from interp.files import resource_error, try_lock

HEARTBEAT_SECONDS = 120.0
"""A holder on another host whose heartbeat is nearer to our clock than this is alive. One that is
further may be dead, or one of the two clocks is wrong or was put back: it is watched for a while.
"""

_BEAT_SECONDS = 10.0

WATCH_SECONDS = 1.5 * _BEAT_SECONDS
"""How long a holder that seems dead is watched: if it writes meanwhile, it is alive."""

_LOOK_SECONDS = 0.2

_END_OF_TIME = 2.0**33
"""Seconds since 1970 that no clock shows: the year 2242."""


class Lock:
    """A held lock; `beat` says that its holder lives, `release` gives it back.

    Who shares a lock and leaves takes back only a note of its own: another's speaks for one who is
    still at work.
    """

    def __init__(self, descriptor: int, *, shared: bool) -> None:
        self._descriptor = descriptor
        self._shared = shared
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "start": time.time()}
        self._last = -math.inf

    def beat(self) -> None:
        """Write who holds the lock and when it was last seen, at most every ten seconds."""
        now = time.monotonic()  # a clock that is put back must not silence us
        if now - self._last < _BEAT_SECONDS:
            return
        self._last = now
        note = json.dumps({**self._me, "heartbeat": time.time()})
        os.pwrite(self._descriptor, note.encode().ljust(256) + b"\n", 0)

    def release(self) -> None:
        """Take the note back and free the lock."""
        try:
            if not self._shared or _holder(self._descriptor).items() >= self._me.items():
                os.ftruncate(self._descriptor, 0)
        finally:
            os.close(self._descriptor)


@contextmanager
def locked(path: Path, *, shared: bool = False, heed_note: bool = True) -> Iterator[Lock]:
    """Hold the lock at `path`; raises `BusyError` (exit 75) naming the holder when another process
    has it.

    `heed_note` False is for who knows that nobody elsewhere has anything left to do, whatever the
    note says.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        raise resource_error(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ArtefactError(f"{path} is not a plain file, and a lock is: remove it.")
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
    if not try_lock(descriptor, path, shared=shared):
        raise BusyError(_held(path, holder))
    elsewhere = holder.get("host", socket.gethostname()) != socket.gethostname()
    if heed_note and elsewhere and _is_alive(descriptor, path, holder):
        raise BusyError(_held(path, holder))


def _is_alive(descriptor: int, path: Path, holder: dict[str, Any]) -> bool:
    """Whether a holder on another host lives, whatever its clock or ours shows."""
    if abs(time.time() - holder["heartbeat"]) < HEARTBEAT_SECONDS:
        return True
    print(
        f"interp: {path} names pid {holder['pid']} on {holder['host']}, which seems gone: "
        f"watching it for {WATCH_SECONDS:.0f} s.",
        file=sys.stderr,
    )
    end = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        now = _holder(descriptor)
        if now and now != holder:
            return True
        if os.fstat(descriptor).st_size == 0:
            return False  # it was given back
    return False


def _holder(descriptor: int) -> dict[str, Any]:
    """What the lock file says of its last holder; a torn or foreign note says nothing."""
    try:
        found = json.loads(os.pread(descriptor, 1024, 0))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("host"), str):
        return {}
    whole = all(_is_moment(found.get(key)) for key in ("pid", "start", "heartbeat"))
    return found if whole else {}


def _is_moment(value: Any) -> bool:
    """Whether a note's value can be a time in seconds (or a pid, which is less)."""
    return isinstance(value, int | float) and 0 <= value < _END_OF_TIME


def _held(path: Path, holder: dict[str, Any]) -> str:
    since = time.strftime("%H:%M", time.localtime(holder.get("start", time.time())))
    return (
        f"the run {path.parent} is held by pid {holder.get('pid', 'unknown')} on "
        f"{holder.get('host', 'an unknown host')} since {since}: wait for it, or give another "
        "--out."
    )
