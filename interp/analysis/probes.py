"""Linear probes of activations: what a site tells about the emotion, scored on scenarios that the
probe has not seen.

1. Outer grouped folds hold scenarios out; standardisation is learned on the fold's training rows.
2. Inner grouped folds, inside the training rows, choose the regularisation by log-loss.
3. The held-out probabilities are kept (`Predictions`), which `predictions.score` turns into
   metrics.

Two questions are asked of every site and kept apart: *reception* (affective text or its neutral
twin?) and *categorisation* (which emotion?). Chance for the macro one-vs-rest AUROC is .5 in both.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from interp.analysis.folds import Fold, Folds, fold_of, straddling
from interp.analysis.predictions import Predictions, log_losses
from interp.defaults import PROBE
from interp.errors import DataError, StatisticsError, UsageError
from interp.stats import Labels

_SMALLEST_SPREAD = 1e-8
_RARE = 0.1


def _logistic(seed: int) -> LogisticRegression:
    # A warm start makes the second and third setting of an inner fold cost half; the last fit
    # always starts from zero.
    return LogisticRegression(tol=1e-5, max_iter=1000, random_state=seed, warm_start=True)


def _lda(seed: int) -> LinearDiscriminantAnalysis:
    del seed  # closed form: nothing is random
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


Grid = tuple[Mapping[str, float], ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """A kind of probe: `make(seed)` gives a scikit-learn classifier with `predict_proba`.

    `grid` holds its settings among which inner folds choose; the middle one is used where the rows
    are too few to choose.
    """

    make: Callable[[int], Any]
    grid: Grid = ({},)


PROBES: dict[str, Probe] = {
    "logistic": Probe(_logistic, ({"C": 0.01}, {"C": 0.1}, {"C": 1.0})),
    "lda": Probe(_lda),
}
"""The probes by name; a study runs the one that `--probe` names."""


def probe_named(name: str) -> Probe:
    """The probe of that name; raises `UsageError` for an unknown one."""
    if name not in PROBES:
        raise UsageError(f"unknown probe {name!r}: choose one of {', '.join(PROBES)}.")
    return PROBES[name]


def cross_validate(
    x: Float[np.ndarray, "item feature"],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    probe: str = PROBE,
    settings: Sequence[Mapping[str, float]] | None = None,
) -> Predictions:
    """Fit `probe` on each fold's training rows and predict its test rows; inner folds choose its
    setting, unless `settings` (one a fold) gives it.

    Raises `DataError` when x is not finite or all zero, `StatisticsError` for one class or when a
    group lies on both sides of a fold (folds made by `plain_folds` are let through with a warning),
    `UsageError` for an unknown probe.
    """
    kind = probe_named(probe)
    found = check_features(x, np.asarray(y).astype(str))
    if min(len(fold.train) for fold in folds) < x.shape[1]:
        found.add(
            f"fewer training items than the {x.shape[1]} dimensions: any labelling of them can "
            "be separated, so only the penalty, the held-out score and the permutation p speak."
        )
    grids = [(setting,) for setting in settings] if settings else [kind.grid] * len(folds)
    if settings:  # nothing is left to choose, so that nobody asks for a loss on inner folds
        folds = [replace(fold, inner=()) for fold in folds]
    told = predict_folds(
        lambda fold: standardiser(x[fold.train])(x),
        y,
        groups,
        folds=folds,
        make=kind.make,
        grids=grids,
    )
    return replace(told, warnings=tuple(sorted(found.union(told.warnings))))


def predict_folds(
    prepare: Callable[[Fold], Float[np.ndarray, "item feature"]],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    make: Callable[[int], Any],
    grids: Sequence[Grid],
) -> Predictions:
    """Held-out predictions of the classifier `make(seed)`, one grid of settings a fold, on features
    made fold by fold.

    `prepare(fold)` returns the features of all items, having learned (a mean, a vocabulary) from
    the fold's training rows only.
    """
    labels, names = np.asarray(y).astype(str), np.asarray(groups).astype(str)
    found = _check_leak(folds, names)
    classes = np.unique(labels)
    probability, chosen, losses = np.zeros((len(labels), len(classes))), [], []
    for fold, grid in zip(folds, grids, strict=True):
        z = prepare(fold)
        setting, loss = _choose(z, labels, fold, make, grid, found)
        fitted = _fit_predict(z, labels, (fold.train, fold.test), make, (setting,), found)[0]
        probability[fold.test[:, None], np.searchsorted(classes, fitted.classes)] = (
            fitted.probability
        )
        chosen.append(setting)
        losses.append(loss)
    rows = np.flatnonzero((number := fold_of(folds, len(labels))) >= 0)
    told = tuple(str(one) for one in classes)
    return Predictions(
        probability[rows], told, labels[rows], names[rows], number[rows], rows,
        tuple(chosen), tuple(sorted(found)), tuple(losses),
    )  # fmt: skip


def check_features(
    x: Float[np.ndarray, "item feature"], y: Shaped[np.ndarray, " item"]
) -> set[str]:
    """Refuse features that no probe can use; return what is odd about the rest as warnings.

    Raises `DataError` (lengths differ, not finite, all zero) and `StatisticsError` (one class).
    """
    if len(x) != len(y):
        raise DataError(
            f"{len(x)} rows of features came with {len(y)} labels: one label belongs to every row."
        )
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise DataError(
            f"{len(bad)} rows of the features are not finite, first row {bad[0]}: quarantine the "
            "pair or mend it."
        )
    if not x.any():
        raise DataError("all features are zero: the hook at this site did not fire.")
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


def _check_leak(folds: Folds, groups: Shaped[np.ndarray, " item"]) -> set[str]:
    shared = straddling(folds, groups)
    if not shared:
        return set()
    if not all(fold.ungrouped for fold in folds):
        raise StatisticsError(
            f"{len(shared)} scenarios lie on both sides of a fold (first: {shared[0]!r}), so "
            "that the probe is tested on what it has seen: use grouped_folds, or plain_folds if "
            "you mean it (random labels on twins score .93 that way)."
        )
    return {
        f"UNGROUPED folds: {len(shared)} scenarios lie on both sides of a fold; the score is "
        "inflated."
    }


@dataclass(frozen=True, slots=True)
class _Fitted:
    probability: np.ndarray
    classes: np.ndarray


def standardiser(x: Float[np.ndarray, "item feature"]) -> Callable[[np.ndarray], np.ndarray]:
    """The map to zero mean and unit spread learned on `x`; a feature that is constant there is only
    centred.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > _SMALLEST_SPREAD * (1 + np.abs(centre)), spread, 1.0)
    return lambda rows: (rows - centre) / scale


def _fit_predict(
    z: np.ndarray,
    labels: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    make: Callable[[int], Any],
    grid: Grid,
    found: set[str],
) -> list[_Fitted]:
    """The test rows' probabilities under each setting; what went wrong is added to `found`."""
    train, test = rows
    estimator, fitted = make(0), []
    for setting in grid:
        estimator.set_params(**setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is told in `found`, once
            estimator.fit(z[train], labels[train])
        if np.max(getattr(estimator, "n_iter_", 0)) >= getattr(estimator, "max_iter", np.inf):
            found.add(
                f"the probe did not converge with {dict(setting)} in {estimator.max_iter} "
                "iterations."
            )
        fitted.append(_Fitted(estimator.predict_proba(z[test]), estimator.classes_))
    return fitted


def _choose(
    z: np.ndarray,
    labels: np.ndarray,
    fold: Fold,
    make: Callable[[int], Any],
    grid: Grid,
    found: set[str],
) -> tuple[Mapping[str, float], float]:
    """The setting of the grid with the least log-loss over the inner folds, and its mean there."""
    if not fold.inner:
        middle = grid[len(grid) // 2]
        if len(grid) > 1:
            found.add(
                f"too few scenarios to choose among {grid} on inner folds: {middle} was taken."
            )
        return middle, np.nan
    losses = np.zeros(len(grid))
    for rows in fold.inner:
        for place, fitted in enumerate(_fit_predict(z, labels, rows, make, grid, found)):
            losses[place] += log_losses(
                fitted.probability, np.searchsorted(fitted.classes, labels[rows[1]])
            ).sum()
    best = int(losses.argmin())
    return grid[best], float(losses[best]) / sum(len(test) for _, test in fold.inner)
