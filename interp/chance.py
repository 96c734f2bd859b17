"""Tests: how often chance alone does as much, by changing what the null lets change places.

    question                                   what changes places
    is a mean of paired differences zero?      the signs of scenarios (`sign_flip`)
    does each row do most to its own column?   which column is a row's own (`assignment_p`)
    do chosen things do more than random ones  which of them were the chosen ones, in every
    of their kind, over several strata?        stratum on its own (`strata_p`)

Every p counts the true arrangement among those drawn, so that none is zero.
"""

from collections.abc import Sequence
from itertools import permutations, product
from math import factorial
from typing import Literal

import numpy as np
from jaxtyping import Float

from interp.errors import DataError, StatisticsError

LEAST_P = 0.05
"""Where a p is above it, chance is taken to do as much."""

_EXACT_FLIPS = 12
_EXACT_ASSIGNMENTS = 6


def permutation_p(observed: float, null: Float[np.ndarray, " draw"]) -> float:
    """One-sided p: the share of null draws at or above `observed`, which is counted among them.

    Source: Phipson & Smyth (2010).
    """
    # Relabellings that give the observed value in another order of summation are ties, not losses.
    slack = 1e-9 * max(1.0, abs(observed))
    return (1 + int((null >= observed - slack).sum())) / (1 + len(null))


def sign_flip(
    differences: Float[np.ndarray, " group"],
    *,
    side: Literal["two", "above"] = "two",
    n_perm: int = 1000,
    seed: int = 0,
) -> float:
    """p that the mean of paired `differences` (one per group) is zero, by flipping their signs.

    `above` tests for a mean above zero only. Up to 12 groups every pattern of signs is tried, so p
    is exact and a multiple of 2^-groups; beyond that `n_perm` random ones. Valid when differences
    are independent and symmetric about zero under the null (Fisher 1935).
    Raises `StatisticsError` for none, `DataError` for a non-finite difference.
    """
    if len(differences) == 0:
        raise StatisticsError("a sign-flip test needs at least one difference.")
    if not np.isfinite(differences).all():
        raise DataError("a difference is not finite: mend the values before testing them.")
    signs = flips(len(differences), n_perm=n_perm, seed=seed)
    sums = signs @ differences / len(differences)
    observed, null = sums[0], sums[1:]
    return (
        permutation_p(float(observed), null)
        if side == "above"
        else permutation_p(abs(float(observed)), np.abs(null))
    )


def flips(n: int, *, n_perm: int = 1000, seed: int = 0) -> Float[np.ndarray, "draw group"]:
    """Patterns of signs: all plus first, then every other one (up to 12 groups) or `n_perm`
    random.
    """
    if n <= _EXACT_FLIPS:
        return np.array(list(product((1.0, -1.0), repeat=n)))
    drawn = np.random.default_rng(seed).choice((-1.0, 1.0), size=(n_perm, n))
    return np.concatenate([np.ones((1, n)), drawn])


def least_flip_p(n: int, *, side: Literal["two", "above"] = "above", n_perm: int = 1000) -> float:
    """The smallest p that `sign_flip` can give for `n` differences."""
    patterns = 2**n if n <= _EXACT_FLIPS else 1 + n_perm
    return min(1.0, (2 if side == "two" and n <= _EXACT_FLIPS else 1) / patterns)


FEWEST_DEALT = 4
"""Kinds from which on dealing them at random can give a p below .05: 1 / 4! is .042."""


def assignment_p(
    effects: Float[np.ndarray, "kind kind"], *, n_perm: int = 1000, seed: int = 0
) -> float:
    """One-sided p that row i does no more to column i than if columns were dealt at random.

    The mean of the diagonal is compared with that of other assignments of columns to rows: all of
    them up to 6 kinds, else `n_perm` random ones. What a row does to all columns, and a column
    under all rows, is in every assignment. With k kinds p is never below 1 / k!.
    Raises `DataError` where an effect is not finite.
    """
    n = len(effects)
    if not np.isfinite(effects).all():
        raise DataError("an effect is not finite: mend the values before testing them.")
    if n <= _EXACT_ASSIGNMENTS:
        dealt = np.array(list(permutations(range(n))))[1:]
    else:
        random = np.random.default_rng(seed)
        dealt = np.stack([random.permutation(n) for _ in range(n_perm)])
    own = effects[np.arange(n), np.arange(n)].mean()
    return permutation_p(float(own), effects[np.arange(n), dealt].mean(axis=1))


def least_assignment_p(n: int, *, n_perm: int = 1000) -> float:
    """The smallest p that `assignment_p` can give for `n` kinds."""
    return max(1 / factorial(n), 1 / (1 + n_perm)) if n > _EXACT_ASSIGNMENTS else 1 / factorial(n)


def draws_for(n_strata: int, *, p: float = 0.01) -> int:
    """The fewest draws per stratum with which `strata_p` can reach `p`."""
    return int(np.ceil(p ** (-1 / n_strata) - 1e-9)) - 1


def least_strata_p(n_draws: Sequence[int], *, n_perm: int = 9999) -> float:
    """The smallest p that can be expected of `strata_p` with so many draws in each stratum."""
    return max(float(np.prod([1 / (1 + n) for n in n_draws])), 1 / (1 + n_perm))


def strata_p(
    chosen: Float[np.ndarray, " stratum"],
    draws: Sequence[Float[np.ndarray, " _"]],
    *,
    n_perm: int = 9999,
    seed: int = 0,
) -> float:
    """One-sided p that what was chosen does no more than random draws of its kind, strata summed.

    `chosen` holds the effect of what was chosen in each stratum, `draws` those of the random draws
    there. Under the null the chosen one is any of 1 + draws; one is taken in every stratum, at
    random, and the sums are compared. Few draws in many strata give small p: with d draws in each
    of s strata it is never below (1 + d)^-s, or 1 / (1 + n_perm).
    Raises `StatisticsError` where a stratum has no draw.
    """
    if len(chosen) != len(draws) or not all(len(one) for one in draws):
        raise StatisticsError(
            "every stratum needs at least one random draw beside what was chosen."
        )
    kinds = [np.append(others, own) for own, others in zip(chosen, draws, strict=True)]
    return permutation_p(float(np.sum(chosen)), sums_of_strata(kinds, n=n_perm, seed=seed))


def sums_of_strata(
    draws: Sequence[Float[np.ndarray, " _"]], *, n: int = 9999, seed: int = 0
) -> Float[np.ndarray, " draw"]:
    """`n` sums of one draw from every stratum, at random."""
    random = np.random.default_rng(seed)
    return np.sum([random.choice(own, size=n) for own in draws], axis=0)


def benjamini_hochberg(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjusted p-values that control the false discovery rate, in the order given.

    Source: Benjamini & Hochberg (1995). Raises `DataError` for a value outside [0, 1] or NaN.
    """
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values lie in [0, 1]; one does not, or is missing.")
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(1.0, p[order] * len(p) / ranks))
    return adjusted
