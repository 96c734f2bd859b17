"""Figures of the emotions' geometry: distances beside theories, maps, cosines, clusters."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import decimals, label, number, p_value, whole
from interp.reporting.many import square_height
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    best,
    column,
    groups,
    holds,
    matrix,
    numbers,
    place,
    select,
    square,
    with_values,
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

MOST_NAMED = 40
"""Emotions of a map that have their names beside them."""


@styled
def rsa_curves(table: pd.DataFrame) -> Figure:
    """How well the emotions' distances fit each reference, by layer, beside the words; a panel per
    reference.
    """
    rows = select(table, metric="rsa")
    model = select(rows, control="")
    panels = groups(model, ["reference"])
    figure, axes = facets(len(panels), columns=columns_for(len(panels)), height=2.3)
    for panel, (name, own) in zip(axes, panels, strict=True):
        curve(panel, own, x="layer", look=look(0), text="model")
        chance(panel, 0.0, "nothing 0")
        words = rows[(column(rows, "control") != "") & (column(rows, "reference") == name)]
        if words["value"].notna().any():
            top = best(words)
            panel.axhline(
                float(top["value"].iloc[0]),
                color="black",
                linestyle=":",
                label="best text baseline",
            )
        panel.set_title(label(name) + _least_p(own))
        layer_ticks(panel)
    outer_labels(figure, axes, x="layer", y="correlation of distances")
    key(figure)
    explain(
        figure,
        title="Are emotions near in the model that are near in theory, or by people's ratings?",
        caption="Squared distances, cross-validated over scenarios, against the reference's. The "
        "band is a 95 % interval over scenarios. Dotted: the words alone, by the text baseline "
        "that fits best.",
        rows=model,
        unit="pairs",
    )
    return figure


def _least_p(rows: pd.DataFrame) -> str:
    p = numbers(rows, "p")
    return "" if p.isna().all() else f", least {p_value(float(p.min()))}"


@styled
def emotion_map(table: pd.DataFrame) -> Figure:
    """Where the emotions lie on the first two principal axes of their means, a panel per depth."""
    rows = with_values(select(table, metric="axis_place"))
    panels = groups(rows, ["layer"])
    figure, axes = facets(len(panels), columns=3, height=3.0, share=False)
    for panel, (_, own) in zip(axes, panels, strict=True):
        names = list(dict.fromkeys(column(own, "emotion")))
        axis = numbers(own, "axis").map(whole)
        at = matrix(column(own, "emotion"), axis, own["value"], names, ["1", "2"])
        few = len(names) <= MOST_NAMED
        for number_, (x, y) in enumerate(at.to_numpy()):
            seen = look(number_ if few else 0)
            panel.plot(x, y, seen.marker, color=seen.colour, markersize=5)
        if few:
            name_dots(panel, at)
        for line in (panel.axhline, panel.axvline):
            line(0.0, color=GREY, linewidth=0.6, zorder=0)
        panel.margins(0.22)
        panel.set_title(place(own))
        panel.set_xlabel(_axis_name(table, own, "1"))
        panel.set_ylabel(_axis_name(table, own, "2"))
    explain(
        figure,
        title="Where the emotions lie to each other",
        caption="The first two principal axes of the emotions' means less their grand mean, in "
        "units of the noise; with each axis the share of the variance that other scenarios "
        "repeat. An axis' sign means nothing.",
        rows=rows,
        unit="pairs",
    )
    return figure


def name_dots(panel: Axes, at: pd.DataFrame) -> None:
    """The name of each dot, on the side that is away from the dot next to it."""
    dots = at.to_numpy()
    apart = (dots[:, None] - dots) / np.ptp(dots, axis=0).clip(min=1e-12)
    far = np.hypot(*apart.T).T + np.where(np.eye(len(dots)) == 1, np.inf, 0.0)
    for name, dot, away in zip(
        at.index, dots, apart[np.arange(len(dots)), far.argmin(axis=1)], strict=True
    ):
        right, up = away >= 0
        panel.annotate(
            label(str(name)),
            (dot[0], dot[1]),
            (3 if right else -3, 3 if up else -3),
            textcoords="offset points",
            ha="left" if right else "right",
            va="bottom" if up else "top",
            fontsize=7.5,
        )


def _axis_name(table: pd.DataFrame, own: pd.DataFrame, axis: str) -> str:
    layer = whole(float(own["layer"].iloc[0]))
    share = select(table, metric="explained", layer=layer, axis=axis)
    return f"axis {axis}: {decimals(float(share['value'].iloc[0]), 2)} of the variance"


@styled
def axis_ratings(table: pd.DataFrame) -> Figure:
    """How the first two axes follow people's ratings of the emotions' words, a panel per depth."""
    rows = select(table, metric="axis_rating")
    panels = groups(rows, ["layer"])
    figure, axes = facets(len(panels), columns=3, height=1.6, share=False)
    names = list(dict.fromkeys(column(rows, "reference")))
    for panel, (_, own) in zip(axes, panels, strict=True):
        axis = numbers(own, "axis").map(whole)
        cells = matrix(axis, column(own, "reference"), own["value"], ["1", "2"], names)
        p = matrix(axis, column(own, "reference"), numbers(own, "p_max_t"), ["1", "2"], names)
        heat(panel, cells, limit=1.0, unsure=(p > 0.05).to_numpy())
        panel.set_title(place(own))
        panel.set_ylabel("axis")
    colour_bar(figure, axes, "correlation")
    explain(
        figure,
        title="Do the axes follow valence, arousal or dominance?",
        caption="Correlation over the emotions with people's ratings of their words. In brackets: "
        "p above .05, where the emotions change places, for both axes and all ratings together.",
        rows=rows,
        unit="pairs",
    )
    return figure


@styled
def emotion_similarity(table: pd.DataFrame) -> Figure:
    """Cosines between the emotions' means less their grand mean, at the deepest of the mapped
    layers; emotions in the order in which they go round on the map.
    """
    rows = deepest(select(table, metric="centred_cosine"))
    names = _round_order(table, rows)
    figure, axes = facets(1, columns=1, height=square_height(len(names)), width=6.4)
    heat(axes[0], square(rows, names), limit=1.0)
    others = rows[column(rows, "emotion") != column(rows, "target")]["value"].mean()
    axes[0].set_title(f"{place(rows)}, mean off the diagonal {number(float(others))}")
    colour_bar(figure, axes, "cosine")
    explain(
        figure,
        title="How alike the emotions are",
        caption="Cosines of the means less their grand mean, corrected for unreliability. Centring "
        f"alone forces a mean of about {-1 / max(len(names) - 1, 1):.3f} on {len(names)} "
        "emotions. Grey: a mean that other scenarios do not repeat.",
        rows=rows,
        unit="pairs",
    )
    return figure


def deepest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the deepest layer among them."""
    layer = numbers(rows, "layer")
    return rows[layer == layer.max()]


def _round_order(table: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """The emotions of the rows' layer by their angle on its map; as they come, where there is
    none.
    """
    layer = whole(float(rows["layer"].iloc[0]))
    every = select(table, metric="reliability", layer=layer)
    names = list(dict.fromkeys(column(every, "emotion")))
    if not holds(table, metric="axis_place", layer=layer):
        return names
    own = select(table, metric="axis_place", layer=layer)
    axis = numbers(own, "axis").map(whole)
    at = matrix(column(own, "emotion"), axis, own["value"], names, ["1", "2"]).to_numpy()
    angle = np.arctan2(at[:, 1], at[:, 0])
    return [names[place_] for place_ in np.argsort(angle, kind="stable")]


@styled
def silhouettes(table: pd.DataFrame) -> Figure:
    """Whether texts lie with those of their emotion, of their arm or of their scenario, by
    layer.
    """
    rows = select(table, metric="silhouette")
    model = select(rows, control="")
    figure, axes = facets(1, columns=1, height=2.8, width=7.0)
    for at, (name, own) in enumerate(groups(model, ["by"])):
        curve(axes[0], own, x="layer", look=look(at), text=f"by {name}")
        _best_words(axes[0], rows, name, COLOURS[at])
    chance(axes[0], 0.0, "no clusters 0")
    layer_ticks(axes[0])
    outer_labels(figure, axes, x="layer", y="mean silhouette")
    key(figure)
    explain(
        figure,
        title="Do the texts cluster by emotion, by arm or by scenario?",
        caption="Mean silhouette of all texts that evoke an emotion; above zero texts lie nearer "
        "to their own kind than to the nearest other one. Dotted: the words alone, by the text "
        "baseline that does so most. Bands are 95 % intervals over scenarios.",
        rows=model,
        unit="texts",
    )
    return figure


def _best_words(panel: Axes, rows: pd.DataFrame, by: str, colour: str) -> None:
    wanted = rows[(column(rows, "control") != "") & (column(rows, "by") == by)]
    if wanted["value"].notna().any():
        top = float(best(wanted)["value"].iloc[0])
        panel.axhline(top, color=colour, linestyle=":", linewidth=1.1, label=f"words, by {by}")


def best_fit(table: pd.DataFrame, reference: str) -> pd.DataFrame | None:
    """The row of the text baseline whose distances fit a reference best; None where none was
    measured.
    """
    if not holds(table, metric="rsa", reference=reference):
        return None
    rows = select(table, metric="rsa", reference=reference)
    rows = rows[column(rows, "control") != ""]
    return best(rows) if rows["value"].notna().any() else None
