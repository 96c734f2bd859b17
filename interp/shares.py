"""Shares: what lies between 0 and 1 (accuracy, AUROC, rates), and differences of two of them.

    quantity                interval                       why
    AUROC, accuracy         jackknife on the logit scale   stays inside 0 and 1
      all scenarios alike   count of scenarios             a sample without error has no spread
      two of the same items Newcombe's, paired             a difference from 1 has a width too
    rate of independent k   Wilson                         covers at any n

All else about intervals stands in `interp.stats`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from interp.errors import StatisticsError
from interp.stats import (
    CONFIDENCE,
    EQUAL_WITHIN,
    Estimate,
    Labels,
    LeftOut,
    Statistic,
    estimate_of,
    reach_of,
    students_quantile,
    without_each,
)


@dataclass(frozen=True, slots=True)
class Share:
    """What lies between 0 and 1 (accuracy, AUROC), as a function of item weights or by its values
    without each group, where these are known; and what its interval depends on.

    `inflation` multiplies the standard error. `heaviest` is a group's largest part in the share,
    one by the number of groups when not given. `variance` is the share's own over groups, where
    that is known better than by leaving groups out (`interp.analysis.dependence.auroc_over`).
    """

    statistic: Statistic | LeftOut
    inflation: float = 1.0
    heaviest: float | None = None
    variance: float | None = None

    def without_each(self, groups: Labels) -> LeftOut:
        """The share of all items, and without each group; raises as `stats.without_each`."""
        if isinstance(self.statistic, LeftOut):
            return self.statistic.defined()
        return without_each(self.statistic, groups)

    def estimate(self, groups: Labels) -> Estimate:
        """The share of all items, with the jackknife's interval over groups on the logit scale.

        A share that is the same without any group (1, most often) has no spread; its bounds say how
        many groups may differ where none of G did, 1 - .05^(1/G). Else as `jackknife`.
        """
        return self.estimate_by(self.without_each(groups), groups)

    def estimate_by(self, known: LeftOut, groups: Labels) -> Estimate:
        """`estimate` by the values of `without_each`."""
        value, left_out, n = known
        if n < 2:
            return Estimate(value, np.nan, np.nan, len(groups))
        if value in (0.0, 1.0) or bool((np.abs(left_out - value) <= EQUAL_WITHIN).all()):
            bound = most_differing(n, self.heaviest or 1 / n)
            return Estimate(value, value - bound * value, value + bound * (1 - value), len(groups))
        reach = (
            reach_of(left_out)
            if self.variance is None
            else students_quantile(len(left_out)) * float(np.sqrt(self.variance))
        )
        return estimate_of(value, *_on_logits(value, self.inflation * reach), len(groups))


def _on_logits(value: float, reach: float) -> tuple[float, float]:
    """value -+ reach, taken on the logit scale and brought back (delta method)."""
    centre, wide = np.log(value / (1 - value)), reach / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-(centre + side * wide))) for side in (-1, 1))
    return float(low), float(high)


def most_differing(n: int, heaviest: float) -> float:
    """The most of a share that may lie in groups that differ, where none of `n` groups does: of the
    groups 1 - .05^(1/n), each with a part of at most `heaviest` in the share.
    """
    return min(1.0, (1 - 0.05 ** (1 / n)) * n * heaviest)


def share_difference(one: Share, other: Share, groups: Labels) -> Estimate:
    """How much larger the share `one` is than `other`, both of the same items, paired by group.

    The intervals of both shares are joined as Newcombe (1998, method 10) does: the distances to
    their bounds, squared, less what the two have in common, the correlation of their values without
    each group in turn. A share of 1 then has a width.
    """
    known = [side.without_each(groups) for side in (one, other)]
    (v, low, high, n), (w, under, over, _) = (
        side.estimate_by(told, groups) for side, told in zip((one, other), known, strict=True)
    )
    sides = np.stack([told.without for told in known])
    varying = bool((sides.std(axis=1) > EQUAL_WITHIN).all())
    common = float(np.corrcoef(sides)[0, 1]) if varying else 0.0

    def joined(a: float, b: float) -> float:
        return float(np.sqrt(np.maximum(a * a + b * b - 2 * common * a * b, 0)))  # NaN stays NaN

    return estimate_of(
        v - w, v - w - joined(v - low, over - w), v - w + joined(high - v, w - under), n
    )


def wilson(k: int, n: int) -> Estimate:
    """The rate k / n with Wilson's score interval (Wilson 1927).

    For k independent successes. Raises `StatisticsError` unless 0 <= k <= n >= 1.
    """
    if n < 1 or not 0 <= k <= n:
        raise StatisticsError(f"no rate can be made of {k} out of {n}.")
    z, rate = float(norm.ppf(0.5 + CONFIDENCE / 2)), k / n
    centre, spread = (
        rate + z * z / (2 * n),
        z * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))),
    )
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    return estimate_of(rate, max(0.0, low), min(1.0, high), n)
