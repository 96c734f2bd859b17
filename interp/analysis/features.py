"""What a probe reads of a site's activations: checked, standardised, and in no more axes than it
needs.

All is learned on a fold's training rows.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from interp.analysis.folds import Fold
from interp.errors import DataError, StatisticsError

Features = Float[np.ndarray, "item feature"] | sparse.csr_array
"""What a classifier reads, one row per item: counts of words are mostly zero and may be sparse."""

_SMALLEST_SPREAD = 1e-8
_SMALLEST_SQUARE = 1e-10
_RARE = 0.1


MOST_KEPT = 8 << 20
"""Bytes of a fold's features that are kept for the next labels."""


def check_features(
    x: Float[np.ndarray, "item feature"], y: Shaped[np.ndarray, " item"]
) -> set[str]:
    """Refuse features that no probe can use; return what is odd about the rest as warnings.

    Raises `DataError` (lengths differ, not finite, all zero) and `StatisticsError` (one class).
    """
    check_finite_rows(x, len(y))
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise StatisticsError(
            f"only {', '.join(repr(str(c)) for c in classes) or 'nothing'} present; need >= 2 "
            "classes."
        )
    constant, found = int((np.ptp(x, axis=0) == 0).sum()), set()
    if constant:
        found.add(f"{constant} of {x.shape[1]} features are constant and tell nothing.")
    if counts.min() < _RARE * counts.max():
        rare, common = str(classes[counts.argmin()]), str(classes[counts.argmax()])
        found.add(
            f"classes are unbalanced ({rare!r} {counts.min()}, {common!r} {counts.max()}): "
            f"always saying {common!r} scores accuracy {counts.max() / counts.sum():.2f}; read "
            "the AUROC and the balanced accuracy."
        )
    return found


def check_finite_rows(x: Float[np.ndarray, "item feature"], n: int) -> None:
    """Raise `DataError` unless `x` has `n` rows, all finite and not all zero."""
    if len(x) != n:
        raise DataError(
            f"{len(x)} rows of features came with {n} labels: one label belongs to every row."
        )
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise DataError(
            f"{len(bad)} rows of the features are not finite, first row {bad[0]}: quarantine the "
            "pair or mend it."
        )
    if not x.any():
        raise DataError("all features are zero: the hook at this site did not fire.")


def features_of(
    x: Float[np.ndarray, "item feature"], fold: Fold, *, turned: bool
) -> Float[np.ndarray, "item axis"]:
    """What a probe reads of all items: `x` standardised by the fold's training rows; where axes may
    be `turned`, in as few of them as it needs.
    """
    z = standardiser(x[fold.train])(x)
    return in_span(z, fold.train) if turned else z


class FoldFeatures:
    """`features_of` one `x`: those of a fold are made once, where they are small enough to be kept,
    since probes of several labels read the same.
    """

    def __init__(self, x: Float[np.ndarray, "item feature"]) -> None:
        self.x = x
        self._kept: dict[tuple[bytes, bool], Features] = {}

    def of(self, fold: Fold, *, turned: bool) -> Features:
        """What a probe reads of all items in this fold."""
        key = fold.train.tobytes(), turned
        if key in self._kept:
            return self._kept[key]
        made = features_of(self.x, fold, turned=turned)
        if made.nbytes <= MOST_KEPT:
            self._kept[key] = made
        return made


def standardiser(x: Float[np.ndarray, "item feature"]) -> Callable[[np.ndarray], np.ndarray]:
    """The map to zero mean and unit spread learned on `x`; a feature that is constant there is only
    centred.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > _SMALLEST_SPREAD * (1 + np.abs(centre)), spread, 1.0)
    return lambda rows: (rows - centre) / scale


def in_span(
    z: Float[np.ndarray, "item feature"], train: Int[np.ndarray, " _"]
) -> Float[np.ndarray, "item axis"]:
    """Coordinates of all rows along orthonormal axes that span the rows `train`; `z` itself where
    these are no fewer than its features.

    A linear probe with a penalty on its squared weights has no weight outside that span, and scores
    the same in these coordinates, of which there are at most as many as training rows. By a
    pivoted Cholesky factor of the rows' inner products.
    """
    if z.shape[1] <= len(train):
        return z
    rows, others = z[train].astype(np.float64), np.setdiff1d(np.arange(len(z)), train)
    square = rows @ rows.T
    least = _SMALLEST_SQUARE * float(square.diagonal().max())
    factor, order, rank, _ = lapack.dpstrf(square, tol=least, lower=1)
    told = np.empty((len(z), rank))
    told[train[order - 1]] = np.tril(factor)[:, :rank]
    known = order[:rank] - 1  # rows that no others add up to
    inner = rows[known] @ z[others].T.astype(np.float64)
    told[others] = solve_triangular(factor[:rank, :rank], inner, lower=True, check_finite=False).T
    return told
