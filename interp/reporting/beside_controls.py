"""Figures of a number of each emotion beside its controls: dots with whiskers up to twelve
emotions, one heat map above.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.dots import arm_offset, dots, names_down
from interp.reporting.formatting import label, whole
from interp.reporting.many import MOST_PANELS, height_of, name_rows
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import column, numbers
from interp.reporting.style import GREY, facets, key, look

ARM = "arm"
"""The column that says which arm a row belongs to."""

_DOT_ROW = 0.42


class ArmsBeside(NamedTuple):
    """What is compared: the arms in order (the first one is measured, the others are controls),
    each with its name; what the number is called; and its value where there is nothing.
    """

    arms: Mapping[str, str]
    unit: str
    nothing: float


def beside_controls(rows: pd.DataFrame, told: ArmsBeside) -> Figure:
    """The rows (columns `emotion`, `arm`, `value`, and bounds) as dots, or as one map; emotions
    from the largest measured value down.
    """
    names = _in_order(rows, next(iter(told.arms)))
    if len(names) > MOST_PANELS:
        return _map(rows, names, told)
    figure, (panel,) = facets(1, columns=1, height=_DOT_ROW * len(names) + 1.0)
    for place, (arm, text) in enumerate(told.arms.items()):
        own = rows[column(rows, ARM) == arm]
        if len(own):
            middle = np.array([names.index(one) for one in column(own, "emotion")])
            dots(panel, own, middle + arm_offset(place, len(told.arms)), look(place), text=text)
    panel.axvline(
        told.nothing, color=GREY, linestyle=(0, (5, 3)), label=f"{told.nothing:g}, chance"
    )
    names_down(panel, [label(name) for name in names])
    panel.set_xlabel(told.unit)
    key(figure)
    return figure


def _in_order(rows: pd.DataFrame, arm: str) -> list[str]:
    own = rows[column(rows, ARM) == arm].sort_values("value", ascending=False, kind="stable")
    return list(dict.fromkeys(column(own, "emotion")))


def _map(rows: pd.DataFrame, names: list[str], told: ArmsBeside) -> Figure:
    arms = [arm for arm in told.arms if (column(rows, ARM) == arm).any()]
    cells = pd.DataFrame(np.nan, index=names, columns=[told.arms[arm] for arm in arms])
    for arm in arms:
        for _, row in rows[column(rows, ARM) == arm].iterrows():
            cells.loc[row["emotion"], told.arms[arm]] = float(row["value"]) - told.nothing
    figure, (panel,) = facets(1, columns=1, height=height_of(len(names)), width=6.5)
    limit = float(np.nanmax(np.abs(cells.to_numpy()))) or 1.0
    heat(panel, cells, limit=limit, written=False)
    name_rows(panel, names, high=height_of(len(names)) - 1.0)
    less = f" less {whole(told.nothing)}" if told.nothing else ""
    colour_bar(figure, [panel], f"{told.unit}{less}")
    return figure


def whiskers(rows: pd.DataFrame, low: str, high: str) -> pd.DataFrame:
    """The rows with the bounds of other columns: the range of random draws for an interval."""
    return rows.assign(ci_low=numbers(rows, low), ci_high=numbers(rows, high))


def largest_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each emotion the row with the largest value."""
    ordered = rows.sort_values("value", ascending=False, kind="stable")
    return ordered[~column(ordered, "emotion").duplicated()]
