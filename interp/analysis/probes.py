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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from interp.analysis.dependence import blocks_of, influences
from interp.analysis.features import Features, FoldFeatures, check_features
from interp.analysis.folds import Fold, Folds, fold_of, straddling
from interp.analysis.grid_logistic import GridFits, fit_grid
from interp.analysis.many_logistic import fit_labellings
from interp.analysis.predictions import Predictions, log_losses
from interp.analysis.simple_probes import MeanDifference, Neighbours
from interp.defaults import PROBE
from interp.errors import StatisticsError, UsageError
from interp.stats import Labels, numbered


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
    are too few to choose. `chooser(seed)`, where there is one, makes a less exact classifier to
    choose by where scenarios are many and split once; the grid then stands from the strongest
    penalty to the weakest, and none is tried behind the first one that is worse. `turns` says that
    its scores are the same in any orthonormal axes that span the training rows. `fit_many`, where
    there is one, fits many labellings together, as `fit_labellings` does; `fit_grid` all settings
    on all inner folds, as `grid_logistic.fit_grid` does.
    """

    make: Callable[[int], Any]
    grid: Grid = ({},)
    chooser: Callable[[int], Any] | None = None
    turns: bool = False
    fit_many: Callable[..., Float[np.ndarray, "draw other class"]] | None = None
    fit_grid: Callable[..., GridFits] | None = None


_PENALTIES: Grid = ({"C": 0.01}, {"C": 0.1}, {"C": 1.0})
_LOGISTIC = Probe(_logistic, _PENALTIES, turns=True, fit_many=fit_labellings)

MOST_AT_ONCE = 2_000_000
"""Numbers (rows times axes) up to which `fit_grid` is used: it keeps a copy of them per setting."""

PROBES: dict[str, Probe] = {
    "logistic": replace(_LOGISTIC, fit_grid=fit_grid),
    "scikit_logistic": _LOGISTIC,  # the same, every fit by scikit-learn
    "lda": Probe(_lda),
    "mean_difference": Probe(
        lambda seed: MeanDifference(),
        tuple({"scale": one} for one in (1.0, 10.0, 100.0, 1e3, 1e4)),
        turns=True,
    ),
    "knn": Probe(lambda seed: Neighbours(), ({"k": 5.0}, {"k": 15.0}, {"k": 45.0}), turns=True),
}
"""The probes by name; a study runs the one that `--probe` names."""


def probe_named(name: str) -> Probe:
    """The probe of that name; raises `UsageError` for an unknown one."""
    if name not in PROBES:
        raise UsageError(f"unknown probe {name!r}: choose one of {', '.join(PROBES)}.")
    return PROBES[name]


def cross_validate(
    x: Float[np.ndarray, "item feature"] | FoldFeatures,
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    probe: str = PROBE,
    settings: Sequence[Mapping[str, float]] | None = None,
    parts: Labels | None = None,
) -> Predictions:
    """Fit `probe` on each fold's training rows and predict its test rows; inner folds choose its
    setting, unless `settings` (one a fold) gives it. `parts` as in `predict_folds`. Who asks of
    several labels gives `FoldFeatures(x)`.

    Raises `DataError` when x is not finite or all zero, `StatisticsError` for one class or when a
    group lies on both sides of a fold (folds made by `plain_folds` are let through with a warning),
    `UsageError` for an unknown probe.
    """
    kind = probe_named(probe)
    features = x if isinstance(x, FoldFeatures) else FoldFeatures(x)
    found = check_features(features.x, np.asarray(y).astype(str))
    if min(len(fold.train) for fold in folds) < (width := features.x.shape[1]):
        found.add(
            f"fewer training items than the {width} dimensions: any labelling of them can "
            "be separated, so only the penalty, the held-out score and the permutation p speak."
        )
    grids = [(setting,) for setting in settings] if settings else [kind.grid] * len(folds)
    if settings:  # nothing is left to choose, so that nobody asks for a loss on inner folds
        folds = [replace(fold, inner=()) for fold in folds]
    told = predict_folds(
        lambda fold: features.of(fold, turned=kind.turns),
        y,
        groups,
        folds=folds,
        kind=kind,
        grids=grids,
        parts=parts,
    )
    return replace(told, warnings=tuple(sorted(found.union(told.warnings))))


def predict_folds(
    prepare: Callable[[Fold], Features],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    kind: Probe,
    grids: Sequence[Grid],
    parts: Labels | None = None,
) -> Predictions:
    """Held-out predictions of a kind of probe, one grid of settings a fold, on features made fold
    by fold.

    `prepare(fold)` returns the features of all items, having learned (a mean, a vocabulary) from
    the fold's training rows only. `parts` names a part for each item whose predictions are looked
    at alone (`Predictions.of_part`); what is taught is then kept for each of them.
    """
    labels, names = np.asarray(y).astype(str), np.asarray(groups).astype(str)
    found = _check_leak(folds, names)
    classes = np.unique(labels)
    probability, chosen, block = np.zeros((len(labels), len(classes))), [], blocks_of(names)
    part = np.zeros(len(labels), dtype=np.int64) if parts is None else numbered(parts)
    taught = np.zeros((int(part.max()) + 1, *(int(block.max()) + 1,) * 2))
    for fold, grid in zip(folds, grids, strict=True):
        z = prepare(fold)
        setting, fitted = _fit_fold(z, labels, fold, kind, grid, found)
        probability[fold.test[:, None], np.searchsorted(classes, fitted.classes)] = (
            fitted.probability
        )
        chosen.append(setting)
        taught += influences(z, labels, block, fold.train, fold.test, part=part)
    rows = np.flatnonzero((number := fold_of(folds, len(labels))) >= 0)
    told = tuple(str(one) for one in classes)
    named = () if parts is None else dict.fromkeys(map(str, parts))
    by_part = dict(zip(named, taught, strict=parts is not None))
    return Predictions(
        probability[rows], told, labels[rows], names[rows], number[rows], rows,
        tuple(chosen), tuple(sorted(found)), taught.sum(axis=0),
        by_part=by_part,
    )  # fmt: skip


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
class Fitted:
    """The probabilities that a classifier gives its test rows, and the classes that it knows."""

    probability: np.ndarray
    classes: np.ndarray


def fit_predict(
    z: Features,
    labels: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    make: Callable[[int], Any],
    grid: Grid,
    found: set[str],
) -> Iterator[Fitted]:
    """The test rows' probabilities under each setting, one after the other as they are asked for;
    what went wrong is added to `found`.
    """
    train, test = rows
    estimator = make(0)
    for setting in grid:
        estimator.set_params(**setting)
        if not _converges(estimator, z[train], labels[train]):
            found.add(f"the probe did not converge with {dict(setting)}: it stopped too early.")
        yield Fitted(estimator.predict_proba(z[test]), estimator.classes_)


def _converges(estimator: Any, x: Features, y: np.ndarray) -> bool:
    """Fit; whether the solver ended where it should. It says no by a warning, which is told once
    for many fits, or by having used up its iterations. Other warnings pass.
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(x, y)
    ended = np.max(getattr(estimator, "n_iter_", 0)) < getattr(estimator, "max_iter", np.inf)
    for one in heard:
        if issubclass(one.category, ConvergenceWarning):
            ended = False
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return bool(ended)


def _fit_fold(
    z: Features, labels: np.ndarray, fold: Fold, kind: Probe, grid: Grid, found: set[str]
) -> tuple[Mapping[str, float], Fitted]:
    """The setting that a fold's inner folds choose, and what it gives the test rows."""
    splits = [*(fold.inner if len(grid) > 1 else ()), (fold.train, fold.test)]
    if _fits_at_once(z, labels, splits, kind):
        told = _fit_at_once(z, labels, splits, kind, grid, found)
        setting = _choose(labels, fold, grid, lambda number: told[number], found)
        return grid[setting], told[-1][setting]
    many = kind.chooser if len(fold.inner) == 1 else None
    make = many or kind.make
    setting = _choose(
        labels,
        fold,
        grid,
        lambda number: fit_predict(z, labels, fold.inner[number], make, grid, found),
        found,
        walks=many is not None,
    )
    rows, chosen = (fold.train, fold.test), grid[setting]
    return chosen, next(fit_predict(z, labels, rows, kind.make, (chosen,), found))


Splits = Sequence[tuple[np.ndarray, np.ndarray]]
"""Training rows and test rows of each split."""


def _fits_at_once(z: Features, labels: np.ndarray, splits: Splits, kind: Probe) -> bool:
    """Whether the probe fits all settings and splits together, and is small enough for that."""
    if kind.fit_grid is None or not isinstance(z, np.ndarray):
        return False
    classes = {len(np.unique(labels[train])) for train, _ in splits}
    return len(classes) == 1 and len(splits[-1][0]) * z.shape[1] <= MOST_AT_ONCE


def _fit_at_once(
    z: Features, labels: np.ndarray, splits: Splits, kind: Probe, grid: Grid, found: set[str]
) -> list[list[Fitted]]:
    """`fit_predict` of every split, all by one call of `fit_grid`."""
    assert kind.fit_grid is not None
    classes = np.unique(labels[splits[-1][0]])
    code = np.searchsorted(classes, labels)
    probability, converged = kind.fit_grid(z, code, [train for train, _ in splits], grid)
    if not converged:
        found.add(f"the probe did not converge with one of {[dict(one) for one in grid]}.")
    return [
        [Fitted(own[part, test], classes) for own in probability]
        for part, (_, test) in enumerate(splits)
    ]


def _choose(
    labels: np.ndarray,
    fold: Fold,
    grid: Grid,
    told: Callable[[int], Iterable[Fitted]],
    found: set[str],
    *,
    walks: bool = False,
) -> int:
    """The number of the setting with the least log-loss over the inner folds; `told` gives what
    each setting tells the test rows of an inner fold. It `walks` along them to the first one that
    is worse than the one before.
    """
    if len(grid) == 1:
        return 0
    if not fold.inner:
        found.add(
            f"too few scenarios to choose among {grid} on inner folds: {grid[len(grid) // 2]} "
            "was taken."
        )
        return len(grid) // 2
    losses = np.zeros(len(grid))
    for number, (_, test) in enumerate(fold.inner):
        for place, fitted in enumerate(told(number)):
            losses[place] += log_losses(
                fitted.probability, np.searchsorted(fitted.classes, labels[test])
            ).sum()
            if walks and place and losses[place] > losses[place - 1]:
                return place - 1
    return int(losses.argmin())
