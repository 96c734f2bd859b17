"""Products of emotions' means, free of the share that noise alone has in them.

With m_a the mean row of emotion a over its scenarios, m_a . m_a is too large by tr(S) / n, and so
is every distance that is made of it: noise alone sets all emotions apart, rare ones most. Rows of
*different* scenarios have no noise in common, so the mean of their products is unbiased:

    G_ab  =  mean over rows i of a and j of b, of different scenarios, of x_i . x_j

This is what cross-validation gives when every pair of scenarios is a fold once. From G follow the
distances G_aa + G_bb - 2 G_ab ("crossnobis" where the rows are whitened; Walther et al. 2016), the
cosines, and the reliability of a mean: the share of its squared length that other scenarios repeat.

All is made of the rows' Gram matrix, so that the width of the space costs one product.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.errors import DataError, StatisticsError
from interp.stats import MOST_BLOCKS, Labels, numbered

LEAST_SHRINKAGE = 0.01
"""The least shrinkage of the noise's covariance: without any it cannot be inverted where rows are
fewer than features.
"""

N_PARTS = 5
"""Parts of the scenarios, of which three say what noise is to the others."""

LEAST_RELIABILITY = 0.1
"""The share of a mean's squared length that other scenarios must repeat, so that it has cosines:
below it the correction would divide by little but noise.
"""

_MOST_KEPT = 4_000_000
"""Numbers that are kept of what is left without each block of scenarios."""


@dataclass(frozen=True, slots=True)
class Products:
    """The unbiased products of the emotions' means: `whole`, and `without` each scenario (or block
    of scenarios) in turn. `biased` are those of the means as they are, noise included. `n` rows.
    """

    names: tuple[str, ...]
    whole: Float[np.ndarray, "emotion emotion"]
    biased: Float[np.ndarray, "emotion emotion"]
    without: Float[np.ndarray, "block emotion emotion"]
    n: int

    def of(self, names: Sequence[str]) -> "Products":
        """The same of some emotions only, in this order."""
        at = np.array([self.names.index(name) for name in names])
        square = np.ix_(at, at)
        kept = self.without[:, at[:, None], at[None]]
        return Products(tuple(names), self.whole[square], self.biased[square], kept, self.n)


def products(gram: Float[np.ndarray, "row row"], labels: Labels, groups: Labels) -> Products:
    """The products of the means of the rows of each label, from the rows' Gram matrix.

    Raises `DataError` for a matrix that is not finite or of another size, `StatisticsError` for
    fewer than two labels, or a label whose rows are all of one or two scenarios.
    """
    names, label = _checked(gram, labels, groups)
    block = numbered(groups)
    n_blocks = max(min(int(block.max()) + 1, MOST_BLOCKS, _MOST_KEPT // len(names) ** 2), 2)
    apart = block[:, None] != block[None]
    kept = np.where(apart, gram.astype(np.float64), 0.0)
    is_of = np.eye(len(names))[label]
    sums, pairs = is_of.T @ kept @ is_of, is_of.T @ apart @ is_of
    if not (np.diag(pairs) > 0).all():
        rare = names[int(np.argmin(np.diag(pairs)))]
        raise StatisticsError(f"all texts of {rare!r} are of one scenario: nothing repeats them.")
    parts, met = kept @ is_of, apart @ is_of
    without = np.empty((n_blocks, len(names), len(names)))
    for one in range(n_blocks):
        rows = np.flatnonzero(block % n_blocks == one)
        inside = np.ix_(rows, rows)
        left = _less(sums, is_of[rows], parts[rows], kept[inside])
        number = _less(pairs, is_of[rows], met[rows], apart[inside])
        if not (np.diag(number) > 0).all():
            rare = names[int(np.argmin(np.diag(number)))]
            raise StatisticsError(f"{rare!r} has fewer than three scenarios: add scenarios.")
        without[one] = left / number
    counts = is_of.sum(axis=0)
    biased = is_of.T @ gram @ is_of / np.outer(counts, counts)
    return Products(names, sums / pairs, biased, without, len(gram))


def _checked(
    gram: Float[np.ndarray, "row row"], labels: Labels, groups: Labels
) -> tuple[tuple[str, ...], Int[np.ndarray, " row"]]:
    if len(gram) != len(labels) or len(gram) != len(groups):
        raise DataError(
            f"a matrix of {len(gram)} rows came with {len(labels)} labels and {len(groups)} "
            "scenarios: one of each belongs to every row."
        )
    if not np.isfinite(gram).all():
        raise DataError("a product is not finite: mend or quarantine the rows first.")
    names, label = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    if len(names) < 2:
        raise StatisticsError(f"{len(names)} emotion: a geometry needs two or more.")
    return tuple(names.tolist()), label.reshape(-1).astype(np.int64)


def _less(
    sums: np.ndarray, is_of: np.ndarray, parts: np.ndarray, inside: np.ndarray
) -> Float[np.ndarray, "emotion emotion"]:
    """What is left of sums over pairs of rows without those in which some rows take part; what lies
    between two of these was taken twice.
    """
    mine = is_of.T @ parts
    return sums - mine - mine.T + is_of.T @ inside @ is_of


def whitened(
    gram: Float[np.ndarray, "row row"], labels: Labels, groups: Labels, *, width: int
) -> Float[np.ndarray, "row row"]:
    """The Gram matrix of the rows in units of their noise: x_i S^-1 x_j, S the covariance within
    emotions, shrunk towards a multiple of one (Ledoit & Wolf 2004). `width` is that of the rows.

    S is of three of `N_PARTS` parts of the scenarios, none of which holds i or j. One that knew
    their noise would take more of it from the single rows than from their means, and leave noise in
    the products. The rows' common mean is taken out first, since it would have other lengths by
    other S; in distances that changes nothing. By the identity of Woodbury, so that no matrix of
    the rows' width is made. Raises `StatisticsError` where rows do not differ within emotions.
    """
    rows = gram.astype(np.float64)
    rows = rows - rows.mean(axis=0) - rows.mean(axis=1)[:, None] + rows.mean()
    label = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    part = numbered(groups) % N_PARTS
    found = np.empty_like(rows)
    for one in range(N_PARTS):
        for other in range(one, N_PARTS):
            a, b = np.flatnonzero(part == one), np.flatnonzero(part == other)
            aside = (one + 1) % N_PARTS if one == other else other  # always as many to learn from
            rest = np.flatnonzero((part != one) & (part != aside))
            found[np.ix_(a, b)] = _in_noise(rows, label[rest], (a, b, rest), width=width)
            found[np.ix_(b, a)] = found[np.ix_(a, b)].T
    return found


def _in_noise(
    gram: Float[np.ndarray, "row row"],
    label: Int[np.ndarray, " other_row"],
    at: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    width: int,
) -> Float[np.ndarray, "a b"]:
    """x_i S^-1 x_j of the rows i and j at two places, S that of the rows at a third."""
    a, b, rest = at
    is_of = np.eye(int(label.max(initial=0)) + 1)[label]
    counts = np.maximum(is_of.sum(axis=0), 1.0)
    centre = np.eye(len(rest)) - is_of @ (is_of / counts).T
    noise = centre @ gram[np.ix_(rest, rest)] @ centre
    n = len(rest)
    variance = float(np.trace(noise)) / max(n * width, 1)
    if not variance > 1e-12 * float(np.trace(gram)) / (len(gram) * width):
        raise StatisticsError("texts of one emotion do not differ here: there is no noise.")
    shrinkage = max(_shrinkage(noise, width=width), LEAST_SHRINKAGE)
    if shrinkage >= 1:
        return gram[np.ix_(a, b)] / variance
    ridge = shrinkage * variance * n / (1 - shrinkage)
    left, right = (centre @ gram[np.ix_(rest, one)] for one in (a, b))
    taken = left.T @ np.linalg.solve(ridge * np.eye(n) + noise, right)
    return (gram[np.ix_(a, b)] - taken) / (shrinkage * variance)


def _shrinkage(noise: Float[np.ndarray, "row row"], *, width: int) -> float:
    """Ledoit and Wolf's weight of the multiple of one, from the residuals' Gram matrix."""
    n = len(noise)
    mean = float(np.trace(noise)) / (n * width)
    square = float((noise**2).sum()) / n**2  # of the covariance's entries
    strayed = float((np.diag(noise) ** 2).sum()) / n**2 - square / n
    apart = square - width * mean**2
    return 1.0 if apart <= 0 else min(max(strayed, 0.0) / apart, 1.0)


def alikeness(
    sites: Sequence[Float[np.ndarray, "row d_model"]], labels: Labels, groups: Labels
) -> Float[np.ndarray, "site site"]:
    """How alike the emotions' centred means are at each two sites of one space: the cosine of all
    of them together, corrected for unreliability.

    sum_e c_e . c'_e / sqrt(sum_e |c_e|^2 sum_e |c'_e|^2), c_e an emotion's mean less the mean of
    all, each product unbiased: the correction for attenuation (Spearman 1904), averaged over all
    splits of the scenarios. NaN where less than `LEAST_RELIABILITY` of a site's is repeated.
    Raises `StatisticsError` for an emotion of a single scenario.
    """
    label = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    is_of = np.eye(int(label.max()) + 1)[label]
    mean = is_of / is_of.sum(axis=0)
    weights = pair_weights(labels, groups).astype(np.float32)
    flat = np.stack([np.asarray(x - x.mean(axis=0), dtype=np.float32) for x in sites])
    turned = np.stack([weights @ x for x in flat])
    shared = flat.reshape(len(flat), -1) @ turned.reshape(len(flat), -1).T
    inner = np.asarray((shared + shared.T) / 2, dtype=np.float64)
    plain = (mean - mean.mean(axis=1, keepdims=True)).T
    return cosines_of(inner, np.array([float(((plain @ x) ** 2).sum()) for x in flat]))


def pair_weights(labels: Labels, groups: Labels) -> Float[np.ndarray, "row row"]:
    """The weights w of pairs of rows by which sum_ij w_ij x_i . y_j is the unbiased product of two
    sites' centred means, summed over the emotions: sum_e c_e . c'_e with c_e = m_e - mean m.

    Raises `StatisticsError` for an emotion of a single scenario.
    """
    label = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    apart = (numbered(groups)[:, None] != numbered(groups)[None]).astype(np.float64)
    is_of = np.eye(int(label.max()) + 1)[label]
    pairs = is_of.T @ apart @ is_of
    if not (np.diag(pairs) > 0).all():
        raise StatisticsError("an emotion has texts of one scenario only: nothing repeats them.")
    kinds = len(pairs)
    weights = (np.eye(kinds) - 1 / kinds) / np.where(pairs > 0, pairs, np.inf)
    return apart * weights[label[:, None], label[None]]


def cosines_of(
    inner: Float[np.ndarray, "item item"], biased: Float[np.ndarray, " item"]
) -> Float[np.ndarray, "item item"]:
    """Cosines from unbiased products, beside the squared lengths as they are (`biased`); NaN beside
    an item of which less than `LEAST_RELIABILITY` is repeated.
    """
    square = np.diag(inner)
    sure = square > LEAST_RELIABILITY * np.maximum(biased, 0.0)
    size = np.sqrt(np.where(sure, square, np.nan))
    return np.clip(inner / np.outer(size, size), -1.0, 1.0)


def gram_of(x: Shaped[np.ndarray, "row feature"]) -> Float[np.ndarray, "row row"]:
    """The rows' inner products, in double precision."""
    rows = np.asarray(x, dtype=np.float64)
    return rows @ rows.T
