"""Somebody's program run within bounds: a chat template is Jinja, and Jinja loops as long as it is
told.

Its sandbox keeps a template from files and from Python, and bounds neither its time nor its memory.
A second thread looks after both and ends the first one from outside, which works wherever that one
runs Python; where it is not heard (Python drops what is raised while it collects garbage) it says
so again. One single step that asks for more than the machine has is not seen in time.
"""

import ctypes
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

_LOOK_SECONDS, _AGAIN_SECONDS = 0.05, 1.0

_KILOBYTE = 1 if sys.platform == "darwin" else 1024
"""Bytes in what the system counts memory in."""


class BeyondBounds(Exception):
    """The work took more than it was given; the message says of what."""


class _Ended(BaseException):
    """Raised in the thread that works; no `except Exception` there takes it for its own."""


@contextmanager
def bounded(*, seconds: float, megabytes: int) -> Iterator[None]:
    """Let the block compute for so many seconds and take so many megabytes, and no more.

    Seconds are of computing by this thread, so that a machine that stands still takes nothing, nor
    do other threads (where the system does not tell them apart, as on macOS, all of them count).
    Raises `BeyondBounds`.
    """
    watch = _Watch(seconds, megabytes)
    try:
        try:
            watch.start()  # in here: a machine that stalls may meet the bound on the way back
            yield
        finally:
            watch.end()
    except BaseException:
        watch.end()  # where the thread was ended on its way to the first one
        if not watch.reason:
            raise
    if watch.reason:
        raise BeyondBounds(watch.reason)


class _Watch:
    """A thread that ends the one that made it."""

    def __init__(self, seconds: float, megabytes: int) -> None:
        self.reason = ""
        self._worker, self._computed = threading.get_ident(), _own_clock()
        self._bounds = self._computed() + seconds, _most_memory() + megabytes * 1_000_000
        self._told = f"more than {seconds:g} seconds", f"more than {megabytes} MB"
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop looking; what is on its way to this thread arrives in here, or never."""
        while self._thread.is_alive():
            try:
                with self._lock:
                    self._over.set()
                self._thread.join()
                if self.reason:
                    _raise_in(self._worker, None)
            except _Ended:
                pass

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            spent = self._computed(), _most_memory()
            beyond = [
                told
                for told, n, most in zip(self._told, spent, self._bounds, strict=True)
                if n > most
            ]
            with self._lock:
                if beyond and not self._over.is_set():
                    self.reason = beyond[0]
                    _raise_in(self._worker, _Ended)
            if self.reason:
                self._over.wait(_AGAIN_SECONDS)


def _own_clock() -> Callable[[], float]:
    """What tells any thread the seconds that this one has computed."""
    if hasattr(time, "pthread_getcpuclockid"):
        return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))
    return time.process_time


def _most_memory() -> int:
    """The most bytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let a thread meet `error` at its next step of Python; None takes one back that it did not
    meet.
    """
    given = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)
