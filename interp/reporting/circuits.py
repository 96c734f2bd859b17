"""Figures of circuits: influence by depth, allocation, faithfulness, overlap, and the drawn
circuit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import label, number, whole
from interp.reporting.many import (
    MOST_PANELS,
    MapTexts,
    emotion_maps,
    height_of,
    name_rows,
    name_square,
    square_height,
    too_many,
)
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    POOLED,
    best,
    column,
    groups,
    holds,
    matrix,
    numbers,
    numeral,
    select,
    with_ranges,
    word,
)
from interp.reporting.style import (
    COLOURS,
    GREY,
    chance,
    columns_for,
    curve,
    explain,
    facets,
    key,
    layer_ticks,
    look,
    outer_labels,
    styled,
)

_SUBLAYERS = {"attn_out": "attention", "mlp_out": "MLP"}
_ARMS = {
    "": "circuit's order",
    "single": "by single ablation",
    "random": "random, same layers",
    "integrated": "by integrated gradients",
    "greedy": "chosen greedily",
}
_LINES = {"": "-", "single": "--", "random": ":", "integrated": "-.", "greedy": "--"}
_REACHES = {"last": "last token", "all": "all tokens"}

_INFLUENCE = "Where a dose of each emotion reaches the end of the model"
_SLOPE = (
    "The slope of <h_final, v_ref> by a dose along the sublayer's own direction, at the last token "
    "of texts without emotion."
)
_INFLUENCE_OF_MANY = MapTexts(_INFLUENCE, "influence", 0.0, "layer", "layer", _SLOPE, "texts")

COUNTED_LAYERS = 40
"""Layers up to which each cell of the allocation has its number written in it."""

_TICKS = 4
"""Shares up to which each has a tick of its own."""

_NEURONS_DRAWN, _HEADS_NAMED = 8, 30
"""Neurons of a layer that are drawn, and heads of a circuit up to which each has its number."""

_MANY_LAYERS = 12
"""From so many on there is no room between layers for a number that lies."""

_STEP = 0.55
"""How far apart the parts of a layer are drawn."""


@styled
def influence_by_depth(table: pd.DataFrame) -> Figure:
    """How far a dose of each emotion, put in at a layer's attention or MLP, moves the end of the
    model: a panel per emotion.
    """
    rows = select(table, metric="influence")
    if too_many(rows):
        return emotion_maps(rows, ["site"], _INFLUENCE_OF_MANY)
    panels = groups(rows, ["emotion"])
    figure, axes = facets(len(panels), columns=columns_for(len(panels)), height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        summed = numbers(own[numbers(own, "in_segment") == 1], "layer")
        if len(summed):
            panel.axvspan(summed.min() - 0.4, summed.max() + 0.4, color="#f0e9d6", zorder=0)
        for site, mine in groups(own, ["site"]):
            place = list(_SUBLAYERS).index(site)
            curve(panel, mine, x="layer", look=look(place), text=_SUBLAYERS[site])
        chance(panel, 0.0, "no influence")
        panel.set_title(label(name))
        layer_ticks(panel)
    most = 2 * float(rows["value"].abs().max()) or 1.0
    axes[0].set_ylim(-most, most)
    outer_labels(figure, axes, x="layer", y="influence")
    key(figure)
    explain(
        figure,
        title=_INFLUENCE,
        caption=f"{_SLOPE} Bands are 95 % intervals over scenarios, cut at the panel's edge. "
        "Shaded: the layers that v_ref was summed over.",
        rows=rows,
        unit="texts",
    )
    return figure


@styled
def circuit_allocation(table: pd.DataFrame) -> Figure:
    """How many heads and neurons of each layer every circuit gets: emotions down, layers across."""
    rows = select(table, metric="quota")
    panels = groups(rows, ["component"])
    emotions = list(dict.fromkeys(column(rows, "emotion")))
    layers = sorted(set(numbers(rows, "layer")))
    many = len(emotions) > MOST_PANELS
    height = height_of(len(emotions)) if many else 0.22 * len(emotions) + 1.0
    figure, axes = facets(len(panels), columns=2 if many else 1, height=height, share=False)
    for panel, (name, own) in zip(axes, panels, strict=True):
        counts = matrix(
            column(own, "emotion"), numbers(own, "layer"), own["value"], emotions, layers
        ).rename(columns=whole)
        heat(panel, 100 * counts.div(counts.sum(axis=1), axis=0), limit=100.0, written=False)
        if many:
            name_rows(panel, emotions, high=height - 1.0)
        elif len(layers) <= COUNTED_LAYERS:
            _write_counts(panel, counts)
        panel.set_title(f"{label(name)}s")
    outer_labels(figure, axes, x="layer", y="")
    _bar_from_zero(figure, axes, "% of the circuit's", 100.0)
    explain(
        figure,
        title="How many parts of each layer the circuits get",
        caption="In the cells the number of parts, the colour is their share of all in the row. "
        "Shared out by the influence of each layer's attention (heads) and MLP (neurons).",
        rows=rows,
        unit="parts in a circuit",
    )
    return figure


def _bar_from_zero(figure: Figure, axes: Sequence[Axes], text: str, limit: float) -> None:
    """The scale of matrices that hold nothing below zero."""
    colour_bar(figure, axes, text)
    figure.axes[-1].set_ylim(0.0, limit)


def _write_counts(panel: Axes, counts: pd.DataFrame) -> None:
    size = min(7.5, 250 / max(counts.shape[1], 1))
    shares = counts.div(counts.sum(axis=1), axis=0).to_numpy()
    for (down, across), count in np.ndenumerate(counts.to_numpy()):
        colour = "white" if shares[down, across] > 0.6 else "black"
        told = "–" if np.isnan(count) else whole(float(count))
        panel.text(across, down, told, ha="center", va="center", color=colour, fontsize=size)


@styled
def faithfulness_curve(table: pd.DataFrame) -> Figure:
    """The share of what the model does to the emotion's words that is left when only some of its
    parts are kept, against how many: of all emotions together, with the others knocked out at the
    last token and at all tokens; and of each emotion, at the last token.
    """
    rows = with_ranges(select(table, metric="faithfulness", outcome="words"))
    panels = _curve_panels(rows)
    figure, axes = facets(len(panels), columns=columns_for(len(panels)), height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        for place, (control, text) in enumerate(_ARMS.items()):
            mine = own[column(own, "control") == control]
            if len(mine):
                curve(panel, mine, x="share", look=look(place), text=text, line=_LINES[control])
        _mark_circuit(panel, table, own)
        chance(panel, 0.0, "nothing kept")
        panel.axhline(1.0, color=GREY, linewidth=0.8, label="the whole model")
        pairs = numbers(own[column(own, "control") == ""], "n").max()
        panel.set_title(f"{label(name)}, n = {whole(float(pairs))}")
        _share_axis(panel, sorted(set(numbers(own, "share"))))
    values = rows["value"].dropna()
    axes[0].set_ylim(min(-0.25, values.min() - 0.1), max(1.25, values.max() + 0.1))
    outer_labels(figure, axes, x="% of parts kept", y="faithfulness")
    key(figure)
    explain(
        figure,
        title="How many parts alone do what the whole model does",
        caption="f = (m(kept) - m(nothing)) / (m(all) - m(nothing)), m the log-probability of the "
        "emotion's words. Of heads and of neurons the same share is kept; the rest is put to what "
        "it is in the neutral twin, at the text's last token or at all. Bands: 95 % intervals over "
        "scenarios; of random orders, the range of 95 % of them. n counts pairs, of a panel of all "
        "emotions those of all; where there is no band, n is too small to say how sure a value is.",
        rows=select(rows, control=""),
        unit="pairs",
    )
    return figure


def _share_axis(panel: Axes, shares: Sequence[float]) -> None:
    """A logarithmic axis in per cent: a tick at every share, or where they are many, per decade."""
    panel.set_xscale("log")
    if len(shares) <= _TICKS:
        panel.set_xticks(shares, [f"{100 * share:g}" for share in shares])
    else:
        panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
    panel.minorticks_off()


def _curve_panels(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each panel, with its title: all emotions together at each reach, and each alone
    at the last token, up to twelve of them; where there are none of all, each at each reach.
    """
    whole = rows[column(rows, "emotion").isin(POOLED)]
    alone = rows[~column(rows, "emotion").isin(POOLED)]
    found = []
    for _, mine in groups(alone if whole.empty else whole, ["emotion", "reach"]):
        name = "all emotions" if word(mine, "emotion") in POOLED else word(mine, "emotion")
        found.append((f"{name}, {_REACHES[word(mine, 'reach')]}", mine))
    alone = alone[column(alone, "reach") == "last"]
    shown = not whole.empty and column(alone, "emotion").nunique() > 1 and not too_many(alone)
    return [*found, *(groups(alone, ["emotion"]) if shown else [])]


def _mark_circuit(panel: Axes, table: pd.DataFrame, own: pd.DataFrame) -> None:
    """A star at the circuit's own size, where the emotion has one of its own, with its interval;
    an empty one where the pairs are too few for that.
    """
    asked = {"metric": "circuit_faithfulness", "control": "", "outcome": "words"}
    mine = table[
        (column(table, "emotion") == word(own, "emotion"))
        & (column(table, "reach") == word(own, "reach"))
    ]
    found = select(mine, **asked) if holds(mine, **asked) else mine.iloc[:0]
    if found.empty or np.isnan(numeral(found, "share")):
        return
    share, (low, high) = numeral(found, "share"), (numeral(found, c) for c in ("ci_low", "ci_high"))
    sure = bool(np.isfinite(low))
    panel.plot(
        [share],
        [numeral(found, "value")],
        linestyle="",
        marker="*",
        markersize=10,
        color="black",
        markerfacecolor="black" if sure else "white",
        label="the circuit" if sure else "the circuit (no interval)",
        zorder=5,
    )
    if sure:
        panel.vlines(share, low, high, color="black", linewidth=1.0, zorder=5)


@styled
def circuit_overlap(table: pd.DataFrame) -> Figure:
    """The share of parts that the circuits of two emotions have in common, heads and neurons
    apart.
    """
    rows = select(table, metric="overlap", control="")
    rows = rows[~column(rows, "emotion").isin(POOLED)]
    names = list(dict.fromkeys([*column(rows, "emotion"), *column(rows, "target")]))
    panels = groups(select(rows), ["component"])
    height = square_height(len(names))
    figure, axes = facets(len(panels), columns=2, height=height, share=False)
    for panel, (name, own) in zip(axes, panels, strict=True):
        cells, doubts = (_mirrored(own, of, names) for of in ("value", "p"))
        heat(panel, cells, limit=1.0, unsure=(doubts > 0.05).to_numpy())
        name_square(panel, names)
        random = select(table, metric="overlap", control="random", component=name, emotion=POOLED)
        mean = float(numbers(own, "value").mean())
        told = f"mean {number(mean)}, random {number(numeral(random, 'value'))}"
        panel.set_title(f"{label(name)}s: {told}")
    _bar_from_zero(figure, axes, "shared parts (Jaccard)", 1.0)
    explain(
        figure,
        title="How far the circuits of two emotions are the same",
        caption="In brackets: no more than random circuits share that have as many parts in each "
        "layer (p above .05, each pair by itself). Parts that are loud in every text are shared, "
        "too.",
        rows=rows,
        unit="parts of both",
    )
    return figure


def _mirrored(rows: pd.DataFrame, name: str, names: list[str]) -> pd.DataFrame:
    """A symmetric matrix of a column, of which the table holds one half."""
    one, other, values = column(rows, "emotion"), column(rows, "target"), numbers(rows, name)
    cells = matrix(one, other, values, names, names)
    return cells.where(cells.notna(), cells.T)


@styled
def circuit_drawing(table: pd.DataFrame) -> Figure:
    """Each emotion's circuit: layers from left to right, heads above the stream, neurons below it,
    each as large as its weight.
    """
    rows = select(table, metric="weight")
    panels = groups(rows, ["emotion"])[:MOST_PANELS]
    left = column(rows, "emotion").nunique() - len(panels)
    last = int(numbers(select(table, metric="influence"), "layer").max())
    heads = rows[column(rows, "component") == "head"]
    most = max((len(mine) for _, mine in groups(heads, ["emotion", "layer"])), default=1)
    crowded = last >= _MANY_LAYERS
    below = _NEURONS_DRAWN + (2.4 if crowded else 1.6)
    figure, axes = facets(len(panels), columns=2, height=1.6 + 0.2 * most)
    for panel, (name, own) in zip(axes, panels, strict=True):
        panel.axhline(0.0, color=GREY, linewidth=2.5, zorder=1)
        largest = numeral(best(own.assign(value=own["value"].abs())), "value") or 1.0
        for kind, up in (("head", 1), ("neuron", -1)):
            mine = own[column(own, "component") == kind]
            for _, layer in groups(mine, ["layer"]) if len(mine) else []:
                named = len(mine) <= _HEADS_NAMED
                _draw_layer(panel, layer, up, largest, named=named, crowded=crowded)
        panel.set_title(label(name))
        panel.set_xlim(-0.6, last + 0.6)
        panel.set_ylim(-_STEP * below, _STEP * (most + 0.6))
        panel.grid(visible=False)
        panel.set_yticks([1.5 * _STEP, -2.5 * _STEP], ["heads", "neurons"])
        layer_ticks(panel)
    outer_labels(figure, axes, x="layer", y="")
    explain(
        figure,
        title="The circuits, layer by layer",
        caption="The grey line is the stream. Area: how far the part moves the end of the model "
        "along v_ref (contribution x influence, the largest of the panel is the largest mark). "
        "Numbers are those of heads; +n: so many more neurons of that layer."
        + (f" {left} more circuits are in the table." if left else ""),
        rows=rows,
        unit="neutral texts",
    )
    return figure


def _draw_layer(
    panel: Axes, rows: pd.DataFrame, up: int, largest: float, *, named: bool, crowded: bool
) -> None:
    """A layer's heads upwards from the stream, or its heaviest neurons downwards; how many more
    there are stands upright where layers are `crowded`.
    """
    ordered = rows.reindex(rows["value"].abs().sort_values(ascending=False).index)
    heads = up > 0
    shown = ordered if heads else ordered.iloc[:_NEURONS_DRAWN]
    x = numeral(rows, "layer")
    heights = [up * _STEP * (0.8 + at) for at in range(len(shown))]
    panel.scatter(
        [x] * len(shown),
        heights,
        s=(12 + 160 * shown["value"].abs() / largest).to_numpy(),
        marker="o" if heads else "s",
        color=COLOURS[0] if heads else COLOURS[1],
        alpha=0.85,
        zorder=3,
        linewidths=0,
    )
    for height, index in zip(heights, numbers(shown, "index"), strict=True):
        if heads and named:
            panel.text(x + 0.16, height, whole(index), fontsize=7, va="center")
    if len(ordered) > len(shown):
        told = f"+{len(ordered) - len(shown)}"
        turned, away = (90, 1.5) if crowded else (0, 1.1)
        height = heights[-1] + away * up * _STEP
        panel.text(x, height, told, fontsize=7, ha="center", va="center", rotation=turned)
