"""Transfer across the values of a field: what is said of it, and its figure."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.baselines import ABOVE_TEXT
from interp.reporting.decisions import NONE, Number, Verdict, decide
from interp.reporting.dots import arm_offset, dots, names_down
from interp.reporting.finding import Compared, Finding, claim, number_of, p_of, told_p
from interp.reporting.formatting import label
from interp.reporting.select import best, column, holds, least, measured, parts, select, word
from interp.reporting.style import GREY, Look, explain, facets, key, look, styled
from interp.reporting.tasks import PROBE_TASKS, claim_of, does
from interp.reporting.transfers import LOST_IN_TRANSFER, apart_when_carried, words_at

_OTHERS, _ANY, _EVERY = "others", "any", ""
"""What the table calls the probe of all values but one, that of all values, and all values tested
together.
"""

_ON = "n texts of a {field} that it never saw, a probe "  # behind "O" or "o"
_HOW = " (AUROC; each of {n} left out in turn, {sure} found each by itself)."
_SENTENCES = {
    Verdict.FOUND: "O" + _ON + "{does}, beyond the words" + _HOW,
    Verdict.NOT_TOLD_APART: "O" + _ON + "{does}, {apart}" + _HOW,
    Verdict.NOT_FOUND: "It was not found that o" + _ON + "{does}" + _HOW,
    Verdict.INVERTED: "O" + _ON + "ranks the wrong way round where it {does}" + _HOW,
    Verdict.CANNOT_SAY: "Whether o" + _ON + "{does} cannot be said" + _HOW,
}


def _claimed(task: str, field: str) -> str:
    """What is claimed of a probe of `task` across the values of a field."""
    return f"on texts of a {field} that it never saw, a probe {does(task)}, beyond the words"


ACROSS_CLAIMS = tuple(
    _claimed(task, field) for field in ("domain", "person", "tense") for task in PROBE_TASKS
)
"""What can be claimed of the fields that batteries of this package have."""


def across_findings(table: pd.DataFrame) -> list[Finding]:
    """Of each field and question: all values, each left out in turn."""
    rows = parts(table, "across", metric="auroc", control="", train_arm=_OTHERS, test_arm=_EVERY)
    return [
        _finding(table, own.iloc[[at]]) for field, own in rows if field for at in range(len(own))
    ]


def _finding(table: pd.DataFrame, row: pd.DataFrame) -> Finding:
    task, field = word(row, "task"), word(row, "across")
    own = select(table, task=task, across=field)
    each = select(own, metric="auroc", control="", train_arm=_OTHERS)
    each = each[column(each, "test_arm") != _EVERY]
    sure = sum(_verdict(own, each.iloc[[at]]) is Verdict.FOUND for at in range(len(each)))
    p = p_of(row, "p_corrected")
    return claim(
        "transfer",
        _claimed(task, field),
        _verdict(own, row),
        row,
        _SENTENCES,
        p=p,
        compared=_beside(own, row, each, p),
        about=f"{task}, across {field}",
        after=f"probes: {claim_of(task)}",
        does=does(task),
        field=field,
        n=len(each),
        sure=sure,
        apart=apart_when_carried(_above(own, row)),
    )


def _above(own: pd.DataFrame, row: pd.DataFrame) -> Number:
    """How far the probe lies above the text baseline that comes closest, on the same texts."""
    same = {"train_arm": _OTHERS, "test_arm": word(row, "test_arm")}
    if not holds(own, metric=ABOVE_TEXT, **same):
        return NONE
    return number_of(least(select(own, metric=ABOVE_TEXT, **same)))


def _verdict(own: pd.DataFrame, row: pd.DataFrame) -> Verdict:
    """What may be said of the values that `row` tests."""
    above = _above(own, row)
    p, least_p = p_of(row, "p_corrected"), p_of(row, "least_p")
    return decide(number_of(row), nothing=0.5, p=p, least_p=least_p, above=above)


def _beside(own: pd.DataFrame, row: pd.DataFrame, each: pd.DataFrame, p: float | None) -> Compared:
    found: Compared = [("chance", "0.5")]
    words = words_at(own, row)
    if not words.empty:
        top = best(words)
        name = f"best text baseline, same split, {word(top, 'control')}"
        found.append((name, measured(top)))
    same = {"train_arm": _OTHERS, "test_arm": _EVERY}
    if holds(own, metric=ABOVE_TEXT, **same):
        closest = least(select(own, metric=ABOVE_TEXT, **same))
        found.append((f"above {word(closest, 'target')}, paired", measured(closest)))
    ceiling = {"metric": "auroc", "control": "", "train_arm": _ANY, "test_arm": _EVERY}
    if holds(own, **ceiling):
        told = "ceiling: a probe of all values, grouped folds"
        found.append((told, measured(select(own, **ceiling))))
    if holds(own, metric=LOST_IN_TRANSFER, **same):
        lost = select(own, metric=LOST_IN_TRANSFER, **same)
        found.append(("lost on the way, paired", measured(lost)))
    lowest = least(each)
    found.append((f"lowest, {label(word(lowest, 'test_arm'))}", measured(lowest)))
    return found + ([] if p is None else [(word(row, "p_of"), told_p(row, p))])


@styled
def transfer_across(table: pd.DataFrame) -> Figure:
    """The probe of all values of a field but one on that one, beside the words and the ceiling: a
    row per value, a panel per field and question.
    """
    rows = select(table, metric="auroc", control="", train_arm=_OTHERS)
    panels = [
        (field, task, own)
        for field, of_field in parts(rows, "across", train_arm=_OTHERS)
        for task, own in parts(of_field, "task", train_arm=_OTHERS)
    ]
    most = max(len(own) for _, _, own in panels)
    figure, axes = facets(len(panels), columns=2, height=0.42 * most + 0.9, share=False)
    for panel, (field, task, own) in zip(axes, panels, strict=True):
        _panel(panel, own, select(table, across=field, task=task))
        panel.set_title(f"{label(task)}, {label(field)} left out")
        panel.set_xlabel("AUROC (macro)")
    left = min(
        float(select(table, metric="auroc", across=field)["ci_low"].min()) for field, _, _ in panels
    )
    for panel in axes:
        panel.set_xlim(min(0.42, left - 0.03), 1.03)
        panel.set_ylim(most - 0.5, -0.5)  # rows of all panels are equally far apart
    key(figure)
    explain(
        figure,
        title="A probe on texts of a value that it never saw",
        caption="Fitted on all other values of the field. Whiskers are 95 % intervals over "
        "scenarios. The ceiling is fitted on all values, of other scenarios; the text baseline is "
        "the best of the same split. The first row is all values, compared inside each.",
        rows=rows,
        unit="texts",
    )
    return figure


def _panel(panel: Axes, own: pd.DataFrame, table: pd.DataFrame) -> None:
    panel.axvline(0.5, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1, label="chance 0.5")
    for height in range(len(own)):
        row = own.iloc[[height]]
        ceiling = {"metric": "auroc", "control": "", "test_arm": word(row, "test_arm")}
        dots(panel, row, [height + arm_offset(0, 3)], look(0), text="probe of the other values")
        words = words_at(table, row)
        if not words.empty:
            at, told = [height + arm_offset(1, 3)], "best text baseline"
            dots(panel, best(words), at, Look(GREY, "s"), text=told)
        if holds(table, train_arm=_ANY, **ceiling):
            whole = select(table, train_arm=_ANY, **ceiling)
            at, told = [height + arm_offset(2, 3)], "ceiling: probe of all values"
            dots(panel, whole, at, look(1), text=told, hollow=True)
    names = [
        label(name) if name != _EVERY else "all, inside each" for name in column(own, "test_arm")
    ]
    names_down(panel, names)
