"""Text-only baselines beside the probe: how far it lies above them, and their figure."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.decisions import NONE, Number
from interp.reporting.finding import Compared, number_of
from interp.reporting.formatting import label, number
from interp.reporting.published import mark_published, told_published
from interp.reporting.select import (
    NOT_BASELINES,
    best,
    column,
    groups,
    holds,
    least,
    measured,
    place,
    select,
    word,
)
from interp.reporting.style import (
    COLOURS,
    GREY,
    explain,
    facets,
    key,
    styled,
)

NESTED = "nested_auroc"
ABOVE_TEXT = "above_text"
"""What column `metric` says of a probe whose place each fold chose, and of how far it lies above a
text baseline.
"""


def apart_from_words(
    above: Number,
    *,
    less: str = "but less well than the words alone",
    alike: str = "not told apart from the words alone",
) -> str:
    """What is said of what does not lie surely `above` the words."""
    if above.high < 0:
        return less
    if above.high >= 0:
        return alike
    return "and whether beyond the words cannot be said: no text baseline stands beside it"


def text_baselines_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a probe's table that are baselines on the text alone (perhaps none)."""
    return rows[~column(rows, "control").isin(NOT_BASELINES)]


@styled
def text_baselines(table: pd.DataFrame) -> Figure:
    """AUROC of every text-only baseline beside the probe, whose place each fold chose, a panel per
    task.
    """
    scores = select(table, metric="auroc")
    tasks = groups(select(scores, control=""), ["task"])
    n_bars = max(column(text_baselines_of(scores), "control").nunique() + 1, 2)
    figure, axes = facets(len(tasks), columns=len(tasks), height=0.34 * n_bars + 0.7, share=False)
    marked = False
    for panel, (name, rows) in zip(axes, tasks, strict=True):
        nested = holds(table, metric=NESTED, task=word(rows, "task"))
        top = best(select(table, metric=NESTED, task=word(rows, "task")) if nested else rows)
        baselines = text_baselines_of(select(scores, task=word(rows, "task"))).sort_values(
            "value", ascending=False
        )
        baselines = baselines.assign(control=column(baselines, "control")).drop_duplicates(
            "control"
        )
        _bars(panel, pd.concat([top, baselines]), [_probe_name(top, nested), *baselines["control"]])
        marked |= mark_published(panel, "text_baselines", task=word(rows, "task"), along="x")
        panel.set_title(label(name))
        panel.set_xlabel("AUROC (macro, held out)")
    if marked:
        key(figure)
    explain(
        figure,
        title="What the words alone give away: text baselines beside the probe",
        caption="Bars begin at chance, whiskers are 95 % intervals. The "
        "probe's place is chosen by each fold on its training scenarios (where the table has no "
        "such score, it is the best of all, which flatters it); the baselines see only the text, "
        "on the same folds." + told_published("text_baselines", column(scores, "task")),
        rows=scores,
        unit="texts",
    )
    return figure


def _probe_name(top: pd.DataFrame, nested: bool) -> str:
    return "probe, place chosen by fold" if nested else f"probe: {place(top)}"


def _bars(panel: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high"))
    heights = np.arange(len(rows))
    grey = ["#a9a9a9"] * (len(rows) - 1)
    panel.barh(heights, value - 0.5, left=0.5, height=0.62, color=[COLOURS[0], *grey])
    panel.errorbar(
        value,
        heights,
        xerr=[value - low, high - value],
        fmt="none",
        ecolor="black",
        elinewidth=1,
        capsize=2.5,
    )
    for height, (end, upper) in enumerate(zip(value, high, strict=True)):
        end_of_bar = np.nanmax([end, upper, 0.5])
        panel.text(end_of_bar + 0.01, height, number(end), va="center", fontsize=8.5)
    panel.axvline(0.5, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
    panel.set_yticks(heights, [label(name) for name in names])
    panel.set_xlim(min(0.4, np.nanmin([*value, *low]) - 0.02), 1.1)
    panel.set_xticks([0.5, 0.75, 1], ["0.5, chance", "", "1"])
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")


def closest_words(table: pd.DataFrame, task: str) -> tuple[Compared, Number]:
    """The best text baseline of a task, and how far the nested probe lies above it, as words and as
    a number; `NONE` where none was measured.
    """
    baselines = text_baselines_of(select(table, metric="auroc", task=task))
    words = (
        []
        if baselines.empty
        else [
            (f"best text baseline, {word(best(baselines), 'control')}", measured(best(baselines)))
        ]
    )
    if not holds(table, metric=ABOVE_TEXT, task=task):
        return words, NONE
    closest = least(select(table, metric=ABOVE_TEXT, task=task))
    return [*words, (f"above {word(closest, 'target')}, paired", measured(closest))], number_of(
        closest
    )
