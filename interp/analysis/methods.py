"""Methods that find an emotion's direction from matched rows, and what of it holds on held-out
scenarios.

A method is a function (affective, neutral) -> vector; row i of both is one pair.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from interp.analysis.dependence import UNKNOWN_INFLATION, inflation_of
from interp.analysis.features import standardiser
from interp.analysis.lengths import PairRows
from interp.chance import sign_flip
from interp.defaults import DIRECTION
from interp.errors import ArtefactError, DataError, StatisticsError, UsageError
from interp.stats import Estimate, Labels, group_sums, mean_interval, numbered

LENGTH_FOLDS = 10
"""Folds in which the natural length is cross-fitted (fewer where there are fewer scenarios)."""

LDA_SHRINKAGE = 0.3
"""Share of an even spread over all axes in the covariance by which `lda` whitens."""

Method = Callable[[PairRows, PairRows], Float[np.ndarray, " d_model"]]


def paired(affective: PairRows, neutral: PairRows) -> Float[np.ndarray, " d_model"]:
    """The mean of the paired differences."""
    return (affective - neutral).mean(axis=0)


def group_centred(affective: PairRows, neutral: PairRows) -> Float[np.ndarray, " d_model"]:
    """The mean of the affective rows after taking away each scenario's own mean (EC).

    For twins this is half the paired difference: that the two agree says nothing.
    """
    return (affective - (affective + neutral) / 2).mean(axis=0)


def pca(affective: PairRows, neutral: PairRows) -> Float[np.ndarray, " d_model"]:
    """The first right singular vector of the paired differences, *not* centred: centring takes the
    signal out (RepE).

    The same as of the differences and their mirror images. It is the axis along which twins differ
    *most*, which one noisy axis can win: see `axis_p`.
    """
    return np.linalg.svd(affective - neutral, full_matrices=False)[2][0]


def lda(affective: PairRows, neutral: PairRows) -> Float[np.ndarray, " d_model"]:
    """The mean paired difference whitened by the covariance of the paired differences, S^-1 m.

    What twins share is in neither, so that scenarios' own variance does not count as noise. S is
    shrunk as Ledoit & Wolf (2004), which suits S, and then by at least `LDA_SHRINKAGE`, which its
    inverse needs: alone, the errors of many small variances outweigh what whitening gains.
    """
    difference = (affective - neutral).astype(np.float64)
    mean = difference.mean(axis=0)
    covariance = ledoit_wolf(difference - mean, assume_centered=True)[0]
    even = LDA_SHRINKAGE * np.trace(covariance) / len(mean) * np.eye(len(mean))
    return np.linalg.lstsq((1 - LDA_SHRINKAGE) * covariance + even, mean, rcond=None)[0]


def logistic(affective: PairRows, neutral: PairRows) -> Float[np.ndarray, " d_model"]:
    """The weights of a logistic regression (C = 1) on standardised rows, mapped back to raw space:
    w / sigma.
    """
    x = np.concatenate([affective, neutral])
    y = np.repeat([1, 0], len(affective))
    standardise = standardiser(x)
    weights = LogisticRegression(tol=1e-4, max_iter=5000).fit(standardise(x), y).coef_[0]
    return (
        weights
        * (standardise(np.ones((1, x.shape[1]))) - standardise(np.zeros((1, x.shape[1]))))[0]
    )


MEANS = (paired.__name__, group_centred.__name__)
"""Methods whose vector is the mean paired difference, at some length."""

DIRECTIONS: dict[str, Method] = {
    "paired": paired, "group_centred": group_centred, "pca": pca, "lda": lda, "logistic": logistic,
}  # fmt: skip
"""Name -> (affective, neutral) -> an unnormalised vector, whose sign `fit` anchors."""


def method_named(name: str) -> Method:
    """The method of that name; raises `UsageError` for an unknown one."""
    if name not in DIRECTIONS:
        raise UsageError(
            f"unknown direction method {name!r}: choose one of {', '.join(DIRECTIONS)}."
        )
    return DIRECTIONS[name]


def fit_unit(
    method: Method, affective: PairRows, neutral: PairRows
) -> Float[np.ndarray, " d_model"]:
    """The method's unit vector, with the sign under which the differences are positive on
    average.
    """
    vector = unit(method(affective, neutral))
    return vector if float((affective - neutral).mean(axis=0) @ vector) >= 0 else -vector


class CrossFit(NamedTuple):
    """What directions that other scenarios gave make of each pair: the natural `length`, and where
    each `neutral` and each `affective` text projects, from the mean of the rows that its direction
    was fitted on.
    """

    length: Estimate
    neutral: Float[np.ndarray, " pair"]
    affective: Float[np.ndarray, " pair"]


def held_out_length(
    affective: PairRows,
    neutral: PairRows,
    groups: Labels,
    *,
    method: str = DIRECTION,
    seed: int = 0,
) -> Estimate:
    """The natural length: the mean paired difference along directions that other scenarios gave.
    It is that of `cross_fit`.
    """
    return cross_fit(affective, neutral, groups, method=method, seed=seed).length


def cross_fit(
    affective: PairRows,
    neutral: PairRows,
    groups: Labels,
    *,
    method: str = DIRECTION,
    seed: int = 0,
) -> CrossFit:
    """The natural length, and the texts' projections, on directions of other scenarios.

    Scenarios are dealt at random into `LENGTH_FOLDS`; each fold's differences are projected on the
    direction of the rest. Along the direction of its own data the mean difference is too long, by
    about sqrt(tr S / n) where there is nothing (S the differences' covariance). The held-out one is
    near zero there, and may be below. The interval is over scenarios, wider by `fold_inflation`.
    For the same reason a neutral text lies too low along a direction that it helped to fit.
    Raises `StatisticsError` for one scenario.
    """
    group = numbered(groups)
    n_groups = int(group.max()) + 1
    if n_groups < 2:
        raise StatisticsError(
            "a natural length needs at least 2 scenarios: one to fit on, one to measure on."
        )
    deal = np.random.default_rng(seed).permutation(n_groups) % min(LENGTH_FOLDS, n_groups)
    projected, low_side = np.empty(len(group)), np.empty(len(group))
    for fold in range(int(deal.max()) + 1):
        held = deal[group] == fold
        vector = fit_unit(method_named(method), affective[~held], neutral[~held])
        projected[held] = (affective[held] - neutral[held]).astype(np.float64) @ vector
        centre = (affective[~held].mean(axis=0) + neutral[~held].mean(axis=0)) / 2
        low_side[held] = (neutral[held] - centre).astype(np.float64) @ vector
    wider = fold_inflation(affective, neutral, groups, deal[group], method=method)
    natural = mean_interval(projected, groups).widened(wider)
    return CrossFit(natural, low_side, low_side + projected)


def fold_inflation(
    affective: PairRows,
    neutral: PairRows,
    groups: Labels,
    fold: Int[np.ndarray, " pair"],
    *,
    method: str = DIRECTION,
) -> float:
    """How much wider the interval of held-out projections is than the projections themselves say.

    A scenario is projected on the direction of other folds, and turns the directions on which they
    are projected. Scenario j moves the unit vector v for i by (I - v v') d_j / |s|, s the sum of
    the differences it is made of, and i moves it as much for j: their projections vary together by
    the square of d_i' (I - v v') d_j / |s|. Summed over all pairs of scenarios in different folds,
    that is as much again as the projections' own variance where there is nothing, and little where
    the difference is long. Derived for the mean difference; for other methods
    `UNKNOWN_INFLATION`.
    """
    if method not in MEANS:
        return UNKNOWN_INFLATION
    sums = group_sums((affective - neutral).astype(np.float64), groups)
    sizes = group_sums(np.ones(len(affective)), groups)
    total, n, n_folds = sums.sum(axis=0), len(sums), int(fold.max()) + 1
    of_scenario = fold[np.unique(numbered(groups), return_index=True)[1]]
    vector = unit(total)
    rest = sums - np.outer(sizes / sizes.sum(), total)
    along = rest @ vector
    if n < 2 or not along.any():
        return UNKNOWN_INFLATION
    across = rest - np.outer(along, vector)
    own = float((along**2).sum()) * n / (n - 1)
    shared = _squares(across) - sum(_squares(across[of_scenario == one]) for one in range(n_folds))
    share = shared / (own * (total @ total) * (1 - 1 / n_folds) ** 2)
    return inflation_of(share)


def _squares(rows: np.ndarray) -> float:
    """The sum of the squared products of all rows with each other."""
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    return float((gram**2).sum())


def axis_p(differences: PairRows, vector: Float[np.ndarray, " d_model"], groups: Labels) -> float:
    """Two-sided p that the differences' mean along `vector` is zero, scenarios' signs flipped.

    Exact for `pca`, whose axis is the same whatever the signs of the differences.
    """
    return sign_flip(group_sums(differences.astype(np.float64) @ vector, groups))


def unit(vector: Float[np.ndarray, " d_model"]) -> Float[np.ndarray, " d_model"]:
    """The vector at length one; raises `ArtefactError` when it has no length."""
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise ArtefactError(
            f"the direction's norm is {norm}: the twins do not differ at this site, so it points "
            "nowhere."
        )
    return vector.astype(np.float64) / norm


def check_rows(affective: PairRows, neutral: PairRows) -> None:
    """Raise unless row i of both is one pair of finite rows and there are two pairs (`DataError`,
    `StatisticsError`).
    """
    if affective.shape != neutral.shape:
        raise DataError(
            f"affective rows have shape {affective.shape}, neutral ones {neutral.shape}: row i "
            "of both is one pair."
        )
    if len(affective) < 2:
        raise StatisticsError(f"a direction needs at least 2 pairs, there is {len(affective)}.")
    for name, rows in (("affective", affective), ("neutral", neutral)):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise DataError(
                f"{len(bad)} {name} rows are not finite, first pair {bad[0]}: quarantine the "
                "pair or mend it."
            )
