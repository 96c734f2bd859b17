"""Texts of several arms side by side, or one below the other where the terminal is narrow; while
they are written, too.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from interp.cli.printing import printable

NARROW = 90
"""Columns of a terminal below which texts stand one below the other."""


@contextmanager
def live(prompts: Sequence[str], *, shown: bool) -> Iterator[Callable[..., None] | None]:
    """While open, what it yields shows texts as they grow, where stdout is a terminal; else it
    yields None. What was shown is gone afterwards: `show` prints the whole.
    """
    if not (shown and sys.stdout.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    texts: dict[str, list[str]] = {}
    with Live(console=console, transient=True, vertical_overflow="visible") as screen:

        def told(arm: str, written: list[str]) -> None:
            texts[arm] = written
            screen.update(laid_out(prompts, texts, console.width), refresh=True)

        yield told


def show(prompts: Sequence[str], texts: Mapping[str, Sequence[str]]) -> None:
    """Print the texts of every arm behind their prompts; off a terminal, one below the other."""
    from rich.console import Console

    console = Console(soft_wrap=not sys.stdout.isatty())
    width = console.width if sys.stdout.isatty() else 0
    console.print(laid_out(prompts, texts, width))


def laid_out(prompts: Sequence[str], texts: Mapping[str, Sequence[str]], width: int) -> Any:
    """What rich prints: a table with a column for each arm, or plain lines below `NARROW`
    columns.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if width < NARROW:
        lines = [
            f"{name:<10} {printable(text)}".rstrip()
            for place, prompt in enumerate(prompts)
            for name, text in [
                ("prompt", prompt),
                *((arm, _one_line(written[place])) for arm, written in texts.items()),
                ("", ""),
            ]
        ]
        return Text("\n".join(lines))
    grid = Table(box=box.SIMPLE, expand=True, show_lines=True)
    for name, ratio in (("prompt", 2), *((arm, 3) for arm in texts)):
        grid.add_column(name, ratio=ratio)
    for place, prompt in enumerate(prompts):
        cells = [prompt, *(written[place].strip() for written in texts.values())]
        grid.add_row(*(Text(printable(cell)) for cell in cells))
    return grid


def show_texts(texts: Sequence[Mapping[str, Any]]) -> None:
    """Print steered texts below the unsteered ones (`interp.reporting.before_after`), each with
    what the judges say of it.
    """
    for one in texts:
        click.echo(f"\ntowards {printable(one['emotion'])}, at strength {one['scale']:g}")
        said = [
            "; ".join(f"{judge}: {both[side]}" for judge, both in one["verdicts"].items())
            for side in (0, 1)
        ]
        for name, text in (
            ("prompt", one["prompt"]),
            ("unsteered", f"{one['before']} ({said[0]})"),
            ("steered", f"{one['after']} ({said[1]})"),
        ):
            click.echo(f"  {name:<10} {printable(_one_line(text))}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
