"""Figure of a calibration: how often p rejects nothing, and how often intervals hold the truth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import DataError
from interp.reporting.formatting import whole
from interp.reporting.style import COLOURS, GREY, explain, facets, styled
from interp.shares import wilson

BANDS = {0.05: (0.03, 0.07), 0.01: (0.004, 0.02), 0.95: (0.92, 0.98)}
"""What is well calibrated, by nominal level: the shaded band of each panel."""


@styled
def calibration(table: pd.DataFrame) -> Figure:
    """The measured share of each check (columns what, nominal, measured, runs), a panel per nominal
    level.

    Whiskers are Wilson's 95 % intervals. Raises `DataError` when nothing was measured.
    """
    known = table[table["measured"].notna()]
    if known.empty:
        raise DataError("no check was measured: there is nothing to draw.")
    levels = sorted(set(known["nominal"]))
    parts = [known[known["nominal"] == level] for level in levels]
    longest = max(map(len, parts))
    figure, axes = facets(len(parts), columns=1, height=0.17 * longest + 0.8, share=False)
    for panel, level, rows in zip(axes, levels, parts, strict=True):
        _panel(panel, level, rows)
    explain(
        figure,
        title="How often chance is rejected, and how often intervals hold the truth",
        caption="Whiskers are 95 % intervals of the measured share. Dashed: "
        "nominal. Shaded: what counts as well calibrated.",
        rows=known.assign(n=known["runs"]),
        unit="data sets per point",
    )
    return figure


def _panel(panel: Axes, level: float, rows: pd.DataFrame) -> None:
    heights = np.arange(len(rows))
    value = rows["measured"].to_numpy(dtype=float)
    found = [wilson(round(share * n), int(n)) for share, n in zip(value, rows["runs"], strict=True)]
    reach = [value - [one.ci_low for one in found], [one.ci_high for one in found] - value]
    panel.errorbar(
        value, heights, xerr=np.maximum(reach, 0), fmt="o", color=COLOURS[0], elinewidth=1
    )
    panel.axvline(level, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
    if level in BANDS:
        panel.axvspan(*BANDS[level], color="black", alpha=0.07, linewidth=0)
    panel.set_yticks(heights, rows["what"], fontsize=7)
    panel.invert_yaxis()
    panel.set_title(f"nominal {whole(level)}")
    panel.set_xlabel("measured share")
