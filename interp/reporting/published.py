"""Published values, marked in figures beside one's own where the form asks for them.

They stand in `published.json`, each with its work and with what is to be known beside it. They were
measured on other texts and on other models: a mark shows where a claim stands, and is no test of
it.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes

from interp.reporting.form import form_now
from interp.reporting.resources import resource

_FILE = "published.json"
_COLOUR = "#A0528A"
_LINE = (0, (1, 1.4))
_LABEL = "published, other texts and models"


class Mark(NamedTuple):
    """What a figure marks in its panels of a `task` (empty: in all): the published `values`, and
    how a caption tells them. A `point` holds for one place of the other axis only: a layer, a row.
    """

    figure: str
    told: str
    values: tuple[float, ...]
    task: str = ""
    point: bool = False


class Published(NamedTuple):
    """A published value as it is told, and the notebook that redoes it."""

    notebook: str
    work: str
    quantity: str
    value: str
    beside: str
    marks: tuple[Mark, ...] = ()


@cache
def published() -> tuple[Published, ...]:
    """All published values that there are."""
    return tuple(_read(row) for row in json.loads(resource(_FILE)))


def mark_published(
    panel: Axes,
    figure: str,
    *,
    task: str = "",
    along: Literal["x", "y"] = "y",
    at: float | None = None,
) -> bool:
    """Where the form asks for it, mark in `panel` what was published for this figure and task;
    whether there was something.

    `along` is the axis on which the figure's values lie. Points are diamonds at the place `at` of
    the other axis. All else is a dotted line at a value, and a band between the lowest and the
    highest of several.
    """
    found = False
    for _, mark in _marks(figure, task):
        if not mark.point:
            _lines(panel, mark, along)
        elif at is not None:
            places = [at] * len(mark.values)
            x, y = (mark.values, places) if along == "x" else (places, mark.values)
            panel.plot(x, y, "D", markerfacecolor="white", color=_COLOUR, label=_LABEL, zorder=3)
        else:
            continue
        found = True
    return found


def told_published(figure: str, tasks: Iterable[str] = ("",)) -> str:
    """The sentence of a caption that says what is marked in a figure of these tasks, and of which
    work; empty where nothing is.
    """
    found = [f"{one.work}: {mark.told}" for task in tasks for one, mark in _marks(figure, task)]
    told = "; ".join(dict.fromkeys(found))
    return f" Published, on other texts and models, and no test of these. {told}." if told else ""


def _lines(panel: Axes, mark: Mark, along: Literal["x", "y"]) -> None:
    line, band = (panel.axvline, panel.axvspan) if along == "x" else (panel.axhline, panel.axhspan)
    ends = sorted({min(mark.values), max(mark.values)})
    for end in ends:
        line(end, color=_COLOUR, linestyle=_LINE, linewidth=1.4, label=_LABEL, zorder=1.5)
    if len(ends) > 1:
        band(*ends, color=_COLOUR, alpha=0.12, linewidth=0, zorder=0.5)


def _marks(figure: str, task: str) -> Iterator[tuple[Published, Mark]]:
    if not form_now().published:
        return
    for one in published():
        for mark in one.marks:
            if mark.figure == figure and mark.task in ("", task):
                yield one, mark


def _read(row: dict[str, Any]) -> Published:
    marks = (Mark(**{**one, "values": tuple(one["values"])}) for one in row.get("marks", ()))
    return Published(**{**row, "marks": tuple(marks)})
