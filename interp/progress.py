"""Progress of long work on stderr: what is done, how fast, how long it will still take."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

T = TypeVar("T")

_LOG_SECONDS = 10.0


class _Rate(TextColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__("")
        self.unit = unit

    def render(self, task: RichTask) -> Text:
        return Text(f"{task.speed:.1f} {self.unit}/s" if task.speed else "")


def track(
    things: Iterable[T], what: str, *, total: int | None = None, unit: str = "it"
) -> Iterator[T]:
    """Yield `things` while a bar on stderr shows their number, rate (`unit` a second) and time
    left.

    On a terminal the bar moves; elsewhere (a log) a line is printed every ten seconds and one when
    the work ends.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from _track_in_log(things, what, total, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield from bar.track(things, total=total, description=what)


def _track_in_log(things: Iterable[T], what: str, total: int | None, unit: str) -> Iterator[T]:
    whole = total if total is not None else len(things) if isinstance(things, Sized) else None
    start = last = time.monotonic()
    done = 0
    for thing in things:
        yield thing
        done += 1
        now = time.monotonic()
        if now - last >= _LOG_SECONDS and done != whole:
            last, rate = now, done / (now - start)
            left = f", {(whole - done) / rate:.0f} s left" if whole else ""
            print(
                f"{what}: {done}{f'/{whole}' if whole else ''} {unit}, {rate:.1f} {unit}/s{left}",
                file=sys.stderr,
            )
    print(f"{what}: {done} {unit} in {time.monotonic() - start:.1f} s", file=sys.stderr)
