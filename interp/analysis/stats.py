"""Uncertainty of every number of the array half: resampling over groups, permutation, corrections for many tests.

The unit of resampling is always the *group* (the scenario), never the item: twins and retellings of one scenario rise and
fall together. A statistic is vectorised: it takes a matrix of item weights, one row a resample, and returns one value a
row, so that a thousand resamples are a few matrix operations and no loop.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import norm

from interp.errors import DataError, StatisticsError, UsageError

Labels = Shaped[np.ndarray, " item"] | Sequence[str] | Sequence[int]
Statistic = Callable[[Float[np.ndarray, "draw item"]], Float[np.ndarray, " draw"]]

_DRAWS_AT_ONCE = 1000
_MOST_UNDEFINED = 0.05


class Interval(NamedTuple):
    """A value with the bounds of its confidence interval."""

    value: float
    ci_low: float
    ci_high: float


def codes(labels: Labels) -> Int[np.ndarray, " item"]:
    """Labels as integers 0, 1, ... in sorted order of the labels."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)


def numbered(groups: Labels) -> Int[np.ndarray, " item"]:
    """Groups as integers 0, 1, ... in order of first appearance: what is drawn by these numbers does
    not depend on the groups' names.
    """
    _, first, code = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[code.reshape(-1)]


def composition(y: Labels, groups: Labels) -> Int[np.ndarray, " group"]:
    """For each group (in the order of `numbered`), a code of how many items of each class it holds:
    groups of one code are alike.
    """
    label, group = codes(y), numbered(groups)
    counts = np.zeros((group.max() + 1, label.max() + 1), dtype=np.int64)
    np.add.at(counts, (group, label), 1)
    return np.unique(counts, axis=0, return_inverse=True)[1].reshape(-1)


def group_draws(
    groups: Labels, *, n_boot: int, seed: int, strata: Int[np.ndarray, " group"] | None = None
) -> Iterator[Float[np.ndarray, "draw item"]]:
    """Item weights of `n_boot` cluster bootstrap draws, in blocks of at most a thousand draws.

    Groups are drawn with replacement, within `strata` when given (one code a group), so that no class can vanish from a draw.
    """
    group = numbered(groups)
    n_groups = int(group.max()) + 1
    stratum = np.zeros(n_groups, dtype=np.int64) if strata is None else strata
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(stratum == one) for one in np.unique(stratum)]
    for start in range(0, n_boot, _DRAWS_AT_ONCE):
        n_draws = min(_DRAWS_AT_ONCE, n_boot - start)
        offset = n_groups * np.arange(n_draws)[:, None]
        picks = [offset + rows[random.integers(0, len(rows), (n_draws, len(rows)))] for rows in members]
        counts = np.bincount(np.concatenate(picks, axis=1).ravel(), minlength=n_draws * n_groups)
        yield counts.reshape(n_draws, n_groups).astype(float)[:, group]


def cluster_bootstrap(
    statistic: Statistic,
    groups: Labels,
    *,
    n_boot: int = 1000,
    seed: int = 0,
    strata: Int[np.ndarray, " group"] | None = None,
    inflation: float = 1.0,
) -> Interval:
    """The statistic of all items and its 95 % percentile interval over resampled groups.

    `inflation` stretches the interval about the value (see `interp.analysis.probes.CV_INFLATION`). Raises `StatisticsError`
    for fewer than two groups, or when the statistic is undefined (NaN) in more than 5 % of the draws; `UsageError` for
    `n_boot` < 1. Source: Field & Welsh (2007), bootstrapping clustered data.
    """
    if n_boot < 1:
        raise UsageError(f"n_boot is {n_boot}: at least one bootstrap draw is needed.")
    n_groups = len(np.unique(np.asarray(groups)))
    if n_groups < 2:
        raise StatisticsError(f"an interval over groups needs at least 2 groups, there is {n_groups}.")
    value = float(statistic(np.ones((1, len(groups))))[0])
    draws = np.concatenate([statistic(w) for w in group_draws(groups, n_boot=n_boot, seed=seed, strata=strata)])
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or len(defined) < (1 - _MOST_UNDEFINED) * n_boot:
        raise StatisticsError(
            f"the statistic is undefined in {n_boot - len(defined)} of {n_boot} resamples of {n_groups} groups: add scenarios."
        )
    low, high = np.quantile(defined, (0.025, 0.975)).tolist()
    return Interval(value, min(value, value + inflation * (low - value)), max(value, value + inflation * (high - value)))


def weighted_auroc(
    scores: Float[np.ndarray, " item"],
    positive: Float[np.ndarray, "draw item"],
    negative: Float[np.ndarray, "draw item"],
    *,
    strata: Shaped[np.ndarray, " item"] | None = None,
) -> Float[np.ndarray, " draw"]:
    """P(score of a positive > score of a negative), ties counting half, for each row of weights; NaN where a side is empty.

    `positive` and `negative` are each item's weight on either side. With `strata`, only items of one stratum are compared
    (the scores of two folds' probes share no scale). The Mann-Whitney statistic, by one sort and cumulative sums.
    """
    if not np.isfinite(scores).all():
        raise DataError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite: no AUROC is possible.")
    won, compared = np.zeros(len(positive)), np.zeros(len(positive))
    stratum = np.zeros(len(scores), dtype=np.int64) if strata is None else strata
    for one in np.unique(stratum):
        rows = np.flatnonzero(stratum == one)
        rows = rows[np.argsort(scores[rows], kind="stable")]
        ordered = scores[rows]
        below = np.zeros((len(positive), len(rows) + 1))
        np.cumsum(negative[:, rows], axis=1, out=below[:, 1:])
        first, last = np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right")
        ahead = positive[:, rows]
        won += np.einsum("di,di->d", ahead, below[:, first] + below[:, last]) / 2
        compared += ahead.sum(1) * below[:, -1]
    return np.divide(won, compared, out=np.full(len(won), np.nan), where=compared > 0)


def auroc(scores: Float[np.ndarray, " item"], positive: Shaped[np.ndarray, " item"]) -> float:
    """The area under the ROC curve of `scores`, positive where `positive` is true. Raises `StatisticsError` for one class."""
    truth = positive.astype(float)[None]
    value = float(weighted_auroc(scores, truth, 1 - truth)[0])
    if np.isnan(value):
        raise StatisticsError("an AUROC needs at least one positive and one negative item.")
    return value


def permutation_p(observed: float, null: Float[np.ndarray, " draw"]) -> float:
    """One-sided p: the share of null draws at or above `observed`, the observed one counted too (Phipson & Smyth 2010)."""
    # Relabelings that give the observed value in another order of summation are ties, not losses.
    slack = 1e-9 * max(1.0, abs(observed))
    return (1 + int((null >= observed - slack).sum())) / (1 + len(null))


def sign_flip(differences: Float[np.ndarray, " group"], *, n_perm: int = 1000, seed: int = 0) -> float:
    """Two-sided p that the mean of paired `differences` (one a group) is zero, by flipping their signs at random.

    Exact when the differences are independent and symmetric about zero under the null. Raises `StatisticsError` for none,
    `DataError` for a non-finite difference.
    """
    if len(differences) == 0:
        raise StatisticsError("a sign-flip test needs at least one difference.")
    if not np.isfinite(differences).all():
        raise DataError("a difference is not finite: mend the values before testing them.")
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(n_perm, len(differences)))
    return permutation_p(abs(float(differences.mean())), np.abs(signs @ differences / len(differences)))


def relabel(y: Labels, groups: Labels, *, n_perm: int, seed: int, blocks: Labels | None = None) -> Int[np.ndarray, "draw item"]:
    """Codes of `y`, relabelled `n_perm` times as the null allows: within a group, and between whole groups of one class.

    Labels within a group are shuffled (for a pair: swapped or not). Where no group holds two classes (which emotion?), the
    groups exchange their labels instead, within `blocks` (the folds) when given, so that the folds stay stratified.
    Raises `StatisticsError` when neither can change a label.
    """
    label, group, random = codes(y), numbered(groups), np.random.default_rng(seed)
    first = np.unique(group, return_index=True)[1]
    if (label != label[first][group]).any():
        return _shuffle_within(group, label, n_perm, random)
    if label.max() == 0:
        raise StatisticsError("there is one class only: no relabelling changes anything.")
    block = np.zeros(len(first), dtype=np.int64) if blocks is None else codes(blocks)[first]
    return _shuffle_within(block, label[first], n_perm, random)[:, group]


def _shuffle_within(
    block: Int[np.ndarray, " item"], label: Int[np.ndarray, " item"], n_perm: int, random: np.random.Generator
) -> Int[np.ndarray, "draw item"]:
    """`label`, shuffled `n_perm` times among the items of each block."""
    slots = np.argsort(block, kind="stable")
    # Sorting block + a uniform key in [0, 1) orders the items by block and at random inside it.
    shuffled = np.argsort(block[None] + random.random((n_perm, len(block))), axis=1)
    drawn = np.empty((n_perm, len(block)), dtype=np.int64)
    drawn[:, slots] = label[shuffled]
    return drawn


def benjamini_hochberg(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjusted p-values that control the false discovery rate (Benjamini & Hochberg 1995), in the order given.

    Raises `DataError` for a value outside [0, 1] or NaN.
    """
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values lie in [0, 1]; one does not, or is missing.")
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(1.0, p[order] * len(p) / ranks))
    return adjusted


def max_t(observed: Float[np.ndarray, " test"], null: Float[np.ndarray, "draw test"]) -> Float[np.ndarray, " test"]:
    """Family-wise p of each test: how often the *largest* of all standardised null statistics reaches it.

    Rows of `null` must be the same relabelling for all tests, so that their dependence is kept. Each test is standardised by
    its own null. Source: Westfall & Young (1993). Raises `StatisticsError` when a null does not vary.
    """
    spread = null.std(axis=0)
    if (spread == 0).any():
        raise StatisticsError(f"the null of test {int(np.argmin(spread))} does not vary: nothing can be compared with it.")
    t = (observed - null.mean(axis=0)) / spread
    largest = ((null - null.mean(axis=0)) / spread).max(axis=1)
    return np.array([permutation_p(float(one), largest) for one in t])


def wilson(k: int, n: int) -> Interval:
    """The rate k / n with its 95 % Wilson score interval (Wilson 1927); raises `StatisticsError` unless 0 <= k <= n >= 1."""
    if n < 1 or not 0 <= k <= n:
        raise StatisticsError(f"no rate can be made of {k} out of {n}.")
    z = float(norm.ppf(0.975))
    rate = k / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)))
    return Interval(rate, max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)))
