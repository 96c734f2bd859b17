"""Circuits: their figures, what may be said of them, and what to doubt."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
_HOW = "({where}; difference of the shares; {whose})"
_ALONE = {
    Verdict.FOUND: f"Kept alone, the circuits hold more {_OF} than random circuits of the same "
    f"layers do {_HOW}.",
    Verdict.NOT_FOUND: f"Kept alone, the circuits are not found to hold more {_OF} than random "
    f"circuits of the same layers do {_HOW}.",
    Verdict.INVERTED: f"Kept alone, the circuits hold less {_OF} than random circuits of the same "
    f"layers do {_HOW}.",
    Verdict.CANNOT_SAY: f"Whether the circuits, kept alone, hold more {_OF} than random circuits "
    f"of the same layers do cannot be said {_HOW}.",
}
_WITHOUT = {
    Verdict.FOUND: f"Without the circuits less is left {_OF} than without random circuits of the "
    f"same layers {_HOW}.",
    Verdict.NOT_FOUND: f"It is not found that less is left {_OF} without the circuits than without "
    f"random circuits of the same layers {_HOW}.",
    Verdict.INVERTED: f"Without the circuits more is left {_OF} than without random circuits of "
    f"the same layers {_HOW}.",
    Verdict.CANNOT_SAY: f"Whether less is left {_OF} without the circuits than without random "
    f"circuits of the same layers cannot be said {_HOW}.",
}


_GREEDY = {
    Verdict.FOUND: f"As many parts chosen greedily hold more {_OF} than the circuits do, so that "
    f"the circuits are not the best of their size {_HOW}.",
    Verdict.NOT_FOUND: f"As many parts chosen greedily are not found to hold more {_OF} than the "
    f"circuits do {_HOW}.",
    Verdict.INVERTED: f"As many parts chosen greedily hold less {_OF} than the circuits do {_HOW}.",
    Verdict.CANNOT_SAY: f"Whether as many parts chosen greedily hold more {_OF} than the circuits "
    f"do cannot be said {_HOW}.",
}


class _Asked(NamedTuple):
    """A question: the metric that answers it, the claim, its sentences, and what it is a
    difference of.
    """

    metric: str
    what: str
    sentences: Mapping[Verdict, str]
    of: str


_QUESTIONS = (
    _Asked(
        "above_random",
        "the circuits hold more of the emotions' words than random circuits of the same layers",
        _ALONE,
        "circuit_faithfulness",
    ),
    _Asked(
        "less_without",
        "without the circuits less is left of the emotions' words than without random circuits",
        _WITHOUT,
        "left_without",
    ),
)
_OF_GREEDY = _Asked(
    "below_greedy",
    "as many parts chosen greedily hold more of the emotions' words than the circuits",
    _GREEDY,
    "circuit_faithfulness",
)
"""Asked where optimal circuits stand beside the circuits."""

_REACHES = {"last": "at the text's last token", "all": "at all tokens"}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Whether the circuits suffice better than random ones, and are needed more, on scenarios that
    did not choose them: at the last token and at all; of all emotions together, or of the one there
    is.
    """
    words = table[column(table, "outcome") == "words"]
    found = []
    for reach, where in _REACHES.items():
        mine = words[column(words, "reach") == reach]
        if len(mine):
            found += [_finding(mine, asked, where) for asked in _QUESTIONS]
        if holds(mine, metric=_OF_GREEDY.metric):
            found.append(_finding(mine, _OF_GREEDY, where))
    return found


def _finding(table: pd.DataFrame, asked: _Asked, where: str) -> Finding:
    """The finding of one question at one reach. Where the model as a whole does not surely do
    anything there, there are no shares, and nothing can be said.
    """
    effects = select(table, metric="effect")
    pooled = holds(effects, emotion=POOLED)
    effect = select(effects, emotion=POOLED) if pooled else effects.iloc[:1]
    mine = table[column(table, "emotion") == word(effect, "emotion")]
    n = len(set(column(effects, "emotion")) - set(POOLED))
    told: dict[str, Any] = {
        "whose": f"all {n} emotions together" if pooled else word(effect, "emotion"),
        "where": where,
        "about": f"{asked.metric}, {word(effect, 'reach')}",
        "family": asked.metric,
    }
    what = _claimed(asked, where)
    if not holds(mine, metric=asked.metric):
        row = effect.assign(value=math.nan, ci_low=math.nan, ci_high=math.nan)
        told["compared"] = [("what the whole model does, nats", measured(effect))]
        verdict = decide(NONE, nothing=0.0)
        return claim("circuit", what, verdict, row, asked.sentences, **told)
    row = select(mine, metric=asked.metric)
    p, signs = p_of(row, "p"), _by_signs(table, asked.metric)
    gated = p if p is None else max(p, signs or 0.0)
    verdict = decide(number_of(row), nothing=0.0, p=gated, least_p=p_of(row, "least_p"))
    told |= {"p": p, "gate": signs or 0.0, "compared": _beside(mine, row, asked)}
    if signs is not None:
        told["compared"].append(("signs of the emotions flipped", p_value(signs)))
    random = select(mine, metric=asked.of, control="random")
    told["rivals"] = rivals_of(("random", "random circuits", random))
    return claim("circuit", what, verdict, row, asked.sentences, **told)


def _claimed(asked: _Asked, where: str) -> str:
    """What is claimed of a question where the circuits reach."""
    return f"{asked.what} ({where})"


def _by_signs(table: pd.DataFrame, metric: str) -> float | None:
    """One-sided p that the circuits do no more than random ones, by flipping the signs of the
    emotions; None below `FEWEST_SIGNS`.
    """
    rows = table[~column(table, "emotion").isin(POOLED)]
    if not holds(rows, metric=metric):
        return None
    further = select(rows, metric=metric)["value"].dropna().to_numpy()
    return None if len(further) < FEWEST_SIGNS else sign_flip(further, side="above")


_NAMES = {
    "": "circuits",
    "random": "random circuits of the same layers",
    "single": "as many parts, chosen by ablating each alone",
    "integrated": "as many parts, ranked by integrated gradients",
    "greedy": "as many parts, chosen greedily",
}
_SHARES = {"circuit_faithfulness": "share held", "left_without": "left without", "cpr": "CPR"}


def _beside(mine: pd.DataFrame, row: pd.DataFrame, asked: _Asked) -> Compared:
    """What the number is a difference of, the areas of the curves, and the test."""
    found: Compared = []
    metrics = [asked.of, *(["cpr"] if asked.of == "circuit_faithfulness" else [])]
    for metric in metrics:
        for control, whose in _NAMES.items():
            if holds(mine, metric=metric, control=control):
                value = drawn(select(mine, metric=metric, control=control))
                found.append((f"{_SHARES[metric]}, {whose}", value))
    p = p_of(row, "p")
    return found + ([] if p is None else [("against random circuits", told_p(row, p))])


FAITHFUL = 0.5
"""A circuit that surely holds less of the effect than this is told not to be the mechanism."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Circuits that do not suffice, that are not complete, or that another choice beats."""
    words = table[column(table, "outcome") == "words"]
    for reach, where in _REACHES.items():
        rows = words[column(words, "reach") == reach]
        together = rows[column(rows, "emotion").isin(POOLED)]
        for emotion, mine in parts(
            rows if together.empty else together, "emotion", metric="circuit_faithfulness"
        ):
            whose = "the circuits" if emotion in POOLED else f"the circuit of {emotion}"
            left = rows[column(rows, "emotion") == emotion]
            yield from _doubts(mine, left, f"{whose} ({where})")


def _doubts(held: pd.DataFrame, rows: pd.DataFrame, whose: str) -> Iterator[Caution]:
    own = select(held, control="")
    if number_of(own).high < FAITHFUL:
        text = (
            f"{whose} alone hold {measured(own)} of what the model does to the words: most of it "
            "runs elsewhere."
        )
        yield Caution("circuit", text)
    left = select(rows, metric="left_without", control="")
    if number_of(left).low > 1 - FAITHFUL:
        text = f"without {whose} {measured(left)} is left: other parts do the same."
        yield Caution("circuit", text)
    if holds(rows, metric="incompleteness"):
        yield from _incomplete(rows, whose)
    for control in ("single", "integrated"):
        if not holds(held, control=control):
            continue
        rival = select(held, control=control)
        if number_of(rival).low > number_of(own).high:
            text = (
                f"{_NAMES[control]}, hold {measured(rival)}, {whose} {measured(own)}: "
                "contributions do not rank them best."
            )
            yield Caution("circuit", text)


def _incomplete(rows: pd.DataFrame, whose: str) -> Iterator[Caution]:
    """Circuits that lose, with a half of their parts, what the whole model keeps without it."""
    apart, halved, whole = (
        select(rows, metric=metric)
        for metric in ("incompleteness", "halved_circuit", "halved_model")
    )
    keeps = number_of(whole).low > number_of(halved).high
    if keeps and number_of(apart).low > 1 - FAITHFUL:
        text = (
            f"without random halves of {whose} the whole model holds {measured(whole)}, and they "
            f"themselves {measured(halved)}: other parts do what these halves do."
        )
        yield Caution("circuit", text)


SECTION = Section(
    name="circuit",
    title="Circuits: do a few heads and neurons suffice?",
    question=(
        "Heads and neurons are chosen by what they push along their layer's direction, layers by "
        "how far that reaches the end of the model. On other scenarios everything else is put to "
        "what it is in the neutral twin, at the text's last token or at all tokens, and the "
        "emotion's words are asked for."
    ),
    metrics=("circuit_faithfulness", "cpr"),
    per=("emotion", "outcome", "reach", "control"),
    figures=(
        Drawing(
            faithfulness_curve,
            reading=(
                "1 is the whole model, 0 what is left without any part. Only where the solid line "
                "lies above the dotted range does the choice of parts matter; the other lines are "
                "other choices of as many."
            ),
            needs={"metric": "faithfulness", "outcome": "words"},
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
    claims=tuple(
        _claimed(asked, where) for where in _REACHES.values() for asked in (*_QUESTIONS, _OF_GREEDY)
    ),
    cautions=cautions,
)
