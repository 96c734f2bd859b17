"""InOrder: one thing at a time in a thread of its own, so that writing a shard costs no time while
the next is computed.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType


class InOrder:
    """Does what it is given, one after another, in the background; holds at most one thing that is
    not done.

    An error of the background comes out of the next `put` or `wait`, or at the end of the `with`
    block.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[object] | None = None
        self._under_way: list[Future[object]] = []

    def put(self, act: Callable[[], object]) -> None:
        """Wait for what was given before, then do `act` in the background."""
        self.wait()
        self._last = self._pool.submit(act)
        self._under_way = [self._last]

    def wait(self) -> None:
        """Return when nothing is left to do; raise what the background raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> "InOrder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._close()

    def _close(self) -> None:
        """Return when nothing is under way, however often Ctrl-C is pressed: what guards the work
        (a lock) goes after it.
        """
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                # not the thread: a join that Ctrl-C breaks off takes its thread for ended
                wait(self._under_way)
                self._pool.shutdown(wait=False)
                break
            except KeyboardInterrupt as again:
                interrupted = again
        if interrupted is not None:
            raise interrupted
