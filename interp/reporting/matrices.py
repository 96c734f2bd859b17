"""Matrices in a figure: their colours, the numbers in their cells, and the scale beside them."""

import math
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import DataError
from interp.reporting.form import form_now
from interp.reporting.formatting import decimals, label
from interp.reporting.sheet import panel_columns

_LARGEST, _SMALLEST = 7.5, 4.0
"""Points of the numbers in the cells."""

_SHARE = 0.42
"""What share of a column a matrix gets, beside its names and its scale."""

_LETTER = 0.62
"""How wide a digit is, as a share of its size."""


def heat(
    axes: Axes,
    cells: pd.DataFrame,
    *,
    limit: float,
    written: bool = True,
    unsure: Bool[np.ndarray, "row column"] | None = None,
) -> None:
    """Draw a matrix, blue below zero, white at zero, red above, from -limit to limit; cells not
    measured are grey. Its rows and columns bear the table's names, which are texts.

    Matrices up to 12 x 12 have their numbers in the cells, unless `written` is off; those that are
    `unsure` in brackets. Raises `DataError` when no cell was measured.
    """
    values, rows, columns = cells.to_numpy(), list(cells.index), list(cells.columns)
    if np.isnan(values).all():
        raise DataError("none of the matrix's cells was measured: there is nothing to draw.")
    map_ = mpl.colormaps["RdBu_r"].with_extremes(bad="#d9d9d9")
    axes.imshow(values, cmap=map_, vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    every = [*range(0, len(rows), max(1, math.ceil(len(rows) / 16)))]
    axes.set_yticks(every, [label(rows[place]) for place in every])
    shown = [*range(0, len(columns), max(1, math.ceil(len(columns) / 12)))]
    long = max(len(columns[place]) for place in shown) > 3
    axes.set_xticks(
        shown,
        [label(columns[place]) for place in shown],
        rotation=40 if long else 0,
        ha="right" if long else "center",
    )
    axes.grid(visible=False)
    if written and max(values.shape) <= 12:
        _write_cells(axes, values, limit, unsure)


def _write_cells(
    axes: Axes,
    values: Float[np.ndarray, "row column"],
    limit: float,
    unsure: Bool[np.ndarray, "row column"] | None,
) -> None:
    """Write each number into its cell, in letters that fit; not at all where nobody could read
    them.
    """
    doubtful = np.zeros(values.shape, dtype=bool) if unsure is None else unsure
    told = {place: "–" if np.isnan(cell) else decimals(cell, 2) for place, cell in _cells(values)}
    told = {place: f"({text})" if doubtful[place] else text for place, text in told.items()}
    size = _size(axes, values.shape[1], max(map(len, told.values())))
    if size < _SMALLEST:
        return
    for (row, column), text in told.items():
        colour = "white" if abs(values[row, column]) > 0.6 * limit else "black"
        size_here = 0.83 * size if doubtful[row, column] else size
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size_here)


def _cells(values: Float[np.ndarray, "row column"]) -> Iterator[tuple[tuple[int, int], float]]:
    for place, cell in np.ndenumerate(values):
        yield (place[0], place[1]), float(cell)


def _size(axes: Axes, n_columns: int, letters: int) -> float:
    """Points of the numbers in a matrix: 7.5, or less where a narrow form has narrow cells."""
    if (width := form_now().width) is None:
        return _LARGEST
    columns = panel_columns(axes.get_figure(root=True))  # type: ignore[arg-type]
    cell = 72 * _SHARE * width / (columns * n_columns)
    return min(_LARGEST, cell / (_LETTER * letters))


def colour_bar(
    figure: Figure, axes: Sequence[Axes], text: str, *, least: float | None = None
) -> None:
    """The scale of the panels' matrices, which share one; from `least` on, where no value can be
    smaller.
    """
    bar = figure.colorbar(axes[0].images[0], ax=list(axes), shrink=0.8, aspect=30, pad=0.02)
    bar.set_label(text)
    if least is not None:
        bar.ax.set_ylim(bottom=least)
    bar.outline.set_visible(False)
