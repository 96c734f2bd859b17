"""A probe for stores that are larger than the memory: ridge regression from sums, block by block.

Two passes over a site. The first sums, for each fold, x'x, x'y, x and the labels; a fold's training
sums are those of all less its own. The second scores each item by the probe that has not seen its
fold. The memory holds one d x d matrix a fold and one block, whatever the number of items.

    w = (Z'Z + RIDGE n I)^-1 Z'Y     Z standardised by the training items, Y one column per class
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from interp.analysis.dependence import RIDGE
from interp.analysis.folds import Folds, fold_of
from interp.analysis.predictions import Predictions
from interp.errors import DataError
from interp.stats import Labels, codes

RowBlocks = Callable[[], Iterator[tuple[Sequence[int], Float[np.ndarray, "row feature"]]]]
"""Blocks of items, each with the items' numbers; may be asked for again."""

_LEAST_SPREAD = 1e-8


def predict_streamed(blocks: RowBlocks, y: Labels, groups: Labels, *, folds: Folds) -> Predictions:
    """Held-out scores of the ridge probe, one column per class; they are no probabilities, but rank
    as such. Every item is tested by one fold.

    Raises `DataError` for values that are not finite, and items that no block holds.
    """
    told, names = np.asarray(y).astype(str), np.asarray(groups).astype(str)
    fold, label = fold_of(folds, len(told)), codes(told)
    sums = _sums(blocks, label, fold)
    weights = [_solve(sums.sum(axis=0) - own, int(label.max()) + 1) for own in sums]
    scores = np.full((len(label), int(label.max()) + 1), np.nan)
    for rows, x in blocks():
        at = np.asarray(rows)
        for one in np.unique(fold[at]):
            mine = fold[at] == one
            scores[at[mine]] = x[mine] @ weights[one][:-1] + weights[one][-1]
    if not np.isfinite(scores).all():
        raise DataError(
            f"{int(np.isnan(scores).any(axis=1).sum())} items were in no block: nothing scored "
            "them."
        )
    classes = tuple(map(str, np.unique(told)))
    return Predictions(scores, classes, told, names, fold, np.arange(len(label)), ())


def _sums(
    blocks: RowBlocks, label: Int[np.ndarray, " item"], fold: Int[np.ndarray, " item"]
) -> Float[np.ndarray, "fold column column"]:
    """For each fold A'A of the columns A = [x, 1, one-hot labels] of its items."""
    n_classes, found = int(label.max()) + 1, np.zeros((0, 0, 0))
    for rows, x in blocks():
        if not np.isfinite(x).all():
            raise DataError("an item's activations are not finite: quarantine it.")
        at = np.asarray(rows)
        wide = np.column_stack([x, np.ones(len(x)), np.eye(n_classes)[label[at]]])
        if not found.size:
            found = np.zeros((int(fold.max()) + 1, wide.shape[1], wide.shape[1]))
        for one in np.unique(fold[at]):
            mine = wide[fold[at] == one]
            found[one] += mine.T @ mine
    return found


def _solve(
    sums: Float[np.ndarray, "column column"], n_classes: int
) -> Float[np.ndarray, "row class"]:
    """The weights of raw features, and below them the offset, from training sums."""
    d = len(sums) - n_classes - 1
    n = sums[d, d]
    mean, share = sums[:d, d] / n, sums[d, d + 1 :] / n
    gram = sums[:d, :d] - n * np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(gram) / n, 0.0))
    scale = np.where(spread > _LEAST_SPREAD * (1 + np.abs(mean)), spread, 1.0)
    gram /= np.outer(scale, scale)
    gram[np.diag_indices(d)] += RIDGE * n
    told = (sums[:d, d + 1 :] - n * np.outer(mean, share)) / scale[:, None]
    raw = cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), told) / scale[:, None]
    return np.concatenate([raw, (share - mean @ raw)[None]])
