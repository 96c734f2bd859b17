"""What may be said of probes and directions."""

import pandas as pd

from interp.reporting.decisions import NONE, Number, Verdict, decide
from interp.reporting.finding import Compared, Finding, claim, number_of, p_of
from interp.reporting.representation import text_baselines_of
from interp.reporting.rows import (
    MEMORISED,
    beside,
    best,
    groups,
    holds,
    least,
    measured,
    nuisances_of,
    place,
    select,
    word,
)
from interp.reporting.text import p_value

NESTED = "nested_auroc"
ABOVE_TEXT = "above_text"

_TASKS = {
    "reception": "tells emotional texts from their neutral twins",
    "categorisation": "tells which emotion a text is about",
}
_CHOSEN = "AUROC; each fold chose its place out of {n}, most often {place}"
_OF_A_PROBE = {
    Verdict.FOUND: "A linear probe {does}, beyond the words (" + _CHOSEN + ").",
    Verdict.NOT_TOLD_APART: "A linear probe {does}, {apart} (" + _CHOSEN + ").",
    Verdict.NOT_FOUND: "No place was found where a linear probe {does} (" + _CHOSEN + ").",
    Verdict.INVERTED: "A linear probe ranks the wrong way round where it {does} (" + _CHOSEN + ").",
    Verdict.CANNOT_SAY: "Whether a linear probe {does} cannot be said: {why} (AUROC at {place}, the highest of {n}).",
}
_UNCHOSEN = "no place was chosen on other scenarios than those it is told of"


def probes(table: pd.DataFrame) -> list[Finding]:
    """One finding for each task: the nested score, held against the words on the same folds."""
    found = []
    for task, rows in groups(select(table, metric="auroc", control=""), ["task"]):
        name = word(best(rows), "task")
        nested = holds(table, metric=NESTED, task=name)
        top = select(table, metric=NESTED, task=name) if nested else best(rows)
        words, above = closest_words(table, name)
        own, largest = p_of(top, "p") if nested else None, p_of(top, "p_max_t", "p_corrected")
        p = largest if own is None else own
        verdict = decide(number_of(top), nothing=0.5, p=p, above=above) if nested else Verdict.CANNOT_SAY
        compared = [("chance", "0.5"), *words, *_rivals(table, top)]
        compared += [] if own is None else [(word(top, "p_of"), p_value(own))]
        compared += [] if largest is None else [(_of_ridge(len(rows)), p_value(largest))]
        what = _TASKS.get(task, f"answers {task}")
        why = "it has no interval" if nested else _UNCHOSEN
        told = {"does": what, "place": place(top), "n": len(rows), "apart": _apart(above), "why": why}
        claimed = f"a linear probe {what}, beyond the words"
        found.append(claim("probes", claimed, verdict, top, _OF_A_PROBE, p=p, compared=compared, **told))
    return found


def _of_ridge(n: int) -> str:
    return f"p of a ridge probe, largest of {n} places (max-T)"


def closest_words(table: pd.DataFrame, task: str) -> tuple[Compared, Number]:
    """The best text baseline of a task, and how far the nested probe lies above it, as words and as
    a number; `NONE` where none was measured.
    """
    baselines = text_baselines_of(select(table, metric="auroc", task=task))
    words = [] if baselines.empty else [(f"best text baseline, {word(best(baselines), 'control')}", measured(best(baselines)))]
    if not holds(table, metric=ABOVE_TEXT, task=task):
        return words, NONE
    closest = least(select(table, metric=ABOVE_TEXT, task=task))
    return [*words, (f"above {word(closest, 'target')}, paired", measured(closest))], number_of(closest)


def _apart(above: Number) -> str:
    if above.high < 0:
        return "but less well than the words alone"
    if above.high >= 0:
        return "not told apart from the words alone"
    return "and whether beyond the words cannot be said: no text baseline stands beside it"


def _rivals(table: pd.DataFrame, top: pd.DataFrame) -> Compared:
    """What the same activations tell besides: labels that can only be learned by heart, and nuisances."""
    known = beside(table, top, metric="auroc", control=MEMORISED)
    found = [("labels learned by heart, same place", measured(known))] if known is not None else []
    for name, row in nuisances_of(table, top, metric="selectivity").items():
        found.append((f"more than {name} is told, same place", measured(row)))
    return found


_OF_A_DIRECTION = {
    Verdict.FOUND: "The {rank} of {n} directions, {emotion}, separates held-out texts ({how}).",
    Verdict.NOT_FOUND: "The {rank} of {n} directions, {emotion}, is not found to separate held-out texts ({how}).",
    Verdict.INVERTED: "The {rank} of {n} directions, {emotion}, separates held-out texts the wrong way round ({how}).",
    Verdict.CANNOT_SAY: "Whether the {rank} of {n} directions, {emotion}, separates held-out texts cannot be said ({how}).",
}


def directions(table: pd.DataFrame) -> list[Finding]:
    """Two findings: the direction that separates held-out texts least, and the one that does most."""
    nested = holds(table, metric=NESTED)
    rows = select(table, metric=NESTED if nested else "separation_auroc")
    tops = sorted((best(own) for _, own in groups(rows, ["emotion"])), key=lambda top: number_of(top).value)
    verdicts = [_separates(top) if nested else Verdict.CANNOT_SAY for top in tops]
    found = []
    for at, rank in ((0, "weakest"), (-1, "strongest")):
        top, p = tops[at], p_of(tops[at], "p_corrected")
        stable = beside(table, top, metric="split_half_cosine")
        compared = [("chance", "0.5")] + ([("cosine between halves", measured(stable))] if stable is not None else [])
        compared += [] if p is None else [(f"that twins differ nowhere, corrected for {len(tops)} emotions", p_value(p))]
        compared += [("directions that separate", f"{verdicts.count(Verdict.FOUND)} of {len(tops)}")] if nested else []
        how = f"AUROC; each fold chose its layer, most often {place(top)}" if nested else f"AUROC at {place(top)}; {_UNCHOSEN}"
        emotion = word(top, "emotion")
        told = {"rank": rank, "n": len(tops), "emotion": emotion, "how": how}
        what = f"the {rank} direction separates held-out texts"
        found.append(claim("directions", what, verdicts[at], top, _OF_A_DIRECTION, p=p, compared=compared, **told))
    return found


def _separates(top: pd.DataFrame) -> Verdict:
    return decide(number_of(top), nothing=0.5, p=p_of(top, "p_corrected"))
