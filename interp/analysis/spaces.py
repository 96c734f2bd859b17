"""Two spaces in which the same texts were read: how alike they are, and maps from one to the other.

    question                                     answer
    do the texts lie to each other in the        linear CKA, debiased: noise alone gives 0
    same way in both?
    does a turn carry one space into the other?  Procrustes: rotation, reflection, one scale
    does any linear map?                         ridge regression

Maps are scored on scenarios that they have not seen. A rotation keeps all distances, so that what
it carries has the same geometry; a linear map may pick what it needs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.folds import Fold, Folds
from interp.errors import DataError, StatisticsError
from interp.stats import Estimate, Labels, estimate_of, ratio_interval

One = Float[np.ndarray, "item d_one"]
Other = Float[np.ndarray, "other_item d_other"]

LEAST_ITEMS = 4
"""Items of which a debiased CKA can be made: its estimate divides by n - 3."""

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Of the linear map, in units of the mean squared length of a row's coordinates over the rows."""


def cka(one: One, other: Other) -> float:
    """Linear centred kernel alignment of two spaces, debiased; 1 for a rotated and scaled copy,
    about 0 where the texts lie in them independently. NaN where a space has no spread of its own.

    HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)) with K = X X', L = Y Y' and the unbiased
    estimate of Song et al. (2012), as Nguyen, Raghu & Kornblith (2021); the index is that of
    Kornblith et al. (2019). With few items and many dimensions the biased one tells unrelated
    spaces alike. Raises `DataError` for other numbers of items, `StatisticsError` for fewer than 4.
    """
    _same_items(one, other)
    if len(one) < LEAST_ITEMS:
        raise StatisticsError(f"{len(one)} items: a debiased CKA needs {LEAST_ITEMS} or more.")
    k, kept = (_hollow(side) for side in (one, other))
    shared, first, second = hsic(k, kept), hsic(k, k), hsic(kept, kept)
    return shared / float(np.sqrt(first * second)) if first > 0 and second > 0 else np.nan


def _hollow(x: Float[np.ndarray, "item feature"]) -> Float[np.ndarray, "item item"]:
    """The Gram matrix of centred rows, its diagonal zero."""
    rows = np.asarray(x, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    gram = rows @ rows.T
    np.fill_diagonal(gram, 0.0)
    return gram


def hsic(k: Float[np.ndarray, "item item"], other: Float[np.ndarray, "item item"]) -> float:
    """The unbiased Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5) of two
    Gram matrices with zero diagonals.
    """
    n = len(k)
    both = float((k * other).sum())
    sums = float(k.sum()) * float(other.sum()) / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * float(k.sum(axis=0) @ other.sum(axis=0))
    return (both + sums - rows) / (n * (n - 3))


class AffineMap(NamedTuple):
    """y = (x - centre) weights + moved."""

    centre: Float[np.ndarray, " d_one"]
    weights: Float[np.ndarray, "d_one d_other"]
    moved: Float[np.ndarray, " d_other"]

    def __call__(self, x: One) -> Other:
        """Rows of the first space, carried into the second."""
        return (np.asarray(x, dtype=np.float64) - self.centre) @ self.weights + self.moved


def fit_rotation(one: One, other: Other) -> AffineMap:
    """The rotation (with reflection and one scale) that carries rows of `one` nearest to those of
    `other`: orthogonal Procrustes (Schönemann 1966). Where the widths differ, the part of the wider
    space that the other one reaches.
    """
    x, y, centre, moved = _centred(one, other)
    left, stretch, right = np.linalg.svd(x.T @ y, full_matrices=False)
    total = float((x**2).sum())
    if not total > 0:
        raise StatisticsError("the first space has no spread: there is nothing to turn.")
    return AffineMap(centre, float(stretch.sum()) / total * (left @ right), moved)


def fit_linear(one: One, other: Other, *, penalty: float = 1.0) -> AffineMap:
    """The linear map of least squares with a penalty on its squared weights (ridge: Hoerl & Kennard
    1970), in units of the rows' mean squared length.
    """
    x, y, centre, moved = _centred(one, other)
    gram = x @ x.T
    ridge = penalty * max(float(np.trace(gram)) / len(gram), 1e-300)
    weights = x.T @ np.linalg.solve(gram + ridge * np.eye(len(gram)), y)
    return AffineMap(centre, weights, moved)


def fit_random(one: One, other: Other, *, seed: int = 0) -> AffineMap:
    """A map that knows nothing of the texts: random directions, as long as those of `fit_rotation`
    (the control).
    """
    known = fit_rotation(one, other)
    random = np.random.default_rng(seed).normal(size=known.weights.shape)
    scale = float(np.linalg.norm(known.weights)) / float(np.linalg.norm(random))
    return known._replace(weights=random * scale)


FitMap = Callable[[One, Other, Fold], AffineMap]
"""A map from the rows that it may see: those of one fold's training."""


def rotation(one: One, other: Other, fold: Fold) -> AffineMap:
    """`fit_rotation` on a fold's training rows."""
    return fit_rotation(one[fold.train], other[fold.train])


def linear(one: One, other: Other, fold: Fold) -> AffineMap:
    """`fit_linear` on a fold's training rows; its inner folds choose the penalty."""
    losses = np.zeros(len(PENALTIES))
    for train, test in fold.inner:
        for at, penalty in enumerate(PENALTIES):
            told = fit_linear(one[train], other[train], penalty=penalty)(one[test])
            losses[at] += float(((told - other[test]) ** 2).sum())
    chosen = PENALTIES[int(losses.argmin())] if fold.inner else 1.0
    return fit_linear(one[fold.train], other[fold.train], penalty=chosen)


def random_map(one: One, other: Other, fold: Fold) -> AffineMap:
    """`fit_random`, another one in each fold."""
    return fit_random(one[fold.train], other[fold.train], seed=int(fold.test[0]))


def shuffled(one: One, other: Other, fold: Fold) -> AffineMap:
    """The linear map between texts that do not belong together (the control)."""
    order = np.random.default_rng(int(fold.test[0])).permutation(len(fold.train))
    return fit_linear(one[fold.train[order]], other[fold.train])


MAPS: dict[str, FitMap] = {
    "procrustes": rotation,
    "linear": linear,
    "random": random_map,
    "shuffled": shuffled,
}
"""The maps by name; the last two are controls."""


def held_out(one: One, other: Other, *, folds: Folds, fit: FitMap) -> Other:
    """What each fold's map makes of its test rows; NaN for rows that no fold tests.

    Raises `DataError` where the two spaces hold other numbers of items.
    """
    _same_items(one, other)
    carried = np.full(other.shape, np.nan)
    for fold in folds:
        carried[fold.test] = fit(one, other, fold)(one[fold.test])
    return carried


def explained_by_map(
    carried: Other, other: Other, groups: Labels, *, folds: Folds
) -> tuple[Estimate, Int[np.ndarray, " tested"]]:
    """The share of the second space's variance that the maps tell of held-out rows, about each
    fold's training mean, with an interval over scenarios; and which rows those are.

    1 - sum |y - y'|^2 / sum |y - mean|^2. Below zero the map is worse than the mean.
    """
    at = np.sort(np.concatenate([fold.test for fold in folds]))
    missed, spread = np.zeros(len(other)), np.zeros(len(other))
    for fold in folds:
        mean = other[fold.train].mean(axis=0)
        spread[fold.test] = ((other[fold.test] - mean) ** 2).sum(axis=1)
        missed[fold.test] = ((other[fold.test] - carried[fold.test]) ** 2).sum(axis=1)
    lost = ratio_interval(missed[at], spread[at], np.asarray(groups)[at])
    share = estimate_of(1 - lost.value, 1 - lost.ci_high, 1 - lost.ci_low, lost.n)
    return share, at


def only_trained_on(folds: Folds, rows: Sequence[int] | Int[np.ndarray, " row"]) -> Folds:
    """The same folds, trained on these rows alone and tested on all others of their test rows."""
    kept = np.asarray(rows)
    return [
        Fold(
            fold.train[np.isin(fold.train, kept)],
            fold.test[~np.isin(fold.test, kept)],
            tuple(
                (train[np.isin(train, kept)], test[np.isin(test, kept)])
                for train, test in fold.inner
            ),
        )
        for fold in folds
    ]


def _centred(one: One, other: Other) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    _same_items(one, other)
    x, y = (np.asarray(side, dtype=np.float64) for side in (one, other))
    centre, moved = x.mean(axis=0), y.mean(axis=0)
    return x - centre, y - moved, centre, moved


def _same_items(one: One, other: Other) -> None:
    if len(one) != len(other):
        raise DataError(
            f"{len(one)} rows of one space came with {len(other)} of the other: a row of each "
            "belongs to every text."
        )
