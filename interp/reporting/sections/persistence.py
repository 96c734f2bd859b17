"""Persistence: whether what is read at a text's end is still read behind it, and for how long."""

from collections.abc import Iterator

import pandas as pd

from interp.reporting.baselines import ABOVE_TEXT, apart_from_words
from interp.reporting.decisions import NONE, Verdict, decide
from interp.reporting.finding import Caution, Compared, Finding, claim, number_of, p_of, told_p
from interp.reporting.followed import DEALT, REFITTED, persistence_curve, words_rows
from interp.reporting.formatting import number, whole
from interp.reporting.half_life import half_life_told
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    best,
    holds,
    least,
    measured,
    numbers,
    numeral,
    parts,
    select,
    word,
)

HEADLINE_OFFSET = 16
"""The offset that findings speak of, fixed beforehand: or the largest below it that was read."""

_TASKS = {
    "reception": "tells affective texts from their neutral twins",
    "categorisation": "tells which emotion the text was about",
}
_HOW = " (AUROC; scenarios new to the probe)."
_LESS, _ALIKE = (
    "but less well than the words of the text alone",
    "not told apart from what the words of the text alone tell",
)
_SENTENCES = {
    Verdict.FOUND: "{k} tokens into a neutral continuation, what the probe read at the text's end "
    "still {does}, beyond the words of the text" + _HOW,
    Verdict.NOT_TOLD_APART: "{k} tokens into a neutral continuation, what the probe read at the "
    "text's end still {does}, {apart}" + _HOW,
    Verdict.NOT_FOUND: "It was not found that {k} tokens into a neutral continuation the probe of "
    "the text's end still {does}" + _HOW,
    Verdict.INVERTED: "{k} tokens into a neutral continuation the probe of the text's end ranks "
    "the wrong way round where it {does}" + _HOW,
    Verdict.CANNOT_SAY: "Whether {k} tokens into a neutral continuation the probe of the text's "
    "end still {does} cannot be said" + _HOW,
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """One finding for each question, at the offset that was fixed beforehand."""
    found = []
    for task, rows in parts(table, "task", metric="auroc", control=""):
        offsets = numbers(rows, "offset")
        behind = offsets[offsets > 0]
        near = behind[behind <= HEADLINE_OFFSET]
        at = float(near.max() if len(near) else behind.min())
        found.append(_finding(table, task, rows[offsets == at], at))
    return found


def _finding(table: pd.DataFrame, task: str, row: pd.DataFrame, at: float) -> Finding:
    above = _closest(table, task, at)
    p = p_of(row, "p")
    told = NONE if above is None else number_of(above)
    does = _TASKS.get(task, f"answers {task}")
    return claim(
        "persistence",
        _claimed(task),
        decide(number_of(row), nothing=0.5, p=p, least_p=p_of(row, "least_p"), above=told),
        row,
        _SENTENCES,
        p=p,
        compared=_beside(table, task, row, above, at),
        about=task,
        k=whole(at),
        does=does,
        apart=apart_from_words(told, less=_LESS, alike=_ALIKE),
    )


def _claimed(task: str) -> str:
    """What is claimed of a question."""
    does = _TASKS.get(task, f"answers {task}")
    return f"in a neutral continuation the probe of the text's end still {does}"


def _closest(table: pd.DataFrame, task: str, at: float) -> pd.DataFrame | None:
    """How far the probe lies above the text baseline that is closest to it at this offset."""
    if not holds(table, metric=ABOVE_TEXT, task=task):
        return None
    rows = select(table, metric=ABOVE_TEXT, task=task)
    return least(rows[numbers(rows, "offset") == at])


def _beside(
    table: pd.DataFrame, task: str, row: pd.DataFrame, above: pd.DataFrame | None, at: float
) -> Compared:
    found: Compared = [("chance", "0.5")]
    rows = select(table, metric="auroc", control="", task=task)
    offsets = numbers(rows, "offset")
    found.append(("at the text's last token", measured(rows[offsets == 0])))
    if (last := float(offsets.max())) > at:
        found.append((f"{whole(last)} tokens on", measured(rows[offsets == last])))
    if holds(table, metric="auroc", control=DEALT, task=task):
        drawn = select(table, metric="auroc", control=DEALT, task=task)
        drawn = drawn[numbers(drawn, "offset") == at]
        low, high = (number(numeral(drawn, name)) for name in ("draw_low", "draw_high"))
        told = f"{number(numeral(drawn, 'value'))} (nine of ten draws {low} to {high})"
        found.append(("labels shuffled over scenarios", told))
    if holds(table, metric="auroc", control=REFITTED, task=task):
        own = select(table, metric="auroc", control=REFITTED, task=task)
        own = own[numbers(own, "offset") == at]
        found.append(("a probe fitted there, and not at the text's end", measured(own)))
    if not (words := words_rows(table, task)).empty:
        name = f"words of the text alone, the same at every offset, {word(best(words), 'control')}"
        found.append((name, measured(best(words))))
    if above is not None:
        found.append((f"above {word(above, 'target')}, paired", measured(above)))
    if holds(table, metric="half_life", task=task):
        half, kept = (select(table, metric=one, task=task) for one in ("half_life", "retained"))
        found.append(("half-life of the margin", half_life_told(half, kept, "tokens")))
    p = p_of(row, "p_max_t")
    return found + ([] if p is None else [("p beside all offsets (max-T)", told_p(row, p))])


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Questions whose probe does not surely read the texts' own last tokens."""
    for task, rows in parts(table, "task", metric="auroc", control=""):
        first = rows[numbers(rows, "offset") == 0]
        if not number_of(first).low > 0.5:
            text = (
                "at the texts' own last token the probe reads nothing for sure "
                f"({measured(first)}), so that there is nothing that could stay."
            )
            yield Caution("persistence", text, task)


SECTION = Section(
    name="persistence",
    title="Persistence: does the state stay while the model reads on?",
    question=(
        "Behind each text and its twin stands the same neutral continuation. A probe that was "
        "fitted at the texts' last token reads the tokens of the continuation, of scenarios that "
        "it has not seen. The words of the text alone tell the same at every offset. Attention may "
        "look back at the text from any later token: that the state stays does not say that it is "
        "carried and not read off the text anew."
    ),
    metrics=("auroc", "retained"),
    per=("task", "offset", "control"),
    figures=(
        Drawing(
            persistence_curve,
            reading=(
                "The further right the curve stays above the shuffled labels, the longer the state "
                "lasts. At 0 stands the text's own last token. Where a probe that was fitted at an "
                "offset itself lies far above it, the state may be there in another form."
            ),
        ),
    ),
    findings=findings,
    claims=tuple(map(_claimed, _TASKS)),
    cautions=cautions,
)
