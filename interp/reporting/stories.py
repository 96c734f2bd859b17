"""Many emotions from stories: their figures."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from interp.reporting.formatting import decimals, label, whole
from interp.reporting.geometries import name_dots
from interp.reporting.many import MapTexts, emotion_maps, name_square, square_height
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    column,
    groups,
    holds,
    matrix,
    numbers,
    numeral,
    place,
    select,
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
    styled,
)

WORDS_CONTROL = "words"
"""What column `control` says of the same steps on the words."""

_ROOM = (0.45, 0.06)
"""Width and height that a name takes, as shares of the map."""

_METRICS = {
    "auroc": "AUROC, mean over emotions",
    "top1": "right emotion first",
    "top5": "right emotion among five",
    "rank": "rank of the right emotion",
}


@styled
def detection_curves(table: pd.DataFrame) -> Figure:
    """How well the stories' directions tell the emotion of texts, by layer, a panel per metric."""
    rows = select(table, metric=list(_METRICS), half="")
    model = select(rows, control="")
    panels = [(name, text) for name, text in _METRICS.items() if holds(model, metric=name)]
    figure, axes = facets(len(panels), columns=2, height=2.4, share=False)
    for panel, (metric, text) in zip(axes, panels, strict=True):
        for at, (name, own) in enumerate(groups(select(model, metric=metric), ["tested_on"])):
            curve(panel, own, x="layer", look=look(at), text=name)
            words = select(rows, control=WORDS_CONTROL, metric=metric, tested_on=name)
            level = numeral(words, "value")
            panel.axhline(
                level, color=look(at).colour, linestyle=":", linewidth=1.1, label=f"words, {name}"
            )
        chance(panel, numeral(select(model, metric=metric), "chance"), "chance")
        panel.set_title(text)
        panel.set_xlabel("layer")
        layer_ticks(panel)
        if metric == "rank":
            panel.invert_yaxis()
    key(figure)
    explain(
        figure,
        title="Which of all emotions a text evokes, by directions from stories",
        caption="Scenarios: directions of all stories. Stories: directions of half of the "
        "scenarios, tried on the other half. Dotted: the same steps on the words. Bands are 95 % "
        "intervals over scenarios.",
        rows=model,
        unit="texts",
    )
    return figure


@styled
def detection_by_emotion(table: pd.DataFrame) -> Figure:
    """Of each emotion, by layer: the share of the other emotions that its own texts rank below
    it.
    """
    rows = select(table, metric="outranked", control="")
    told = MapTexts(
        "Which emotions are told, and where",
        "share of the others outranked",
        0.5,
        "layer",
        "layer",
        "The share of the other emotions whose direction a text of this one scores lower on.",
        "texts",
    )
    return emotion_maps(rows, ["tested_on"], told)


@styled
def writer_matrix(table: pd.DataFrame) -> Figure:
    """Directions of one writer's stories tried on another's, beside the same of the words."""
    rows = select(table, metric="writer_auroc")
    down, across = (list(dict.fromkeys(column(rows, name))) for name in ("fitted_on", "tested_on"))
    panels = [(name, own) for name, own in groups(rows, ["control"])]
    height = max(2.2, square_height(len(down)))
    figure, axes = facets(len(panels), columns=2, height=height, share=False)
    limit = max(float((rows["value"] - 0.5).abs().max()), 1e-9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        cells = matrix(
            column(own, "fitted_on"), column(own, "tested_on"), own["value"] - 0.5, down, across
        )
        heat(panel, cells, limit=limit)
        panel.set_title(label(name) if name else place(own))
        panel.set_xlabel("tried on")
        panel.set_ylabel("fitted on")
        name_square(panel, down)
    colour_bar(figure, axes, "AUROC less 0.5")
    explain(
        figure,
        title="Does it matter who wrote the stories?",
        caption="Fitted on half of the scenarios of one writer, tried on the other half of "
        "another's. Beside it the words, by the same steps.",
        rows=rows,
        unit="stories",
    )
    return figure


@styled
def circumplex_map(table: pd.DataFrame) -> Figure:
    """The emotions on the first two axes of their directions, coloured by people's ratings of their
    valence (grey: none).
    """
    rows = with_values(select(table, metric="axis_place"))
    panels = groups(rows, ["layer"])
    figure, axes = facets(len(panels), columns=2, height=3.6, share=False)
    known = numbers(rows, "valence")
    middle = float((known.min() + known.max()) / 2)
    limit = max(float((known - middle).abs().max()), 1e-9)
    norm = mpl.colors.Normalize(middle - limit, middle + limit)
    colours = mpl.colormaps["RdBu"].with_extremes(bad="#b0b0b0")
    for panel, (_, own) in zip(axes, panels, strict=True):
        names = list(dict.fromkeys(column(own, "emotion")))
        axis = numbers(own, "axis").map(whole)
        at = matrix(column(own, "emotion"), axis, own["value"], names, ["1", "2"])
        first = own[axis == "1"].set_index("emotion")
        valence = numbers(first, "valence").reindex(names).to_numpy()
        seen = np.ma.masked_invalid(valence)
        panel.scatter(
            at["1"], at["2"], c=seen, cmap=colours, norm=norm, s=28, edgecolors=GREY,
            linewidths=0.5, plotnonfinite=True,
        )  # fmt: skip
        name_dots(panel, at.iloc[far_apart(at.to_numpy())])
        for line in (panel.axhline, panel.axvline):
            line(0.0, color=GREY, linewidth=0.6, zorder=0)
        panel.margins(0.18)
        panel.set_title(place(own) if word(own, "site") else "the words")
        panel.set_xlabel(_axis_told(table, own, "1"))
        panel.set_ylabel(_axis_told(table, own, "2"))
    if not known.isna().all():
        mappable = mpl.cm.ScalarMappable(norm, colours)
        figure.colorbar(
            mappable, ax=axes, shrink=0.7, aspect=30, pad=0.02, label="valence (people)"
        )
    explain(
        figure,
        title="The circumplex: where the emotions lie",
        caption="The first two principal axes of the emotions' directions, from products of "
        "different parts of the stories, with the share of the variance that other parts repeat. "
        "From the outermost inwards emotions bear their names, where there is room. An axis' sign "
        "means nothing.",
        rows=rows,
        unit="stories",
    )
    return figure


def far_apart(dots: Float[np.ndarray, "emotion axis"]) -> list[int]:
    """The dots that can bear a name, from the outermost inwards: none stands where the name of
    another one is written.
    """
    size = np.ptp(dots, axis=0).clip(min=1e-12)
    kept: list[int] = []
    for at in np.argsort(-np.hypot(*(dots / size).T), kind="stable").tolist():
        away = np.abs(dots[kept] - dots[at]) / size
        if not (away < _ROOM).all(axis=1).any():
            kept.append(at)
    return kept


def _axis_told(table: pd.DataFrame, own: pd.DataFrame, axis: str) -> str:
    same = {"control": word(own, "control"), "layer": word(own, "layer")}
    share = select(table, metric="explained", axis=axis, **same)
    return f"axis {axis}: {decimals(numeral(share, 'value'), 2)} of the variance"


@styled
def circumplex_ratings(table: pd.DataFrame) -> Figure:
    """How the first two axes follow people's ratings, a panel per depth, beside the words."""
    rows = select(table, metric="axis_rating")
    panels = groups(rows, ["layer"])
    names = list(dict.fromkeys(column(rows, "reference")))
    figure, axes = facets(len(panels), columns=2, height=1.6, share=False)
    for panel, (_, own) in zip(axes, panels, strict=True):
        axis = numbers(own, "axis").map(whole)
        cells = matrix(axis, column(own, "reference"), own["value"], ["1", "2"], names)
        p = matrix(axis, column(own, "reference"), numbers(own, "p_max_t"), ["1", "2"], names)
        heat(panel, cells, limit=1.0, unsure=(p > 0.05).to_numpy())
        panel.set_title(place(own) if word(own, "site") else "the words")
        panel.set_ylabel("axis")
    colour_bar(figure, axes, "correlation")
    explain(
        figure,
        title="Do the axes follow valence and arousal?",
        caption="Correlation over the rated emotions with people's ratings of their words. In "
        "brackets: p above .05, where the ratings change places among the emotions, for both axes "
        "and all ratings together.",
        rows=rows,
        unit="emotions",
    )
    return figure
