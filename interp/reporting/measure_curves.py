"""Curves by depth of what is measured of probes besides their score: of a number, the length of a
code, the rank of the right class; and the score where a nuisance is erased.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.baselines import text_baselines_of
from interp.reporting.dots import dots, names_down
from interp.reporting.formatting import label
from interp.reporting.select import (
    ERASED,
    MEMORISED,
    SHUFFLED_LABELS,
    best,
    column,
    groups,
    holds,
    numeral,
    select,
    with_ranges,
    with_values,
    word,
)
from interp.reporting.style import (
    GREY,
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

DEPTH = "depth = (layer + 1) / n_layers"


@styled
def graded_curves(table: pd.DataFrame) -> Figure:
    """Pearson's r of a number with what the probe tells of it, by depth, a panel per field and
    position, beside the best text baseline.
    """
    rows = select(table, metric="pearson", control="")
    figure, axes = _panels(rows)
    for panel, (_, own) in zip(axes, groups(rows, ["task", "position"]), strict=True):
        _best_words(
            panel, text_baselines_of(select(table, metric="pearson", task=word(own, "task")))
        )
        chance(panel, 0.0, "nothing read 0")
    _finish(figure, axes, y="Pearson's r (held out)")
    explain(
        figure,
        title="How well a number is read from the activations, by depth",
        caption="Inside folds, on held-out scenarios; bands are 95 % intervals. What the words "
        "alone tell is on the same folds.",
        rows=rows,
        unit="texts",
    )
    return figure


@styled
def soft_curves(table: pd.DataFrame) -> Figure:
    """How much of the divergence of the mean shares a probe of soft labels takes away, by depth, a
    panel per position, beside the best text baseline and shuffled shares.
    """
    rows = select(table, metric="kl_explained", control="")
    figure, axes = _panels(rows)
    for panel, (_, own) in zip(axes, groups(rows, ["task", "position"]), strict=True):
        asked = {"metric": "kl_explained", "task": word(own, "task")}
        drawn = select(table, **asked, position=word(own, "position"), control=SHUFFLED_LABELS)
        _lines(panel, with_ranges(drawn), line=":", ending=", shares shuffled")
        _best_words(panel, text_baselines_of(select(table, **asked)))
        chance(panel, 0.0, "the mean shares 0")
    _finish(figure, axes, y="divergence explained (held out)")
    explain(
        figure,
        title="How well the shares of the emotions in a text are told, by depth",
        caption="1 less the divergence of what is told, as a share of that of the training texts' "
        "mean shares. Bands are 95 % intervals; of shuffled shares, the range of the draws. What "
        "the words alone tell is on the same folds.",
        rows=rows,
        unit="texts",
    )
    return figure


@styled
def compression_curves(table: pd.DataFrame) -> Figure:
    """How many times shorter the labels' code is by the probe, by depth, a panel per task and
    position, beside labels drawn at random.
    """
    rows = select(table, metric="compression", control="")
    figure, axes = _panels(rows)
    for panel, (_, own) in zip(axes, groups(rows, ["task", "position"]), strict=True):
        asked = {"task": word(own, "task"), "position": word(own, "position")}
        if holds(table, metric="compression", control=MEMORISED, **asked):
            drawn = select(table, metric="compression", control=MEMORISED, **asked)
            _lines(panel, drawn, line=":", ending=", labels drawn at random")
        chance(panel, 1.0, "as long as the uniform code 1")
    _finish(figure, axes, y="compression (times)")
    explain(
        figure,
        title="How short a code of the labels the activations give",
        caption="Prequential code: each block of scenarios is told by the probe of all before it. "
        "Bands are 95 % intervals. Dotted: labels drawn at random for each scenario, whose texts "
        "come one by one, so that they can be remembered.",
        rows=rows,
        unit="texts",
    )
    return figure


@styled
def right_rank_curves(table: pd.DataFrame) -> Figure:
    """The mean rank of the right class among all, by depth, a panel per task and position."""
    rows = select(table, metric="right_rank", control="")
    figure, axes = _panels(rows)
    axes[0].invert_yaxis()  # all share it
    _finish(figure, axes, y="rank of the right class (1 is first)")
    explain(
        figure,
        title="Which rank the right emotion has on held-out scenarios, by depth",
        caption="The mean over texts; bands are 95 % intervals. Higher is better: the axis ends "
        "with the first rank.",
        rows=rows,
        unit="texts",
    )
    return figure


@styled
def erased_scores(table: pd.DataFrame) -> Figure:
    """The probe's AUROC at the place of its highest one, plain and with each nuisance erased, a
    panel per task.
    """
    erased = select(table, metric="auroc", control=ERASED)
    panels = groups(erased, ["task"])
    plain = [best(select(table, metric="auroc", control="", task=word(own, "task")))
             for _, own in panels]  # fmt: skip
    bars = max(len(set(column(erased, "target"))) + 1, 3)
    figure, axes = facets(len(panels), columns=2, height=0.34 * bars + 0.7, share=False)
    drawn = []
    for panel, (name, own), top in zip(axes, panels, plain, strict=True):
        at = {name: word(top, name) for name in ("site", "layer", "position")}
        shown = pd.concat([top, select(own, **at)])
        drawn.append(shown)
        _whiskers(panel, shown, ["plain", *column(shown, "target")[1:]])
        panel.set_title(label(name))
        panel.axvline(0.5, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1)  # chance
        panel.set_xlabel("AUROC (macro, held out)")
    explain(
        figure,
        title="What is left of the probe's score where a nuisance is erased",
        caption="LEACE, fitted on each fold's training rows, takes out what a linear probe can "
        "know of the length, the domain and so on. At the place of the highest plain score; "
        "whiskers are 95 % intervals.",
        rows=pd.concat(drawn),
        unit="texts",
    )
    return figure


@styled
def depth_intervals(table: pd.DataFrame) -> Figure:
    """From which layer on the stream (or the first site) tells the labels, a panel per task."""
    names = ("emergence", "saturation", "peak")
    rows = with_values(select(table, metric=names, control=""))
    sites = list(dict.fromkeys(column(rows, "site")))
    first = word(rows, "position")
    shown = select(rows, site=STREAM if STREAM in sites else sites[0], position=first)
    panels = groups(shown, ["task"])
    figure, axes = facets(len(panels), columns=2, height=1.6)
    for panel, (name, own) in zip(axes, panels, strict=True):
        ordered = pd.concat([select(own, metric=one) for one in names])
        _whiskers(panel, ordered, list(names))
        panel.set_title(label(name))
        panel.set_xlabel("layer")
    explain(
        figure,
        title="From which layer on the stream tells it",
        caption="Emergence: the first layer half-way from chance to the highest AUROC; saturation: "
        "the first within 0.01 of it; peak: the highest. Whiskers: 95 % of the draws of scenarios.",
        rows=shown,
        unit="texts",
    )
    return figure


def _panels(rows: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    """A panel for each task and position, with a line for each site."""
    panels = groups(rows, ["task", "position"])
    figure, axes = facets(len(panels), columns=2, height=3.0)
    for panel, (name, own) in zip(axes, panels, strict=True):
        _lines(panel, own)
        panel.set_title(label(name))
    return figure, axes


def _lines(panel: Axes, rows: pd.DataFrame, *, line: str = "-", ending: str = "") -> None:
    sites = list(dict.fromkeys(column(rows, "site")))
    main = STREAM if STREAM in sites else sites[0]
    for place, (_, own) in enumerate(groups(rows, ["site", "method"])):
        site = word(own, "site")
        if line != "-" and site != main:
            continue
        drawn = look(place)._replace(faint=site != main)
        curve(panel, own, x="depth", look=drawn, text=site + ending, line=line)


def _best_words(panel: Axes, words: pd.DataFrame) -> None:
    """A line across the panel at what the best text baseline reaches, if any has a value."""
    if words["value"].notna().any():
        top = best(words)
        told = f"best text baseline, {word(top, 'control')}"
        panel.axhline(numeral(top, "value"), color="black", linestyle="-.", label=label(told))


def _finish(figure: Figure, axes: list[Axes], *, y: str) -> None:
    outer_labels(figure, axes, x=DEPTH, y=y)
    key(figure)


def _whiskers(panel: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    dots(panel, rows, range(len(rows)), look(0))
    names_down(panel, [label(name) for name in names])
    panel.grid(visible=False, axis="y")
