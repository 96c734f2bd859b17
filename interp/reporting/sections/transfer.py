"""Transfer: whether a probe of one arm reads another, beside the words and the ceiling."""

from collections.abc import Iterator
from itertools import permutations

import pandas as pd

from interp.reporting.across import ACROSS_CLAIMS, across_findings, transfer_across
from interp.reporting.alarms import CALLED_AT_LAYER, alarm_trajectory
from interp.reporting.baselines import ABOVE_TEXT
from interp.reporting.decisions import NONE, Verdict, decide
from interp.reporting.finding import Caution, Compared, Finding, claim, number_of, p_of, told_p
from interp.reporting.formatting import label
from interp.reporting.section import Drawing, Section
from interp.reporting.select import best, column, holds, least, measured, parts, select, word
from interp.reporting.tasks import claim_of
from interp.reporting.transfers import (
    CALLED,
    LOST_IN_TRANSFER,
    apart_when_carried,
    best_words,
    transfer_alarms,
    transfer_gap,
    transfer_matrix,
    words_at,
)

TOLD_ARMS = ("keyword_rich", "keyword_free")
_ARMS = {
    "keyword_rich": "texts that name the feeling",
    "keyword_free": "texts that do not name the feeling",
    "moderate": "texts that evoke it mildly",
    "strong": "texts that evoke it strongly",
}
_TASKS = {
    "reception": "tells {test} from their neutral twins",
    "categorisation": "tells which emotion {test} are about",
}
_HOW = " (AUROC; all scenarios new to it)."
_SENTENCES = {
    Verdict.FOUND: "A probe fitted on {fit} {does}, beyond the words that both share" + _HOW,
    Verdict.NOT_TOLD_APART: "A probe fitted on {fit} {does}, {apart}" + _HOW,
    Verdict.NOT_FOUND: "It was not found that a probe fitted on {fit} {does}" + _HOW,
    Verdict.INVERTED: "A probe fitted on {fit} ranks the wrong way round where it {does}" + _HOW,
    Verdict.CANNOT_SAY: "Whether a probe fitted on {fit} {does} cannot be said" + _HOW,
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Of each question: from texts that name the feeling to those that do not, and back; where the
    battery lacks one of these arms, from each arm to each other. Then of each field whose values
    were left out.
    """
    return [*_of_arms(table), *across_findings(table)]


def _of_arms(table: pd.DataFrame) -> list[Finding]:
    if not holds(table, metric="auroc", control="", across=""):
        return []
    rows = select(table, metric="auroc", control="", across="")
    rows = rows[column(rows, "train_arm") != column(rows, "test_arm")]
    headline = column(rows, "train_arm").isin(TOLD_ARMS) & column(rows, "test_arm").isin(TOLD_ARMS)
    chosen = rows[headline] if headline.any() else rows
    return [_finding(table, chosen.iloc[[at]]) for at in range(len(chosen))]


def _finding(table: pd.DataFrame, row: pd.DataFrame) -> Finding:
    task, fit, test = (word(row, name) for name in ("task", "train_arm", "test_arm"))
    same = {"task": task, "train_arm": fit, "test_arm": test}
    above = NONE
    if holds(table, metric=ABOVE_TEXT, **same):
        above = number_of(least(select(table, metric=ABOVE_TEXT, **same)))
    p = p_of(row, "p_corrected")
    told = {**_words(task, fit, test), "apart": apart_when_carried(above)}
    return claim(
        "transfer",
        _claimed(task, fit, test),
        decide(number_of(row), nothing=0.5, p=p, least_p=p_of(row, "least_p"), above=above),
        row,
        _SENTENCES,
        p=p,
        compared=_beside(table, row, p),
        about=f"{task}, {fit} to {test}",
        after=f"probes: {claim_of(task)}",
        **told,
    )


def _words(task: str, fit: str, test: str) -> dict[str, str]:
    does = _TASKS.get(task, "answers " + task + " of {test}").format(test=_ARMS.get(test, test))
    return {"fit": _ARMS.get(fit, fit), "does": does}


def _claimed(task: str, fit: str, test: str) -> str:
    """What is claimed of a probe of the arm `fit`, tested on the arm `test`."""
    return f"a probe of {fit} {_words(task, fit, test)['does']}, beyond the words"


def _beside(table: pd.DataFrame, row: pd.DataFrame, p: float | None) -> Compared:
    task, fit, test = (word(row, name) for name in ("task", "train_arm", "test_arm"))
    found: Compared = [("chance", "0.5")]
    words = words_at(table, row)
    if not words.empty:
        top = best(words)
        name = f"best text baseline, same split, {word(top, 'control')}"
        found.append((name, measured(top)))
    same = {"task": task, "train_arm": fit, "test_arm": test}
    if holds(table, metric=ABOVE_TEXT, **same):
        closest = least(select(table, metric=ABOVE_TEXT, **same))
        found.append((f"above {word(closest, 'target')}, paired", measured(closest)))
    own = {"task": task, "train_arm": test, "test_arm": test, "metric": "auroc", "control": ""}
    if holds(table, **own):
        found.append((f"ceiling: a probe of {test} itself", measured(select(table, **own))))
    if holds(table, metric=LOST_IN_TRANSFER, **same):
        found.append(
            ("lost on the way, paired", measured(select(table, metric=LOST_IN_TRANSFER, **same)))
        )
    return found + ([] if p is None else [(f"{word(row, 'p_of')}, corrected", told_p(row, p))])


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Texts that only sound emotional and are surely called so more often than neutral twins."""
    for fit, rows in parts(table, "train_arm", metric=CALLED, control=""):
        usual = rows[column(rows, "test_arm") == "neutral"]
        for at in range(len(rows)):
            row = rows.iloc[[at]]
            if usual.empty or not number_of(row).low > number_of(usual).high:
                continue
            words = best_words(table, row)
            told = "" if words is None else f", the text baseline {measured(words)}"
            text = (
                f"the probe fitted on {label(fit)} calls texts of {word(row, 'test_arm')}, which "
                f"evoke nothing, emotional at a rate of {measured(row)} (neutral twins "
                f"{measured(usual)}{told}): what it reads is not emotion alone."
            )
            yield Caution("transfer", text, word(row, "task"))


SECTION = Section(
    name="transfer",
    title="Transfer: does a probe of named feelings read unnamed ones?",
    question=(
        "A probe is fitted on the texts of one arm (such as those that name the feeling) and "
        "tested on those of another, of scenarios that it has not seen. Words that both arms share "
        "can carry a probe across, so the text baselines are carried across beside it; and no "
        "probe of another arm can be expected to beat the tested arm's own."
    ),
    metrics=("auroc", CALLED),
    per=("task", "across", "train_arm", "test_arm", "control"),
    figures=(
        Drawing(
            transfer_gap,
            reading=(
                "The filled dot is the probe of the other arm, the open one that of the texts' own "
                "arm: the bar between them is lost on the way. Only what lies right of the black "
                "mark is beyond the words."
            ),
            needs={"across": ""},
        ),
        Drawing(
            transfer_matrix,
            reading="Rows are fitted on, columns tested on; the diagonal is the ceiling.",
            needs={"across": ""},
        ),
        Drawing(
            transfer_alarms,
            reading=(
                "Further left is better. A probe that calls vivid but unemotional texts emotional "
                "more often than neutral twins reads vividness or wording, too."
            ),
            needs={"metric": CALLED},
        ),
        Drawing(
            alarm_trajectory,
            reading=(
                "The lines of texts that evoke nothing should stay as low as that of the neutral "
                "twins, at each layer. Where one rises with that of the emotional texts, the layer "
                "tells vividness or wording; where it stays low and the hollow mark at the right "
                "is high, the words alone give an alarm that the layer does not. Every layer is "
                "drawn and none was chosen: a single high point among many layers says little. "
                "Other scenes than the twins' are another kind of text, so that a low line is no "
                "proof either."
            ),
            needs={"metric": CALLED_AT_LAYER},
        ),
        Drawing(
            transfer_across,
            reading=(
                "Each value of the field was left out of the probe's texts and then tested. A blue "
                "dot right of the grey one reads more than words of the other values do; near the "
                "open one, it reads a value that it never saw as well as those that it saw."
            ),
            needs={"train_arm": "others"},
        ),
    ),
    findings=findings,
    claims=(
        *(_claimed(task, *arms) for task in _TASKS for arms in permutations(_ARMS, 2)),
        *ACROSS_CLAIMS,
    ),
    cautions=cautions,
)
