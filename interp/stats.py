"""Estimates with intervals: the one place of both halves for how sure a number is.

The unit is always the *group* (the scenario): twins and retellings of one scenario rise and fall
together, so groups are counted and left out whole, never single items. Tests stand in `chance`. All
intervals are two-sided 95 % ones. Where the data allow no interval its bounds are NaN, which tables
leave empty and reports print as "no interval": a bound is never made up.

    quantity                interval                       why
    mean                    studentised bootstrap, or t    covers at 4 groups, skewed or not
    ratio of means          Fieller                        knows when the denominator may be zero
    d'                      jackknife                      knows no more than the statistic
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import t as student

from interp.errors import InternalError, StatisticsError

Labels = Shaped[np.ndarray, " item"] | Sequence[str] | Sequence[int]
Statistic = Callable[[Float[np.ndarray, "draw item"]], Float[np.ndarray, " draw"]]
"""From item weights, one row per draw, to one value per draw."""

N_DRAWS = 1000
LEAST_STUDENTISED, MOST_STUDENTISED = 4, 500
"""Numbers of groups between which means are bootstrapped: below, few resamples exist; above, the
t interval is as good and needs no draws."""

LEAST_FIELLER = 5
"""Fewest groups of which a ratio has an interval."""

MOST_BLOCKS = 500
"""Groups beyond this number are left out several at a time."""

_MOST_FLAT = 0.025
EQUAL_WITHIN = 1e-12
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value, its 95 % interval (NaN: there is none), and the number of items behind it."""

    value: float
    ci_low: float
    ci_high: float
    n: int

    def widened(self, factor: float) -> "Estimate":
        """The same value, its bounds `factor` times as far away."""
        low, high = (self.value + factor * (one - self.value) for one in self[1:3])
        return Estimate(self.value, low, high, self.n)


class LeftOut(NamedTuple):
    """A statistic of all items, its values without each group (or block of groups) in turn, and the
    number of groups.
    """

    value: float
    without: Float[np.ndarray, " block"]
    n_groups: int

    def defined(self) -> "LeftOut":
        """The same; raises `StatisticsError` where the statistic itself is undefined."""
        if np.isnan(self.value):
            raise StatisticsError(
                f"the statistic is undefined on {self.n_groups} scenarios: add scenarios."
            )
        return self


def codes(labels: Labels) -> Int[np.ndarray, " item"]:
    """Labels as integers 0, 1, ... in sorted order of the labels."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)


def numbered(groups: Labels) -> Int[np.ndarray, " item"]:
    """Groups as integers 0, 1, ... in order of first appearance: what is drawn by these numbers
    does not depend on the groups' names.
    """
    _, first, code = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[code.reshape(-1)]


def mean_of(values: Float[np.ndarray, " item"]) -> Statistic:
    """The mean of the values, as a function of the items' weights."""
    return lambda weights: weights @ values / weights.sum(axis=1)


def mean_interval(values: Float[np.ndarray, " item"], groups: Labels) -> Estimate:
    """The mean of `values`, with an interval over groups.

    From 4 groups on by the studentised bootstrap (Efron & Tibshirani 1993, ch. 12): whole groups
    are drawn, each draw's distance from the mean is divided by its own standard error, and the
    quantiles of that replace Student's where they are wider: skew then counts, and heavy tails do
    not narrow it. With 2 or 3 groups, with more than 500, or where more than 1 draw in 40 has no
    spread at all: Student's t. Fewer than 2 groups give no interval.
    Raises `StatisticsError` for no value.
    """
    if not len(values):
        raise StatisticsError("a mean over no items: there is nothing to average.")
    value = float(values.mean())
    sizes = _by_group(np.ones(len(values)), groups)
    low, high, error = studentised(_by_group(values - value, groups), sizes)
    return estimate_of(value, value - high * error, value - low * error, len(values))


def ratio_interval(
    above: Float[np.ndarray, " item"], below: Float[np.ndarray, " item"], groups: Labels
) -> Estimate:
    """sum(above) / sum(below) with Fieller's interval over groups.

    A ratio of means, which one item with `below` near zero cannot blow up as it would a mean of
    ratios. Fieller (1954): all r for which the mean of above - r below does not differ from zero,
    by the same quantiles as in `mean_interval`, taken at the bound where they are wider there.
    Where the mean of `below` itself does not differ from zero that set has no end, and there is no
    interval; nor is there with fewer than 5 groups, of which one in five missed.
    Raises `StatisticsError` when sum(below) is zero.
    """
    total = float(below.sum())
    if total == 0:
        raise StatisticsError(
            "a ratio of means has a denominator of zero: nothing to be a share of."
        )
    value = float(above.sum()) / total
    a, b = (np.sign(total) * _by_group(side, groups) for side in (above, below))
    lower, upper, error = studentised(a - value * b, np.ones(len(a)))
    if error <= EQUAL_WITHIN * abs(
        float(b.mean())
    ):  # the same ratio in every group, up to rounding
        return estimate_of(value, value, value, len(above))
    low, high = _bound(a, b, upper, -1), _bound(a, b, lower, 1)
    if len(a) < LEAST_FIELLER or np.isnan(low + high):
        low, high = np.nan, np.nan
    return estimate_of(value, low, high, len(above))


def jackknife(statistic: Statistic, groups: Labels, *, inflation: float = 1.0) -> Estimate:
    """The statistic of all items with an interval from leaving out each group in turn.

    Student's t; `inflation` multiplies the standard error. No interval with fewer than 2 groups, or
    where the statistic needs every group. Raises `StatisticsError` when the statistic itself is
    undefined. Source: Miller (1974).
    """
    value, left_out, _ = without_each(statistic, groups)
    reach = inflation * reach_of(left_out)
    return estimate_of(value, value - reach, value + reach, len(groups))


def without_each(statistic: Statistic, groups: Labels) -> LeftOut:
    """The statistic of all items, and without each group in turn. Raises `StatisticsError` when the
    statistic itself is undefined.
    """
    block = numbered(groups)
    n_groups = int(block.max()) + 1
    n_blocks = min(n_groups, MOST_BLOCKS)
    block = block % n_blocks
    value = float(statistic(np.ones((1, len(block))))[0])
    whole = LeftOut(value, np.full(n_groups, np.nan), n_groups).defined()
    if n_groups < 2:
        return whole
    parts = np.array_split(np.arange(n_blocks), -(-n_blocks // 100))
    left_out = [statistic((block[None] != part[:, None]).astype(float)) for part in parts]
    return whole._replace(without=np.concatenate(left_out))


def reach_of(left_out: Float[np.ndarray, " group"]) -> float:
    """Half of a 95 % interval, from the values without each group in turn; NaN below 2 groups."""
    n = len(left_out)
    if n < 2:
        return np.nan
    squares = float(((left_out - left_out.mean()) ** 2).sum())
    return students_quantile(n) * float(np.sqrt((n - 1) / n * squares))


def group_sums(
    rows: Float[np.ndarray, "item ..."], groups: Labels
) -> Float[np.ndarray, "group ..."]:
    """The sum of each group's rows, groups in sorted order."""
    group = numbered(groups)
    sums = np.zeros((int(group.max()) + 1, *rows.shape[1:]))
    np.add.at(sums, group, rows)
    return sums


def _by_group(values: np.ndarray, groups: Labels) -> np.ndarray:
    if len(values) != len(groups):
        raise InternalError(f"{len(values)} values came with {len(groups)} groups.")
    return np.bincount(numbered(groups), weights=values)


def studentised(sums: np.ndarray, sizes: np.ndarray) -> tuple[float, float, float]:
    """For groups whose sum(sums) / sum(sizes) is zero: the 2.5 and 97.5 % quantiles of that over
    its standard error, as `mean_interval` takes them, and the standard error itself (linearised,
    over groups). NaN below 2 groups.
    """
    n = len(sums)
    if n < 2 or not np.isfinite(sums).all():
        return np.nan, np.nan, np.nan
    error = float(np.sqrt(n / (n - 1) * (sums**2).sum()) / sizes.sum())
    reach = students_quantile(n)
    if error == 0 or not LEAST_STUDENTISED <= n <= MOST_STUDENTISED:
        return -reach, reach, error
    weights = _draws(n)
    total = weights @ sizes
    means = weights @ sums / total
    squares = (
        weights @ sums**2 - 2 * means * (weights @ (sums * sizes)) + means**2 * (weights @ sizes**2)
    )
    errors = np.sqrt(n / (n - 1) * np.maximum(squares, 0)) / total
    spread = errors > 1e-6 * error
    if (~spread).mean() > _MOST_FLAT:
        return -reach, reach, error
    low, high = np.quantile(means[spread] / errors[spread], (0.025, 0.975)).tolist()
    return min(low, -reach), max(high, reach), error


def _bound(a: np.ndarray, b: np.ndarray, quantile: float, side: int) -> float:
    """The bound of a ratio of means by `quantile`, or by that of a - r b at this very bound."""
    first = _root(a, b, quantile, side)
    if np.isnan(first):
        return first
    rest = a - first * b
    lower, upper, _ = studentised(rest - rest.mean(), np.ones(len(a)))
    there = max(quantile, upper) if side < 0 else min(quantile, lower)
    return _root(a, b, there, side)


def _root(a: np.ndarray, b: np.ndarray, quantile: float, side: int) -> float:
    """The r below (side -1) or above (1) the ratio of means at which mean(a - r b) stands
    `quantile` standard errors from zero; NaN where there is none.
    """
    if np.isnan(quantile):
        return np.nan
    (v_a, cov), (_, v_b) = (np.cov(a, b) / len(a) * quantile**2).tolist()
    m_a, m_b = float(a.mean()), float(b.mean())
    lead, half, last = m_b**2 - v_b, m_a * m_b - cov, m_a**2 - v_a
    return (
        (half + side * float(np.sqrt(max(half**2 - lead * last, 0.0)))) / lead
        if lead > 0
        else np.nan
    )


@lru_cache(maxsize=16)
def _draws(n: int) -> Float[np.ndarray, "draw group"]:
    """How often each of `n` groups occurs in each of `N_DRAWS` draws with replacement."""
    drawn = np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), size=N_DRAWS)
    return drawn.astype(np.float64)


def students_quantile(n: int) -> float:
    """Student's quantile for a 95 % interval over `n` groups."""
    return float(student.ppf(0.5 + CONFIDENCE / 2, n - 1))


def estimate_of(value: float, low: float, high: float, n: int) -> Estimate:
    """An estimate inside its interval: rounding may put it just outside."""
    return Estimate(value, min(low, value), max(high, value), n)
