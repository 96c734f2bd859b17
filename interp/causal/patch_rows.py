"""Rows of a patching sweep, out of what was measured of every case."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.causal.patched_runs import Cell, NodeKey
from interp.causal.pooled import ALL
from interp.causal.readout import TokenReadout
from interp.causal.restoration import COPY, KL_TARGET, SUCCESS, Key, effect_rows, moved_answers
from interp.causal.swaps import Swap
from interp.causal.transplants import Case
from interp.sites import site_columns
from interp.stats import mean_interval
from stimuli.battery import NEUTRAL

Contrast = Callable[[Float[np.ndarray, "case emotion"]], Float[np.ndarray, " case"]]
"""The logit difference (nats) of each case, from the readout's scores."""

_TARGET, _OTHERS = "target", "others"
"""What the words of a swap's source are held against: those of the target's emotion, or the mean of
all third emotions.
"""

OF_ANSWERS = ("kl", KL_TARGET, SUCCESS)
"""Metrics of whole answers."""


def way_rows(
    cells: Mapping[NodeKey, Cell],
    cases: Sequence[Case],
    bound: TokenReadout,
    metrics: Sequence[str],
    mode: str,
) -> list[dict[str, Any]]:
    """Rows of `denoise` or `noise`: the emotion's words against the others (`contrast`)."""
    labels = [case.pair.affective.emotion for case in cases]
    answers = [NEUTRAL] * len(cases) if mode == "noise" else labels
    known = set(answers) <= set(bound.emotions)
    columns = np.array([bound.column(answer) for answer in answers]) if known else None
    measured = _measured(cells, lambda scores: bound.contrast(scores, labels), columns, metrics)
    sign = -1 if mode == "noise" else 1
    rows = effect_rows(measured, labels, _groups(cases), met=_met(cells, cases), sign=sign)
    return _with_chance(rows, bound)


def swap_rows(
    cells: Mapping[NodeKey, Cell],
    swaps: Sequence[Swap],
    bound: TokenReadout,
    metrics: Sequence[str],
) -> list[dict[str, Any]]:
    """Rows of `swap`, whose column `emotion` is the source's and `target` the patched text's.

    What holds words against each other is called `..._target` where the source's words are held
    against those of the patched text's emotion, and `..._others` where they are held against the
    mean of all third emotions, if there are any: each has a `total_effect`, a gate and restorations
    of its own. With target `all`: by the source's emotion, and over all. Without a control
    `logit_diff_target` and `success` stand for each two emotions, too.
    """
    cases, labels = [swap.case for swap in swaps], [swap.emotion for swap in swaps]
    columns = np.array([bound.column(label) for label in labels])
    own = np.array([bound.column(case.pair.affective.emotion) for case in cases])
    groups, met = _groups(cases), _met(cells, cases)
    against = _measured(cells, lambda scores: _less(scores, columns, own), columns, metrics)
    found = effect_rows(against, labels, groups, met=met, sign=1)
    rows = [{**row, "target": ALL, "metric": _named(row["metric"], _TARGET)} for row in found]
    thirds = _thirds(bound, columns, own)
    if thirds.any(axis=1).all():
        others = _measured(cells, lambda scores: _less_mean(scores, columns, thirds), None, ())
        found = effect_rows(others, labels, groups, met=met, sign=1)
        rows += [{**row, "target": ALL, "metric": _named(row["metric"], _OTHERS)} for row in found]
    rows += _two_by_two(against, swaps, groups)
    return _with_chance(rows, bound)


def _two_by_two(
    measured: Mapping[Key, Mapping[str, Float[np.ndarray, " case"]]],
    swaps: Sequence[Swap],
    groups: Shaped[np.ndarray, " case"],
) -> list[dict[str, Any]]:
    """Rows of each source's and each target's emotion, of the patches themselves."""
    of = [(swap.emotion, swap.case.pair.affective.emotion) for swap in swaps]
    rows = []
    for site, position, control in measured:
        if site is None or control:
            continue
        cell = measured[site, position, control]
        for emotion, target in dict.fromkeys(of):
            mine = np.array([one == (emotion, target) for one in of])
            place = {**site_columns(site), "position": position, "control": control}
            for metric in (one for one in ("logit_diff", SUCCESS) if one in cell):
                told = mine & ~np.isnan(cell[metric]) if metric == SUCCESS else mine
                if told.any():
                    found = mean_interval(cell[metric][told], groups[told])._asdict()
                    named = {"emotion": emotion, "target": target}
                    rows.append({**place, **named, "metric": _named(metric, _TARGET), **found})
    return rows


def _measured(
    cells: Mapping[NodeKey, Cell],
    contrast: Contrast,
    columns: Int[np.ndarray, " case"] | None,
    metrics: Sequence[str],
) -> dict[Key, dict[str, Float[np.ndarray, " case"]]]:
    """What is told of each cell, by case: the contrast, and those of `metrics` that were measured;
    success where the source's answer has one of the `columns`.
    """
    before = cells[None, "target", ""]["scores"]
    found: dict[Key, dict[str, Float[np.ndarray, " case"]]] = {}
    for (node, position, control), cell in cells.items():
        of = {"logit_diff": contrast(cell["scores"])}
        of |= {name: cell[name] for name in ("kl", KL_TARGET) if name in metrics and name in cell}
        if SUCCESS in metrics and columns is not None:
            of[SUCCESS] = moved_answers(cell["scores"], before, columns)
        found[None if node is None else node.site, position, control] = of
    return found


def _met(
    cells: Mapping[NodeKey, Cell], cases: Sequence[Case]
) -> dict[str, Bool[np.ndarray, " case"]]:
    """By control the cases that have a source for it."""
    patches = [key for key in cells if key[0] is not None and key[2]]
    return {
        control: ~np.isnan(cells[node, position, control]["kl"])
        for node, position, control in patches
    }


def _groups(cases: Sequence[Case]) -> Shaped[np.ndarray, " case"]:
    return np.array([case.pair.affective.group for case in cases])


def _named(metric: str, against: str) -> str:
    """A swap's metric with what it holds the source's words against; those of whole answers hold
    nothing against anything.
    """
    return metric if metric.removeprefix(f"{COPY}_") in OF_ANSWERS else f"{metric}_{against}"


def _with_chance(rows: list[dict[str, Any]], bound: TokenReadout) -> list[dict[str, Any]]:
    """The rows, those of success with what an answer drawn at random would reach."""
    chance = {"chance": 1 / len(bound.emotions)}
    return [
        {**row, **chance} if row["metric"].removeprefix(f"{COPY}_") == SUCCESS else row
        for row in rows
    ]


def _less(
    scores: Float[np.ndarray, "case emotion"],
    own: Int[np.ndarray, " case"],
    other: Int[np.ndarray, " case"],
) -> Float[np.ndarray, " case"]:
    """Each case's own emotion's score, less that of its other one."""
    case = np.arange(len(scores))
    return scores[case, own] - scores[case, other]


def _less_mean(
    scores: Float[np.ndarray, "case emotion"],
    own: Int[np.ndarray, " case"],
    others: Bool[np.ndarray, "case emotion"],
) -> Float[np.ndarray, " case"]:
    """Each case's own emotion's score, less the mean of its others."""
    return scores[np.arange(len(scores)), own] - scores.mean(axis=1, where=others)


def _thirds(
    bound: TokenReadout, source: Int[np.ndarray, " case"], target: Int[np.ndarray, " case"]
) -> Bool[np.ndarray, "case emotion"]:
    """The emotions that are neither the source's nor the target's, nor neutral."""
    third = np.ones((len(source), len(bound.emotions)), dtype=bool)
    third[np.arange(len(source)), source] = False
    third[np.arange(len(source)), target] = False
    if NEUTRAL in bound.emotions:
        third[:, bound.emotions.index(NEUTRAL)] = False
    return third
