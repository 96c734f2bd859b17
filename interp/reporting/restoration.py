"""Figures of patching: what one patched activation restores, as a map and as curves by layer."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.formatting import label, whole
from interp.reporting.many import MapTexts, emotion_maps, too_many
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    column,
    groups,
    holds,
    matrix,
    numbers,
    pooled,
    select,
    word,
)
from interp.reporting.style import (
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

_CONTROLS = {
    "random_source": ("another scenario", ":"),
    "other_emotion": ("another emotion", "--"),
    "random_of_same_norm": ("random, of the same norm", "-."),
}
"""The controls' names and lines."""


def patching_scores(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of `restoration` and the unit to print; of `logit_diff` where the table has none.

    Restoration is a share of the twins' difference: where the model itself shows no difference,
    there is no share to report.
    """
    if holds(table, metric="restoration", control=""):
        return select(table, metric="restoration"), "restoration"
    return select(table, metric="logit_diff"), "logit difference (nats)"


_CURVES = "How much of the twins' difference one patched layer moves"
_SCALE = {
    "restoration": "0: nothing restored; 1: as in the text that the activation came from.",
    "logit difference (nats)": "The model itself does not tell these twins apart, so there is no "
    "share to restore: the raw logit difference is shown.",
}


@styled
def patching_map(table: pd.DataFrame) -> Figure:
    """Restoration of the emotion by patching one site at one layer, as a map of site x layer, a
    panel per position and mode.
    """
    scores, unit = patching_scores(table)
    rows, is_pooled = pooled(select(scores, control=""))
    panels = groups(rows, ["position", "mode"])
    sites = list(dict.fromkeys(column(rows, "site")))
    layers = sorted(set(numbers(rows, "layer")))
    figure, axes = facets(len(panels), columns=2, height=0.36 * len(sites) + 1.0)
    limit = max(1.0, float(rows["value"].abs().max()))
    for panel, (name, own) in zip(axes, panels, strict=True):
        at = column(own, "site"), numbers(own, "layer")
        cells = matrix(*at, own["value"], sites, layers)
        unsure = (numbers(own, "ci_low") <= 0) & (numbers(own, "ci_high") >= 0)
        doubtful = matrix(*at, unsure.astype(float), sites, layers).to_numpy() == 1
        heat(panel, cells.rename(columns=whole), limit=limit, unsure=doubtful)
        panel.set_title(f"patched at: {label(name)}")
    outer_labels(figure, axes, x="layer", y="site")
    colour_bar(figure, axes, unit)
    over = (
        "all emotions together"
        if is_pooled
        else f"mean over {column(rows, 'emotion').nunique()} emotions"
    )
    explain(
        figure,
        title="How much of the twins' difference one patched activation moves",
        caption=f"{over.capitalize()}. {_SCALE[unit]} Last: the "
        "text's last token; edit: the tokens in which the twins differ. A late layer at "
        "the last token only copies the output. In brackets: the interval holds zero.",
        rows=rows,
        unit="pairs per cell",
    )
    return figure


@styled
def patching_curves(table: pd.DataFrame) -> Figure:
    """Restoration by layer with intervals, beside patches from another scenario; a panel per site
    (and emotion, if not pooled), a row per mode.

    Sites patched at one layer only are left to the map, where there are others.
    """
    scores, unit = patching_scores(table)
    rows, _ = pooled(scores)
    rows = _at_several_layers(rows)
    if too_many(rows):
        told = MapTexts(_CURVES, unit, 0.0, "layer", "layer", _SCALE[unit], "pairs per cell")
        return emotion_maps(rows, ["site", "mode", "position", "control"], told)
    panels = [
        (", ".join(filter(None, (name, mode))), own)
        for mode, of_mode in groups(rows, ["mode"])
        for name, own in groups(of_mode, ["site", "emotion"])
    ]
    columns = min(4, len(groups(rows, ["site", "emotion"])))
    figure, axes = facets(len(panels), columns=columns, height=2.3)
    positions = list(dict.fromkeys(column(rows, "position")))
    for panel, (name, own) in zip(axes, panels, strict=True):
        for _, line in groups(own, ["position", "control"]):
            control, position = word(line, "control"), word(line, "position")
            own_look = look(positions.index(position))
            source, drawn = _CONTROLS.get(control, (control, "-"))
            text = f"{position}, {source}" if control else position
            curve(panel, line, x="layer", look=own_look, text=text, line=drawn)
        chance(panel, 0.0, "zero")
        panel.set_title(label(name))
        layer_ticks(panel)
    axes[0].set_ylim(*_span(rows))
    outer_labels(figure, axes, x="layer", y=unit)
    key(figure)
    explain(
        figure,
        title=_CURVES,
        caption="Bands are 95 % intervals; dotted lines' bands "
        f"are cut at the panel's edge. {_SCALE[unit]}"
        f"{_DOTTED if holds(rows, control='random_source') else ''}",
        rows=rows,
        unit="pairs per point",
    )
    return figure


_DOTTED = (
    " Dotted: the activation came from another scenario's text of the same kind and emotion: what "
    "it restores is the emotion without this story."
)


def _at_several_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of sites with more than one layer; all where no site has."""
    n_layers = numbers(rows, "layer").groupby(column(rows, "site")).transform("nunique")
    return rows[n_layers > 1] if (n_layers > 1).any() else rows


def _span(rows: pd.DataFrame) -> tuple[float, float]:
    """The heights of all values, and of the intervals but for the control's, with a margin."""
    own = rows[column(rows, "control") == ""]
    heights = np.concatenate(
        [
            rows["value"].to_numpy(dtype=float),
            *(own[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high")),
            [0.0],
        ]
    )
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin
