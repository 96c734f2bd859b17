"""Figures of what a model represents, and where: probes, their text baselines, and directions.

Each function takes a stage's tidy table and returns a figure, and does nothing else.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.rows import (
    MEMORISED,
    NOT_BASELINES,
    best,
    column,
    counted,
    groups,
    holds,
    measured,
    numbers,
    numeral,
    place,
    select,
    word,
)
from interp.reporting.style import (
    COLOURS,
    GREY,
    Look,
    chance,
    colour_bar,
    curve,
    explain,
    facets,
    heat,
    key,
    layer_ticks,
    look,
    outer_labels,
    styled,
)
from interp.reporting.text import label, number, whole

DEPTH = "depth = (layer + 1) / n_layers"
_SITES = ["site", "method"]


def text_baselines_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a probe's table that are baselines on the text alone (perhaps none)."""
    return rows[~column(rows, "control").isin(NOT_BASELINES)]


@styled
def probe_curves(table: pd.DataFrame) -> Figure:
    """AUROC of the probes by depth, a line a site, beside chance, the best text baseline and the control task.

    Panels are tasks (reception, categorisation), a row a position. Raises `DataError` when the table holds no probe.
    """
    scores = select(table, metric="auroc")
    probes = select(scores, control="")
    panels = groups(probes, ["position", "task"])
    columns = len(set(column(probes, "task")))
    figure, axes = facets(len(panels), columns=columns, height=3.1)
    controlled = holds(scores, control=MEMORISED)
    lines = {_line(line): (name, look(at)) for at, (name, line) in enumerate(groups(probes, _SITES))}
    for panel, (name, rows) in zip(axes, panels, strict=True):
        _probe_panel(panel, rows, scores, name, lines)
    outer_labels(axes, columns=columns, x=DEPTH, y="AUROC (macro, held out)")
    key(figure)
    told = "The table holds no control task."
    if controlled:
        told = (
            "Dotted: the same probe on labels drawn at random for each scenario, which it can only learn by heart (control "
            "task): the room it has."
        )
    explain(
        figure,
        title="How well a linear probe reads the emotion, by depth and site",
        caption=f"{counted(probes)} texts, scored on held-out scenarios; bands are 95 % intervals. {told} Where the best text "
        "baseline comes near, the words alone give the answer away.",
    )
    return figure


def _line(rows: pd.DataFrame) -> tuple[str, str]:
    return word(rows, "site"), word(rows, "method")


def _probe_panel(
    panel: Axes, rows: pd.DataFrame, scores: pd.DataFrame, name: str, lines: Mapping[tuple[str, str], tuple[str, Look]]
) -> None:
    """A task at a position; a site has the same name and look in every panel, also where it stands alone."""
    task, position = word(rows, "task"), word(rows, "position")
    for _, line in groups(rows, _SITES):
        site, drawn = lines[_line(line)]
        curve(panel, line, x="depth", look=drawn, text=site)
        if holds(scores, task=task, position=position, control=MEMORISED, site=word(line, "site")):
            control = select(scores, task=task, position=position, control=MEMORISED, site=word(line, "site"))
            curve(panel, control, x="depth", look=drawn, text=f"{site}, control task", line=":")
    chance(panel, 0.5, "chance 0.5")
    baselines = text_baselines_of(select(scores, task=task))
    told = "no text baseline in the table"
    if len(baselines):
        top = best(baselines)
        panel.axhspan(numeral(top, "ci_low"), numeral(top, "ci_high"), color="black", alpha=0.07, linewidth=0)
        panel.axhline(numeral(top, "value"), color="black", linewidth=1.2, linestyle="-.", label="best text baseline")
        told = f"{label(word(top, 'control'))} {measured(top)}"
    panel.set_title(f"{label(name)}\ntext alone: {told}")


@styled
def text_baselines(table: pd.DataFrame) -> Figure:
    """AUROC of every text-only baseline beside the probe, whose place each fold chose, a panel a task."""
    scores = select(table, metric="auroc")
    tasks = groups(select(scores, control=""), ["task"])
    n_bars = max(column(text_baselines_of(scores), "control").nunique() + 1, 2)
    figure, axes = facets(len(tasks), columns=len(tasks), height=0.34 * n_bars + 0.7, share=False)
    for panel, (name, rows) in zip(axes, tasks, strict=True):
        nested = holds(table, metric="nested_auroc", task=word(rows, "task"))
        top = best(select(table, metric="nested_auroc", task=word(rows, "task")) if nested else rows)
        baselines = text_baselines_of(select(scores, task=word(rows, "task"))).sort_values("value", ascending=False)
        baselines = baselines.assign(control=column(baselines, "control")).drop_duplicates("control")
        _bars(panel, pd.concat([top, baselines]), [_probe_name(top, nested), *baselines["control"]])
        panel.set_title(label(name))
        panel.set_xlabel("AUROC (macro, held out)")
    explain(
        figure,
        title="What the words alone give away: text baselines beside the probe",
        caption=f"{counted(scores)}; whiskers are 95 % intervals. The probe's place is chosen by each fold on its training "
        "scenarios (where the table has no such score, it is the best of all, which flatters it); the baselines see only the "
        "text, on the same folds.",
    )
    return figure


def _probe_name(top: pd.DataFrame, nested: bool) -> str:
    return "probe, place chosen by fold" if nested else f"probe: {place(top)}"


def _bars(panel: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high"))
    heights = np.arange(len(rows))
    panel.barh(heights, value, height=0.62, color=[COLOURS[0], *["#a9a9a9"] * (len(rows) - 1)])
    panel.errorbar(value, heights, xerr=[value - low, high - value], fmt="none", ecolor="black", elinewidth=1, capsize=2.5)
    for height, (end, upper) in enumerate(zip(value, high, strict=True)):
        panel.text(np.nanmax([end, upper]) + 0.02, height, number(end), va="center", fontsize=8.5)
    panel.axvline(0.5, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)
    panel.set_yticks(heights, [label(name) for name in names])
    panel.set_xlim(0, 1.15)
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5\nchance", "0.75", "1"])
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")


@styled
def direction_separation(table: pd.DataFrame) -> Figure:
    """Held-out AUROC of the projection on each emotion's direction, by layer, a panel an emotion."""
    return _by_emotion(
        table,
        "separation_auroc",
        nothing=0.5,
        y="AUROC (held out)",
        title="How well each emotion's direction separates texts it has not seen",
        reading="A value of 1 means that every affective text lies further along the direction than every neutral one.",
    )


@styled
def direction_stability(table: pd.DataFrame) -> Figure:
    """Cosine between the directions of two halves of the scenarios, by layer, a panel an emotion."""
    return _by_emotion(
        table,
        "split_half_cosine",
        nothing=0.0,
        y="cosine (halves)",
        title="How stable each emotion's direction is between two halves of the scenarios",
        reading="Near 1 the direction hardly depends on which scenarios it was made from; near 0 it is mostly noise.",
    )


def _by_emotion(table: pd.DataFrame, metric: str, *, nothing: float, y: str, title: str, reading: str) -> Figure:
    rows = select(table, metric=metric)
    panels = groups(rows, ["emotion"])
    figure, axes = facets(len(panels), columns=4, height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        for at, (line_name, line) in enumerate(groups(own, ["site", "position", "method"])):
            curve(panel, line, x="layer", look=look(at), text=line_name)
        chance(panel, nothing, f"chance {whole(nothing)}")
        panel.set_title(label(name))
        layer_ticks(panel)
    outer_labels(axes, columns=4, x="layer", y=y)
    key(figure)
    bands = "bands are 95 % intervals" if rows["ci_low"].notna().any() else "there are no intervals"
    explain(figure, title=title, caption=f"{counted(rows)} a panel; {bands}. {reading}")
    return figure


@styled
def direction_cosines(table: pd.DataFrame) -> Figure:
    """Cosine of every emotion's direction (column `emotion`) with every other's (column `target`), a panel a site and layer."""
    rows = select(table, metric="cosine")
    panels = groups(rows, ["layer", "site", "position", "method"])
    names = list(dict.fromkeys([*column(rows, "emotion"), *column(rows, "target")]))
    figure, axes = facets(len(panels), columns=2, height=0.3 * len(names) + 1.3, width=9.0 if len(panels) > 1 else 6.4)
    for panel, (_, own) in zip(axes, panels, strict=True):
        heat(panel, square(own, names), rows=names, columns=names, limit=1.0)
        panel.set_title(f"{place(own)}, mean off the diagonal {mean_off_diagonal(own)}")
    outer_labels(axes, columns=2, x="", y="")
    colour_bar(figure, axes, "cosine")
    centred = f" Centring alone forces a mean of {-1 / max(len(names) - 1, 1):.3f} on {len(names)} group-centred directions."
    explain(
        figure,
        title="How alike the emotions' directions are",
        caption=f"{counted(rows)}. Directions made against the same neutral texts share a common part, which raises every "
        "cosine." + (centred if holds(rows, method="group_centred") else ""),
    )
    return figure


def square(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    """The values as a matrix, `emotion` down and `target` across; NaN where the table has no row."""
    at = {name: place for place, name in enumerate(names)}
    cells = np.full((len(names), len(names)), np.nan)
    for down, across, value in zip(column(rows, "emotion"), column(rows, "target"), numbers(rows, "value"), strict=True):
        cells[at[down], at[across]] = value
    return cells


def mean_off_diagonal(rows: pd.DataFrame) -> str:
    """The mean value of an emotion with another one, as text."""
    others = rows[column(rows, "emotion") != column(rows, "target")]
    return number(float(others["value"].mean())) if len(others) else "not measured"
