"""Calibration: how often tests reject where there is nothing, and how often intervals hold the truth.

Each check makes data whose truth is known, many times over, and asks the very functions that a study
asks. A p is right when it is at or below a level as often as the level says; a 95 % interval when it
holds the truth in 95 of 100. What gives no interval is counted apart (`without`).

To let a further number be checked, write a function from a seed to p, or to an estimate and its
truth, and its line in `TESTS` or `INTERVALS`.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.analysis import lengths, methods
from interp.analysis.controls import permutation_null, relabellings
from interp.analysis.design import Design
from interp.analysis.directions import separation
from interp.analysis.folds import grouped_folds
from interp.analysis.probes import cross_validate, score
from interp.analysis.stats import max_t
from interp.causal.restoration import gates
from interp.stats import Estimate, Labels, mean_interval, ratio_interval

Row = dict[str, Any]
Draw = Callable[[np.random.Generator, int], Float[np.ndarray, " n"]]

LEVELS = (0.05, 0.01)
N_PERM = 199


def calibrate(*, runs: int = 400, names: Iterable[str] = ()) -> list[Row]:
    """Rows (what, nominal, measured, runs, without) of every check, or of those whose name holds one of `names`.

    `measured` is the share of rejections, or of intervals that hold the truth, among `runs` data sets less those `without`
    an interval. Where an estimate's truth has no closed form (what a probe scores on scenarios that it has not seen), it is the
    mean of the estimates. Its binomial error is sqrt(nominal (1 - nominal) / runs).
    """
    wanted = tuple(names)
    rows: list[Row] = []
    for what, test in TESTS.items():
        if _named(what, wanted):
            p = np.array([test(seed) for seed in range(runs)])
            rows += [_row(f"rejection of {what}", level, (p <= level).tolist(), runs) for level in LEVELS]
    for what, interval in INTERVALS.items():
        if _named(what, wanted):
            found = [interval(seed) for seed in range(runs)]
            known = [truth for _, truth in found if truth is not None]
            mean = float(np.mean([estimate.value for estimate, _ in found]))
            held = [
                estimate.ci_low <= truth <= estimate.ci_high
                for (estimate, _), truth in zip(found, known or [mean] * runs, strict=True)
                if not np.isnan(estimate.ci_low)
            ]
            rows.append(_row(f"coverage of {what}", 0.95, held, runs))
    return rows


def _named(what: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or any(name in what for name in wanted)


def _row(what: str, nominal: float, hits: list[bool], runs: int) -> Row:
    measured = float(np.mean(hits)) if hits else np.nan
    return {"what": what, "nominal": nominal, "measured": measured, "runs": len(hits), "without": runs - len(hits)}


def twins(
    seed: int, *, n: int, told: int = 1, shift: float = 0.0, edit: float = 0.0, d: int = 8
) -> tuple[Float[np.ndarray, "item d"], list[str], list[int]]:
    """Activations, labels and scenarios of `n` scenarios told in `told` pairs of twins.

    Twins share their scenario and their pair; affective ones are `shift` further along one axis, and `edit` is what all
    affective texts of a scenario have by accident. Axes differ in their noise.
    """
    random = np.random.default_rng(seed)
    groups, pairs = np.repeat(np.arange(n), 2 * told), np.repeat(np.arange(n * told), 2)
    affective = np.tile([True, False], n * told)
    x = random.normal(size=(len(groups), d)) + random.normal(size=(n, d))[groups] + random.normal(size=(n * told, d))[pairs]
    x[affective] += edit * random.normal(size=(n, d))[groups[affective]]
    x *= np.linspace(0.5, 3, d)
    x[affective, 0] += shift
    return x, np.where(affective, "affective", "neutral").tolist(), groups.tolist()


def emotions(seed: int, *, n: int, crossed: int = 0) -> tuple[Float[np.ndarray, "item d"], list[str], list[int]]:
    """Activations without emotion, labels of four, and scenarios, `crossed` of which are told under two."""
    random = np.random.default_rng(seed)
    y, groups = np.tile(["anger", "fear", "joy", "trust"], n // 4), np.arange(n)
    for one in range(crossed):
        groups[4 * one + 1] = groups[4 * one]
    return random.normal(size=(n, 8)) + random.normal(size=(n, 8))[groups], y.tolist(), groups.tolist()


def _p(data: Callable[[int], tuple[Any, Labels, Labels]], seed: int, *, sites: int = 1) -> float:
    """p of one site, or the least family-wise p of several that share the most of their noise."""
    x, y, groups = data(seed)
    folds = grouped_folds(y, groups, seed=seed)
    labellings = relabellings(Design.infer(y, groups), folds=folds, n_perm=N_PERM, seed=seed)
    random = np.random.default_rng(seed)
    nulls = [permutation_null(x + 0.5 * i * random.normal(size=x.shape), labellings, folds=folds) for i in range(sites)]
    if sites == 1:
        return nulls[0].p
    return float(max_t(np.array([null.observed for null in nulls]), np.stack([null.draws for null in nulls], axis=1)).min())


def _gate(seed: int) -> float:
    effects, at = np.random.default_rng(seed).standard_t(5, size=64), np.arange(64)
    found = gates(effects, at, {str(one): at // 8 == one for one in range(8)} | {"all": at >= 0})
    return min(gate["p_corrected"] for gate in found.values())


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
    return _estimate(separation(x[::2], x[1::2], groups[::2], n_splits=min(5, n), seed=seed), metric), None


def _estimate(rows: list[Row], metric: str) -> Estimate:
    row = next(row for row in rows if row["metric"] == metric)
    return Estimate(row["value"], row["ci_low"], row["ci_high"], row["n"])


def _differences(seed: int, n: int, d: int, truth: float) -> Float[np.ndarray, "pair d"]:
    return np.random.default_rng(seed).normal(size=(n, d)) + truth * np.eye(d)[-1]


def _norm(n: int, truth: float, seed: int) -> tuple[Estimate, float]:
    return lengths.length(_differences(seed, n, 64, truth), np.arange(n)), truth


def _length_p(n: int, seed: int) -> float:
    return lengths.length_p(_differences(seed, n, 64, 0.0), np.arange(n), n_perm=N_PERM, seed=seed)


def _held_out(n: int, truth: float, seed: int) -> tuple[Estimate, float]:
    rows = _differences(seed, n, 64, truth)
    vector = methods.fit_unit(methods.paired, rows, np.zeros_like(rows))
    return methods.held_out_length(rows, np.zeros_like(rows), np.arange(n), seed=seed), truth * float(vector[-1])


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
    "patching's gate, any of 8 emotions": _gate,
    "norm p": partial(_length_p, 16),
}
"""Name -> seed -> p, on data without any effect."""

_DRAWS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, n: random.normal(size=n), 0.0),
    "skewed": (lambda random, n: random.exponential(size=n), 1.0),
}
_SIZES = (8, 16, 64)

INTERVALS: dict[str, Callable[[int], tuple[Estimate, float | None]]] = {
    **{f"mean, {shape}, n {n}": partial(_mean, *_DRAWS[shape], n) for shape in _DRAWS for n in (4, *_SIZES)},
    **{f"restoration interval, n {n}": partial(_ratio, n) for n in (4, *_SIZES)},
    **{f"probe {m}, shift {s}, n {n}": partial(_score, m, n, s) for m in ("auroc", "accuracy", "log_loss")
       for s in (0.0, 1.0, 3.0) for n in _SIZES},
    **{f"{m}, shift {s}, n {n}": partial(_separation, m, n, s) for m in ("separation_auroc", "d_prime")
       for s in (0.0, 2.0) for n in _SIZES},
    **{f"norm, true {t}, n {n}": partial(_norm, n, t) for t in (0.0, 3.0) for n in (4, *_SIZES)},
    **{f"held-out length, true {t}, n {n}": partial(_held_out, n, t) for t in (0.0, 3.0) for n in (4, *_SIZES)},
    **{f"corrected cosine, true {t}, n {n}": partial(_cosine, n, t) for t in (0.0, 0.8) for n in _SIZES},
}  # fmt: skip
"""Name -> seed -> an estimate and its truth (None: the mean of all estimates)."""
