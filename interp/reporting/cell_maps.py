"""Maps of layer and strength: a value in each cell, and a frame about the one that was chosen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from interp.reporting.formatting import label, whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import matrix, numbers
from interp.reporting.style import facets

_ROW = 0.32
"""Inches of a layer's row."""


class MapCell(NamedTuple):
    """A layer and a strength."""

    layer: float
    scale: float


def cell_of(rows: pd.DataFrame) -> MapCell:
    """Where the first of these rows stands."""
    return MapCell(float(numbers(rows, "layer").iloc[0]), float(numbers(rows, "scale").iloc[0]))


def cell_maps(
    parts: Sequence[tuple[str, pd.DataFrame, float]], chosen: MapCell, *, columns: int
) -> Figure:
    """A panel for each part (its name, its rows, and the value of full colour, of what is never
    below 0; NaN: the largest of its own), the highest layer on top, with the `chosen` cell framed.
    """
    first = parts[0][1]
    layers = sorted(set(numbers(first, "layer")), reverse=True)
    scales = sorted(set(numbers(first, "scale")))
    height = _ROW * len(layers) + 1.2
    figure, axes = facets(len(parts), columns=columns, height=height, share=False)
    for place, (panel, (name, rows, full)) in enumerate(zip(axes, parts, strict=True)):
        cells = matrix(
            numbers(rows, "layer"), numbers(rows, "scale"), rows["value"], layers, scales
        ).rename(index=whole, columns=whole)
        largest = float(np.nanmax(np.abs(cells.to_numpy()))) or 1.0
        heat(panel, cells, limit=largest if np.isnan(full) else full)
        corner = scales.index(chosen.scale) - 0.5, layers.index(chosen.layer) - 0.5
        panel.add_patch(Rectangle(corner, 1, 1, fill=False, linewidth=2.2, zorder=6))
        panel.set_title(label(name))
        panel.set_xlabel("strength")
        if place % columns == 0:
            panel.set_ylabel("layer")
        colour_bar(figure, [panel], "", least=None if np.isnan(full) else 0.0)
    return figure
