"""Signals: the first asks the work to stop at the next safe place, the second leaves at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from interp.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

_EXIT_CODE = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}
"""SIGUSR1 is how schedulers announce preemption: temporary, run again."""


class Stopping:
    """Whether a signal asked for the end (`asked`); `check` raises `Interrupted` when one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def asked(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    def check(self, message: str) -> None:
        """Raise `Interrupted` (130 for Ctrl-C, 143 for SIGTERM, 75 for SIGUSR1) with `message` if a
        signal came.
        """
        if self.signal is not None:
            raise Interrupted(f"stopped by {self.signal.name}: {message}", _EXIT_CODE[self.signal])


@contextmanager
def watched_signals() -> Iterator[Stopping]:
    """Note the first SIGINT, SIGTERM or SIGUSR1 instead of dying of it; the handlers found are back
    afterwards.

    Outside the main thread, where Python allows no handlers, signals are left to the main thread.
    """
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    found = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        stopping.signal = signal.Signals(number)
        _restore_defaults()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield stopping
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)


class _Ended(KeyboardInterrupt):
    """A signal came. No `except Exception` of any library on the way up takes it for an error."""


@contextmanager
def ended_by_signals(resume: Callable[[], str]) -> Iterator[None]:
    """End the block at the first SIGINT, SIGTERM or SIGUSR1, wherever it stands, as `Interrupted`.

    `resume` says what is kept and how to go on. Also where SIGINT was ignored when the process
    began, as a shell does for jobs in the background. The second signal leaves at once. Work that
    watches signals itself (`watched_signals`) ends in its own way meanwhile. Outside the main
    thread, where Python allows no handlers, signals are left to the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in SIGNALS}
    came: list[signal.Signals] = []

    def end(number: int, frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        _restore_defaults()
        raise _Ended

    for number in SIGNALS:
        signal.signal(number, end)
    try:
        yield
    except _Ended:
        message = f"stopped by {came[0].name}: {resume()}"
        raise Interrupted(message, _EXIT_CODE[came[0]]) from None
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)


def _restore_defaults() -> None:
    """Let the next signal end the process at once."""
    for each in SIGNALS:
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
