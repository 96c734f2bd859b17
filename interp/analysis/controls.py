"""What must stand beside a probe's score: a p-value from relabelled data, and the score on labels that mean nothing.

The p-value refits for every relabelling, which alone is exact for cross-validated scores (shuffling the labels of held-out
scores is not: the folds' probes share training rows, see `interp.analysis.probes.CV_INFLATION`). A thousand refits of one site
take some milliseconds, because the ridge probe's held-out scores are a fixed matrix times the labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.folds import Folds, fold_of, plain_folds
from interp.analysis.probes import (
    CV_INFLATION,
    Predictions,
    auroc_statistic,
    check_features,
    cross_validate,
    standardiser,
)
from interp.analysis.stats import (
    Labels,
    cluster_bootstrap,
    codes,
    composition,
    permutation_p,
    relabel,
)
from interp.errors import UsageError

RIDGE = 0.1
"""Penalty of the ridge probe, as a share of the number of training items (the features are standardised)."""


@dataclass(frozen=True, slots=True)
class Null:
    """A statistic of the true labels and of each relabelling. `draws` of several sites stack to what `stats.max_t` takes."""

    observed: float
    draws: Float[np.ndarray, " draw"]

    @property
    def p(self) -> float:
        """One-sided p-value."""
        return permutation_p(self.observed, self.draws)


def relabellings(y: Labels, groups: Labels, *, folds: Folds, n_perm: int = 1000, seed: int = 0) -> Int[np.ndarray, "draw item"]:
    """The true labels as codes (row 0) and `n_perm` relabellings under the null: make them once, use them for every site."""
    drawn = relabel(y, groups, n_perm=n_perm, seed=seed, blocks=fold_of(folds, len(codes(y))))
    return np.concatenate([codes(y)[None], drawn])


def permutation_null(x: Float[np.ndarray, "item feature"], labellings: Int[np.ndarray, "draw item"], *, folds: Folds) -> Null:
    """The ridge probe's held-out correlation with the labels, for the true labels (row 0) and for each relabelling, refitted.

    Per fold and class: the correlation over test items of the score H y_train with the one-hot label, where
    H = Z_test (Z'Z + RIDGE n I)^-1 Z' on standardised rows Z; averaged over folds and classes. Raises as `check_features`.
    """
    check_features(x, labellings[0])
    classes = range(1, 2) if labellings.max() == 1 else range(int(labellings.max()) + 1)
    total = np.zeros(len(labellings))
    for fold in folds:
        hat = ridge_hat(x[fold.train], x[fold.test])
        for one in classes:
            member = (labellings == one).astype(np.float32)
            train = member[:, fold.train]
            scores = (train - train.mean(axis=1, keepdims=True)) @ hat.T
            total += _correlation(scores, member[:, fold.test])
    total /= len(folds) * len(classes)
    return Null(float(total[0]), total[1:])


def refit_null(
    x: Float[np.ndarray, "item feature"],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    probe: str = "logistic",
    n_perm: int = 200,
) -> Null:
    """The macro AUROC of any probe of `PROBES` against `n_perm` full refits, inner choice included: slow, for a headline.

    Raises as `cross_validate`; `UsageError` for `n_perm` < 1.
    """
    if n_perm < 1:
        raise UsageError(f"n_perm is {n_perm}: at least one relabelling is needed.")
    whole = np.ones((1, int((fold_of(folds, len(x)) >= 0).sum())))
    found = []
    for labels in relabellings(y, groups, folds=folds, n_perm=n_perm):
        predictions = cross_validate(x, labels, groups, folds=folds, probe=probe)
        found.append(float(auroc_statistic(predictions)(whole)[0]))
    return Null(found[0], np.array(found[1:]))


def control_task(
    x: Float[np.ndarray, "item feature"],
    task: Predictions,
    *,
    probe: str = "logistic",
    n_boot: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows for the AUROC on random labels tied to the scenario, and for selectivity = task - control (Hewitt & Liang 2019).

    `x` is what `task` was made from, by the same `probe` with the settings that it chose. Every scenario draws one label,
    and the control's folds ignore scenarios, so that a probe with room to memorise scenarios scores high on it. Where a
    scenario has one item only, nothing can be memorised and the control sits at chance. Intervals are drawn over scenarios,
    the same draws for task and control.
    """
    rows = task.rows
    group = codes(task.groups)
    deal = np.random.default_rng(seed).permutation(group.max() + 1) % len(task.classes)
    random_y = np.array(task.classes)[deal[group]]
    folds = plain_folds(random_y, n_splits=int(task.fold.max()) + 1, seed=seed)
    control = cross_validate(x[rows], random_y, task.groups, folds=folds, probe=probe, settings=task.chosen)
    of_task, of_control = auroc_statistic(task), auroc_statistic(control)
    strata = composition(task.y, task.groups)
    found = []
    for metric, statistic in (("auroc", of_control), ("selectivity", lambda w: of_task(w) - of_control(w))):
        drawn = cluster_bootstrap(statistic, task.groups, n_boot=n_boot, seed=seed, strata=strata, inflation=CV_INFLATION)
        value, low, high = (float(np.clip(one, -1, 1)) for one in drawn)
        found.append({"metric": metric, "value": value, "ci_low": low, "ci_high": high, "n": len(rows)})
    return found


def ridge_hat(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The matrix that takes centred training labels to held-out scores, by the smaller of the two Gram matrices."""
    standardise = standardiser(train)
    z, held = standardise(train), standardise(test)
    penalty = RIDGE * len(z)
    if z.shape[1] <= len(z):
        hat = held @ np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T)
    else:
        hat = np.linalg.solve(z @ z.T + penalty * np.eye(len(z)), z @ held.T).T
    return hat.astype(np.float32)


def _correlation(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Row by row; 0 where either side does not vary."""
    a = scores - scores.mean(axis=1, keepdims=True)
    b = labels - labels.mean(axis=1, keepdims=True)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), size, out=np.zeros(len(a)), where=size > 1e-6 * len(a.T))
