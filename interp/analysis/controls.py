"""What must stand beside a probe's score: a p-value from relabelled data, and scores on other
labels of the same texts.

The p-value refits for every relabelling, which alone is exact for cross-validated scores (shuffling
the labels of held-out scores is not: the folds' probes share training rows, see
`interp.analysis.dependence`). A thousand refits of one site take some milliseconds,
because the ridge probe's held-out scores are linear in the labels (`ridge_reader`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from interp.analysis.dependence import RIDGE
from interp.analysis.design import Design
from interp.analysis.features import FoldFeatures, check_features, standardiser
from interp.analysis.folds import Fold, Folds, fold_of, plain_folds
from interp.analysis.predictions import Predictions, auroc_share
from interp.analysis.probes import cross_validate
from interp.chance import permutation_p
from interp.defaults import PROBE
from interp.errors import StatisticsError
from interp.shares import share_difference
from interp.stats import Labels, codes

BYTES_AT_ONCE = 256 * 2**20
"""About how much memory the labellings take that are read at once."""

MOST_RELABELLED = 100_000_000
"""Labels (relabellings times items times classes) that a place is read under, as far as
`FEWEST_RELABELLINGS` allow: 1,000 relabellings of 12,500 texts of eight emotions.
"""

FEWEST_RELABELLINGS = 199
"""So that p can reach .005, and as many as a nested AUROC is refitted for."""

_BYTES_PER_LABEL = 32  # what a label costs while it is read: itself, centred, its score, a square


@dataclass(frozen=True, slots=True)
class Null:
    """A statistic of the true labels and of each relabelling. `draws` of several sites stack to
    what `stats.max_t` takes.
    """

    observed: float
    draws: Float[np.ndarray, " draw"]

    @property
    def p(self) -> float:
        """One-sided p-value."""
        return permutation_p(self.observed, self.draws)


def relabellings(
    design: Design, *, folds: Folds, n_perm: int = 1000, seed: int = 0
) -> Int[np.ndarray, "draw item"]:
    """The true labels as codes (row 0) and `n_perm` relabellings under the null: make them once,
    use them for every site. Of very many labels there are fewer (`MOST_RELABELLED`).
    """
    allowed = MOST_RELABELLED // (len(design.y) * len(np.unique(design.y)))
    n_perm = min(n_perm, max(allowed, FEWEST_RELABELLINGS))
    drawn = design.relabel(n_perm=n_perm, seed=seed, folds=fold_of(folds, len(design.y)))
    return np.concatenate([codes(design.y)[None].astype(drawn.dtype), drawn])


def least_relabelled_p(labellings: Int[np.ndarray, "draw item"]) -> float:
    """The smallest p that these relabellings allow: one of as many as differ. Two classes named the
    other way round score the same.
    """
    drawn = labellings ^ labellings[:, :1] if labellings.max() == 1 else labellings
    return 1 / len(np.unique(drawn, axis=0))


def permutation_null(
    x: Float[np.ndarray, "item feature"], labellings: Int[np.ndarray, "draw item"], *, folds: Folds
) -> Null:
    """The ridge probe's held-out correlation with the labels, for the true labels (row 0) and for
    each relabelling, refitted.

    Per fold and class: the correlation over test items of the score H y_train with the one-hot
    label, where H = Z_test (Z'Z + RIDGE n I)^-1 Z' on standardised rows Z; averaged over folds and
    classes. Raises as `check_features`.
    """
    check_features(x, labellings[0])
    found = np.mean(
        [ridge_correlation(x, labellings, fold.train, fold.test) for fold in folds], axis=0
    )
    return Null(float(found[0]), found[1:])


def inner_correlations(
    x: Float[np.ndarray, "item feature"], labellings: Int[np.ndarray, "draw item"], *, folds: Folds
) -> Float[np.ndarray, "fold draw"]:
    """The same correlation over the inner folds of each outer fold: what a fold may choose a place
    by, having seen its training rows only. NaN for a fold without inner ones.
    """
    return np.array([_mean_correlation(x, labellings, fold) for fold in folds])


def _mean_correlation(x: np.ndarray, labellings: np.ndarray, fold: Fold) -> np.ndarray:
    if not fold.inner:
        return np.full(len(labellings), np.nan)
    return np.mean(
        [ridge_correlation(x, labellings, train, test) for train, test in fold.inner], axis=0
    )


def ridge_correlation(
    x: Float[np.ndarray, "item feature"],
    labellings: Int[np.ndarray, "draw item"],
    train: Int[np.ndarray, " _"],
    test: Int[np.ndarray, " _"],
) -> Float[np.ndarray, " draw"]:
    """Of each labelling: the correlation over the rows `test` of a ridge probe's score, learned on
    the rows `train`, with the one-hot label, averaged over classes.
    """
    classes = range(1, 2) if labellings.max() == 1 else range(int(labellings.max()) + 1)
    read, total = ridge_reader(x[train], x[test]), np.zeros(len(labellings))
    at_once = max(1, BYTES_AT_ONCE // (_BYTES_PER_LABEL * (len(train) + len(test))))
    for start in range(0, len(labellings), at_once):
        block = labellings[start : start + at_once]
        for one in classes:
            learned, told = (block[:, rows] == one for rows in (train, test))
            scores = read(learned - learned.mean(axis=1, keepdims=True))
            total[start : start + at_once] += _correlation(scores, told.astype(scores.dtype))
    return total / len(classes)


def ridge_agreement(
    x: Float[np.ndarray, "item feature"],
    values: Float[np.ndarray, "draw item"],
    train: Int[np.ndarray, " _"],
    test: Int[np.ndarray, " _"],
) -> Float[np.ndarray, " draw"]:
    """`ridge_correlation` with a number per item, in the place of a label: one row per draw."""
    learned = values[:, train]
    scores = ridge_reader(x[train], x[test])(learned - learned.mean(axis=1, keepdims=True))
    return _correlation(scores, values[:, test])


def memorisation(
    x: Float[np.ndarray, "item feature"], task: Predictions, *, probe: str = PROBE, seed: int = 0
) -> list[dict[str, Any]]:
    """The row (auroc) of the same probe on random labels tied to the scenario, in folds that ignore
    scenarios.

    It says what the probe has room to learn by heart (the control task of Hewitt & Liang 2019), and
    nothing of how the task's own score came about: the task's folds hold scenarios out, so that
    memory cannot help there. `x` is what `task` was made from, by the same `probe` with the
    settings that it chose. No row where every scenario has one item: there is no second one to
    remember it by.
    """
    group = codes(task.groups)
    if np.bincount(group).max() < 2:
        return []
    deal = np.random.default_rng(seed).permutation(group.max() + 1) % len(task.classes)
    random_y = np.array(task.classes)[deal[group]]
    folds = plain_folds(random_y, n_splits=int(task.fold.max()) + 1, seed=seed)
    control = cross_validate(
        x[task.rows], random_y, task.groups, folds=folds, probe=probe, settings=task.chosen
    )
    return [{"metric": "auroc", **auroc_share(control).estimate(task.groups)._asdict()}]


def nuisance_rows(
    x: FoldFeatures,
    task: Predictions,
    nuisances: Mapping[str, Labels],
    *,
    folds: Folds,
    probe: str = PROBE,
) -> list[dict[str, Any]]:
    """Rows (target, metric) for labels that are not the emotion: their AUROC, and selectivity =
    task - theirs.

    The same probe with the settings that `task` chose, on the task's own folds: a nuisance (the
    text's length, its domain) is learned on some scenarios and found in others, as the task is, so
    the two compete on equal terms. The interval of the difference leaves the same scenarios out of
    both. Raises `StatisticsError` for a nuisance that `can_compete` would leave out.
    """
    of_task, rows = auroc_share(task), []
    groups = np.full(len(x.x), "", dtype=object)
    groups[task.rows] = task.groups
    for name, labels in nuisances.items():
        if not can_compete(labels, folds):
            raise StatisticsError(
                f"nuisance {name!r} lacks a class in some fold: leave it out (see can_compete)."
            )
        rival = cross_validate(x, labels, groups, folds=folds, probe=probe, settings=task.chosen)
        of_rival = auroc_share(rival)
        apart = share_difference(of_task, of_rival, task.groups)
        rows += [
            {"target": name, "metric": "auroc", **of_rival.estimate(task.groups)._asdict()},
            {"target": name, "metric": "selectivity", **apart._asdict()},
        ]
    return rows


def can_compete(labels: Labels, folds: Folds) -> bool:
    """Whether every fold trains each of the labels' two or more classes and tests two of them."""
    y = np.asarray(labels).astype(str)
    classes = set(y.tolist())
    trained = all(set(y[fold.train].tolist()) == classes for fold in folds)
    return (
        len(classes) > 1 and trained and all(len(set(y[fold.test].tolist())) > 1 for fold in folds)
    )


def ridge_reader(
    train: Float[np.ndarray, "item feature"], test: Float[np.ndarray, "other feature"]
) -> Callable[[Float[np.ndarray, "draw item"]], Float[np.ndarray, "draw other"]]:
    """From centred training labels, one labelling per row, to held-out scores of a ridge probe.

    One matrix of test by training rows reads a labelling in the product of both numbers, the
    weights Z'y of the features in their sum times the features: the one that costs less is taken,
    so that cost and memory grow with the rows, not with their square.
    """
    n, d = train.shape
    if n * len(test) <= d * (n + len(test)):
        hat = ridge_hat(train, test)
        return lambda labels: labels.astype(np.float32) @ hat.T
    standardise = standardiser(train)
    z, held = standardise(train), standardise(test)
    factor = cho_factor(z.T @ z + RIDGE * n * np.eye(d))
    narrow, told = (one.astype(np.float32) for one in (z, held.T))

    def read(labels: np.ndarray) -> np.ndarray:
        weights = cho_solve(factor, (labels.astype(np.float32) @ narrow).T).T
        return np.asarray(weights.astype(np.float32) @ told)

    return read


def ridge_hat(
    train: Float[np.ndarray, "item feature"], test: Float[np.ndarray, "other feature"]
) -> Float[np.ndarray, "other item"]:
    """The matrix that takes centred training labels to held-out scores, by the smaller of the two
    Gram matrices.
    """
    standardise = standardiser(train)
    z, held = standardise(train), standardise(test)
    penalty = RIDGE * len(z)
    if z.shape[1] <= len(z):
        hat = held @ cho_solve(cho_factor(z.T @ z + penalty * np.eye(z.shape[1])), z.T)
    else:
        hat = cho_solve(cho_factor(z @ z.T + penalty * np.eye(len(z))), z @ held.T).T
    return hat.astype(np.float32)


def _correlation(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Row by row; 0 where either side does not vary."""
    a = scores - scores.mean(axis=1, keepdims=True)
    b = labels - labels.mean(axis=1, keepdims=True)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), size, out=np.zeros(len(a)), where=size > 1e-6 * len(a.T))
