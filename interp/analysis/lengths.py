"""Lengths without bias: how long the mean paired difference is, and how alike two of them are.

The squared length of a mean of n noisy vectors is too large by tr(S) / n, S their covariance: with
20 pairs in 200 dimensions, noise alone is some three standard deviations long. Products of
*different* scenarios' differences carry no such share, so their mean is unbiased (a U-statistic):

    |m|^2  =  mean over scenarios i != j of d_i . d_j

It may come out below zero where there is no length; its root keeps that sign. Cosines are made of
the same three products, so that few noisy pairs do not make two equal directions look different.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from interp.chance import flips, permutation_p
from interp.errors import DataError
from interp.stats import Estimate, Labels, group_sums, jackknife_reach

OF = "paired"
"""The method whose direction these lengths and cosines are of, whichever one is asked for
elsewhere.
"""

PairRows = Float[np.ndarray, "pair d_model"]
OtherRows = Float[np.ndarray, "other_pair d_model"]
OtherLabels = Shaped[np.ndarray, " other_pair"] | Sequence[str] | Sequence[int]


def length(differences: PairRows, groups: Labels) -> Estimate:
    """The signed root of the unbiased squared length of the mean paired difference.

    The interval is the jackknife's over scenarios, of the square, with Student's t; it is wide
    where the length is near zero. Needs 3 scenarios, else there is none. The value is NaN for one.
    """
    sums, sizes = _scenarios(differences, groups)
    square, left_out = _products(sums, sums, sizes, sizes)
    low, high = _jackknifed(square, left_out)
    value, low, high = (float(np.sign(one) * np.sqrt(abs(one))) for one in (square, low, high))
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
    1; NaN where one has no length. The interval is the jackknife's over the scenarios of both.
    """
    (rows_1, groups_1), (rows_2, groups_2) = one, other
    names = np.concatenate([np.asarray(groups_1), np.asarray(groups_2)])
    apart = np.repeat([1.0, 0.0], [len(rows_1), len(rows_2)])
    rows = np.concatenate([rows_1, rows_2]).astype(np.float64)
    sums = [group_sums(rows * side[:, None], names) for side in (apart, 1 - apart)]
    sizes = [group_sums(side, names) for side in (apart, 1 - apart)]
    value, left_out = _ratio(
        *(_products(sums[i], sums[j], sizes[i], sizes[j]) for i, j in ((0, 1), (0, 0), (1, 1)))
    )
    low, high = _jackknifed(value, left_out)
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


def _products(
    a: np.ndarray, b: np.ndarray, m_a: np.ndarray, m_b: np.ndarray
) -> tuple[float, np.ndarray]:
    """The mean product of two different scenarios' differences, and the same without each
    scenario.
    """
    # one scenario, or two: 0 / 0 is the NaN that is meant
    with np.errstate(invalid="ignore", divide="ignore"):
        whole, without = _between(a, b)
        number, number_without = _between(m_a[:, None], m_b[:, None])
        return float(np.float64(whole) / number), without / number_without


def _between(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    own, total_a, total_b = (a * b).sum(axis=1), a.sum(axis=0), b.sum(axis=0)
    whole = float(total_a @ total_b - own.sum())
    return whole, whole - (a @ total_b - own) - (b @ total_a - own)


def _ratio(
    both: tuple[float, np.ndarray],
    first: tuple[float, np.ndarray],
    second: tuple[float, np.ndarray],
) -> tuple[float, np.ndarray]:
    found = []
    for product, a, b in zip(
        *(np.append(left_out, value) for value, left_out in (both, first, second)), strict=True
    ):
        found.append(product / np.sqrt(a * b) if a > 0 and b > 0 else np.nan)
    return float(found[-1]), np.array(found[:-1])


def _jackknifed(value: float, left_out: np.ndarray) -> tuple[float, float]:
    reach = jackknife_reach(left_out)  # NaN as soon as one value is
    return value - reach, value + reach
