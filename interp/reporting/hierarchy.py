"""The figure of the hierarchy: how far a probe goes, from the valence to the emotion."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.baselines import text_baselines_of
from interp.reporting.dots import arm_offset, dots, names_down
from interp.reporting.formatting import label
from interp.reporting.select import best, column, groups, numbers, select, word
from interp.reporting.style import GREY, Look, explain, facets, key, look, styled

_LEVELS = {
    "valence": "valence",
    "family": "family, the valence known",
    "emotion": "emotion, the family known",
}


@styled
def hierarchy_scores(table: pd.DataFrame) -> Figure:
    """The accuracy of the probe at each level of the hierarchy, the level above being known, beside
    the best text baseline and dealt answers, a panel per question.
    """
    rows = select(table, metric="level_accuracy")
    probes = select(rows, control="")
    panels = groups(probes, ["task"])
    names = [one for one in _LEVELS if one in set(column(probes, "level"))]
    figure, axes = facets(len(panels), columns=2, height=0.5 * len(names) + 1.1)
    for panel, (name, own) in zip(axes, panels, strict=True):
        for place in range(len(own)):
            row = own.iloc[[place]]
            same = select(rows, task=word(row, "task"), level=word(row, "level"))
            _level(panel, row, text_baselines_of(same), names.index(word(row, "level")))
        names_down(panel, [_LEVELS[one] for one in names])
        panel.set_xlim(-0.03, 1.03)
        panel.set_title(label(name))
        panel.set_xlabel("accuracy (held out)")
    key(figure)
    explain(
        figure,
        title="How far does the probe go: valence, family, emotion?",
        caption="At the place that each fold chose on its training scenarios; whiskers are 95 % "
        "intervals. A level is asked of texts whose branch parts there, among the branches under "
        "the right one above. Families after Shaver et al. (1987).",
        rows=probes,
        unit="texts",
    )
    return figure


def _level(panel: Axes, row: pd.DataFrame, words: pd.DataFrame, height: int) -> None:
    """One level: the probe, the best text baseline, and the probe's answers dealt anew."""
    dots(panel, row, [height + arm_offset(0, 2)], look(0), text="probe")
    panel.plot(
        numbers(row, "chance"), [height], "|", color="black", markersize=15, markeredgewidth=1.6,
        label="its answers dealt anew",
    )  # fmt: skip
    if not words.empty:
        drawn = Look(GREY, "s")
        dots(panel, best(words), [height + arm_offset(1, 2)], drawn, text="best text baseline")
