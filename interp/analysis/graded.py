"""Probes of a number: how strong, how pleasant, how aroused, read from activations.

    ridge     w minimises |y - Z w|^2 + n penalty |w|^2 (Hoerl & Kennard 1970)
    ordinal   P(y <= k) = sigmoid(theta_k - w z), thetas in order: proportional odds (McCullagh
              1980), with |w|^2 / 2 C as penalty; what it tells is the expected value

Outer folds hold scenarios out, inner ones choose the penalty by the squared error. Rows are
standardised on the training rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from interp.analysis.baselines import turned_rows
from interp.analysis.dependence import blocks_of, shared_inflation, taught
from interp.analysis.features import Features
from interp.analysis.folds import Fold, Folds, fold_of
from interp.analysis.probes import Grid
from interp.errors import StatisticsError, UsageError
from interp.stats import EQUAL_WITHIN, Estimate, Labels, Statistic, reach_of, without_each

MOST_LEVELS = 12
"""Different values that an ordinal probe takes: one threshold lies between each two of them."""

_LARGEST = 1 - 1e-9  # of a correlation, on the scale of arctanh

Columns = Float[np.ndarray, "row axis"]
OtherColumns = Float[np.ndarray, "other axis"]
FitNumbers = Callable[..., Float[np.ndarray, " _"]]
"""(training rows, their values, other rows, setting) -> a number for each of the other rows."""


@dataclass(frozen=True, slots=True)
class NumberProbe:
    """A kind of probe of a number, and the settings that inner folds choose among."""

    fit: FitNumbers
    grid: Grid


def fit_ridge(
    train: Columns,
    values: Float[np.ndarray, " row"],
    other: OtherColumns,
    setting: Mapping[str, float],
) -> Float[np.ndarray, " other"]:
    """What ridge regression tells of the rows `other`; `penalty` is per training row."""
    centre, level = train.mean(axis=0), float(values.mean())
    rows = train - centre
    n, d = rows.shape
    if d <= n:
        square = rows.T @ rows + setting["penalty"] * n * np.eye(d)
        weights = cho_solve(cho_factor(square), rows.T @ (values - level))
    else:
        square = rows @ rows.T + setting["penalty"] * n * np.eye(n)
        weights = rows.T @ cho_solve(cho_factor(square), values - level)
    return level + (other - centre) @ weights


def fit_ordinal(
    train: Columns,
    values: Float[np.ndarray, " row"],
    other: OtherColumns,
    setting: Mapping[str, float],
) -> Float[np.ndarray, " other"]:
    """The value that proportional odds expect of the rows `other`.

    Raises `StatisticsError` for more than `MOST_LEVELS` different values.
    """
    levels, step = np.unique(values, return_inverse=True)
    if len(levels) > MOST_LEVELS:
        raise StatisticsError(
            f"an ordinal probe takes up to {MOST_LEVELS} different values, and there are "
            f"{len(levels)}: use the probe 'ridge'."
        )
    share = np.cumsum(np.bincount(step))[:-1] / len(step)
    first = np.log(share / (1 - share))
    gaps = np.log(np.maximum(np.diff(first), 1e-3))
    start = np.concatenate([np.zeros(train.shape[1]), first[:1], gaps])
    found = minimize(
        odds_loss, start, args=(train, step, setting["C"]), jac=True, method="L-BFGS-B",
        options={"maxiter": 1000, "gtol": 1e-5 * len(step)},
    )  # fmt: skip
    weights, thresholds = _unpacked(found.x, train.shape[1])
    above = expit((other @ weights)[:, None] - thresholds)
    return np.asarray(levels[0] + above @ np.diff(levels))


def odds_loss(
    packed: Float[np.ndarray, " number"], rows: Columns, step: Int[np.ndarray, " row"], c: float
) -> tuple[float, Float[np.ndarray, " number"]]:
    """The objective of proportional odds and its slope, at the weights, the first threshold, and
    the logarithms of the gaps between thresholds.
    """
    width = rows.shape[1]
    weights, thresholds = _unpacked(packed, width)
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    score = rows @ weights
    high, low = edges[step + 1] - score, edges[step] - score
    up, down = expit(high), expit(low)
    inside = np.maximum(up - down, 1e-300)
    loss = -np.log(inside).sum() + weights @ weights / (2 * c)
    by_high, by_low = -up * (1 - up) / inside, down * (1 - down) / inside
    of_edge = np.zeros(len(edges))
    np.add.at(of_edge, step + 1, by_high)
    np.add.at(of_edge, step, by_low)
    later = np.cumsum(of_edge[1:-1][::-1])[::-1]  # a gap moves all thresholds behind it
    gaps = np.diff(thresholds)
    slope_w = -rows.T @ (by_high + by_low) + weights / c
    return float(loss), np.concatenate([slope_w, later[:1], later[1:] * gaps])


def _unpacked(packed: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    first, gaps = packed[width], np.exp(np.minimum(packed[width + 1 :], 50.0))
    return packed[:width], first + np.concatenate([[0.0], np.cumsum(gaps)])


GRADED: dict[str, NumberProbe] = {
    "ridge": NumberProbe(fit_ridge, tuple({"penalty": one} for one in (0.01, 0.1, 1.0, 10.0))),
    "ordinal": NumberProbe(fit_ordinal, ({"C": 0.001}, {"C": 0.01}, {"C": 0.1}, {"C": 1.0})),
}
"""The probes of a number by name; a study runs the one that `--graded-probe` names."""


@dataclass(frozen=True, slots=True)
class Graded:
    """Held-out numbers: of each item what was told of it, what is true, the mean of what its fold
    was trained on, its scenario and its fold; and how much wider an interval is for what folds
    share (`dependence.shared_inflation`).
    """

    told: Float[np.ndarray, " item"]
    values: Float[np.ndarray, " item"]
    level: Float[np.ndarray, " item"]
    groups: Labels
    fold: Int[np.ndarray, " item"]
    inflation: float


def predict_numbers(
    prepare: Callable[[Fold], Features],
    values: Float[np.ndarray, " item"],
    groups: Labels,
    *,
    folds: Folds,
    probe: str,
) -> Graded:
    """Held-out predictions of a number, from features that `prepare` makes of all items, having
    learned from a fold's training rows alone.

    Raises `UsageError` for an unknown probe, and as its fit.
    """
    if probe not in GRADED:
        raise UsageError(f"unknown probe {probe!r} of a number: choose one of {', '.join(GRADED)}.")
    kind, block = GRADED[probe], blocks_of(groups)
    told, level, shared = np.zeros(len(values)), np.zeros(len(values)), 0.0
    for fold in folds:
        z = turned_rows(prepare(fold), fold).astype(np.float64)
        losses = [
            sum(
                float(((kind.fit(z[a], values[a], z[b], setting) - values[b]) ** 2).sum())
                for a, b in fold.inner
            )
            for setting in kind.grid
        ]
        setting = kind.grid[int(np.argmin(losses))]
        told[fold.test] = kind.fit(z[fold.train], values[fold.train], z[fold.test], setting)
        level[fold.test] = values[fold.train].mean()
        coded = (values - values[fold.train].mean())[:, None]
        none = np.zeros(len(values), dtype=np.int64)
        shared = shared + taught(z, coded, block, fold.train, fold.test, part=none)[0]
    number = fold_of(folds, len(values))
    return Graded(told, values, level, groups, number, shared_inflation(np.asarray(shared)))


def pearson_of(told: Graded) -> Statistic:
    """The correlation inside folds: what two folds' probes say of different scenarios shares no
    level. Zero where a side does not vary.
    """
    return correlation_inside(told.told, told.values, told.fold)


def score_numbers(told: Graded) -> list[dict[str, Any]]:
    """Rows (metric, value, ci_low, ci_high, n): pearson and spearman inside folds, and r2, the
    share of the squared distance to the training rows' mean that the probe explains.

    Intervals leave out scenarios, wider by what folds share; those of correlations on the scale of
    arctanh.
    """
    told_ranks, true_ranks = (_ranked(side, told.fold) for side in (told.told, told.values))
    spearman = correlation_inside(told_ranks, true_ranks, told.fold)
    missed, plain = (told.values - told.told) ** 2, (told.values - told.level) ** 2

    def explained(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        return np.asarray(1 - weights @ missed / (weights @ plain))

    found = {
        "pearson": correlation_estimate(pearson_of(told), told),
        "spearman": correlation_estimate(spearman, told),
        "r2": _plain(explained, told),
    }
    return [{"metric": metric, **one._asdict()} for metric, one in found.items()]


def correlation_estimate(statistic: Statistic, told: Graded) -> Estimate:
    """A correlation with the jackknife's interval on the scale of arctanh; none where it is the
    same without any scenario.
    """
    value, left_out, _ = without_each(statistic, told.groups)
    if np.ptp(left_out) <= EQUAL_WITHIN:
        return Estimate(value, np.nan, np.nan, len(told.values))
    centre = float(np.arctanh(np.clip(value, -_LARGEST, _LARGEST)))
    reach = told.inflation * reach_of(np.arctanh(np.clip(left_out, -_LARGEST, _LARGEST)))
    low, high = (float(np.tanh(centre + side * reach)) for side in (-1, 1))
    return Estimate(value, min(low, value), max(high, value), len(told.values))


def correlation_above(one: Graded, other: Graded) -> Estimate:
    """How far the correlation of `one` lies above that of `other`, of the same items and folds,
    paired by scenario.
    """
    mine, theirs = pearson_of(one), pearson_of(other)
    value, left_out, _ = without_each(lambda w: mine(w) - theirs(w), one.groups)
    reach = max(one.inflation, other.inflation) * reach_of(left_out)
    return Estimate(value, value - reach, value + reach, len(one.values))


def _plain(statistic: Statistic, told: Graded) -> Estimate:
    value, left_out, _ = without_each(statistic, told.groups)
    reach = told.inflation * reach_of(left_out) if np.ptp(left_out) > EQUAL_WITHIN else np.nan
    return Estimate(value, value - reach, value + reach, len(told.values))


def correlation_inside(
    a: Float[np.ndarray, " item"], b: Float[np.ndarray, " item"], fold: Int[np.ndarray, " item"]
) -> Statistic:
    """Pearson's r of two numbers, each less its mean over the item's fold, as a function of item
    weights.
    """
    member = np.eye(int(fold.max()) + 1)[fold]
    a, b = (side - member @ (side @ member / member.sum(axis=0)) for side in (a, b))

    def statistic(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        total = weights @ member
        mass = np.where(total > 0, total, 1.0)
        mean_a, mean_b = ((weights * side) @ member / mass for side in (a, b))

        def common(one: np.ndarray, other: np.ndarray, product: np.ndarray) -> np.ndarray:
            return np.asarray(weights @ product - (total * one * other).sum(axis=1))

        size_a, size_b = common(mean_a, mean_a, a * a), common(mean_b, mean_b, b * b)
        size = np.sqrt(np.maximum(size_a, 0) * np.maximum(size_b, 0))
        varying = size > 1e-12 * max(float(a @ a), 1e-300) ** 0.5 * max(float(b @ b), 1e-300) ** 0.5
        shared = common(mean_a, mean_b, a * b)
        return np.divide(shared, size, out=np.zeros(len(weights)), where=varying)

    return statistic


def _ranked(values: np.ndarray, fold: np.ndarray) -> Float[np.ndarray, " item"]:
    ranks = np.zeros(len(values))
    for one in np.unique(fold):
        ranks[fold == one] = rankdata(values[fold == one])
    return ranks
