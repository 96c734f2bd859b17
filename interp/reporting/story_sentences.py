"""What may be said of emotions from stories: each sentence with its number and its control."""

import pandas as pd

from interp.reporting.baselines import ABOVE_TEXT
from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.finding import number_of, p_of, told_p
from interp.reporting.formatting import interval, p_value, whole
from interp.reporting.geometries import deepest
from interp.reporting.select import (
    best,
    column,
    holds,
    least,
    measured,
    numeral,
    place,
    select,
    word,
)

_TELLS = "the stories' directions tell which emotion {texts} evoke"
_DETECTS = {
    Verdict.FOUND: "Beyond the words, " + _TELLS,
    Verdict.NOT_TOLD_APART: "The same steps on the words may do as well, but " + _TELLS,
    Verdict.NOT_FOUND: "It was not found that " + _TELLS,
    Verdict.INVERTED: "The wrong way round: one asked whether " + _TELLS,
    Verdict.CANNOT_SAY: "It cannot be said whether " + _TELLS,
}
_FOLLOWS = {
    Verdict.FOUND: "An axis of the directions follows {rating}",
    Verdict.NOT_FOUND: "It was not found that an axis of the directions follows {rating}",
    Verdict.CANNOT_SAY: "Whether an axis of the directions follows {rating} cannot be said",
}
_TEXTS = {"scenarios": "held-out scenarios", "stories": "stories of other scenarios"}


def said_of_stories(table: pd.DataFrame) -> list[str]:
    """What may be said: of detection at the chosen layer, of the writers, and of each rating."""
    told = [_detection(table)]
    if holds(table, metric="writer_auroc", control=""):
        told.append(_writers(table))
    if holds(table, metric="axis_rating", control=""):
        rows = deepest(select(table, metric="axis_rating", control=""))
        told += [_rating(rows, name) for name in dict.fromkeys(column(rows, "reference"))]
    return told


def _detection(table: pd.DataFrame) -> str:
    row = select(table, metric="auroc", half="report")
    top = select(table, metric="top1", half="report")
    above = select(table, metric=ABOVE_TEXT)
    p = p_of(row, "p")
    verdict = decide(
        number_of(row), nothing=0.5, p=p, least_p=p_of(row, "least_p"), above=number_of(above)
    )
    texts = _TEXTS[word(row, "tested_on")]
    told = "" if p is None else f", {told_p(row, p)}"
    return (
        f"{_DETECTS[verdict].format(texts=texts)} (at {place(row)}, chosen on the other half of "
        f"them: AUROC {measured(row)}{told}; the right one of {whole(numeral(row, 'choices'))} "
        f"first in {measured(top)}, chance {numeral(top, 'chance'):.3f}; above the words, paired, "
        f"{measured(above)})."
    )


def _writers(table: pd.DataFrame) -> str:
    """How much of what one writer's directions tell of that writer's stories stays on others'."""
    rows = select(table, metric="writer_auroc", control="")
    one, other = column(rows, "fitted_on"), column(rows, "tested_on")
    own, across = rows[one == other], rows[(one != other) & (one != "all")]
    if own.empty or across.empty:
        return (
            "No writer has stories of all emotions: the writers were not held against each other."
        )
    worst = least(across)
    return (
        f"Of all writers fitted on {word(worst, 'fitted_on')} and tried on "
        f"{word(worst, 'tested_on')} tells least: AUROC {measured(worst)}; within one writer "
        f"{float(own['value'].min()):.3f} to {float(own['value'].max()):.3f}."
    )


def _rating(rows: pd.DataFrame, rating: str) -> str:
    own = select(rows, reference=rating)
    row = best(own.assign(value=own["value"].abs()))
    signed = own.loc[row.index]
    low, high = (abs(float(signed[name].iloc[0])) for name in ("ci_low", "ci_high"))
    crosses = float(signed["ci_low"].iloc[0]) * float(signed["ci_high"].iloc[0]) <= 0
    found = Number(numeral(row, "value"), 0.0 if crosses else min(low, high), max(low, high))
    p = p_of(row, "p_max_t")
    verdict = decide(found, nothing=0.0, p=p)
    chance_told = "" if p is None else f", {p_value(p)} over all axes and ratings"
    return (
        f"{_FOLLOWS[verdict].format(rating=rating)} (axis {whole(numeral(row, 'axis'))} at "
        f"{place(row)}: |r| {interval(*found)} over {whole(numeral(row, 'n'))} rated emotions"
        f"{chance_told})."
    )
