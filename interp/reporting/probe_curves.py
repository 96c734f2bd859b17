"""The curves of probes: how well the emotion is read, by depth and site."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.baselines import text_baselines_of
from interp.reporting.formatting import label
from interp.reporting.measure_curves import DEPTH
from interp.reporting.published import mark_published, told_published
from interp.reporting.select import (
    MEMORISED,
    RANDOM_MODEL,
    best,
    column,
    groups,
    holds,
    measured,
    numbers,
    numeral,
    select,
    word,
)
from interp.reporting.style import (
    Look,
    chance,
    curve,
    explain,
    facets,
    key,
    look,
    outer_labels,
    styled,
)
from interp.sites import STREAM

_SITES = ["site", "method"]


@styled
def probe_curves(table: pd.DataFrame) -> Figure:
    """AUROC of the probes by depth, a line per site, beside chance, the best text baseline and, for
    the stream, the control task.

    The stream (or the first site) has its band, other sites are faint. Panels are tasks (reception,
    categorisation), a row per position. Raises `DataError` when the table holds no probe.
    """
    scores = select(table, metric="auroc")
    probes = select(scores, control="")
    panels = groups(probes, ["position", "task"])
    columns = len(set(column(probes, "task")))
    figure, axes = facets(len(panels), columns=columns, height=3.1)
    controlled = holds(scores, control=MEMORISED)
    sites = list(dict.fromkeys(column(probes, "site")))
    main = STREAM if STREAM in sites else sites[0]
    lines = {
        _line(line): (name, look(at)._replace(faint=word(line, "site") != main))
        for at, (name, line) in enumerate(groups(probes, _SITES))
    }
    for panel, (name, rows) in zip(axes, panels, strict=True):
        _probe_panel(panel, rows, scores, name, lines)
        first = float(numbers(rows, "depth").min())
        mark_published(panel, "probe_curves", task=word(rows, "task"), at=first)
    outer_labels(figure, axes, x=DEPTH, y="AUROC (macro, held out)")
    key(figure)
    told = "The table holds no control task."
    if controlled:
        told = (
            f"Dotted: the probe of {main} on labels drawn at random for each scenario, which it "
            "can only learn by heart (control task): the room it has."
        )
    explain(
        figure,
        title="How well a linear probe reads the emotion, by depth and site",
        caption="Scored on held-out scenarios; bands are 95 % "
        f"intervals (of {main}). {told} Where the best text baseline comes near, the words alone "
        "give the answer away." + told_published("probe_curves", column(probes, "task")),
        rows=probes,
        unit="texts",
    )
    return figure


def _line(rows: pd.DataFrame) -> tuple[str, str]:
    return word(rows, "site"), word(rows, "method")


def _probe_panel(
    panel: Axes,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    name: str,
    lines: Mapping[tuple[str, str], tuple[str, Look]],
) -> None:
    """A task at a position; a site has the same name and look in every panel, also where it stands
    alone.
    """
    task, position = word(rows, "task"), word(rows, "position")
    for _, line in groups(rows, _SITES):
        site, drawn = lines[_line(line)]
        curve(panel, line, x="depth", look=drawn, text=site)
        known = {"task": task, "position": position, "control": MEMORISED}
        if not drawn.faint and holds(scores, **known, site=word(line, "site")):
            control = select(scores, **known, site=word(line, "site"))
            curve(panel, control, x="depth", look=drawn, text=f"{site}, control task", line=":")
        twin = known | {"control": RANDOM_MODEL}
        if not drawn.faint and holds(scores, **twin, site=word(line, "site")):
            untrained = select(scores, **twin, site=word(line, "site"))
            text = f"{site}, random weights"
            curve(panel, untrained, x="depth", look=drawn, text=text, line="--")
    chance(panel, 0.5, "chance 0.5")
    baselines = text_baselines_of(select(scores, task=task))
    told = "no text baseline in the table"
    if len(baselines):
        top = best(baselines)
        panel.axhspan(
            numeral(top, "ci_low"), numeral(top, "ci_high"), color="black", alpha=0.07, linewidth=0
        )
        panel.axhline(
            numeral(top, "value"),
            color="black",
            linewidth=1.2,
            linestyle="-.",
            label="best text baseline",
        )
        told = f"{label(word(top, 'control'))} {measured(top)}"
    panel.set_title(f"{label(name)}\ntext alone: {told}")
