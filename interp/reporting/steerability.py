"""Figures of how evenly steering works over prompts, and over layers and strengths."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import DataError
from interp.reporting.cell_maps import cell_maps, cell_of
from interp.reporting.finding import OWN_WORDS, Caution
from interp.reporting.formatting import label
from interp.reporting.many import MOST_PANELS
from interp.reporting.select import (
    POOLED,
    column,
    groups,
    holds,
    measured,
    numbers,
    numeral,
    select,
    word,
)
from interp.reporting.style import (
    COLOURS,
    GREY,
    columns_for,
    explain,
    facets,
    key,
    outer_labels,
    styled,
)

_ROW = 0.34
"""Inches of an emotion's row."""

_CONTROLS = {"random": "random directions", "shuffled": "other emotions' directions"}


TURNED_WANTED = 0.25
"""Above this share of texts that move the other way the mean over texts is doubted."""


def turned_share(table: pd.DataFrame) -> pd.DataFrame | None:
    """The share of texts in which more steering makes the emotion's words less likely; None where
    it was not measured.
    """
    wanted = {"metric": "anti_steerable", "control": "", "emotion": POOLED}
    return select(table, **wanted) if holds(table, **wanted) else None


def cautions_of_slopes(table: pd.DataFrame) -> Iterator[Caution]:
    """Where too many texts move the other way."""
    turned = turned_share(table)
    if turned is not None and numeral(turned, "value") > TURNED_WANTED:
        text = "the more is added, the less likely the emotions' words become (mean over emotions)"
        yield Caution("steering", f"{text} in {measured(turned)} of the texts.", OWN_WORDS)


@styled
def steering_slopes(table: pd.DataFrame) -> Figure:
    """The slope of every prompt's score against the steering strength, a row per emotion and a
    panel per judge, with their mean beside that under the control; and the share of prompts that
    move the other way.

    Of more than twelve emotions those are drawn of which most prompts do. Raises `DataError` for a
    table without slopes.
    """
    rows = select(table, metric=("prompt_slope", "slope", "anti_steerable"))
    panels = groups(rows, ["judge"])
    shown = _shown(rows)
    height = _ROW * len(shown) + 0.9
    figure, axes = facets(len(panels), columns=min(2, columns_for(len(panels))), height=height)
    for panel, (name, mine) in zip(axes, panels, strict=True):
        _slopes(panel, mine, shown)
        panel.set_title(label(name))
    outer_labels(figure, axes, x="slope: gain for each unit of strength", y="")
    for panel in axes[1:]:
        panel.tick_params(labelleft=False)
    key(figure)
    left = column(rows, "emotion").nunique() - len(shown)
    fewer = f" {left} more emotions, of which fewer prompts do, are in the table." if left else ""
    explain(
        figure,
        title="How much each prompt is moved by more steering",
        caption="Each dot is a prompt: the least-squares slope of its score against the strength. "
        "Bars: mean slopes with 95 % intervals over scenarios. In orange, left of zero, prompts "
        "that move the other way; their share stands at the right, with its interval. A "
        "slope tells how evenly prompts are moved, not how far: a prompt that a small strength "
        "moves fully has a small slope." + fewer,
        rows=select(rows, metric="slope"),
        unit="prompts",
    )
    return figure


def _shown(rows: pd.DataFrame) -> list[str]:
    """The emotions that are drawn, all of them together last."""
    own = select(rows, metric="anti_steerable", control="")
    share = own["value"].astype(float).groupby(column(own, "emotion")).max()
    each = [str(name) for name in share.index if name not in POOLED]
    most = sorted(each, key=lambda name: -share[name])[: MOST_PANELS - 1]
    return [*sorted(most), "all"] if "all" in share.index else sorted(most)


def _slopes(panel: Axes, rows: pd.DataFrame, shown: list[str]) -> None:
    for place, emotion in enumerate(shown):
        mine = select(rows, emotion=emotion)
        dots = numbers(select(mine, metric="prompt_slope", control=""), "value").to_numpy()
        if np.isnan(dots).all():
            raise DataError(f"no prompt's slope was measured for {emotion}: run the stage again.")
        height = place - 0.1 + 0.22 * np.linspace(-1, 1, len(dots)) * (len(dots) > 1)
        below = dots < 0
        for part, colour, text in (
            (~below, COLOURS[0], "a prompt"),
            (below, COLOURS[1], "a prompt that moves the other way"),
        ):
            panel.scatter(
                dots[part], height[part], s=9, alpha=0.45, color=colour, linewidths=0, label=text
            )
        _mean(panel, select(mine, metric="slope", control=""), place - 0.1, "mean", own=True)
        for control, text in _CONTROLS.items():
            if holds(mine, metric="slope", control=control):
                _mean(panel, select(mine, metric="slope", control=control), place + 0.3, text)
        anti = select(mine, metric="anti_steerable", control="")
        panel.text(
            1.01, place, measured(anti), transform=panel.get_yaxis_transform(), va="center",
            fontsize=7.5, color="#333333",
        )  # fmt: skip
    panel.axvline(0.0, label="no change", color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
    panel.set_yticks(range(len(shown)), [label(name) for name in shown])
    panel.set_ylim(len(shown) - 0.4, -0.6)
    panel.grid(visible=False, axis="y")


def _mean(panel: Axes, row: pd.DataFrame, y: float, text: str, *, own: bool = False) -> None:
    (value,), (low,), (high,) = (numbers(row, one) for one in ("value", "ci_low", "ci_high"))
    colour = "#000000" if own else COLOURS[2]
    panel.hlines(y, low, high, color=colour, linewidth=1.6 if own else 1.0, zorder=4)
    panel.plot(
        value, y, marker="|" if own else "s", markersize=9 if own else 4, color=colour,
        markerfacecolor=colour if own else "white", linestyle="", label=text, zorder=5,
    )  # fmt: skip


@styled
def steering_map(table: pd.DataFrame) -> Figure:
    """Success and the logarithm of the perplexity ratio at every layer and strength that was tried,
    side by side; the cell that was chosen is framed.

    Raises `DataError` for a table without such trials.
    """
    tried = select(table, half="choose", emotion=POOLED, control="")
    success = select(tried, metric="success")
    first = success[column(success, "judge") == word(success, "judge")]
    told = select(table, half="report", emotion=POOLED, control="")
    own = select(told, metric="success", judge=word(first, "judge"))
    parts = [
        (f"success, {word(first, 'judge')}", first, 1.0),
        ("log2 of the perplexity ratio", _logged(select(tried, metric="perplexity_ratio")), np.nan),
    ]
    figure = cell_maps(parts, cell_of(own), columns=2)
    ratio = select(told, metric="perplexity_ratio")
    explain(
        figure,
        title="Where steering works, and what it costs there",
        caption="All emotions together, on the prompts that choose. Framed: the layer and strength "
        "with the highest harmonic mean of success and fluency. On the other prompts, which chose "
        f"nothing, success there is {measured(own)}, the perplexity ratio {measured(ratio)}.",
        rows=first,
        unit="prompts per cell",
    )
    return figure


def _logged(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=np.log2(rows["value"].astype(float)))
