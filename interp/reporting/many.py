"""Figures of many emotions: one map with a row per emotion, where a panel for each could not be
read any more.

Up to twelve emotions have a panel each. More are drawn as matrices of one height, their rows in an
order that the numbers give, with as many names beside them as can be read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from interp.reporting.formatting import label, whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import column, groups, matrix, numbers, square
from interp.reporting.style import explain, facets, outer_labels

MOST_PANELS = 12
"""Emotions that have a panel each."""

MOST_MAPS = 4
"""Maps side by side in one figure; what further lines there are stands in the table."""

TALLEST = 12.0
"""Inches of the highest panel, however many emotions it shows."""

_TALLEST_SQUARE = 6.0
"""Inches of the rows of a square matrix: as many as its columns have room for, beside another."""

_ROW = 0.16
"""Inches of a row, where there is room."""

_LEAST_NAME, _NAME = 4.5, 8.5
"""Points of the names beside the rows: the smallest that can be read, and the usual."""

_NAMED = 40
"""The most names that a square matrix bears below, where they stand side by side."""


class MapTexts(NamedTuple):
    """What a figure of many emotions says: its title, what its colours mean (`unit`), the value at
    which a cell is white, what its columns are (`x`, a number column, and its name), how a caption
    reads it, and what n counts.
    """

    title: str
    unit: str
    nothing: float
    x: str
    x_name: str
    reading: str
    counts: str


def square_height(n: int) -> float:
    """Inches of a square matrix of `n` names."""
    return min(0.3 * n, _TALLEST_SQUARE) + 1.4


def height_of(n: int) -> float:
    """Inches of a panel with `n` rows."""
    return min(_ROW * n, TALLEST) + 1.0


def too_many(rows: pd.DataFrame) -> bool:
    """Whether these rows speak of more emotions than can have a panel each."""
    return column(rows, "emotion").nunique() > MOST_PANELS


def emotion_maps(rows: pd.DataFrame, by: Sequence[str], told: MapTexts) -> Figure:
    """A map emotion x `told.x`, one for each line that a panel of few emotions would have had (the
    combinations of the columns `by`), white where the value is `told.nothing`.

    Emotions stand in the order of their largest value in the first map. Cells whose interval holds
    `told.nothing` bear a dot.
    """
    lines = groups(rows, list(by))
    shown = lines[:MOST_MAPS]
    names = _from_largest(shown[0][1])
    places = sorted(set(numbers(pd.concat([own for _, own in shown]), told.x)))
    columns = len(shown)
    figure, axes = facets(columns, columns=columns, height=height_of(len(names)))
    limit = max(float((own["value"] - told.nothing).abs().max()) for _, own in shown) or 1.0
    for panel, (name, own) in zip(axes, shown, strict=True):
        _map(panel, own, names, places, told, limit)
        panel.set_title(label(name))
    outer_labels(figure, axes, x=told.x_name, y="")
    less = f" less {whole(told.nothing)}" if told.nothing else ""
    colour_bar(figure, axes, f"{told.unit}{less}")
    left = f" {len(lines) - columns} more such maps are in the table." if lines[columns:] else ""
    order = "Emotions stand in the order of their largest value in the first map."
    caption = f"{told.reading} {order} With a dot: the 95 % interval holds {whole(told.nothing)}."
    explain(figure, title=told.title, caption=caption + left, rows=rows, unit=told.counts)
    return figure


def _from_largest(rows: pd.DataFrame) -> list[str]:
    """The emotions of these rows, from the one with the largest value down."""
    largest = rows["value"].astype(float).groupby(column(rows, "emotion")).max()
    return [str(name) for name in largest.sort_values(ascending=False, kind="stable").index]


def _map(
    panel: Axes,
    rows: pd.DataFrame,
    names: list[str],
    places: list[float],
    told: MapTexts,
    limit: float,
) -> None:
    at = column(rows, "emotion"), numbers(rows, told.x)
    cells = matrix(*at, rows["value"] - told.nothing, names, places).rename(columns=whole)
    heat(panel, cells, limit=limit, written=False)
    name_rows(panel, names, high=height_of(len(names)) - 1.0)
    unsure = (numbers(rows, "ci_low") <= told.nothing) & (numbers(rows, "ci_high") >= told.nothing)
    down, across = np.nonzero(matrix(*at, unsure.astype(float), names, places).to_numpy() == 1)
    size = 72 * (height_of(len(names)) - 1.0) / len(names)
    panel.plot(across, down, ".", color="#6b6b6b", markersize=min(2.5, 0.4 * size), linestyle="")


def name_rows(panel: Axes, names: Sequence[str], *, high: float) -> None:
    """Names beside the rows, which are `high` inches together: all of them where they can be read,
    else as many as can.
    """
    room = 72 * high / len(names)
    every = max(1, int(np.ceil(_LEAST_NAME / room)))
    shown = range(0, len(names), every)
    size = min(_NAME, 0.92 * every * room)
    panel.set_yticks(list(shown), [label(names[at]) for at in shown], fontsize=size)


def name_square(panel: Axes, names: Sequence[str]) -> None:
    """The names of a square matrix's rows and, up to forty of them, of its columns; up to twelve
    stand as they are.
    """
    if len(names) <= MOST_PANELS:
        return
    name_rows(panel, names, high=square_height(len(names)) - 1.4)
    if len(names) > _NAMED:
        panel.set_xticks([])
        return
    panel.set_xticks(range(len(names)), [label(name) for name in names], rotation=90, ha="center")


def some_of(panels: list[tuple[str, pd.DataFrame]], n: int) -> list[tuple[str, pd.DataFrame]]:
    """The panels of a figure of `n` names: all of them up to twelve names, else at most four,
    evenly spaced from the first to the last.
    """
    if n <= MOST_PANELS or len(panels) <= MOST_MAPS:
        return panels
    return [panels[at] for at in np.linspace(0, len(panels) - 1, MOST_MAPS).round().astype(int)]


def ordered(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """The names of a square matrix in the order in which it is drawn: as they come up to twelve,
    above that with like beside like.
    """
    if len(names) <= MOST_PANELS:
        return names
    return [names[at] for at in alike_beside(square(rows, names).to_numpy())]


def alike_beside(values: Float[np.ndarray, "emotion emotion"]) -> list[int]:
    """The order of the rows of a square matrix of likenesses that puts like beside like: the leaves
    of an average-linkage tree, turned so that neighbours are as near as can be (Bar-Joseph,
    Gifford & Jaakkola 2001).

    What was not measured counts as not alike.
    """
    filled = np.where(np.isnan(values), 0.0, values)
    apart = np.max(np.abs(filled)) - (filled + filled.T) / 2
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    return [int(leaf) for leaf in leaves_list(tree)]
