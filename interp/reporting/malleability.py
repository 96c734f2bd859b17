"""Malleability: its figure, and what may be said of it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import number_of, p_of
from interp.reporting.formatting import p_value
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import column, holds, matrix, measured, numbers, select
from interp.reporting.style import explain, facets, styled

_MATCHED, _OWN_TEXT, _OWN_PROMPT, _EMOTIONAL = "matched", "own_text", "own_prompt", "emotional"
_PANELS = {("shift", ""): "shift", ("shift", _MATCHED): "matched prompt: the control"}
_OWN = {
    Verdict.FOUND: "A system prompt of an emotion shifts what is read at the text's end towards "
    "that emotion, more than towards the others",
    Verdict.NOT_FOUND: "That a system prompt of an emotion shifts what is read at the text's end "
    "towards that emotion, more than towards the others, is not found",
    Verdict.INVERTED: "A system prompt of an emotion shifts what is read at the text's end away "
    "from that emotion",
    Verdict.CANNOT_SAY: "Whether a system prompt of an emotion shifts what is read cannot be said",
}
_CALM = {
    Verdict.FOUND: "A calm system prompt raises the reading of the text's own emotion",
    Verdict.NOT_FOUND: "That a calm system prompt changes the reading of the text's own emotion is "
    "not found",
    Verdict.INVERTED: "A calm system prompt lowers the reading of the text's own emotion",
    Verdict.CANNOT_SAY: "Whether a calm system prompt changes the reading cannot be said",
}


def told_of_malleability(table: pd.DataFrame) -> list[str]:
    """What may be said, each with its number: of the prompts that ask for an emotion (where there
    are such prompts for all directions), and of calm ones.
    """
    said = []
    if holds(table, system=_EMOTIONAL):
        row = select(table, system=_EMOTIONAL, metric="specific")
        p, least = p_of(row, "p"), p_of(row, "least_p")
        verdict = decide(number_of(row), nothing=0.0, p=p, least_p=least)
        above = select(table, system=_EMOTIONAL, metric="shift_above", target=_OWN_PROMPT)
        told = "no p" if p is None else p_value(p)
        said.append(
            f"{_OWN[verdict]} (difference {measured(row)} natural lengths, {told}; towards its own "
            f"{measured(above)} above a prompt of like length that asks for nothing)."
        )
    calm = select(table, system="calm", metric="shift_above", target=_OWN_TEXT)
    said.append(
        f"{_CALM[decide(number_of(calm), nothing=0.0)]}, beside a prompt of like length that asks "
        f"for nothing (difference {measured(calm)} natural lengths)."
    )
    return said


@styled
def malleability_map(table: pd.DataFrame) -> Figure:
    """How far each system prompt shifts the reading along each direction, and beside it how far a
    prompt of like length does that asks for nothing.
    """
    rows = select(table, metric="shift")
    rows = rows[~column(rows, "system").isin([_EMOTIONAL])]
    systems = list(dict.fromkeys(column(rows, "system")))
    targets = list(dict.fromkeys(column(rows, "target")))
    figure, axes = facets(2, columns=2, height=0.3 * len(systems) + 1.3, share=False)
    parts = [rows[column(rows, "control") == control] for _, control in _PANELS]
    cells = [
        matrix(
            column(one, "system"), column(one, "target"), numbers(one, "value"), systems, targets
        )
        for one in parts
    ]
    limit = float(np.nanmax([np.abs(one.to_numpy()) for one in cells])) or 1.0
    for panel, one, title in zip(axes, cells, _PANELS.values(), strict=True):
        heat(panel, one.rename(columns={_OWN_TEXT: "the text's own"}), limit=limit)
        panel.set_title(title)
        panel.set_xlabel("direction")
    axes[0].set_ylabel("system prompt")
    colour_bar(figure, axes, "natural lengths")
    explain(
        figure,
        title="How far a system prompt shifts what is read at the end of the same text",
        caption="Against a neutral system prompt, means over wordings and texts. Right: prompts of "
        "like length that ask for nothing.",
        rows=parts[0],
        unit="texts",
    )
    return figure
