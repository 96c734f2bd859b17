"""Figures of framings and of doses of stress: what they do to the stream, and to the score."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.dots import dots, names_down
from interp.reporting.formatting import label, number, whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import column, groups, matrix, measured, numbers, numeral, select
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

_NOTHING = "neutral"
_NAMES = {
    "positive": "positive (EmotionPrompt)",
    "negative": "negative (NegativePrompt)",
    _NOTHING: "says nothing: the control",
}
_SCORES = {"accuracy": "accuracy", "margin": "margin (nats)"}
_BY_TASK = "by_task"
_FULL_AT = 0.95
"""The share of a scan's cells whose values lie inside its colours."""


@styled
def framing_norms(table: pd.DataFrame) -> Figure:
    """How far each framing moves the stream from calm, by layer, beside sentences that say
    nothing.
    """
    rows = select(table, metric="shift_square")
    figure, (panel,) = facets(1, columns=1, height=3.4)
    for place, (name, own) in enumerate(groups(rows, ["framing"])):
        curve(
            panel,
            own,
            x="layer",
            look=look(place)._replace(faint=name != _NOTHING),
            text=_NAMES.get(name, name),
            line="--" if name == _NOTHING else "-",
        )
    panel.axhline(0.0, color=GREY, linewidth=0.8)
    layer_ticks(panel)
    panel.set_xlabel("layer")
    panel.set_ylabel("squared shift / squared norm")
    key(figure)
    explain(
        figure,
        title="How far a framing moves the stream from calm",
        caption="Behind the same tasks. Squared length of the mean difference without what single "
        "wordings add: 0 where wordings have nothing in common. Band: 95 % interval over wordings.",
        rows=rows,
        unit="wordings",
    )
    return figure


@styled
def framing_scan(table: pd.DataFrame) -> Figure:
    """How far stress framings move the stream from calm, by layer and token: along the framing, and
    at the last tokens of the task; beside sentences that say nothing, and less these.
    """
    scan = select(table, metric="scan")
    parts = {
        "stress framings, mean": scan[column(scan, "control") == ""],
        "says nothing: the control": scan[column(scan, "control") == _NOTHING],
        "stress less the control": select(table, metric="scan_above"),
    }
    layers = sorted(set(numbers(scan, "layer")), reverse=True)
    figure, axes = facets(3, columns=3, height=0.16 * len(layers) + 1.8, width=11.0, share=False)
    sizes = np.concatenate([rows["value"].abs() for rows in parts.values()])
    limit = float(np.quantile(sizes, _FULL_AT)) or 1.0
    for panel, (name, rows) in zip(axes, parts.items(), strict=True):
        tokens = rows.apply(_token, axis=1)
        order = list(dict.fromkeys(tokens))
        cells = matrix(numbers(rows, "layer"), tokens, rows["value"], layers, order)
        cells = cells.rename(index=whole)
        heat(panel, cells, limit=limit, written=False)
        panel.set_title(name)
        panel.set_xlabel("of the framing, then last tokens")
    _mark_sure(axes[2], parts["stress less the control"], layers)
    axes[0].set_ylabel("layer")
    colour_bar(figure, axes, "squared shift / squared norm")
    explain(
        figure,
        title="Does stress move the stream from calm, and where? By layer and token",
        caption="Pressure, urgency, shame and threat, without what single wordings add. The last "
        "tokens are those of the task, the same words behind all framings. Dots: the 95 % interval "
        "over wordings lies above 0 in that cell, taken alone. Colours are full at the 95th "
        "percentile of the cells: single tokens have a norm many times that of others.",
        rows=scan,
        unit="wordings",
    )
    return figure


def _token(row: "pd.Series[Any]") -> str:
    """What a column of the scan is called."""
    part = float(row["part"])
    return whole(float(row["offset"])) if part != part else f"{100 * part:.0f} %"


def _mark_sure(panel: Axes, rows: pd.DataFrame, layers: list[float]) -> None:
    """A dot in each cell whose interval lies above zero."""
    tokens = list(dict.fromkeys(_token(row) for _, row in rows.iterrows()))
    for _, row in rows[numbers(rows, "ci_low") > 0].iterrows():
        place = tokens.index(_token(row)), layers.index(float(row["layer"]))
        panel.plot(*place, ".", color="black", markersize=3)


@styled
def framing_axes(table: pd.DataFrame) -> Figure:
    """Where the framings lie on their first two principal axes, calm among them."""
    rows = select(table, metric="axis")
    told = {one: select(table, metric="explained", target=one) for one in ("axis 1", "axis 2")}
    first, second = (rows[column(rows, "target") == one] for one in told)
    figure, (panel,) = facets(1, columns=1, height=3.6)
    for place, name in enumerate(column(first, "framing")):
        x, y = (numeral(select(one, framing=name), "value") for one in (first, second))
        shape = look(place)
        panel.plot(x, y, shape.marker, color=shape.colour, label=label(_NAMES.get(name, name)))
    across, up = (
        f"{axis}: {number(100 * numeral(row, 'value'))} % explained" for axis, row in told.items()
    )
    panel.set_xlabel(across)
    panel.set_ylabel(up)
    key(figure)
    explain(
        figure,
        title="Principal axes of the framings' means",
        caption="In shares of the stream's norm, at the layer of the directions. The axes explain "
        f"{measured(told['axis 1'])} and {measured(told['axis 2'])} of what wordings repeat. "
        "Places have no interval.",
        rows=rows,
        unit="wordings",
    )
    return figure


@styled
def framing_cosines(table: pd.DataFrame) -> Figure:
    """The cosines of the framings' mean differences from calm."""
    rows = select(table, metric="cosine")
    names = list(dict.fromkeys(column(rows, "framing")))
    cells = matrix(
        column(rows, "framing"), column(rows, "target"), numbers(rows, "value"), names, names
    )
    np.fill_diagonal(filled := cells.to_numpy().copy(), 1.0)
    figure, axes = facets(1, columns=1, height=0.28 * len(names) + 1.4, width=6.4, share=False)
    heat(axes[0], pd.DataFrame(filled, index=names, columns=names), limit=1.0)
    colour_bar(figure, axes, "cosine")
    explain(
        figure,
        title="How alike the framings' shifts from calm are",
        caption="Cosines from products of different wordings. All share what sets calm apart; the "
        "row of sentences that say nothing (neutral) shows how much that is.",
        rows=rows,
        unit="wordings",
    )
    return figure


@styled
def framing_scores(table: pd.DataFrame) -> Figure:
    """How well the tasks are done behind each framing: accuracy, and the margin of the answer."""
    rows = select(table, metric="accuracy", method="framings")
    names = list(dict.fromkeys(column(rows, "framing")))
    figure, axes = facets(2, columns=2, height=0.26 * len(names) + 1.2, share=False)
    for panel, (metric, title) in zip(axes, _SCORES.items(), strict=True):
        of = select(table, metric=metric, method="framings")
        of = of[column(of, "control") != _BY_TASK]
        for down, name in enumerate(names):
            shape = look(1 if name == _NOTHING else 0)
            dots(panel, select(of, framing=name), [down], shape)
        at = 0.5 if metric == "accuracy" else 0.0
        panel.axvline(at, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
        names_down(panel, [label(_NAMES.get(one, one)) for one in names])
        panel.set_xlabel(title)
    explain(
        figure,
        title="How well easy tasks are done behind a framing",
        caption="The same tasks behind all. Whiskers are 95 % intervals over the framing's "
        "wordings; dashed: chance.",
        rows=rows,
        unit="answers",
    )
    return figure


@styled
def stress_doses(table: pd.DataFrame) -> Figure:
    """Accuracy, margin, and the reading along each direction, against the dose of stress."""
    rows = select(table, method="stress_dose", metric=("accuracy", "margin", "reading"))
    figure, axes = facets(3, columns=3, height=3.0, share=False)
    for panel, (metric, title) in zip(axes, _SCORES.items(), strict=False):
        curve(panel, select(rows, metric=metric), x="dose", look=look(0), text="mean of a level")
        if metric == "accuracy":
            chance(panel, 0.5, "chance 0.5")
        _mark_turn(panel, table, metric)
        panel.set_ylabel(title)
    for place, (name, own) in enumerate(groups(select(rows, metric="reading"), ["target"])):
        curve(axes[2], own, x="dose", look=look(place)._replace(faint=True), text=name)
    axes[2].set_ylabel(f"natural lengths above level {whole(float(numbers(rows, 'dose').min()))}")
    for panel in axes:
        layer_ticks(panel)
        panel.set_xlabel("level of stress")
    key(figure)
    explain(
        figure,
        title="Tasks and readings behind doses of stress",
        caption="Bands are 95 % intervals over the statements of a level. Grey: where the second "
        "of two lines begins, chosen on every other statement; both are told of the rest.",
        rows=rows,
        unit="answers or statements",
    )
    return figure


def _mark_turn(panel: Axes, table: pd.DataFrame, metric: str) -> None:
    row = select(table, metric="inverted_u", target=metric)
    turn = numeral(row, "turn")
    panel.axvline(turn, color=GREY, linewidth=1, label="turn of the two lines")
    panel.set_title(f"two lines turn at {whole(turn)}")
