"""Which emotions a probe takes for which: the matrix, and confusions against distance."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.errors import DataError
from interp.reporting.formatting import label, p_value
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.select import (
    column,
    groups,
    holds,
    measured,
    numbers,
    numeral,
    select,
    square,
    with_values,
    word,
)
from interp.reporting.style import COLOURS, explain, facets, styled

_THEORIES = ("ratings", "wheel")
"""The distances that are drawn: the first one that the table has."""


@styled
def confusion_matrix(table: pd.DataFrame) -> Figure:
    """The share of each emotion's texts that the probe calls each emotion, a panel per question."""
    rows = select(table, metric="confusion")
    panels = groups(rows, ["task"])
    names = {task: list(dict.fromkeys(column(own, "emotion"))) for task, own in panels}
    most = max(map(len, names.values()))
    figure, axes = facets(
        len(panels), columns=2, height=1.2 + 0.34 * most, width=min(9.0, 3.0 + 0.6 * most),
        share=False,
    )  # fmt: skip
    for panel, (task, own) in zip(axes, panels, strict=True):
        heat(panel, square(own, names[task]), limit=1.0)
        panel.set_title(label(task))
        panel.set_xlabel("called")
        panel.set_ylabel("is")
    colour_bar(figure, axes, "share of the texts of an emotion")
    explain(
        figure,
        title="Which emotion the probe takes for which",
        caption="Held-out scenarios, at the place that each fold chose on its training scenarios. "
        "Rows add up to 1.",
        rows=rows,
        unit="texts",
    )
    return figure


@styled
def confusion_by_distance(table: pd.DataFrame) -> Figure:
    """How often two emotions are confused against their distance, a panel per question."""
    rows = with_values(select(table, metric="confusion"))
    rows = rows[column(rows, "emotion") != column(rows, "target")]
    theory = next((one for one in _THEORIES if f"distance_{one}" in rows), None)
    if theory is None:
        raise DataError("the table gives no distances: no theory knows these emotions.")
    panels = groups(rows[numbers(rows, f"distance_{theory}").notna()], ["task"])
    figure, axes = facets(len(panels), columns=2, height=3.2)
    for panel, (task, own) in zip(axes, panels, strict=True):
        far = np.sqrt(numbers(own, f"distance_{theory}").to_numpy())
        panel.scatter(far, own["value"], s=16, color=COLOURS[0], alpha=0.75, linewidths=0)
        panel.set_title(f"{label(task)}\n{_told(table, word(own, 'task'), theory)}")
        panel.set_xlabel(
            f"distance by the {theory}" if theory == "wheel" else "distance by ratings"
        )
        panel.set_ylabel("share confused" if panel is axes[0] else "")
    explain(
        figure,
        title="Are emotions confused that lie near each other?",
        caption="A dot is one emotion taken for another one. Distances are of the emotions' words: "
        "on Plutchik's wheel, or by people's ratings of valence, arousal and dominance.",
        rows=rows,
        unit="texts",
    )
    return figure


def _told(table: pd.DataFrame, task: str, theory: str) -> str:
    """How confusions go with distance, as text."""
    wanted = {"metric": "confused_near", "task": task, "reference": theory}
    if not holds(table, **wanted):
        return "no correlation: nothing varies"
    row = select(table, **wanted)
    return f"minus r {measured(row)}, {p_value(numeral(row, 'p'))}"
