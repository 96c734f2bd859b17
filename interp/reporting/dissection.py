"""A model taken apart: the figures of `interp dissect`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.dots import arm_offset, dots, names_down
from interp.reporting.formatting import label, whole
from interp.reporting.k_curves import k_curves
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    POOLED,
    column,
    groups,
    holds,
    matrix,
    numbers,
    select,
    with_ranges,
    with_values,
    word,
)
from interp.reporting.style import (
    GREY,
    chance,
    curve,
    explain,
    facets,
    key,
    layer_ticks,
    look,
    outer_labels,
    styled,
)

_LOSSES = {
    "label_logprob_change": "log-probability lost (nats)",
    "projection_drop": "projection lost (natural lengths)",
    "top1_changed": "likeliest token changed (share)",
    "accuracy_drop": "accuracy lost (share)",
    "neutral_loss_rise": "loss on neutral text (nats per token)",
}
ATTENDED = {
    "edit": "words that differ from the twin",
    "emotion": "words that name an emotion",
    "content": "other content words",
    "function": "function words",
    "bos": "what stands before the text",
}
_ARMS = {"": "the direction", "random": "random directions", "same_size": "as much, at random"}


@styled
def knockout_map(table: pd.DataFrame) -> Figure:
    """What knocking out each layer's attention, MLP, or whole block loses more than a random change
    of the same size does: a panel per reading, all emotions together.
    """
    metrics = {f"{name}_above_random": text for name, text in _LOSSES.items()}
    rows = with_values(select(table, metric=list(metrics), control="", emotion=POOLED))
    parts = list(dict.fromkeys(column(rows, "component")))
    layers = sorted(set(numbers(rows, "layer")))
    shown = [name for name in metrics if holds(rows, metric=name)]
    figure, axes = facets(len(shown), columns=1, height=0.3 * len(parts) + 0.9, share=False)
    for panel, name in zip(axes, shown, strict=True):
        own = select(rows, metric=name)
        at = column(own, "component"), numbers(own, "layer")
        cells = matrix(*at, own["value"], parts, layers).rename(columns=whole)
        unsure = (numbers(own, "p_corrected") > 0.05).astype(float)
        doubtful = matrix(*at, unsure, parts, layers).to_numpy() == 1
        limit = float(np.nanmax(np.abs(cells.to_numpy()))) or 1.0
        heat(panel, cells, limit=limit, unsure=doubtful)
        panel.set_title(metrics[name])
        panel.set_xlabel("layer")
        colour_bar(figure, [panel], "")
    explain(
        figure,
        title="What each layer is needed for, beyond its size",
        caption="Red: knocking this out loses more than moving it as far in a random direction. "
        "In brackets, where numbers are written: not surely so, after correction over layers and "
        "parts.",
        rows=rows,
        unit="pairs per cell",
    )
    return figure


@styled
def direction_ablation_dots(table: pd.DataFrame) -> Figure:
    """What ablating each emotion's direction does to its own words, beside random directions: a
    panel per place.
    """
    rows = select(table, metric="label_logprob_change")
    rows = with_ranges(rows[column(rows, "emotion") == column(rows, "target")])
    panels = groups(rows, ["reach"])
    names = list(dict.fromkeys(column(rows, "emotion")))
    figure, axes = facets(len(panels), columns=2, height=0.34 * len(names) + 1.0)
    for panel, (_, own) in zip(axes, panels, strict=True):
        _dots(panel, own, names)
        reach = word(own, "reach")
        panel.set_title("at all layers" if reach == "all" else f"after layer {reach}")
    outer_labels(figure, axes, x="log-prob. change (nats)", y="")
    key(figure)
    explain(
        figure,
        title="What ablating an emotion's direction does to its words",
        caption="Filled: the direction is taken out of the stream, with 95 % intervals. Others: "
        "the mean and 95 % range of random directions, taken out, or given as much to lose.",
        rows=select(rows, control=""),
        unit="pairs",
    )
    return figure


def _dots(panel: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """A dot with its whisker for each emotion and control."""
    for place, (control, text) in enumerate(_ARMS.items()):
        mine = rows[column(rows, "control") == control]
        middle = np.array([names.index(name) for name in column(mine, "emotion")])
        down = middle + arm_offset(place, len(_ARMS))
        dots(panel, mine, down, look(place), text=text, hollow=bool(control))
    panel.axvline(0.0, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1, label="no effect")
    names_down(panel, [label(name) for name in names])


@styled
def ablated_parts(table: pd.DataFrame) -> Figure:
    """Change of the emotion's words when its top k parts are ablated, beside random and bottom
    k.
    """
    title = "What ablating the top parts does to the emotion's words"
    rows = select(table, method="ablation")
    return k_curves(rows, "label_logprob_change", "log-prob. change (nats)", title)


@styled
def enhanced_parts(table: pd.DataFrame) -> Figure:
    """Change of the emotion's words in neutral texts when its top k parts are enhanced, beside
    random and bottom k.
    """
    title = "What enhancing the top parts does to the emotion's words, in neutral texts"
    rows = select(table, method="enhancement")
    y = "log-prob. change (nats)"
    return k_curves(rows, "label_logprob_change", y, title, done="enhanced")


@styled
def attention_map(table: pd.DataFrame) -> Figure:
    """What each head attends to from a text's last token, more than evenly spread attention would:
    head x layer, a panel per class of tokens.
    """
    rows = with_values(select(table, metric="attention_share_above_uniform"))
    heads, layers = (sorted(set(numbers(rows, name))) for name in ("head", "layer"))
    panels = [(name, select(rows, target=name)) for name in ATTENDED if holds(rows, target=name)]
    figure, axes = facets(len(panels), columns=3, height=0.17 * len(heads) + 1.2, share=False)
    for panel, (name, own) in zip(axes, panels, strict=True):
        at = numbers(own, "head"), numbers(own, "layer")
        cells = matrix(*at, own["value"], heads, layers).rename(index=whole, columns=whole)
        heat(panel, cells, limit=1.0, written=False)
        panel.set_title(ATTENDED[name])
    outer_labels(figure, axes, x="layer", y="head")
    colour_bar(figure, axes, "share of attention above even")
    explain(
        figure,
        title="What heads attend to from the last token",
        caption="Red: the head gives these tokens more than their share of the text. What stands "
        "before the text takes much of it in most models.",
        rows=rows,
        unit="texts per cell",
    )
    return figure


@styled
def lens_curves(table: pd.DataFrame) -> Figure:
    """How far each layer's stream puts the emotion's words above the others', and how far it lies
    along the emotion's direction, beside the neutral twin.
    """
    rows = select(table, site="resid_post", emotion=POOLED)
    shown = {"lens_contrast": "words, read by the lens (nats)"}
    shown |= {"lens_projection": "along the direction (natural lengths)"}
    panels = [
        (text, select(rows, metric=name))
        for name, text in shown.items()
        if name in set(column(rows, "metric"))
    ]
    figure, axes = facets(len(panels), columns=2, height=2.6, share=False)
    for panel, (text, own) in zip(axes, panels, strict=True):
        for place, (control, name) in enumerate((("", "emotional text"), ("twin", "neutral twin"))):
            mine = select(own, control=control)
            curve(panel, mine, x="layer", look=look(place), text=name, line=":" if control else "-")
        chance(panel, 0.0, "as the others")
        layer_ticks(panel)
        panel.set_title(text)
        panel.set_xlabel("layer")
    key(figure)
    explain(
        figure,
        title="From which layer on the emotion's words are there",
        caption="The stream after each layer, read through the final norm and the unembedding. "
        "Bands are 95 % intervals over scenarios.",
        rows=rows,
        unit="pairs",
    )
    return figure
