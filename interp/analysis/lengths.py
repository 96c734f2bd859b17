"""Lengths without bias: how long the mean paired difference is, and how alike two of them are.

The squared length of a mean of n noisy vectors is too large by tr(S) / n, S their covariance: with
20 pairs in 200 dimensions, noise alone is some three standard deviations long. Products of
*different* scenarios' differences carry no such share, so their mean is unbiased (a U-statistic):

    |m|^2  =  mean over scenarios i != j of d_i . d_j

It may come out below zero where there is no length; its root keeps that sign. Cosines are made of
the same three products, so that few noisy pairs do not make two equal directions look different.

A mean of products varies for two reasons: a scenario's own part, z1 = cov(d_i . d_j, d_i . d_k),
and what is of the pair alone. With z2 = var(d_i . d_j), Hoeffding (1948):

    variance  =  (4 (n - 2) z1 + 2 z2) / (n (n - 1))

The jackknife takes the second part double, and it is all there is where there is no length. So z1
and z2 are estimated apart, from products that share two, one or no scenario. Neither can be below
zero and their estimates can, so that z1 is held there: where there is no length the variance that
is told is some 1.4 times what there is (12 pairs in 30 dimensions; the jackknife's is twice), and
where the mean is as long as its own noise it is right.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from interp.chance import flips, permutation_p
from interp.errors import DataError
from interp.stats import Estimate, Labels, group_sums, studentised, students_quantile

OF = "paired"
"""The method whose direction these lengths and cosines are of, whichever one is asked for
elsewhere.
"""

PairRows = Float[np.ndarray, "pair d_model"]
OtherRows = Float[np.ndarray, "other_pair d_model"]
OtherLabels = Shaped[np.ndarray, " other_pair"] | Sequence[str] | Sequence[int]

LEAST_SCENARIOS = 4
"""Fewest scenarios of which a product has an interval: two products that share none need so
many.
"""


def length(differences: PairRows, groups: Labels) -> Estimate:
    """The signed root of the unbiased squared length of the mean paired difference.

    The interval is over scenarios, of the square, by the studentised bootstrap of the scenarios'
    own parts, or Student's t where that is wider (`interp.stats.studentised`); it is wide where the
    length is near zero. Needs 4 scenarios, else there is none. The value is NaN for one.
    """
    sums, sizes = _scenarios(differences, groups)
    total, number = _products(sums, sums), _products(sizes[:, None], sizes[:, None])
    square = total / number if number else np.nan
    # d_i . d_j less its mean, as a share of all such products
    parts = np.column_stack([sums, -square * sizes]), np.column_stack([sums, sizes])
    error, own = _spread(parts[0] / (number or np.nan), parts[1])
    lower, upper, _ = studentised(own, np.ones(len(own)))
    value, low, high = (
        float(np.sign(one) * np.sqrt(abs(one)))
        for one in (square, square - upper * error, square - lower * error)
    )
    return Estimate(value, low, high, len(differences))


def length_p(differences: PairRows, groups: Labels, *, n_perm: int = 1000, seed: int = 0) -> float:
    """One-sided p that the mean paired difference is zero: scenarios' signs flipped, length
    measured.

    Exact where a scenario's differences are symmetric about zero under the null.
    """
    squares = flipped_lengths(differences, groups, n_perm=n_perm, seed=seed)
    return permutation_p(float(squares[0]), squares[1:])


def flipped_lengths(
    differences: PairRows, groups: Labels, *, n_perm: int = 1000, seed: int = 0
) -> Float[np.ndarray, " draw"]:
    """The squared length of the summed differences, as they are and with scenarios' signs flipped.

    Equal scenarios and seed give equal flips, so that several places can be tested together.
    """
    sums, _ = _scenarios(differences, groups)
    gram = sums @ sums.T
    signs = flips(len(gram), n_perm=n_perm, seed=seed)
    return ((signs @ gram) * signs).sum(axis=1)


def cosine(one: tuple[PairRows, Labels], other: tuple[OtherRows, OtherLabels]) -> Estimate:
    """The cosine of two mean paired differences, each given with its scenarios, corrected for
    noise.

    The two may have different numbers of pairs.
    m_1 . m_2 / (|m_1| |m_2|) of unbiased products; pairs of one scenario never meet. Between -1 and
    1; NaN where one has no length. The interval is over the scenarios of both, by the variance of
    the three products together (delta method).
    """
    (rows_1, groups_1), (rows_2, groups_2) = one, other
    names = np.concatenate([np.asarray(groups_1), np.asarray(groups_2)])
    apart = np.repeat([1.0, 0.0], [len(rows_1), len(rows_2)])
    rows = np.concatenate([rows_1, rows_2]).astype(np.float64)
    a, b = (group_sums(rows * side[:, None], names) for side in (apart, 1 - apart))
    m, n = (group_sums(side, names) for side in (apart, 1 - apart))
    (both, of_both), (first, of_first), (second, of_second) = (
        (_products(x, y), _products(k[:, None], h[:, None]))
        for x, y, k, h in ((a, b, m, n), (a, a, m, m), (b, b, n, n))
    )
    if not (first > 0 and second > 0 and of_both > 0):
        return Estimate(np.nan, np.nan, np.nan, len(rows))
    across = np.sqrt(of_first * of_second / (first * second)) / of_both
    value = both * across
    # What one product adds to the cosine: its part in m_1 . m_2, less half its parts in both
    # lengths.
    left = [across * b - value / first * a, across * a - value / second * b]
    less = value / of_both, value / of_first, value / of_second
    left += [less[1] * m - less[0] * n, less[2] * n - less[0] * m]
    error, own = _spread(np.column_stack(left) / 2, np.column_stack([a, b, m, n]))
    reach = students_quantile(len(own)) * error
    low, high = value - reach, value + reach
    if low > -1 and high < 1:  # between these a cosine is skewed; Fisher (1921) takes that out
        low, high = np.tanh(np.arctanh(value) + np.array([-1, 1]) * reach / (1 - value**2))
    clipped = np.clip([value, low, high], -1, 1).tolist()
    return Estimate(clipped[0], clipped[1], clipped[2], len(rows))


def _scenarios(differences: PairRows, groups: Labels) -> tuple[np.ndarray, np.ndarray]:
    if len(differences) != len(groups):
        raise DataError(
            f"{len(differences)} pairs came with {len(groups)} scenarios: one belongs to every "
            "pair."
        )
    return group_sums(differences.astype(np.float64), groups), group_sums(
        np.ones(len(differences)), groups
    )


def _products(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of a_i . b_j over all i != j."""
    return float(a.sum(axis=0) @ b.sum(axis=0) - (a * b).sum())


def _spread(
    left: Float[np.ndarray, "scenario part"], right: Float[np.ndarray, "scenario part"]
) -> tuple[float, Float[np.ndarray, " scenario"]]:
    """The standard error of the sum of h_ij = left_i . right_j over i != j, whose own sum is zero
    and in which i and j are exchangeable (NaN below 4 scenarios); and each scenario's own part, the
    sum of h_ij over j.

    z1 and z2 are differences of the mean products of two h that share one (z1) or two (z2) of
    their scenarios, and of two that share none. Neither can be below zero, nor z2 below 2 z1.
    """
    n = len(left)
    own = (left * right).sum(axis=1)
    of_row = left @ right.sum(axis=0) - own
    if n < LEAST_SCENARIOS:
        return np.nan, of_row
    gram = (left @ right.T) ** 2 if n <= left.shape[1] else (left.T @ left) * (right.T @ right)
    squares, rows = float(gram.sum() - (own**2).sum()), float((of_row**2).sum())
    pairs = n * (n - 1)
    two, one = squares / pairs, (rows - squares) / (pairs * (n - 2))
    none = (2 * squares - 4 * rows) / (pairs * (n - 2) * (n - 3))
    z1 = max(one - none, 0.0)
    z2 = max(two - none, 2 * z1)
    return float(np.sqrt((4 * (n - 2) * z1 + 2 * z2) * pairs)), of_row
