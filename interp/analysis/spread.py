"""Work that is spread: one function at many places, by this process or by several at once. Who does
it changes no result.

    with spread_by("processes:2"):
        for found in share_out(work, places):
            ...

joblib does the work: it starts the processes, hands out the places, and gives the results back in
their order. Ray is one of its backends (extra `ray`). Each worker computes with one thread, as this
process does inside `spread_by`.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

from interp.defaults import CORES
from interp.errors import UsageError
from interp.ray_cluster import ray_cluster

_Place = TypeVar("_Place")
_Found = TypeVar("_Found")

SERIAL = "serial"

WORTH_WORKERS = 4.0
"""Seconds after which what is left to do is shared among the cores: it takes about as long to start
the processes.
"""

BYTES_OF_A_WORKER = 300 << 20
"""What a worker needs beside its place: Python and the libraries."""

_BLOCK = 4
"""Places of each worker that Ray is given at once."""

_KNOWN = re.compile(rf"{SERIAL}|{CORES}|(processes|ray):[1-9]\d{{0,3}}")


@dataclass(slots=True)
class _Spread:
    """A block of `spread_by`: its executor, and whether processes of its own were started."""

    executor: str
    started: bool = False


_spread: ContextVar[_Spread] = ContextVar("spread")


def check_analysts(executor: str) -> None:
    """Raise `UsageError` for an executor that `spread_by` does not know."""
    if not _KNOWN.fullmatch(executor):
        raise UsageError(
            f"unknown executor {executor!r} for probes: write {CORES}, {SERIAL}, processes:2 or "
            "ray:2."
        )


@contextmanager
def spread_by(executor: str) -> Iterator[None]:
    """Inside, `share_out` works by this executor: `serial`, `processes:N`, `ray:N`; or `cores`:
    this process alone for `WORTH_WORKERS` seconds, and then as many processes as there are cores
    and room for.

    All compute with one thread: the fits are small, and a second thread waits more than it works.
    Workers end with the block; where it started none, joblib's own are left alone. A block inside
    one of the same executor is part of it, and works with its workers. Raises as `check_analysts`.
    """
    check_analysts(executor)
    around = _spread.get(None)
    if around is not None and around.executor == executor:
        yield
        return
    block = _Spread(executor)
    token = _spread.set(block)
    try:
        with threadpool_limits(1):
            yield
    finally:
        _spread.reset(token)
        if block.started:
            get_reusable_executor(max_workers=1, reuse=True).shutdown(kill_workers=True)


def share_out(work: Callable[[_Place], _Found], places: Iterable[_Place]) -> Iterator[_Found]:
    """`work` of each place, in their order, by the executor of `spread_by` (serial outside it).

    `work` and the places must be such as can be sent to another process. What `work` raises is
    raised here.
    """
    waiting = iter(places)
    block = _spread.get(_Spread(SERIAL))
    kind, _, number = block.executor.partition(":")
    if kind == "ray":
        yield from _by_ray(_calls(work, waiting), int(number))
        return
    if number:
        yield from _by_processes(_calls(work, waiting), int(number), block)
        return
    start = time.monotonic()
    for place in waiting:
        yield work(place)
        late = block.started or time.monotonic() - start > WORTH_WORKERS
        if kind == CORES and late and (count := workers_here(place)) > 1:
            yield from _by_processes(_calls(work, waiting), count, block)


def workers_here(place: Any) -> int:
    """How many processes this machine has room for, each with such a place: one per core, in at
    most a quarter of the memory that is free.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parts = place if isinstance(place, tuple | list) else [place]
    each = BYTES_OF_A_WORKER + 8 * sum(int(getattr(part, "nbytes", 0)) for part in parts)
    return max(1, min(joblib.cpu_count(), int(free / 4 / each)))


def _calls(work: Callable[[_Place], Any], places: Iterator[_Place]) -> Iterator[Any]:
    """The calls that joblib hands out, one of each place."""
    return (joblib.delayed(_on_one_thread)(work, place) for place in places)


def _by_processes(calls: Iterator[Any], count: int, block: _Spread) -> Iterator[Any]:
    """The results of joblib's `calls` by processes of this machine; none is started for none."""
    if (first := next(calls, None)) is None:
        return
    block.started = True
    pool = joblib.Parallel(count, return_as="generator", pre_dispatch=count + 1)
    with _ctrl_c_ignored():  # the processes start here
        found = pool(chain([first], calls))
    yield from found


def _by_ray(calls: Iterator[Any], count: int) -> Iterator[Any]:
    """The results of joblib's `calls` by Ray's backend, which gives them a block at a time."""
    with ray_cluster(count):
        from ray.util.joblib import register_ray

        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=count), joblib.Parallel() as pool:
            while block := list(islice(calls, _BLOCK * count)):
                yield from pool(block)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Processes that are started inside never hear Ctrl-C: it is for the process that they work
    for, which is deaf for that moment, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _on_one_thread(work: Callable[[_Place], _Found], place: _Place) -> _Found:
    with threadpool_limits(1):
        return work(place)
