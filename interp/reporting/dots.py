"""Dots with whiskers: numbers with their intervals, the names of what they are of down the side."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Num
from matplotlib.axes import Axes

from interp.reporting.select import numbers
from interp.reporting.style import Look

INTERVAL = ("ci_low", "ci_high")
DRAWN = ("draw_low", "draw_high")
"""The columns with the ends of an interval, and of a range of random draws."""

_APART = 0.16
"""How far below each other the arms of one name stand, in rows."""


def dots(
    panel: Axes,
    rows: pd.DataFrame,
    down: Num[np.ndarray, " row"] | Sequence[float] | Sequence[int],
    shape: Look,
    *,
    ends: tuple[str, str] = INTERVAL,
    text: str | None = None,
    hollow: bool = False,
) -> None:
    """A dot for each row at the heights `down`, on a line between its `ends`; `text` names it in
    the legend.
    """
    low, high = (numbers(rows, name) for name in ends)
    panel.hlines(down, low, high, color=shape.colour, linewidth=1.4)
    panel.plot(
        numbers(rows, "value"),
        down,
        shape.marker,
        color=shape.colour,
        markerfacecolor="white" if hollow else shape.colour,
        label=text,
        zorder=4,
    )


def names_down(panel: Axes, names: Sequence[str]) -> None:
    """Write the names of the rows down the side, the first on top."""
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)


def arm_offset(place: int, n: int) -> float:
    """How far below its name's middle the arm at `place` of `n` stands."""
    return _APART * (place - (n - 1) / 2)
