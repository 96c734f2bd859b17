"""Figures of a map of sites: where the emotions are the same vectors."""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.formatting import whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import column, matrix, numbers, select
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

_MOST_HIGH = 6.5
"""Inches that a matrix of many sites may be high."""


@styled
def site_similarity(table: pd.DataFrame) -> Figure:
    """How alike the emotions' means are at each two sites, in the order of the model's sites."""
    rows = select(table, metric="site_cosine")
    names, cells = _site_cells(rows)
    figure, axes = facets(1, columns=1, height=min(0.22 * len(names) + 1.5, _MOST_HIGH), width=6.8)
    heat(axes[0], cells, limit=1.0)
    axes[0].set_title(f"{len(names)} sites")
    colour_bar(figure, axes, "cosine")
    explain(
        figure,
        title="Are the emotions' directions the same from site to site?",
        caption="The cosine of all emotions' means (less their grand mean) at two sites, taken "
        "together and corrected for unreliability. Grey: emotions that other scenarios do not "
        "repeat there.",
        rows=rows,
        unit="pairs",
    )
    return figure


def _site_cells(rows: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    down = _site_names(rows, "site", "layer")
    across = _site_names(rows, "other_site", "other_layer")
    names = list(dict.fromkeys(down))
    return names, matrix(down, across, rows["value"], names, names)


def _site_names(rows: pd.DataFrame, site: str, layer: str) -> "pd.Series[str]":
    short = column(rows, site).str.removesuffix("_out")
    return short + " " + numbers(rows, layer).map(whole)


@styled
def adjacent_similarity(table: pd.DataFrame) -> Figure:
    """How alike the emotions' means are at neighbouring sites, by layer."""
    rows = select(table, metric="site_cosine")
    figure, axes = facets(1, columns=1, height=2.8, width=7.0)
    drawn = _neighbours(rows)
    for at, (text, own) in enumerate(drawn.items()):
        curve(axes[0], own, x="layer", look=look(at), text=text)
    if not drawn:
        told = "no two neighbouring sites were captured"
        axes[0].text(0.5, 0.5, told, ha="center", transform=axes[0].transAxes)
    chance(axes[0], 0.0, "unrelated 0")
    layer_ticks(axes[0])
    outer_labels(figure, axes, x="layer", y="cosine")
    key(figure)
    explain(
        figure,
        title="How alike neighbouring sites are",
        caption="The cosine of all emotions' means (less their grand mean) at two neighbouring "
        "sites, corrected for unreliability.",
        rows=rows,
        unit="pairs",
    )
    return figure


def _neighbours(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of sites that follow each other: attention and MLP of a layer, an MLP and the next
    layer's attention, the stream behind two layers; only those that were measured.
    """
    layer, other = (numbers(rows, name) for name in ("layer", "other_layer"))
    a, b = column(rows, "site"), column(rows, "other_site")
    same, onward = layer == other, other == layer + 1
    found = {
        "attn_out, mlp_out": rows[same & (a == "attn_out") & (b == "mlp_out")],
        "mlp_out, next attn_out": rows[onward & (a == "mlp_out") & (b == "attn_out")],
        "resid_post, next layer's": rows[onward & (a == "resid_post") & (b == "resid_post")],
    }
    return {text: own for text, own in found.items() if len(own)}
