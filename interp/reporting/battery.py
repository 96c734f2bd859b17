"""The figure of a battery's audit: what the words alone give away, and how many texts there are of
each kind.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.dots import DRAWN, dots
from interp.reporting.formatting import label, number, whole
from interp.reporting.select import column, numbers, select, word
from interp.reporting.style import COLOURS, GREY, explain, facets, look, styled
from stimuli.battery import DOSES

TASKS = {
    "reception": "Emotional text or its neutral twin?",
    "categorisation": "Which emotion?",
}
_CHANCE = 0.5


@styled
def audit_figure(table: pd.DataFrame) -> Figure:
    """AUROC of every text-only baseline with its interval, a panel per task, beside the bound;
    texts by emotion and domain; and the lengths of each arm's texts.

    `table` is an audit's: its rows are told apart by `method` (gate, text_baseline, coverage,
    length).
    Raises `DataError` when a kind is missing.
    """
    rules, baselines = select(table, method="gate"), select(table, method="text_baseline")
    figure, axes = facets(4, columns=2, height=2.8, width=10.0, share=False)
    for panel, (task, title) in zip(axes, TASKS.items(), strict=False):
        _baseline_panel(panel, baselines[column(baselines, "task") == task])
        panel.set_title(title)
    bound = float(
        numbers(rules[column(rules, "metric").str.startswith("baseline_")], "bound").max()
    )
    axes[0].axvline(bound, color=COLOURS[1], linewidth=1.4)
    axes[0].text(
        bound, -0.62, f" at most {whole(bound)}", color=COLOURS[1], fontsize=8, va="bottom"
    )
    _coverage_panel(axes[2], select(table, method="coverage"))
    _length_panel(axes[3], select(table, method="length"))
    failed = [label(name) for name in column(rules[column(rules, "passed") != "True"], "metric")]
    verdict = f"Failed: {', '.join(failed)}." if failed else "Every rule of the gate holds."
    explain(
        figure,
        title=f"Audit of {label(word(rules, 'battery'))}: {len(rules) - len(failed)} of "
        f"{len(rules)} rules hold",
        caption=f"{verdict} Points: AUROC on held-out scenarios of classifiers that see the text "
        "only, with 95 % intervals; dashed: chance. Below: keyword-free texts (all texts where "
        "there are none) by emotion and domain; and the words of each arm's texts (median, and "
        "between the ends nine of ten).",
        rows=baselines,
        unit="texts",
    )
    return figure


def _baseline_panel(panel: Axes, rows: pd.DataFrame) -> None:
    measured = rows[rows["value"].notna()]
    if measured.empty:
        panel.text(
            0.5,
            0.5,
            "not measured",
            ha="center",
            va="center",
            transform=panel.transAxes,
            color=GREY,
        )
        panel.set_yticks([])
        return
    heights, low = range(len(measured)), numbers(measured, "ci_low")
    dots(panel, measured, heights, look(0))
    for height, own in enumerate(numbers(measured, "value")):
        panel.text(1.03, height, number(own), va="center", fontsize=8)
    panel.axvline(_CHANCE, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
    panel.set_yticks(heights, [label(name) for name in column(measured, "control")])
    panel.set_xlim(min([0.3, *(low.dropna() - 0.02)]), 1.2)
    panel.set_ylim(len(measured) - 0.4, -0.9)
    panel.set_xticks([0.5, 0.75, 1.0])
    panel.set_xlabel(f"AUROC, n = {int(measured['n'].max())}")
    panel.grid(visible=False, axis="y")


def _coverage_panel(panel: Axes, coverage: pd.DataFrame) -> None:
    free = coverage[column(coverage, "arm") == "keyword_free"]
    shown = free if len(free) else coverage
    shown = shown.assign(emotion=column(shown, "emotion"), domain=column(shown, "domain"))
    cells = shown.pivot_table(
        index="emotion", columns="domain", values="n", aggfunc="sum", fill_value=0, sort=False
    )
    counts = cells.to_numpy(dtype=float)
    panel.imshow(
        counts,
        cmap="Blues",
        vmin=0,
        vmax=2 * max(counts.max(), 1.0),
        aspect="auto",
        interpolation="none",
    )
    panel.set_yticks(range(len(cells.index)), [label(str(name)) for name in cells.index])
    panel.set_xticks(
        range(len(cells.columns)),
        [label(str(name) or "none named") for name in cells.columns],
        rotation=40,
        ha="right",
    )
    panel.grid(visible=False)
    panel.set_title("Texts by emotion and domain")
    if counts.size <= 12 * 12:
        for (down, across), count in np.ndenumerate(counts):
            panel.text(across, down, whole(count), ha="center", va="center", fontsize=8)


_DOSES_FIRST = ("neutral", *DOSES)
"""Arms in the order of their dose; others follow as they come."""


def _length_panel(panel: Axes, lengths: pd.DataFrame) -> None:
    arms = column(lengths, "arm")
    known = [arm for arm in _DOSES_FIRST if arm in set(arms)]
    order = [*known, *(arm for arm in arms if arm not in known)]
    told = lengths.assign(at=[order.index(arm) for arm in arms]).sort_values("at")
    dots(panel, told, range(len(told)), look(0), ends=DRAWN)
    panel.set_yticks(range(len(told)), [label(arm) for arm in column(told, "arm")])
    panel.set_ylim(len(told) - 0.4, -0.6)
    panel.set_xlim(left=0)
    panel.set_xlabel("words per text")
    panel.grid(visible=False, axis="y")
    panel.set_title("Length by arm, doses in order")
