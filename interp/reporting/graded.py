"""A number that is read from activations: what may be said of it."""

import pandas as pd

from interp.reporting.baselines import ABOVE_TEXT, apart_from_words, text_baselines_of
from interp.reporting.decisions import NONE, Verdict, decide
from interp.reporting.finding import Compared, Finding, claim, number_of, p_of, rivals_of, told_p
from interp.reporting.select import best, holds, least, measured, parts, place, select, word
from interp.reporting.tasks import claim_of, does

NESTED_R = "nested_pearson"

_CHOSEN = "Pearson's r inside folds; each fold chose its place out of {n}, most often {place}"
_OF_A_NUMBER = {
    Verdict.FOUND: "A probe {does}, beyond the words (" + _CHOSEN + ").",
    Verdict.NOT_TOLD_APART: "A probe {does}, {apart} (" + _CHOSEN + ").",
    Verdict.NOT_FOUND: "No place was found where a probe {does} (" + _CHOSEN + ").",
    Verdict.INVERTED: "A probe orders the texts the wrong way round where it {does} (" + _CHOSEN
    + ").",
    Verdict.CANNOT_SAY: "Whether a probe {does} cannot be said (" + _CHOSEN + ").",
}  # fmt: skip


def graded_findings(table: pd.DataFrame) -> list[Finding]:
    """Of each number the correlation where every fold chose its place, held against the words on
    the same folds.
    """
    return [_finding(table, row) for _, row in parts(table, "task", metric=NESTED_R)]


def _finding(table: pd.DataFrame, row: pd.DataFrame) -> Finding:
    task = word(row, "task")
    scores = select(table, metric="pearson", task=task)
    words = text_baselines_of(scores)
    closest = None
    if holds(table, metric=ABOVE_TEXT, task=task):
        closest = least(select(table, metric=ABOVE_TEXT, task=task))
    above = NONE if closest is None else number_of(closest)
    p = p_of(row, "p")
    compared: Compared = [("nothing read", "0")]
    if words["value"].notna().any():
        told = f"best text baseline, {word(best(words), 'control')}"
        compared.append((told, measured(best(words))))
    if closest is not None:
        compared.append((f"above {word(closest, 'target')}, paired", measured(closest)))
    if p is not None:
        compared.append((word(row, "p_of"), told_p(row, p)))
    top = best(words) if words["value"].notna().any() else None
    return claim(
        "probes",
        claim_of(task),
        decide(number_of(row), nothing=0.0, p=p, least_p=p_of(row, "least_p"), above=above),
        row,
        _OF_A_NUMBER,
        p=p,
        compared=compared,
        rivals=rivals_of(("words", "best text-only baseline", top)),
        about=task,
        does=does(task),
        place=place(row),
        n=len(select(scores, control="")),
        apart=apart_from_words(above),
    )
