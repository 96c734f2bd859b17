"""The AUROC as a function of item weights, how groups are composed, and the correction for a peak.

Intervals stand in `interp.stats`, tests of both halves in `interp.chance`, relabelling in `design`.
"""

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.chance import permutation_p
from interp.errors import DataError, StatisticsError
from interp.stats import Labels, codes, numbered


def class_counts(y: Labels, groups: Labels) -> Int[np.ndarray, "group class"]:
    """How many items of each class each group holds; groups in the order of `numbered`, classes
    sorted.
    """
    label, group = codes(y), numbered(groups)
    counts = np.zeros((int(group.max()) + 1, int(label.max()) + 1), dtype=np.int64)
    np.add.at(counts, (group, label), 1)
    return counts


def composition(y: Labels, groups: Labels) -> Int[np.ndarray, " group"]:
    """For each group (in the order of `numbered`), a code of how many items of each class it holds.

    Groups of one code are alike.
    """
    return np.unique(class_counts(y, groups), axis=0, return_inverse=True)[1].reshape(-1)


def heaviest_scenario(y: Labels, groups: Labels) -> float:
    """The largest part that one scenario has in a mean over classes of means over their items."""
    counts = class_counts(y, groups)
    return float((counts / counts.sum(axis=0)).mean(axis=1).max())


def weighted_auroc(
    scores: Float[np.ndarray, " item"],
    positive: Float[np.ndarray, "draw item"],
    negative: Float[np.ndarray, "draw item"],
    *,
    strata: Shaped[np.ndarray, " item"] | None = None,
) -> Float[np.ndarray, " draw"]:
    """P(score of a positive > score of a negative), ties counting half, for each row of weights;
    NaN where a side is empty.

    `positive` and `negative` are each item's weight on either side. With `strata`, only items of
    one stratum are compared (the scores of two folds' probes share no scale). The Mann-Whitney
    statistic, by one sort and cumulative sums.
    """
    if not np.isfinite(scores).all():
        raise DataError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite: no "
            "AUROC is possible."
        )
    won, compared = np.zeros(len(positive)), np.zeros(len(positive))
    stratum = np.zeros(len(scores), dtype=np.int64) if strata is None else strata
    for one in np.unique(stratum):
        rows = np.flatnonzero(stratum == one)
        rows = rows[np.argsort(scores[rows], kind="stable")]
        ordered = scores[rows]
        below = np.zeros((len(positive), len(rows) + 1))
        np.cumsum(negative[:, rows], axis=1, out=below[:, 1:])
        first, last = (
            np.searchsorted(ordered, ordered, "left"),
            np.searchsorted(ordered, ordered, "right"),
        )
        ahead = positive[:, rows]
        won += np.einsum("di,di->d", ahead, below[:, first] + below[:, last]) / 2
        compared += ahead.sum(1) * below[:, -1]
    return np.divide(won, compared, out=np.full(len(won), np.nan), where=compared > 0)


def auroc(scores: Float[np.ndarray, " item"], positive: Shaped[np.ndarray, " item"]) -> float:
    """The area under the ROC curve of `scores`, positive where `positive` is true. Raises
    `StatisticsError` for one class.
    """
    truth = positive.astype(float)[None]
    value = float(weighted_auroc(scores, truth, 1 - truth)[0])
    if np.isnan(value):
        raise StatisticsError("an AUROC needs at least one positive and one negative item.")
    return value


def max_t(
    observed: Float[np.ndarray, " test"], null: Float[np.ndarray, "draw test"]
) -> Float[np.ndarray, " test"]:
    """Family-wise p of each test: how often the *largest* of all standardised null statistics
    reaches it.

    Rows of `null` must be the same relabelling for all tests, so that their dependence is kept.
    Each test is standardised by its own null. Source: Westfall & Young (1993). Raises
    `StatisticsError` when a null does not vary.
    """
    spread = null.std(axis=0)
    if (spread == 0).any():
        raise StatisticsError(
            f"the null of test {int(np.argmin(spread))} does not vary: nothing can be compared "
            "with it."
        )
    t = (observed - null.mean(axis=0)) / spread
    largest = ((null - null.mean(axis=0)) / spread).max(axis=1)
    return np.array([permutation_p(float(one), largest) for one in t])
