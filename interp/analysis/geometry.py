"""The geometry of the emotions in a space: distances, axes, cosines, and how they compare with a
theory's (representational similarity analysis: Kriegeskorte, Mur & Bandettini 2008).

Squared distances are compared, by Pearson's correlation. That is exact where the theory is: points
on a circle have squared distances 2 r^2 (1 - cos angle), and with unbiased distances noise adds
nothing to them. Two things are asked of a correlation, and each has its own answer:

    would other scenarios give it too?   the jackknife over scenarios: the interval
    would other labels give it too?      the emotions change places in the theory: p
"""

from functools import lru_cache
from itertools import permutations
from math import factorial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.products import Products, cosines_of
from interp.chance import permutation_p
from interp.errors import StatisticsError
from interp.stats import Estimate, estimate_of, reach_of

Distances = Float[np.ndarray, "*draw pair"]
Square = Float[np.ndarray, "emotion emotion"]

MOST_EXACT = 8
"""Emotions up to which every one of their orders is tried."""

N_DRAWN = 4999
"""Random orders of more emotions than that."""

_LARGEST = 1 - 1e-9
_AT_ONCE = 2_000_000
"""Distances that are moved at once."""


def distances(inner: Float[np.ndarray, "*draw emotion emotion"]) -> Distances:
    """The squared distances of each two emotions, from the products of their means; the pairs in
    the order of `np.triu_indices`. Unbiased ones may come out below zero.
    """
    one, other = np.triu_indices(inner.shape[-1], k=1)
    square = np.diagonal(inner, axis1=-2, axis2=-1)
    return square[..., one] + square[..., other] - 2 * inner[..., one, other]


def correlation(
    found: Float[np.ndarray, "draw pair"], theory: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, " draw"]:
    """Pearson's correlation of each draw's distances with the theory's; NaN where either does not
    vary.
    """
    return _standard(found) @ _standard(theory)


def rsa(found: Products, theory: Square) -> Estimate:
    """The correlation of the emotions' distances with a theory's, its interval over scenarios.

    `theory` holds the squared distance of each two emotions, in the order of `found.names`. The
    interval is the jackknife's, on the scale of arctanh. Raises `StatisticsError` for fewer than
    three emotions.
    """
    value, left_out = _correlations(found, theory)
    centre = float(np.arctanh(np.clip(value, -_LARGEST, _LARGEST)))
    reach = reach_of(np.arctanh(np.clip(left_out, -_LARGEST, _LARGEST)))
    low, high = np.tanh([centre - reach, centre + reach]).tolist()
    return estimate_of(value, low, high, found.n)


def rsa_difference(one: Products, other: Products, theory: Square) -> Estimate:
    """How much better `one`'s distances fit the theory than `other`'s, paired by scenario."""
    (v, left), (w, right) = (_correlations(side, theory) for side in (one, other))
    reach = reach_of(left - right)
    return estimate_of(v - w, v - w - reach, v - w + reach, one.n)


def _correlations(found: Products, theory: Square) -> tuple[float, np.ndarray]:
    if len(theory) < 3:
        raise StatisticsError(
            f"{len(theory)} emotions have too few distances to be correlated: three are needed."
        )
    pairs = theory[np.triu_indices(len(theory), k=1)]
    return (
        float(correlation(distances(found.whole)[None], pairs)[0]),
        correlation(distances(found.without), pairs),
    )


class LabelTest(NamedTuple):
    """The p of each row of distances, and the least that it could be."""

    p: Float[np.ndarray, " place"]
    least: float


def label_test(
    found: Float[np.ndarray, "place pair"], theory: Square, *, seed: int = 0
) -> LabelTest:
    """One-sided p that the emotions' distances have nothing to do with the theory's: the emotions
    change places in the theory, in every order (up to `MOST_EXACT` emotions) or in `N_DRAWN` random
    ones.

    A theory that looks the same in several orders (a wheel that is turned) gives p that are
    multiples of their share, `least`.
    """
    one, other = np.triu_indices(len(theory), k=1)
    orders = _orders(len(theory), seed)
    known, standard = theory[one, other], _standard(found).T
    same, draws = 0, []
    for part in np.array_split(orders, -(-len(orders) * len(one) // _AT_ONCE)):
        moved = theory[part[:, one], part[:, other]]
        same += int(np.isclose(moved, known, rtol=0, atol=1e-12).all(axis=1).sum())
        draws.append(_standard(moved) @ standard)
    null = np.concatenate(draws)
    own = correlation(found, known)
    p = [
        permutation_p(r, null[:, at]) if np.isfinite(r) else np.nan
        for at, r in enumerate(own.tolist())
    ]
    return LabelTest(np.array(p), (1 + same) / (1 + len(orders)))


class Axes(NamedTuple):
    """Principal axes of the emotions' means: the share of their variance that each explains, and
    where each emotion lies on them. Shares of noise may be below zero.
    """

    explained: Float[np.ndarray, " axis"]
    places: Float[np.ndarray, "emotion axis"]


def principal_axes(inner: Square, *, most: int = 3) -> Axes:
    """The first `most` principal axes of the emotions' means, from unbiased products (classical
    scaling: Torgerson 1952). An axis without length that other scenarios repeat has places of zero.

    Raises `StatisticsError` where the means have no spread that other scenarios repeat.
    """
    middle = less_mean(inner)
    values, vectors = np.linalg.eigh(middle)
    total = float(np.trace(middle))
    if not total > 0:
        raise StatisticsError("the emotions' means have no spread that other scenarios repeat.")
    first = np.argsort(values)[::-1][:most]
    signed = vectors[:, first]
    signed = signed * np.sign(signed[np.abs(signed).argmax(axis=0), np.arange(len(first))])
    return Axes(values[first] / total, signed * np.sqrt(np.maximum(values[first], 0.0)))


def explained_shares(found: Products, *, most: int = 3) -> list[Estimate]:
    """The share of each of the first axes, with the jackknife's interval over scenarios.

    The first share is a maximum, and so too large where few scenarios stand behind it.
    """
    value = principal_axes(found.whole, most=most).explained
    left_out = np.array([principal_axes(one, most=most).explained for one in found.without])
    reach = [reach_of(own) for own in left_out.T]
    return [
        estimate_of(v, v - r, v + r, found.n) for v, r in zip(value.tolist(), reach, strict=True)
    ]


def rating_test(
    places: Float[np.ndarray, "emotion axis"],
    ratings: Float[np.ndarray, "emotion rating"],
    *,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "axis rating"], Float[np.ndarray, "axis rating"]]:
    """The correlation of each axis with each rating over the emotions, and its p, two-sided, which
    allows for all axes and ratings (max-T): the ratings change places among the emotions. NaN for
    an axis or a rating that does not vary.

    Raises `StatisticsError` for fewer than three emotions.
    """
    if len(places) < 3:
        raise StatisticsError("fewer than three emotions: nothing can be correlated over them.")
    own = _standard(places.T) @ _standard(ratings.T).T
    varies = np.ix_(np.isfinite(own).any(axis=1), np.isfinite(own).any(axis=0))
    p = np.full(own.shape, np.nan)
    if own[varies].size:
        axes, rated = _standard(places.T[varies[0][:, 0]]), _standard(ratings.T[varies[1][0]])
        orders = _orders(len(places), seed)
        moved = np.einsum("ae,roe->oar", axes, rated[:, orders])
        largest = np.abs(moved).max(axis=(1, 2))
        p[varies] = [[permutation_p(abs(r), largest) for r in row] for row in own[varies].tolist()]
    return own, p


def less_mean(inner: Square) -> Square:
    """The products of the means less their grand mean."""
    return inner - inner.mean(axis=0) - inner.mean(axis=1)[:, None] + inner.mean()


def centred_cosines(found: Products) -> Square:
    """The cosines of the emotions' means less their grand mean, corrected for unreliability; NaN
    beside a mean that other scenarios hardly repeat (`LEAST_RELIABILITY`).

    Centring alone makes their mean about -1 / (E - 1), whatever the emotions are.
    """
    return cosines_of(less_mean(found.whole), np.diag(less_mean(found.biased)))


def reliability(found: Products) -> Float[np.ndarray, " emotion"]:
    """The share of each centred mean's squared length that other scenarios repeat; not above zero:
    it is noise.
    """
    return np.diag(less_mean(found.whole)) / np.diag(less_mean(found.biased))


def _standard(values: np.ndarray) -> np.ndarray:
    """Rows of mean zero and length one; NaN where a row does not vary."""
    rows = values - values.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(rows, axis=-1, keepdims=True)
    flat = size <= 1e-12 * np.maximum(np.abs(values).max(axis=-1, keepdims=True), 1e-300)
    return rows / np.where(flat, np.nan, size)


@lru_cache(maxsize=4)
def _orders(n: int, seed: int) -> Int[np.ndarray, "order emotion"]:
    """Orders of `n` emotions but the first one: all, or random ones."""
    if n <= MOST_EXACT:
        return np.array(list(permutations(range(n))))[1 : factorial(n)]
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(n) for _ in range(N_DRAWN)])
