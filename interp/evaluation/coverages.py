"""How often each interval of a study holds the truth: data whose truth is known, by the name of
the interval.

To let a further interval be checked, write a function from a seed to an estimate and its truth
(None: the mean of all estimates), and its line in `INTERVALS`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from interp.analysis import lengths, methods
from interp.analysis.directions import separation
from interp.analysis.folds import grouped_folds
from interp.analysis.geometry import rsa
from interp.analysis.nested import ABOVE_TEXT, NESTED_AUROC, nested_rows, nested_separation
from interp.analysis.persistence import retained
from interp.analysis.predictions import auroc_share, score
from interp.analysis.probes import cross_validate
from interp.analysis.products import gram_of, products
from interp.analysis.references import wheel_distances
from interp.causal.pooled import success_rows
from interp.causal.restoration import Key, nested_restoration
from interp.evaluation.agreement import agreement
from interp.evaluation.made import circumplex, twins
from interp.evaluation.rejections import carried, chosen_site, followed, sites_of
from interp.results import TableRow
from interp.sites import Site
from interp.stats import Estimate, mean_interval, ratio_interval

Draw = Callable[[np.random.Generator, int], Float[np.ndarray, " n"]]

_KEPT = 8192
"""Data sets whose scores are kept: several checks read different scores of the same data."""


def _nested(metric: str, n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    return _estimate(_nested_scores(n, shift, seed), metric), None


@lru_cache(maxsize=_KEPT)
def _nested_scores(n: int, shift: float, seed: int) -> tuple[TableRow, ...]:
    """The score of four sites, each fold choosing its own; and how far it lies above a text that
    knows half as much.
    """
    sites, task = sites_of(seed, n=n, shift=shift)
    words, _, _ = twins(seed, n=n, shift=shift / 2)
    text = cross_validate(
        words[:, :2], task.y, task.groups, folds=task.folds, settings=[{"C": 0.1}] * len(task.folds)
    )
    told, chosen = chosen_site(sites, task)
    return tuple(nested_rows(told, chosen[:, 0], [{}] * len(sites), {"words": text}))


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


def _restored_by_none(n: int, seed: int) -> tuple[Estimate, float]:
    """Twenty sites that restore nothing."""
    random = np.random.default_rng(seed)
    moved: dict[Key, np.ndarray] = {
        (Site("resid_post", at), "last", ""): random.normal(size=n) for at in range(20)
    }
    (row,) = nested_restoration(moved, 3 + random.normal(size=n), np.arange(n), seed=seed)
    return Estimate(row["value"], row["ci_low"], row["ci_high"], row["n"]), 0.0


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
    return _estimate(_scores(n, shift, seed), metric), None


@lru_cache(maxsize=_KEPT)
def _scores(n: int, shift: float, seed: int) -> tuple[TableRow, ...]:
    x, y, groups = twins(seed, n=n, shift=shift)
    folds = grouped_folds(y, groups, n_splits=min(5, n), seed=seed)
    told = cross_validate(x, y, groups, folds=folds, settings=[{"C": 0.1}] * len(folds))
    return tuple(score(told))


def _separation(metric: str, n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    return _estimate(_separations(n, shift, seed), metric), None


@lru_cache(maxsize=_KEPT)
def _separations(n: int, shift: float, seed: int) -> tuple[TableRow, ...]:
    x, _, groups = twins(seed, n=n, shift=shift)
    return tuple(separation(x[::2], x[1::2], groups[::2], n_splits=min(5, n), seed=seed))


def _nested_direction(n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    """Six layers that share nothing, each fold choosing its own."""
    made = [twins(6 * seed + layer, n=n, shift=shift) for layer in range(6)]
    pairs = [(x[::2], x[1::2]) for x, _, _ in made]
    rows = nested_separation(pairs, [{}] * len(pairs), made[0][2][::2], seed=seed)
    return _estimate(rows, NESTED_AUROC), None


def _carried_score(n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    """A probe of one arm on the texts of another."""
    _, told = carried(seed, n=n, shift=shift)
    return auroc_share(told).estimate(told.groups), None


def _followed_score(n: int, shift: float, seed: int) -> tuple[Estimate, None]:
    """A probe of the texts' ends, four tokens on."""
    told = followed(seed, n=n, shift=shift, kept=(1, 1, 1, 1)).told[-1]
    return auroc_share(told).estimate(told.groups), None


def _retained(n: int, seed: int) -> tuple[Estimate, float]:
    """A margin of which half is left four tokens on."""
    return retained(followed(seed, n=n, shift=4.0, kept=(1, 1, 1, 0.5)))[-1], 0.5


def _laid(n: int, seed: int) -> tuple[Estimate, None]:
    """Eight emotions round a circle, beside the wheel."""
    x, labels, groups = circumplex(seed, n=n, radius=1.0, d=12)
    found = products(gram_of(x), labels, groups)
    return rsa(found, wheel_distances(found.names)), None


def _agreed(sure: float, n: int, seed: int) -> tuple[Estimate, float]:
    """Two judges of four texts a scenario, in half of which both always name the emotion that is
    meant (one of four), and in the others with probability `sure`.
    """
    random = np.random.default_rng(seed)
    easy = random.random(size=(n, 1)) < 0.5
    meant = random.integers(4, size=(n, 4))
    said = []
    for _ in range(2):
        strays = ~easy & (random.random(size=(n, 4)) >= sure)
        said.append(((meant + strays * random.integers(1, 4, size=(n, 4))) % 4).astype(str))
    first, second = (one.ravel().tolist() for one in said)
    row = agreement(first, second, np.repeat(np.arange(n), 4))
    both = 0.5 + 0.5 * (sure**2 + (1 - sure) ** 2 / 3)
    return _estimate([row], "kappa"), (both - 0.25) / 0.75


def _estimate(rows: Sequence[TableRow], metric: str) -> Estimate:
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
        for s in (0.0, 1.0, 3.0)
        for n in _SIZES
        for m in ("auroc", "accuracy")
    },
    **{
        f"{m}, any of 4 sites, shift {s}, n {n}": partial(_nested, m, n, s)
        for s in (0.0, 2.0)
        for n in (8, 16)
        for m in (NESTED_AUROC, ABOVE_TEXT)
    },
    **{f"nested restoration, n {n}": partial(_nested_restoration, n) for n in _SIZES},
    **{
        f"nested restoration, 20 sites do nothing, n {n}": partial(_restored_by_none, n)
        for n in _SIZES
    },
    **{
        f"steering {m}, n {n}": partial(_success, m, n)
        for m in ("success", "success_above")
        for n in _SIZES
    },
    **{
        f"{m}, shift {s}, n {n}": partial(_separation, m, n, s)
        for s in (0.0, 2.0)
        for n in _SIZES
        for m in ("separation_auroc", "d_prime")
    },
    **{
        f"nested direction, any of 6 layers, shift {s}, n 24": partial(_nested_direction, 24, s)
        for s in (0.0, 2.0)
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
        f"carried auroc, shift {s}, n {n}": partial(_carried_score, n, s)
        for s in (0.0, 2.0)
        for n in _SIZES
    },
    **{
        f"persisting auroc, shift {s}, n {n}": partial(_followed_score, n, s)
        for s in (0.0, 2.0)
        for n in _SIZES
    },
    **{f"retained margin, n {n}": partial(_retained, n) for n in _SIZES},
    **{f"fit to the wheel (RSA), n {n}": partial(_laid, n) for n in _SIZES},
    **{f"kappa, sure {s}, n {n}": partial(_agreed, s, n) for s in (0.7, 0.95) for n in _SIZES},
    **{
        f"corrected cosine, true {t}, n {n}": partial(_cosine, n, t)
        for t in (0.0, 0.8)
        for n in _SIZES
    },
}
"""Name -> seed -> an estimate and its truth (None: the mean of all estimates)."""

_FEW = "wider than it must be: few scenarios, and what the folds share is not known well"
_COUNTED = "wider than it must be near the ceiling, where scenarios are counted"
_UNKNOWN = "wider than it must be; why is not known"

NOTES: dict[str, str] = {
    "patching's gate": "rarer than its level: corrected for emotions that are tested apart, too",
    **{f"probe {m}, shift {s}, n 8": _FEW for m in ("auroc", "accuracy") for s in (0.0, 1.0, 3.0)},
    "probe auroc, shift 3.0, n 16": _COUNTED,
    f"{NESTED_AUROC}, any of 4 sites, shift 0.0, n 8": _FEW,
    f"{ABOVE_TEXT}, any of 4 sites": _UNKNOWN,
    "probe accuracy, shift 0.0": "wider than it must be: twins are told apart or mistaken together",
    **{f"{m}, shift 2.0": _COUNTED for m in ("separation_auroc", "d_prime")},
    "d_prime, shift 0.0, n 8": _FEW,
    "persisting auroc, shift 2.0, n 8": _FEW,
    "carried auroc, shift 2.0, n 64": "narrower than it says: near the ceiling, .92 of 3400 hold",
    "held-out length, true 0.0, normal, n 64": _UNKNOWN,
    "held-out length, true 3.0, normal, n 8": _FEW,
    "(RSA)": "wider than it must be: what two scenarios have of their own is counted for both",
    "norm, true 0.0": "wider than it must be: where there is no length, one end alone can miss",
}
"""Part of a name -> why that check cannot be at its level."""
