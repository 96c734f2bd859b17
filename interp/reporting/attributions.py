"""Figures of attribution: the estimates against the exact effects, and a map of the heads."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import label, whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    column,
    groups,
    matrix,
    numbers,
    pooled,
    select,
    with_values,
    word,
)
from interp.reporting.style import GREY, explain, facets, key, look, outer_labels, styled

COMPONENTS = ("sublayer", "head", "neuron")
_WAYS = {"denoise": "emotional into neutral", "noise": "neutral into emotional"}


@styled
def estimate_against_exact(table: pd.DataFrame) -> Figure:
    """Every node that was patched exactly: its estimated effect against the exact one, with the
    line of equality; a panel per position and direction.
    """
    rows = with_values(select(table, metric="exact_effect"))
    panels = groups(rows, ["position", "mode"])
    figure, axes = facets(len(panels), columns=2, height=2.8, share=False)
    for panel, (name, own) in zip(axes, panels, strict=True):
        for place, component in enumerate(COMPONENTS):
            _scatter(panel, own[column(own, "component") == component], place, component)
        dots = np.concatenate([own["value"].to_numpy(dtype=float), numbers(own, "estimated")])
        line = [float(np.nanmin(dots)), float(np.nanmax(dots))]
        panel.plot(line, line, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1, label="equal")
        panel.set_title(f"{label(name)} (n = {len(own)} nodes)")
        panel.set_xlabel("exact effect (nats)")
        panel.set_ylabel("estimated effect (nats)")
    key(figure)
    explain(
        figure,
        title="What attribution estimates, against what the exact patch does",
        caption="A dot is a node: all sublayers, and of heads and neurons those that were ranked "
        "first and as many at random. Whiskers are 95 % intervals of the exact effect. On the "
        "dashed line the estimate is exact.",
        rows=rows,
        unit="pairs per dot",
    )
    return figure


def _scatter(panel: Axes, rows: pd.DataFrame, place: int, text: str) -> None:
    if rows.empty:
        return
    exact, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high"))
    estimated, own = numbers(rows, "estimated").to_numpy(), look(place)
    panel.hlines(estimated, low, high, color=own.colour, linewidth=0.8, alpha=0.5)
    panel.plot(exact, estimated, own.marker, color=own.colour, markersize=4, alpha=0.85, label=text)


@styled
def head_effects(table: pd.DataFrame) -> Figure:
    """The estimated effect of every query head, head x layer, a panel per position and
    direction.
    """
    estimated = select(table, metric="estimated_effect", component="head", control="")
    rows, _ = pooled(with_values(estimated))
    panels = groups(rows, ["position", "mode"])
    heads, layers = (sorted(set(numbers(rows, name))) for name in ("head", "layer"))
    figure, axes = facets(len(panels), columns=2, height=0.17 * len(heads) + 1.2)
    limit = float(np.nanmax(np.abs(rows["value"].to_numpy(dtype=float)))) or 1.0
    for panel, (_, own) in zip(axes, panels, strict=True):
        at = numbers(own, "head"), numbers(own, "layer")
        unsure = (numbers(own, "ci_low") <= 0) & (numbers(own, "ci_high") >= 0)
        doubtful = matrix(*at, unsure.astype(float), heads, layers).to_numpy() == 1
        cells = matrix(*at, own["value"], heads, layers)
        heat(panel, cells.rename(index=whole, columns=whole), limit=limit, unsure=doubtful)
        way = word(own, "mode")
        panel.set_title(f"at {label(word(own, 'position'))}: {_WAYS.get(way, way)}")
    outer_labels(figure, axes, x="layer", y="head")
    colour_bar(figure, axes, "estimated effect (nats)")
    explain(
        figure,
        title="What patching each head would do to the answer, estimated",
        caption="All emotions together, on scenarios that ranked nothing. Red: the answer moves "
        "towards the emotion. In brackets: the interval holds zero. These are estimates; the "
        "figure of them against exact patches says how far to trust them.",
        rows=rows,
        unit="pairs per cell",
    )
    return figure
