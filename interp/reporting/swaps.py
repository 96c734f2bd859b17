"""Patches between emotions: their figure, and whether they move the answer to the very emotion."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide, opposite
from interp.reporting.finding import Finding, claim, number_of, p_of, rivals_of
from interp.reporting.formatting import decimals, whole
from interp.reporting.many import name_square, square_height
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    POOLED,
    beside,
    column,
    holds,
    measured,
    numbers,
    numeral,
    place,
    select,
    square,
    word,
    words_of,
)
from interp.reporting.style import explain, facets, outer_labels, styled

SWAPPED = "swap"
"""The way of patching that goes between emotions."""

MOST_MATRICES = 4
"""Matrices of a figure of swaps, at layers evenly spaced."""


@styled
def emotion_swaps(table: pd.DataFrame) -> Figure:
    """How often a text of one emotion, patched into a text of another, moves the answer to its own
    emotion: a matrix of source x target at up to four layers, of the stream where it was patched
    there, at the text's last token where it was.
    """
    rows = select(table, mode=SWAPPED, metric="success", control="")
    for name, preferred in (("site", "resid_post"), ("position", "last")):
        there = list(dict.fromkeys(column(rows, name)))
        rows = select(rows, **{name: preferred if preferred in there else there[0]})
    cells = rows[(column(rows, "target") != "all") & (column(rows, "emotion") != "all")]
    names = list(dict.fromkeys(column(cells, "emotion")))
    layers = sorted(set(numbers(cells, "layer")))
    spaced = np.linspace(0, len(layers) - 1, min(MOST_MATRICES, len(layers))).round().astype(int)
    figure, axes = facets(len(spaced), columns=2, height=square_height(len(names)))
    for panel, layer in zip(axes, (layers[at] for at in spaced), strict=True):
        own = cells[numbers(cells, "layer") == layer]
        heat(panel, square(own, names), limit=1.0)
        name_square(panel, names)
        panel.set_title(f"layer {whole(layer)}{_third(table, rows, layer)}")
    outer_labels(figure, axes, x="emotion of the patched text", y="emotion that is patched in")
    colour_bar(figure, axes, "share moved to the emotion patched in", least=0.0)
    explain(
        figure,
        title="Whether a patch between emotional texts moves the answer to its own emotion",
        caption=f"{word(rows, 'site')}, patched at: {word(rows, 'position')}. Of the texts whose "
        "answer was another emotion, the share whose answer becomes that of the text that the "
        "activation came from. An answer drawn at random would be it in "
        f"{decimals(numeral(rows, 'chance'), 2)}.{_copied(table, rows)} Grey: not patched.",
        rows=cells,
        unit="texts per cell",
    )
    return figure


def _copied(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    """How often everything at the position together moves the answer, as a sentence."""
    of = {"mode": SWAPPED, "metric": "copy_success", "emotion": "all", **words_of(rows, "position")}
    if not holds(table, **of):
        return ""
    return (
        f" All layers exchanged at once move {decimals(numeral(select(table, **of), 'value'), 2)}."
    )


def _third(table: pd.DataFrame, rows: pd.DataFrame, layer: float) -> str:
    """The mean success at a layer, and, where it was measured, how often a third emotion's text
    moves the answer there, too.
    """
    place = {"mode": SWAPPED, "metric": "success", **words_of(rows, "site", "position")}
    told = []
    for control, text in (("", "mean"), ("other_emotion", "a third emotion's text")):
        if holds(table, emotion="all", target="all", control=control, **place):
            found = select(table, emotion="all", target="all", control=control, **place)
            found = found[numbers(found, "layer") == layer]
            told += [f"{text} {decimals(float(found['value'].iloc[0]), 2)}"]
    return f": {', '.join(told)}" if told else ""


OWN_EMOTION = "patching between emotions moves the answer to the source's own emotion"
EMOTIONS_APART = "the readout tells texts of different emotions apart"
_NO_LEAD = {
    Verdict.NOT_FOUND: "The readout does not tell texts of one emotion from those of another, so "
    "there is nothing to move between them.",
    Verdict.INVERTED: "Texts of one emotion make its words less likely than texts of others do, so "
    "there is nothing to move between them.",
    Verdict.CANNOT_SAY: "Whether the readout tells texts of one emotion from those of another "
    "cannot be said: too few scenarios.",
}
_LEAD = (
    "the own words' lead over all third emotions ({over}; each fold of scenarios chose its site "
    "out of {n}, most often {place})"
)
_SWAPPED_IN = "The state at the last token of a text of one emotion, put into a text of another,"
_OF_A_SWAP = {
    Verdict.FOUND: f"{_SWAPPED_IN} brings this share of {_LEAD}.",
    Verdict.NOT_FOUND: f"{_SWAPPED_IN} is not found to bring {_LEAD}.",
    Verdict.INVERTED: f"{_SWAPPED_IN} moves the wrong way {_LEAD}.",
    Verdict.CANNOT_SAY: f"{_SWAPPED_IN}: what it moves of {_LEAD} has no interval.",
}


def between_emotions(table: pd.DataFrame) -> list[Finding]:
    """Whether a patch brings the emotion itself, or only what all emotions share: by the words of
    third emotions, which neither text is about.
    """
    if not holds(table, metric="total_effect_others"):
        return []
    if not holds(table, metric="restoration_others", emotion=POOLED, control=""):
        whole = select(table, metric="total_effect_others", emotion=POOLED)
        return [nothing_to_move(whole, EMOTIONS_APART, _NO_LEAD)]
    of = {"position": "last", "mode": SWAPPED, "emotion": POOLED}
    if not holds(table, metric="nested_restoration_others", **of):
        return []
    row = select(table, metric="nested_restoration_others", **of)
    control = beside(table, row, metric="restoration_others", control="random_source")
    third = beside(table, row, metric="restoration_others", control="other_emotion")
    effect = beside(
        table, row, metric="total_effect_others", position="", site="", layer="", control=""
    )
    named = (
        ("source", "another scenario's text of the same emotion", control),
        ("other", "a third emotion's text, same place", third),
    )
    compared = [(name, measured(found)) for _, name, found in named if found is not None]
    cells = select(table, metric="restoration_others", control="", **of)
    p = p_of(row, "p")
    return [
        claim(
            "patching",
            OWN_EMOTION,
            decide(number_of(row), nothing=0.0, p=p),
            row,
            _OF_A_SWAP,
            p=p,
            compared=compared,
            rivals=rivals_of(*named),
            about=SWAPPED,
            opened=gate_of(effect),
            over="all emotions",
            n=len(cells),
            place=place(row),
        )
    ]


def gate_of(effect: pd.DataFrame | None) -> float | None:
    """The p that there is a difference to restore at all; of all emotions together it is one test,
    of the surest of them it is corrected for their number.
    """
    if effect is None:
        return None
    return p_of(effect, "p" if word(effect, "emotion") in POOLED else "p_corrected")


def nothing_to_move(rows: pd.DataFrame, what: str, sentences: Mapping[Verdict, str]) -> Finding:
    """The finding of the first row, a total effect that is not as expected."""
    row = rows.iloc[[0]]
    known = {"inverted": Verdict.INVERTED, "too few": Verdict.CANNOT_SAY}
    verdict = known.get(word(row, "effect"), Verdict.NOT_FOUND)
    return Finding(
        stage="patching",
        what=what,
        verdict=verdict,
        sentence=sentences[verdict],
        p=p_of(row, "p_corrected"),
        p_below=opposite(p_of(row, "p")),
        otherwise=sentences[Verdict.NOT_FOUND],
        beside=(("difference (nats)", measured(row)),),
    )
