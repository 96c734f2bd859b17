"""Figures of what causes what: patching, contributions of heads and neurons, ablation.

Each function takes a stage's tidy table and returns a figure, and does nothing else.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from interp.errors import DataError
from interp.reporting.representation import mean_off_diagonal, square
from interp.reporting.rows import POOLED, best, column, counted, groups, holds, numbers, numeral, pooled, select, word
from interp.reporting.style import (
    chance,
    colour_bar,
    curve,
    explain,
    facets,
    heat,
    key,
    layer_ticks,
    look,
    outer_labels,
    powers_of_two,
    styled,
)
from interp.reporting.text import label, whole

TAIL_POINTS = 200
"""How many ranks of a long tail are drawn: a line on a logarithmic axis needs no more, and a large model has 10^6 neurons."""


def patching_scores(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of `restoration` and the unit to print; of `logit_diff` where the table has none.

    Restoration is a share of the twins' difference: where the model itself shows no difference, there is no share to report.
    """
    if holds(table, metric="restoration", control=""):
        return select(table, metric="restoration"), "restoration"
    return select(table, metric="logit_diff"), "logit difference (nats)"


_SCALE = {
    "restoration": "0: nothing restored; 1: as in the text that the activation came from.",
    "logit difference (nats)": "The model itself tells these twins not apart, so there is no share to restore: the raw logit "
    "difference is shown.",
}


@styled
def patching_map(table: pd.DataFrame) -> Figure:
    """Restoration of the emotion by patching one site at one layer, as a map of site x layer, a panel a position and mode."""
    scores, unit = patching_scores(table)
    rows, is_pooled = pooled(select(scores, control=""))
    panels = groups(rows, ["position", "mode"])
    sites = list(dict.fromkeys(column(rows, "site")))
    layers = sorted(set(numbers(rows, "layer")))
    figure, axes = facets(len(panels), columns=2, height=0.36 * len(sites) + 1.0)
    limit = max(1.0, float(rows["value"].abs().max()))
    for panel, (name, own) in zip(axes, panels, strict=True):
        cells = _map(column(own, "site"), numbers(own, "layer"), own["value"], sites, layers)
        heat(panel, cells, rows=sites, columns=[whole(layer) for layer in layers], limit=limit)
        panel.set_title(f"patched at: {label(name)}")
    outer_labels(axes, columns=2, x="layer", y="site")
    colour_bar(figure, axes, unit)
    over = "all emotions together" if is_pooled else f"mean over {column(rows, 'emotion').nunique()} emotions"
    explain(
        figure,
        title="Where putting in one activation brings the emotion",
        caption=f"{over.capitalize()}, {counted(rows)} pairs a cell. {_SCALE[unit]} Last: the text's last token; edit: the "
        "tokens in which the twins differ. A late layer at the last token only copies the output.",
    )
    return figure


def _map(
    down: "pd.Series", across: "pd.Series", values: "pd.Series", names: list, columns: list
) -> Float[np.ndarray, "row column"]:
    """Mean value for each combination of `down` and `across`; NaN where there is none."""
    cells = pd.DataFrame({"down": down, "across": across, "value": values})
    wide = cells.pivot_table(index="down", columns="across", values="value", aggfunc="mean", dropna=False)
    return wide.reindex(index=names, columns=columns).to_numpy(dtype=float)


@styled
def patching_curves(table: pd.DataFrame) -> Figure:
    """Restoration by layer with intervals, beside patches from a random source; a panel a site (and emotion, if not pooled)."""
    scores, unit = patching_scores(table)
    rows, _ = pooled(scores)
    panels = groups(rows, ["site", "emotion", "mode"])
    figure, axes = facets(len(panels), columns=3, height=2.3)
    positions = list(dict.fromkeys(column(rows, "position")))
    for panel, (name, own) in zip(axes, panels, strict=True):
        for position, line in groups(own, ["position", "control"]):
            control = word(line, "control")
            own_look = look(positions.index(word(line, "position")))
            curve(panel, line, x="layer", look=own_look, text=position, line=":" if control else "-")
        chance(panel, 0.0, "zero")
        panel.set_title(label(name))
        layer_ticks(panel)
    outer_labels(axes, columns=3, x="layer", y=unit)
    key(figure)
    explain(
        figure,
        title="How much of the emotion one patched layer brings",
        caption=f"{counted(rows)} pairs a point; bands are 95 % intervals. {_SCALE[unit]} Dotted: the activation came from "
        "another scenario's text of the same kind and emotion: what it restores is the emotion without this story.",
    )
    return figure


@styled
def head_contributions(table: pd.DataFrame) -> Figure:
    """Exact contribution of each head to the projection on an emotion's direction, a map of layer x head an emotion."""
    rows = select(table, metric="contribution", component="head")
    panels = groups(rows, ["emotion"])
    heads, layers = sorted(set(numbers(rows, "index"))), sorted(set(numbers(rows, "layer")), reverse=True)
    figure, axes = facets(len(panels), columns=4, height=0.24 * len(layers) + 0.95)
    limit = float(rows["value"].abs().max()) or 1.0
    for panel, (name, own) in zip(axes, panels, strict=True):
        cells = _map(numbers(own, "layer"), numbers(own, "index"), own["value"], layers, heads)
        names = [whole(layer) for layer in layers]
        heat(panel, cells, rows=names, columns=[whole(head) for head in heads], limit=limit, written=False)
        top = best(own.assign(value=own["value"].abs()))
        top = own.loc[top.index]
        panel.set_title(f"{label(name)}: {head_name(top)} {numeral(top, 'value'):+.2f}")
    outer_labels(axes, columns=4, x="head", y="layer")
    colour_bar(figure, axes, "contribution (residual units)")
    explain(
        figure,
        title="Which heads write each emotion",
        caption=f"{counted(rows)} pairs, affective minus neutral. Above each map its largest head. Red: the head pushes the "
        "residual stream along the emotion's direction; blue: against it. Grey: not among the heads that the table lists.",
    )
    return figure


def head_name(row: pd.DataFrame) -> str:
    """The first row's head in the field's short form: `L2H5`."""
    return f"L{whole(numeral(row, 'layer'))}H{whole(numeral(row, 'index'))}"


@styled
def neuron_tail(table: pd.DataFrame) -> Figure:
    """Size of the neurons' contributions by rank on logarithmic axes, a line an emotion."""
    rows = select(table, metric="contribution", component="neuron")
    figure, axes = facets(1, columns=1, height=3.4)
    for place, (name, own) in enumerate(groups(rows, ["emotion"])):
        sizes = np.sort(own["value"].abs().dropna().to_numpy())[::-1]
        if not sizes.any():
            raise DataError(f"no neuron contributes anything to {name!r}: run the stage contributions again.")
        ranks = np.unique(np.geomspace(1, len(sizes), TAIL_POINTS).round().astype(int))
        style = look(place)
        every = max(1, len(ranks) // 8)
        axes[0].plot(
            ranks,
            sizes[ranks - 1],
            color=style.colour,
            marker=style.marker,
            markevery=(place % every, every),
            label=label(name),
        )
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    for axis in (axes[0].xaxis, axes[0].yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    outer_labels(axes, columns=1, x="rank of the neuron (1 is the largest)", y="|contribution| (residual units)")
    key(figure)
    explain(
        figure,
        title="How few neurons carry each emotion",
        caption=f"{counted(rows)} pairs, affective minus neutral; the neurons that the table lists. A steep start means that a "
        "handful do the work; a flat line means that it is spread over many.",
    )
    return figure


@styled
def frozen_norm(table: pd.DataFrame) -> Figure:
    """Behind a post-norm: each listed component's share of the sum, with the norm's factor frozen,
    against its contribution, what zeroing it takes away; a panel per kind of component.
    """
    frozen = select(table, metric="frozen_contribution")
    panels = groups(frozen, ["component"])
    figure, axes = facets(len(panels), columns=2, height=3.4)
    for panel, (name, own) in zip(axes, panels, strict=True):
        exact = select(table, metric="contribution", component=word(own, "component"))
        keys = ["emotion", "layer", "index"]
        both = own.merge(exact, on=keys, suffixes=("_frozen", "")).dropna(subset=["value", "value_frozen"])
        if both.empty:
            raise DataError("no contribution was measured: run the stage contributions again.")
        for place, (emotion, points) in enumerate(groups(both, ["emotion"])):
            style = look(place)
            panel.plot(
                points["value"],
                points["value_frozen"],
                color=style.colour,
                marker=style.marker,
                linestyle="",
                markersize=4,
                label=label(emotion),
            )
        low, high = both["value"].min(), both["value"].max()
        panel.plot([low, high], [low, high], color="0.4", linestyle="--", label="equal")
        error = (both["value_frozen"] - both["value"]).abs().max() / both["value"].abs().max()
        r = both["value"].corr(both["value_frozen"]) if len(both) > 1 else float("nan")
        panel.set_title(f"{label(name)}: r {r:.2f}, error up to {100 * error:.0f} %")
    outer_labels(axes, columns=2, x="contribution: lost when zeroed (residual units)", y="share with the norm frozen")
    key(figure)
    explain(
        figure,
        title="What a frozen norm says of a component, and what the model would lose",
        caption=f"{counted(frozen)} pairs, affective minus neutral; the components that the table lists. This model passes "
        "each sublayer's output through an RMS norm before it is added. Error: as a share of the largest contribution.",
    )
    return figure


@styled
def ablation_projection(table: pd.DataFrame) -> Figure:
    """Loss of the projection on the emotion's direction when its top k components are ablated, beside random k."""
    return _ablation(
        table, "projection_drop", "drop (natural lengths)", "What ablating the top components takes from the direction"
    )


@styled
def ablation_label(table: pd.DataFrame) -> Figure:
    """Change of the log-probability of the emotion's words when its top k components are ablated, beside random k."""
    return _ablation(
        table, "label_logprob_change", "change (nats)", "What ablating the top components does to the emotion's words"
    )


def _ablation(table: pd.DataFrame, metric: str, y: str, title: str) -> Figure:
    rows = _with_ranges(select(table, metric=metric))
    rows = rows[(column(rows, "emotion") == column(rows, "target")) | (column(rows, "target") == "")]
    select(rows, control="")
    panels = groups(rows, ["emotion"])
    kinds = list(dict.fromkeys(zip(column(rows, "component"), column(rows, "mode"), strict=True)))
    figure, axes = facets(len(panels), columns=4, height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        for text, line in groups(own, ["component", "mode", "control"]):
            kind = kinds.index((word(line, "component"), word(line, "mode")))
            control = word(line, "control")
            curve(panel, line, x="k", look=look(kind), text=text, line=":" if control else "-")
        chance(panel, 0.0, "no effect")
        panel.set_title(label(name))
        powers_of_two(panel, sorted(set(numbers(own, "k"))))
    outer_labels(axes, columns=4, x="k ablated", y=y)
    key(figure)
    explain(
        figure,
        title=title,
        caption=f"Solid: the top k by contribution, {counted(select(rows, control=''))} pairs, bands are 95 % intervals. "
        f"Dotted: the mean and 95 % range of {_draws(rows)} random sets of the same layers and size; only where the two part "
        "is the effect due to the chosen components.",
    )
    return figure


def _with_ranges(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the range of random draws in the place of an interval, to be drawn as a band."""
    if "draw_low" not in rows:
        return rows
    low, high = numbers(rows, "draw_low"), numbers(rows, "draw_high")
    return rows.assign(ci_low=rows["ci_low"].fillna(low), ci_high=rows["ci_high"].fillna(high))


def _draws(rows: pd.DataFrame) -> str:
    """How many random sets the table holds a point."""
    return counted(select(rows, control="random")).removeprefix("n = ") if holds(rows, control="random") else "no"


@styled
def ablation_specificity(table: pd.DataFrame) -> Figure:
    """Effect of ablating one emotion's components on every emotion's words: emotion ablated for x emotion measured."""
    rows = select(table, metric="label_logprob_change", control="")
    rows = rows[~column(rows, "target").isin(POOLED) & ~column(rows, "emotion").isin(POOLED)]
    rows = rows[numbers(rows, "k") == numbers(rows, "k").groupby(column(rows, "component")).transform("max")]
    panels = groups(select(rows), ["component", "mode"])
    names = list(dict.fromkeys([*column(rows, "emotion"), *column(rows, "target")]))
    figure, axes = facets(len(panels), columns=2, height=0.3 * len(names) + 1.4, width=9.0 if len(panels) > 1 else 6.4)
    limit = float(rows["value"].abs().max()) or 1.0
    for panel, (name, own) in zip(axes, panels, strict=True):
        heat(panel, square(own, names), rows=names, columns=names, limit=limit)
        same = own[column(own, "emotion") == column(own, "target")]["value"].mean()
        panel.set_title(f"{label(name)}, top {whole(numeral(own, 'k'))}: own {same:.2f}, others {mean_off_diagonal(own)}")
    outer_labels(axes, columns=2, x="emotion measured", y="emotion ablated")
    colour_bar(figure, axes, "change of log-probability (nats)")
    explain(
        figure,
        title="Whether ablating one emotion's components spares the others",
        caption=f"{counted(rows)} pairs a cell. A blue diagonal on a white field: each emotion has components of its own. A "
        "blue row or column: the components are shared, or the damage is general.",
    )
    return figure
