"""InOrder: one thing at a time in a thread of its own, so that writing a shard costs no time while the next is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class InOrder:
    """Does what it is given, one after another, in the background; holds at most one thing that is not done.

    An error of the background comes out of the next `put` or `wait`, or at the end of the `with` block.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[object] | None = None

    def put(self, act: Callable[[], object]) -> None:
        """Wait for what was given before, then do `act` in the background."""
        self.wait()
        self._last = self._pool.submit(act)

    def wait(self) -> None:
        """Return when nothing is left to do; raise what the background raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> "InOrder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._pool.shutdown(wait=True)
