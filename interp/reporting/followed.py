"""The figure of persistence: what is read k tokens behind a text, beside labels shuffled over
scenarios and the words of the text.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import label, whole
from interp.reporting.select import (
    best,
    column,
    groups,
    holds,
    numbers,
    numeral,
    select,
    word,
)
from interp.reporting.style import COLOURS, GREY, chance, curve, explain, facets, key, look, styled

DEALT, REFITTED = "shuffled", "own"
"""What column `control` says of labels shuffled over scenarios, and of a probe that was fitted at
the offset that it reads.
"""

_AT_ZERO = 0.5
"""Where the text's last token stands on the logarithmic axis."""


def words_rows(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of the text baselines of a question (perhaps none)."""
    rows = select(table, metric="auroc", task=task)
    return rows[~column(rows, "control").isin(("", DEALT, REFITTED))]


@styled
def persistence_curve(table: pd.DataFrame) -> Figure:
    """AUROC of the probe of the texts' last tokens, by the tokens read behind them, a panel per
    question.
    """
    rows = select(table, metric="auroc", control="")
    panels = groups(rows, ["task"])
    figure, axes = facets(len(panels), columns=2, height=3.0)
    for panel, (name, own) in zip(axes, panels, strict=True):
        _draw(panel, table, own)
        panel.set_title(label(name))
        panel.set_xlabel("tokens of the neutral continuation")
        panel.set_ylabel("AUROC (macro, held out)" if panel is axes[0] else "")
    key(figure)
    explain(
        figure,
        title="Does the state stay while the model reads on?",
        caption="The probe is fitted at the texts' last token (0) and read behind it, in a neutral "
        "continuation that is the same behind a text and its twin; scenarios are new to it. Bands "
        "are 95 % intervals; of shuffled labels, nine of ten draws.",
        rows=rows,
        unit="texts",
    )
    return figure


def _draw(panel: Axes, table: pd.DataFrame, rows: pd.DataFrame) -> None:
    task = word(rows, "task")
    curve(panel, placed(rows), x="offset", look=look(0), text="probe of the last token")
    if holds(table, metric="auroc", control=DEALT, task=task):
        drawn = placed(select(table, metric="auroc", control=DEALT, task=task))
        drawn = drawn.assign(ci_low=drawn["draw_low"], ci_high=drawn["draw_high"])
        curve(panel, drawn, x="offset", look=look(1), text="labels shuffled", line="--")
    if holds(table, metric="auroc", control=REFITTED, task=task):
        own = placed(select(table, metric="auroc", control=REFITTED, task=task))
        told = "probe fitted at that offset"
        curve(panel, own, x="offset", look=look(3)._replace(faint=True), text=told, line=":")
    words = words_rows(table, task)
    if not words.empty:
        at = numeral(best(words), "value")
        told = "best text baseline (the same at every offset)"
        panel.axhline(at, color=COLOURS[2], linestyle=":", linewidth=1.4, label=told)
    chance(panel, 0.5, "chance 0.5")
    if holds(table, metric="half_life", task=task):
        half = numeral(select(table, metric="half_life", task=task), "value")
        if half == half:  # not NaN: it was reached
            panel.axvline(half, color=GREY, linewidth=1, label="half-life of the margin")
    offset_axis(panel, rows)


def offset_axis(panel: Axes, rows: pd.DataFrame) -> None:
    """A logarithmic axis with a tick at each offset of the rows, 0 among them."""
    places = sorted(set(placed(rows)["offset"]))
    panel.set_xscale("log", base=2)
    panel.set_xticks(places, ["0" if at == _AT_ZERO else whole(at) for at in places])
    panel.minorticks_off()


def placed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with offset 0 where a logarithmic axis has a place for it."""
    offsets = numbers(rows, "offset")
    return rows.assign(offset=offsets.where(offsets > 0, _AT_ZERO))
