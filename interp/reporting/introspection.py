"""Introspection: its figures, and what may be said of it."""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.cell_maps import cell_maps, cell_of
from interp.reporting.decisions import Verdict, decide
from interp.reporting.dots import arm_offset, dots, names_down
from interp.reporting.finding import number_of
from interp.reporting.formatting import label
from interp.reporting.select import column, holds, measured, numeral, select
from interp.reporting.style import GREY, explain, facets, key, look, styled

_MAPS = {
    ("detected", ""): "says yes: do you notice one?",
    ("denied", ""): "says yes: can a stone swim?",
    ("identified", "name"): "names it when asked",
    ("identified", "unrelated"): "names it, asked otherwise",
    ("identified", "relabelled"): "gives its letter",
}
_ARMS = {
    "": "direction added",
    "random": "random direction added",
    "unsteered": "nothing added",
    "input": "content in the input",
}
_NOTICES = {
    Verdict.FOUND: "Adding an emotion's direction makes the model say that it notices a feeling, "
    "more than it makes it say yes to a question whose answer is no",
    Verdict.NOT_FOUND: "That the model notices an added direction is not found: it does not surely "
    "say yes more than to a question whose answer is no",
    Verdict.INVERTED: "Adding an emotion's direction makes the model say less that it notices a "
    "feeling, beside a question whose answer is no",
    Verdict.CANNOT_SAY: "Whether the model notices an added direction cannot be said",
}
_KNOWS = {
    Verdict.FOUND: "It tells which emotion was added by a letter that stands for another emotion "
    "in every text, which no push towards words does by itself",
    Verdict.NOT_FOUND: "That it knows which emotion was added is not found: by letters that stand "
    "for another emotion in every text, it is not surely right more often than by chance",
    Verdict.INVERTED: "By letters that stand for another emotion in every text, it is right less "
    "often than by chance about which emotion was added",
    Verdict.CANNOT_SAY: "Whether it knows which emotion was added cannot be said",
}


def said_of(table: pd.DataFrame) -> list[str]:
    """The two sentences that may be said, each with its number: whether the model notices what is
    added, and whether it knows what it is. Both are of the texts that chose nothing.
    """
    told = select(table, half="report")
    above = select(told, metric="detected_above")
    letters = select(told, metric="identified", target="relabelled", control="")
    nothing = 1 / numeral(letters, "choices")
    notices = _NOTICES[decide(number_of(above), nothing=0.0)]
    knows = _KNOWS[decide(number_of(letters), nothing=nothing)]
    name, other = (
        measured(select(told, metric="identified", target=target, control=""))
        for target in ("name", "unrelated")
    )
    return [
        f"{notices} (difference of the two rises, {measured(above)}).",
        f"{knows} ({measured(letters)}, chance {nothing:.3f}). By its name it gives the emotion in "
        f"{name} of the texts, and in {other} when something else is asked.",
    ]


@styled
def introspection_map(table: pd.DataFrame) -> Figure:
    """What the model says of an added direction, by layer and strength; the cell that was chosen is
    framed. Raises `DataError` for a table without trials.
    """
    tried = select(table, half="choose", control="")
    parts = [
        (name, _of(tried, metric, target), 1.0)
        for (metric, target), name in _MAPS.items()
        if not _of(tried, metric, target).empty
    ]
    told = select(table, half="report", metric="identified", target="relabelled", control="")
    figure = cell_maps(parts, cell_of(told), columns=3)
    explain(
        figure,
        title="What the model says of a direction that is added while it is asked",
        caption="Shares of the texts that choose. Framed: the layer and strength with the most "
        "right letters, where letters stand for other emotions in every text. On the other texts "
        f"that share is {measured(told)}; chance is {1 / numeral(told, 'choices'):.3f}.",
        rows=parts[0][1],
        unit="texts per cell",
    )
    return figure


@styled
def introspection_controls(table: pd.DataFrame) -> Figure:
    """Every answer beside its controls, on the texts that chose nothing: what is said under the
    directions, under random ones, with nothing added, and of the same content in the input.
    """
    told = select(table, half="report")
    figure, (panel,) = facets(1, columns=1, height=2.9)
    shown = [name for name in _MAPS if not _of(told, *name).empty]
    for place, (control, text) in enumerate(_ARMS.items()):
        mine = told[column(told, "control") == control]
        for down, name in enumerate(shown):
            row = _of(mine, *name)
            if row.empty:
                continue
            dots(panel, row.head(1), [down + arm_offset(place, len(_ARMS))], look(place), text=text)
    n = numeral(select(told, metric="identified", target="name", control=""), "choices")
    if holds(told, metric="text_only"):
        words = numeral(select(told, metric="text_only"), "value")
        panel.axvline(words, color=GREY, linestyle=":", label="words of the input, classified")
    panel.axvline(1 / n, color=GREY, linestyle=(0, (5, 3)), label="chance, of naming")
    names_down(panel, [label(_MAPS[name]) for name in shown])
    panel.set_xlim(-0.03, 1.03)
    panel.set_xlabel("share of texts")
    key(figure)
    explain(
        figure,
        title="Does the model notice what is added, or is it only pushed?",
        caption="Whiskers are 95 % intervals over scenarios. Each row has its control beside it: "
        "a stone cannot swim, so that whoever says yes there is pushed; and the emotion that is "
        "named when something else is asked was not noticed. Letters stand for other emotions in "
        "every text.",
        rows=told,
        unit="texts",
    )
    return figure


def _of(rows: pd.DataFrame, metric: str, target: str) -> pd.DataFrame:
    return rows[(column(rows, "metric") == metric) & (column(rows, "target") == target)]
