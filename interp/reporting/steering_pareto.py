"""Figure of what steering gains against what it costs."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import label
from interp.reporting.select import POOLED, column, groups, select
from interp.reporting.style import columns_for, explain, facets, key, look, outer_labels, styled

_ARMS = {
    "": "direction",
    "instruction": "instruction in words",
    "random": "random directions",
    "unsteered": "unsteered",
    "circuit": "circuit",
}
"""The arms that have a price of their own, and how they are called."""


@styled
def steering_pareto(table: pd.DataFrame) -> Figure:
    """Success of each arm against its perplexity ratio, a panel per judge: all emotions together
    with their intervals, and faint each emotion alone.

    Raises `DataError` for a table without success or ratio.
    """
    rows = select(table, half="report")
    success = select(rows, metric="success")
    panels = groups(success, ["judge"])
    figure, axes = facets(len(panels), columns=columns_for(len(panels)), height=2.6)
    for panel, (name, mine) in zip(axes, panels, strict=True):
        _panel(panel, mine, select(rows, metric="perplexity_ratio"))
        panel.set_title(label(name))
        panel.set_ylim(-0.04, 1.04)
    outer_labels(figure, axes, x="perplexity ratio", y="success")
    key(figure)
    explain(
        figure,
        title="What steering gains, and what it costs",
        caption="Prompts that did not choose the layer or the strength. Large: all emotions, with "
        "95 % intervals over prompts; small: one emotion. The ratio is of perplexities under the "
        "unsteered model, steered text over unsteered; further up and further left is better.",
        rows=select(success, emotion=POOLED),
        unit="prompts",
    )
    return figure


def _panel(panel: Axes, success: pd.DataFrame, ratio: pd.DataFrame) -> None:
    for place, (control, told) in enumerate(_ARMS.items()):
        mine, price = (one[column(one, "control") == control] for one in (success, ratio))
        joined = mine.merge(price, on="emotion", suffixes=("", "_price"))
        whole = joined["emotion"].isin(POOLED)
        for part, size, alpha in ((joined[~whole], 14, 0.45), (joined[whole], 55, 1.0)):
            if part.empty:
                continue
            shape = look(place)
            panel.scatter(
                part["value_price"], part["value"], s=size, alpha=alpha, color=shape.colour,
                marker=shape.marker, label=told if size > 20 else None, linewidths=0, zorder=3,
            )  # fmt: skip
        colour = look(place).colour
        for _, one in joined[whole].iterrows():
            panel.vlines(one["value_price"], one["ci_low"], one["ci_high"], color=colour)
            panel.hlines(one["value"], one["ci_low_price"], one["ci_high_price"], color=colour)
