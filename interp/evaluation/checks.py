"""What a calibration checks: each number that a study prints, on data whose truth is known.

To let a further number be checked, write a function from a seed to p, or to an estimate and its
truth (None: the mean of all estimates), and its line in `TESTS` or `INTERVALS`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm

from interp.analysis import lengths, methods
from interp.analysis.controls import inner_correlations, permutation_null, relabellings
from interp.analysis.design import Design
from interp.analysis.directions import separation
from interp.analysis.folds import grouped_folds
from interp.analysis.nested import (
    ABOVE_TEXT,
    NESTED,
    choose_places,
    joined,
    nested_rows,
    nested_separation,
)
from interp.analysis.probes import Predictions, cross_validate, score
from interp.analysis.refits import refit_null
from interp.analysis.stats import max_t
from interp.analysis.sweep import Task, prepare
from interp.causal.pooled import success_rows
from interp.causal.restoration import Key, gates, nested_restoration
from interp.chance import assignment_p, sign_flip, strata_p
from interp.errors import StatisticsError
from interp.evaluation.made import emotions, twins
from interp.sites import Site
from interp.stats import Estimate, Labels, mean_interval, ratio_interval

Row = dict[str, Any]
Draw = Callable[[np.random.Generator, int], Float[np.ndarray, " n"]]

N_PERM = 199


def _p(data: Callable[[int], tuple[Any, Labels, Labels]], seed: int, *, sites: int = 1) -> float:
    """p of one site, or the least family-wise p of several that share the most of their noise."""
    x, y, groups = data(seed)
    folds = grouped_folds(y, groups, seed=seed)
    labellings = relabellings(Design.infer(y, groups), folds=folds, n_perm=N_PERM, seed=seed)
    random = np.random.default_rng(seed)
    nulls = [
        permutation_null(x + 0.5 * i * random.normal(size=x.shape), labellings, folds=folds)
        for i in range(sites)
    ]
    if sites == 1:
        return nulls[0].p
    return float(
        max_t(
            np.array([null.observed for null in nulls]),
            np.stack([null.draws for null in nulls], axis=1),
        ).min()
    )


def _gate(seed: int) -> float:
    effects, at = np.random.default_rng(seed).standard_t(5, size=64), np.arange(64)
    found = gates(effects, at, {str(one): at // 8 == one for one in range(8)} | {"all": at >= 0})
    return min(gate["p_corrected"] for gate in found.values())


def _sites(
    seed: int, *, n: int, shift: float, apart: float = 1.0, count: int = 4
) -> tuple[list[np.ndarray], Task]:
    """Sites that share the most of their noise (`apart`: how much each has of its own), and their
    task.
    """
    x, y, groups = twins(seed, n=n, shift=shift)
    random = np.random.default_rng(seed)
    task = prepare("reception", y, groups, n_splits=min(5, n), n_perm=N_PERM, seed=seed)
    return [x + i * apart * random.normal(size=x.shape) for i in range(count)], task


Chosen = Int[np.ndarray, "fold draw"]


def _chosen(
    sites: list[np.ndarray], task: Task, *, settings: list[dict[str, float]] | None = None
) -> tuple[Predictions, Chosen]:
    """What is predicted where every fold chose its site, and the choices under each labelling."""
    found = [
        cross_validate(site, task.y, task.groups, folds=task.folds, settings=settings)
        for site in sites
    ]
    chosen = choose_places(
        np.array([inner_correlations(site, task.labellings, folds=task.folds) for site in sites])
    )
    if chosen is None:
        raise StatisticsError(
            f"{len(set(task.groups))} scenarios are too few to choose a site on: calibrate with "
            "more."
        )
    return joined(found, chosen[:, 0]), chosen


def _nested(metric: str, n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    """The score of four sites, each fold choosing its own; and how far it lies above a text that
    knows half as much.
    """
    sites, task = _sites(seed, n=n, shift=shift)
    words, _, _ = twins(seed, n=n, shift=shift / 2)
    text = cross_validate(
        words[:, :2], task.y, task.groups, folds=task.folds, settings=[{"C": 0.1}] * len(task.folds)
    )
    told, chosen = _chosen(sites, task)
    return _estimate(
        nested_rows(told, chosen[:, 0], [{}] * len(sites), {"words": text}), metric
    ), None


def _nested_p(apart: float, count: int, seed: int) -> float:
    """The p of the AUROC that a sentence is told of, each fold choosing among `count` sites."""
    sites, task = _sites(seed, n=16, shift=0.0, apart=apart, count=count)
    told, chosen = _chosen(sites, task, settings=[{"C": 0.1}] * len(task.folds))
    return refit_null(
        lambda: [({}, site) for site in sites], told, chosen, task.labellings, folds=task.folds
    ).p


def _direction_p(seed: int) -> float:
    """The p that twins differ at any of six layers."""
    random = np.random.default_rng(seed)
    x, _, groups = twins(seed, n=16, edit=1.0)
    layers = [x + 0.5 * i * random.normal(size=x.shape) for i in range(6)]
    pairs = [(layer[::2], layer[1::2]) for layer in layers]
    (row,) = nested_separation(pairs, [{}] * len(pairs), groups[::2], seed=seed)
    return float(row["p"])


def _assignment_p(seed: int) -> float:
    """Eight directions that do the same to every prompt, each something else, and each a little to
    all emotions.
    """
    random = np.random.default_rng(seed)
    return assignment_p(
        random.normal(size=(8, 8)) + random.normal(size=(8, 1)) + random.normal(size=8), seed=seed
    )


def _strata_p(seed: int) -> float:
    """Eight emotions' chosen components beside twelve random sets each, of unequal and heavy-tailed
    effects.
    """
    random = np.random.default_rng(seed)
    effects = random.standard_t(3, size=(8, 13)) * random.exponential(size=(8, 1))
    return strata_p(effects[:, 0], list(effects[:, 1:]), n_perm=999, seed=seed)


def _first_p(seed: int) -> float:
    """A component that ranks first on other pairs, and does nothing."""
    return sign_flip(np.random.default_rng(seed).standard_t(3, size=12), side="above", seed=seed)


def _nested_restoration(n: int, seed: int) -> tuple[Estimate, float]:
    """Five sites that restore one half each, with noise that they share in part."""
    random = np.random.default_rng(seed)
    below = 3 + random.normal(size=n)
    shared = 0.5 * below + random.exponential(size=n) - 1
    moved: dict[Key, np.ndarray] = {
        (Site("resid_post", layer), "last", ""): shared + 0.5 * random.normal(size=n)
        for layer in range(5)
    }
    (row,) = nested_restoration(moved, below, np.arange(n), seed=seed)
    return Estimate(row["value"], row["ci_low"], row["ci_high"], row["n"]), 0.5


def _success(metric: str, n: int, seed: int) -> tuple[Estimate, float]:
    """Four emotions and n prompts, some easier than others; steered texts hit in .7, random ones in
    .2.
    """
    random = np.random.default_rng(seed)
    names = ("anger", "fear", "joy", "trust")
    ease = random.normal(size=n)
    arms = {}
    for control, rate in (("", 0.7), ("random", 0.2)):
        reach = ease + random.normal(size=(4, n)) < np.sqrt(2) * norm.ppf(rate)
        arms[control, 1.0] = {
            name: [name if one else None for one in hit]
            for name, hit in zip(names, reach, strict=True)
        }
    rows = [row for row in success_rows(arms, np.arange(n)) if row["control"] == ""]
    return _estimate(rows, metric), 0.7 if metric == "success" else 0.5


def _mean(draw: Draw, truth: float, n: int, seed: int) -> tuple[Estimate, float]:
    return mean_interval(draw(np.random.default_rng(seed), n), np.arange(n)), truth


def _ratio(n: int, seed: int) -> tuple[Estimate, float]:
    random = np.random.default_rng(seed)
    below = 3 + random.normal(size=n)
    return ratio_interval(0.5 * below + random.exponential(size=n) - 1, below, np.arange(n)), 0.5


def _score(metric: str, n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    x, y, groups = twins(seed, n=n, shift=shift)
    folds = grouped_folds(y, groups, n_splits=min(5, n), seed=seed)
    told = cross_validate(x, y, groups, folds=folds, settings=[{"C": 0.1}] * len(folds))
    return _estimate(score(told), metric), None


def _separation(metric: str, n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    x, _, groups = twins(seed, n=n, shift=shift)
    return _estimate(
        separation(x[::2], x[1::2], groups[::2], n_splits=min(5, n), seed=seed), metric
    ), None


def _estimate(rows: list[Row], metric: str) -> Estimate:
    row = next(row for row in rows if row["metric"] == metric)
    return Estimate(row["value"], row["ci_low"], row["ci_high"], row["n"])


def _differences(
    seed: int, n: int, d: int, truth: float, shape: str = "normal"
) -> Float[np.ndarray, "pair d"]:
    draw, mean = _DRAWS[shape]
    noise = draw(np.random.default_rng(seed), n * d).reshape(n, d) - mean
    return noise + truth * np.eye(d)[-1]


def _norm(n: int, truth: float, shape: str, seed: int) -> tuple[Estimate, float]:
    return lengths.length(_differences(seed, n, 64, truth, shape), np.arange(n)), truth


def _length_p(n: int, seed: int) -> float:
    return lengths.length_p(_differences(seed, n, 64, 0.0), np.arange(n), n_perm=N_PERM, seed=seed)


def _held_out(n: int, truth: float, shape: str, seed: int) -> tuple[Estimate, float]:
    rows = _differences(seed, n, 64, truth, shape)
    vector = methods.fit_unit(methods.paired, rows, np.zeros_like(rows))
    return methods.held_out_length(
        rows, np.zeros_like(rows), np.arange(n), seed=seed
    ), truth * float(vector[-1])


def _cosine(n: int, truth: float, seed: int) -> tuple[Estimate, float]:
    one, other = _differences(2 * seed, n, 64, 3.0), _differences(2 * seed + 1, n, 64, 3 * truth)
    other[:, 0] += 3 * np.sqrt(1 - truth**2)
    return lengths.cosine((one, np.arange(n)), (other, n + np.arange(n))), truth


TESTS: dict[str, Callable[[int], float]] = {
    "reception p": partial(_p, partial(twins, n=24)),
    "reception p, retold, one edit a scenario": partial(_p, partial(twins, n=16, told=3, edit=2.0)),
    "categorisation p": partial(_p, partial(emotions, n=40)),
    "categorisation p, 4 of 40 scenarios crossed": partial(_p, partial(emotions, n=40, crossed=4)),
    "reception p, any of 8 sites (max-T)": partial(_p, partial(twins, n=24), sites=8),
    "probe p, place chosen out of 4 alike": partial(_nested_p, 0.5, 4),
    "probe p, place chosen out of 8 unlike": partial(_nested_p, 5.0, 8),
    "patching's gate, any of 8 emotions": _gate,
    "norm p": partial(_length_p, 16),
    "direction p, any of 6 layers (max-T)": _direction_p,
    "contribution p": _first_p,
    "ablation p, 8 emotions together": _strata_p,
    "steering p, emotions dealt to directions": _assignment_p,
}
"""Name -> seed -> p, on data without any effect."""

_DRAWS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, n: random.normal(size=n), 0.0),
    "skewed": (lambda random, n: random.exponential(size=n), 1.0),
}
_SIZES = (8, 16, 64)

INTERVALS: dict[str, Callable[[int], tuple[Estimate, float | None]]] = {
    **{
        f"mean, {shape}, n {n}": partial(_mean, *_DRAWS[shape], n)
        for shape in _DRAWS
        for n in (4, *_SIZES)
    },
    **{f"restoration interval, n {n}": partial(_ratio, n) for n in (4, *_SIZES)},
    **{
        f"probe {m}, shift {s}, n {n}": partial(_score, m, n, s)
        for m in ("auroc", "accuracy", "log_loss")
        for s in (0.0, 1.0, 3.0)
        for n in _SIZES
    },
    **{
        f"{m}, any of 4 sites, shift {s}, n {n}": partial(_nested, m, n, s)
        for m in (NESTED, ABOVE_TEXT)
        for s in (0.0, 2.0)
        for n in (8, 16)
    },
    **{f"nested restoration, n {n}": partial(_nested_restoration, n) for n in _SIZES},
    **{
        f"steering {m}, n {n}": partial(_success, m, n)
        for m in ("success", "success_above")
        for n in _SIZES
    },
    **{
        f"{m}, shift {s}, n {n}": partial(_separation, m, n, s)
        for m in ("separation_auroc", "d_prime")
        for s in (0.0, 2.0)
        for n in _SIZES
    },
    **{
        f"norm, true {t}, {shape}, n {n}": partial(_norm, n, t, shape)
        for shape in _DRAWS
        for t in (0.0, 3.0)
        for n in (4, *_SIZES)
    },
    **{
        f"held-out length, true {t}, {shape}, n {n}": partial(_held_out, n, t, shape)
        for shape in _DRAWS
        for t in (0.0, 3.0)
        for n in (4, *_SIZES)
    },
    **{
        f"corrected cosine, true {t}, n {n}": partial(_cosine, n, t)
        for t in (0.0, 0.8)
        for n in _SIZES
    },
}
"""Name -> seed -> an estimate and its truth (None: the mean of all estimates)."""

NOTES: dict[str, str] = {}
"""Part of a name -> why that check cannot be at its level."""
