"""Circuits: their figures, what may be said of them, and what to doubt."""

import math
from collections.abc import Iterator

import pandas as pd

from interp.chance import sign_flip
from interp.reporting.circuits import (
    circuit_allocation,
    circuit_drawing,
    circuit_overlap,
    faithfulness_curve,
    influence_by_depth,
)
from interp.reporting.decisions import NONE, Verdict, decide
from interp.reporting.finding import (
    Caution,
    Compared,
    Finding,
    claim,
    number_of,
    p_of,
    rivals_of,
    told_p,
)
from interp.reporting.formatting import p_value
from interp.reporting.section import Drawing, Section
from interp.reporting.sections.ablation import drawn
from interp.reporting.select import POOLED, column, holds, measured, parts, select, word
from interp.reporting.specificity import FEWEST_SIGNS

_OF = "of what the model does to the emotion's words"
_HOW = "(difference of the shares; {whose})"
_SENTENCES = {
    Verdict.FOUND: f"Kept alone, the circuits hold more {_OF} than random circuits of the same "
    f"layers do {_HOW}.",
    Verdict.NOT_FOUND: f"Kept alone, the circuits are not found to hold more {_OF} than random "
    f"circuits of the same layers do {_HOW}.",
    Verdict.INVERTED: f"Kept alone, the circuits hold less {_OF} than random circuits of the same "
    f"layers do {_HOW}.",
    Verdict.CANNOT_SAY: f"Whether the circuits, kept alone, hold more {_OF} than random circuits "
    f"of the same layers do cannot be said {_HOW}.",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Whether the circuits hold more than random ones, on scenarios that did not choose them: of
    all emotions together, or of the one there is.

    Where the model as a whole does not surely do anything, there are no shares, and nothing can be
    said.
    """
    effects = select(table, metric="effect", outcome="words")
    pooled = holds(effects, emotion=POOLED)
    effect = select(effects, emotion=POOLED) if pooled else effects.iloc[:1]
    emotion = word(effect, "emotion")
    mine = table[(column(table, "outcome") == "words") & (column(table, "emotion") == emotion)]
    n = len(set(column(effects, "emotion")) - set(POOLED))
    whose = f"all {n} emotions together" if pooled else emotion
    if not holds(mine, metric="above_random"):
        row = effect.assign(value=math.nan, ci_low=math.nan, ci_high=math.nan)
        compared = [("what the whole model does, nats", measured(effect))]
        verdict = decide(NONE, nothing=0.0)
        return [claim("circuit", _WHAT, verdict, row, _SENTENCES, compared=compared, whose=whose)]
    row = select(mine, metric="above_random")
    p, signs = p_of(row, "p"), _by_signs(table)
    gated = p if p is None else max(p, signs or 0.0)
    verdict = decide(number_of(row), nothing=0.0, p=gated, least_p=p_of(row, "least_p"))
    told = {"p": p, "gate": signs or 0.0, "whose": whose, "compared": _beside(table, mine, row)}
    if signs is not None:
        told["compared"].append(("signs of the emotions flipped", p_value(signs)))
    random = select(mine, metric="circuit_faithfulness", control="random")
    told["rivals"] = rivals_of(("random", "random circuits", random))
    return [claim("circuit", _WHAT, verdict, row, _SENTENCES, **told)]


_WHAT = "the circuits hold more of the emotions' words than random circuits of the same layers"


def _by_signs(table: pd.DataFrame) -> float | None:
    """One-sided p that the circuits hold no more than random ones, by flipping the signs of the
    emotions; None below `FEWEST_SIGNS`.
    """
    rows = table[~column(table, "emotion").isin(POOLED)]
    if not holds(rows, metric="above_random", outcome="words"):
        return None
    further = select(rows, metric="above_random", outcome="words")["value"].dropna().to_numpy()
    return None if len(further) < FEWEST_SIGNS else sign_flip(further, side="above")


_NAMES = {
    "": "circuits",
    "random": "random circuits of the same layers",
    "single": "as many parts, chosen by ablating each alone",
}


def _beside(table: pd.DataFrame, mine: pd.DataFrame, row: pd.DataFrame) -> Compared:
    """What the circuits hold, random ones, and others; and the curves' areas."""
    found: Compared = []
    for metric, name in (("circuit_faithfulness", "share held"), ("cpr", "CPR")):
        for control, whose in _NAMES.items():
            if holds(mine, metric=metric, control=control):
                value = drawn(select(mine, metric=metric, control=control))
                found.append((f"{name}, {whose}", value))
    if holds(mine, metric="left_without"):
        found.append(("left without them", measured(select(mine, metric="left_without"))))
    emotion = word(row, "emotion")
    asked = {"metric": "circuit_faithfulness", "outcome": "projection", "control": ""}
    if holds(table, emotion=emotion, **asked):
        other = select(table, emotion=emotion, **asked)
        found.append(("share of the projection, which chose them", measured(other)))
    p = p_of(row, "p")
    return found + ([] if p is None else [("against random circuits", told_p(row, p))])


FAITHFUL = 0.5
"""A circuit that surely holds less of the effect than this is told not to be the mechanism."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Circuits that do not suffice, that are not complete, or that a plainer choice beats."""
    words = table[column(table, "outcome") == "words"]
    for emotion, rows in parts(words, "emotion", metric="circuit_faithfulness", control=""):
        whose = "the circuits of all emotions" if emotion in POOLED else f"the circuit of {emotion}"
        if emotion not in POOLED and holds(words, emotion=POOLED, metric="circuit_faithfulness"):
            continue
        if number_of(rows).high < FAITHFUL:
            text = (
                f"{whose} alone hold {measured(rows)} of what the model does to the words: most of "
                "it runs elsewhere."
            )
            yield Caution("circuit", text)
        mine = words[column(words, "emotion") == emotion]
        if holds(mine, metric="left_without"):
            left = select(mine, metric="left_without")
            if number_of(left).low > 1 - FAITHFUL:
                text = f"without {whose} {measured(left)} is left: other parts do the same."
                yield Caution("circuit", text)
        if holds(mine, metric="circuit_faithfulness", control="single"):
            single = select(mine, metric="circuit_faithfulness", control="single")
            if number_of(single).low > number_of(rows).high:
                text = (
                    f"as many parts, chosen by ablating each alone, hold {measured(single)}, "
                    f"{whose} {measured(rows)}: what is ranked by contributions is not the best."
                )
                yield Caution("circuit", text)


SECTION = Section(
    name="circuit",
    title="Circuits: do a few heads and neurons suffice?",
    question=(
        "Heads and neurons are chosen by what they push along their layer's direction, layers by "
        "how far that reaches the end of the model. On other scenarios everything else is put to "
        "what it is in the neutral twin, and the emotion's words are asked for."
    ),
    metrics=("circuit_faithfulness", "cpr"),
    per=("emotion", "outcome", "control"),
    figures=(
        Drawing(
            faithfulness_curve,
            reading=(
                "1 is the whole model, 0 what is left without any part. Only where the solid line "
                "lies above the dotted range does the choice of parts matter; the dashed line is a "
                "plainer choice of as many."
            ),
            needs={"metric": "faithfulness"},
        ),
        Drawing(
            circuit_drawing,
            reading="Large marks carry most. What was chosen is not yet what suffices: see above.",
            needs={"metric": "weight"},
        ),
        Drawing(
            influence_by_depth,
            reading=(
                "High where what is put in reaches the end of the model. Every layer's direction "
                "is its own."
            ),
        ),
        Drawing(
            circuit_allocation,
            reading="Each row is shared out by the influence above.",
        ),
        Drawing(
            circuit_overlap,
            reading=(
                "Without brackets: more in common than random circuits of the same layers. Loud "
                "parts, which every text moves, are shared as well."
            ),
            needs={"metric": "overlap"},
        ),
    ),
    findings=findings,
    cautions=cautions,
)
