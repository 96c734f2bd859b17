"""Curves over k: what changing the top k parts of a ranking does, beside random k and the bottom
k.
"""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.formatting import label
from interp.reporting.many import MapTexts, emotion_maps, too_many
from interp.reporting.select import (
    column,
    counted,
    groups,
    holds,
    numbers,
    select,
    with_ranges,
    word,
)
from interp.reporting.style import (
    chance,
    columns_for,
    curve,
    cut_wide,
    explain,
    facets,
    key,
    look,
    outer_labels,
    powers_of_two,
)

_LINES = {"": "-", "random": ":", "bottom": "-."}
"""The line of each control."""


def k_curves(
    table: pd.DataFrame, metric: str, y: str, title: str, *, done: str = "ablated"
) -> Figure:
    """A metric against k, a panel for each emotion; `done` says what was done to the parts."""
    rows = with_ranges(select(table, metric=metric))
    rows = rows[
        (column(rows, "emotion") == column(rows, "target")) | (column(rows, "target") == "")
    ]
    select(rows, control="")
    if too_many(rows):
        reading = "The map called random: the mean of random sets of the same layers and size."
        told = MapTexts(title, y, 0.0, "k", f"k {done}", reading, "pairs")
        return emotion_maps(rows, ["component", "mode", "control"], told)
    panels = groups(rows, ["emotion"])
    kinds = list(dict.fromkeys(zip(column(rows, "component"), column(rows, "mode"), strict=True)))
    columns = columns_for(len(panels))
    figure, axes = facets(len(panels), columns=columns, height=1.9)
    alone = len(set(numbers(rows, "k"))) == 1
    for panel, (name, own) in zip(axes, panels, strict=True):
        lines = groups(own, ["component", "mode", "control"])
        for place, (text, line) in enumerate(lines):
            if alone:  # side by side: points would hide each other
                line = line.assign(k=line["k"] * 2 ** (0.3 * (place - (len(lines) - 1) / 2)))
            kind = kinds.index((word(line, "component"), word(line, "mode")))
            control = word(line, "control")
            curve(panel, line, x="k", look=look(kind), text=text, line=_LINES[control])
        chance(panel, 0.0, "no effect")
        panel.set_title(label(name))
        powers_of_two(panel, sorted(set(numbers(own, "k"))))
    cut = " An interval far wider than the others is cut." if cut_wide(axes[0], rows) else ""
    outer_labels(figure, axes, x=f"k {done}", y=y)
    key(figure)
    bottom = " Dash-dotted: the k that rank last." if holds(rows, control="bottom") else ""
    explain(
        figure,
        title=title,
        caption="Solid: the top k by contribution, "
        f"bands are 95 % intervals. Dotted: the mean and 95 % range of {_draws(rows)} "
        "random sets of the same layers and size; only where the two part is the effect "
        f"due to the chosen components.{bottom}{cut}",
        rows=select(rows, control=""),
        unit="pairs",
    )
    return figure


def _draws(rows: pd.DataFrame) -> str:
    """How many random sets the table holds a point."""
    return (
        counted(select(rows, control="random")).removeprefix("n = ")
        if holds(rows, control="random")
        else "no"
    )
