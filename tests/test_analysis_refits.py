"""The p of a nested AUROC is of that very number, uniform where nothing is there, and small where
something is.
"""

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression

from interp.analysis import many_logistic, probes
from interp.analysis.controls import Null, inner_correlations
from interp.analysis.design import Design
from interp.analysis.features import in_span
from interp.analysis.folds import grouped_folds
from interp.analysis.many_logistic import fit_labellings
from interp.analysis.nested import NESTED_AUROC, choose_places, joined
from interp.analysis.predictions import Predictions, score
from interp.analysis.refits import REFITS, refit_null
from interp.analysis.site_probes import P_OF_NESTED, P_OF_RIDGE, Task, prepare, probe_sites
from interp.errors import StatisticsError


def task_of(n: int, seed: int, *, n_perm: int = REFITS) -> Task:
    design = Design.infer(["affective", "neutral"] * n, np.repeat(np.arange(n), 2))
    return prepare("reception", design, n_perm=n_perm, seed=seed)


def places(
    task: Task, seed: int, *, count: int = 4, signal: float = 0.0, d: int = 6
) -> list[np.ndarray]:
    """Activations at places that share a scenario's noise; the last one holds the signal."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(len(task.y) // 2, d)).repeat(2, axis=0)
    found = [shared + random.normal(size=shared.shape) for _ in range(count)]
    found[-1][task.y == "affective", 0] += signal
    return found


def headline(task: Task, sites: list[np.ndarray], *, probe: str = "logistic") -> dict:
    swept = probe_sites(
        lambda: [({"layer": at}, x) for at, x in enumerate(sites)], task, probe=probe, control=False
    )
    (row,) = [row for row in swept.rows if row["metric"] == NESTED_AUROC]
    return row


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(("d", "c"), [(5, 1.0), (40, 0.01), (90, 1.0)])
def test_many_labellings_are_fitted_as_one_by_one(n_classes: int, d: int, c: float) -> None:
    random = np.random.default_rng(d)
    x, labels = random.normal(size=(80, d)), random.integers(0, n_classes, (7, 60))
    x[:, 0] += 3  # rows need not be centred
    z = in_span(x, np.arange(60))
    assert z.shape[1] == min(d, 60)
    told = fit_labellings(z[:60], labels, z[60:], n_classes=n_classes, C=c)
    for found, one in zip(told, labels, strict=True):
        known = (
            LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x[:60], one).predict_proba(x[60:])
        )
        assert found == pytest.approx(known, abs=2e-3)


def strong_labels(n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose classes are all but told by their place: far from equally likely, so that a fit
    meets more curvature than at its beginning.
    """
    random = np.random.default_rng(0)
    labels = random.integers(0, n_classes, (3, n))
    return random.normal(size=(n, 4)) + 4 * np.eye(n_classes, 4)[labels[0]], labels


def test_curvature_is_taken_as_small_and_doubled_where_that_is_wrong(monkeypatch) -> None:
    x, labels = strong_labels(240, 12)
    bounds = []
    made = many_logistic._Curve.__init__

    def watched(self, square, c, n, bound):
        bounds.append(bound)
        made(self, square, c, n, bound)

    monkeypatch.setattr(many_logistic._Curve, "__init__", watched)
    told = fit_labellings(x[:200], labels[:, :200], x[200:], n_classes=12, C=1.0)
    assert bounds[0] == 1 / 12
    assert len(bounds) > 1
    assert max(bounds) <= 0.5
    for found, one in zip(told, labels, strict=True):
        known = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(x[:200], one[:200])
        assert found == pytest.approx(known.predict_proba(x[200:]), abs=2e-3)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_labellings_at_once_are_as_labellings_one_after_another(n_classes, monkeypatch) -> None:
    x, labels = strong_labels(80, n_classes)
    at_once = fit_labellings(x[:60], labels[:, :60], x[60:], n_classes=n_classes, C=0.1)
    monkeypatch.setattr(many_logistic, "NUMBERS_AT_ONCE", 1)
    alone = fit_labellings(x[:60], labels[:, :60], x[60:], n_classes=n_classes, C=0.1)
    assert at_once == pytest.approx(alone, abs=2e-3)  # all end where all are flat enough


def test_the_p_is_of_the_number_that_is_told() -> None:
    task = task_of(20, 0)
    row = headline(task, places(task, 0, signal=1.0))
    sites = places(task, 0, signal=1.0)
    inner = np.array([inner_correlations(x, task.labellings, folds=task.folds) for x in sites])
    chosen = choose_places(inner)
    own = joined(
        [probes.cross_validate(x, task.y, task.groups, folds=task.folds) for x in sites],
        chosen[:, 0],
    )
    null = refit_null(
        lambda: [({}, x) for x in sites], own, chosen, task.labellings, folds=task.folds
    )
    assert null.observed == row["value"]
    assert len(null.draws) == REFITS
    assert row["p"] == (1 + (null.draws >= row["value"] - 1e-9).sum()) / (1 + REFITS)
    assert row["p_of"] == P_OF_NESTED != P_OF_RIDGE


def test_a_relabelling_is_scored_as_if_its_labels_were_the_true_ones() -> None:
    """Row 3 of the relabellings, by the whole path that the true labels go."""
    task = task_of(24, 1)
    sites = places(task, 1, count=3)
    inner = np.array([inner_correlations(x, task.labellings, folds=task.folds) for x in sites])
    chosen = choose_places(inner)
    settings = [{"C": 0.1}] * len(task.folds)

    def told(y: np.ndarray, draw: int) -> Predictions:
        found = [
            probes.cross_validate(x, y, task.groups, folds=task.folds, settings=settings)
            for x in sites
        ]
        return joined(found, chosen[:, draw])

    null = refit_null(
        lambda: [({}, x) for x in sites], told(task.y, 0), chosen, task.labellings, folds=task.folds
    )
    alone = told(np.array(["affective", "neutral"])[task.labellings[3]], 3)
    assert null.draws[2] == pytest.approx(score(alone)[0]["value"], abs=0.01)
    assert len(np.unique(chosen, axis=1).T) > 1  # labellings do choose places of their own
    kept = np.broadcast_to(chosen[:, :1], chosen.shape)
    assert null_of(task, sites, chosen=kept).draws.tolist() != null_of(task, sites).draws.tolist()


def null_of(task: Task, sites: list[np.ndarray], *, chosen: np.ndarray | None = None) -> Null:
    """The null at one penalty, each labelling choosing its places or all of them having the
    `chosen` ones.
    """
    inner = np.array([inner_correlations(x, task.labellings, folds=task.folds) for x in sites])
    places = choose_places(inner) if chosen is None else chosen
    settings = [{"C": 0.1}] * len(task.folds)
    told = [
        probes.cross_validate(x, task.y, task.groups, folds=task.folds, settings=settings)
        for x in sites
    ]
    own = joined(told, places[:, 0])
    return refit_null(
        lambda: [({}, x) for x in sites], own, places, task.labellings, folds=task.folds
    )


def test_it_is_uniform_where_no_place_tells_anything() -> None:
    """Of 4 places. The draws are those of the observed: it stands anywhere among them."""
    found = []
    for seed in range(60):
        task = task_of(16, seed, n_perm=59)
        found.append(null_of(task, places(task, seed)).p)
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("probe", ["logistic", "lda"])
def test_a_planted_effect_has_the_least_p(probe: str) -> None:
    task = task_of(20, 2)
    row = headline(task, places(task, 2, signal=4.0), probe=probe)
    assert row["p"] == 1 / (1 + REFITS)
    assert row["layer"] == 3


def test_categories_are_refitted_too() -> None:
    random = np.random.default_rng(3)
    y = np.tile(["anger", "fear", "joy"], 12)
    x = random.normal(size=(36, 5))
    task = prepare("categorisation", Design.infer(y, np.arange(36)), n_perm=REFITS)
    assert headline(task, [x])["p"] > 0.05
    x[np.arange(36), np.arange(36) % 3] += 3
    assert headline(task, [x])["p"] == 1 / (1 + REFITS)


def test_a_relabelling_without_a_second_class_teaches_nothing() -> None:
    """All training rows of fold 0 are of one class: its scores tie, and those of the other fold
    tell.
    """
    y, groups = np.array(["a", "b"] * 6), np.arange(12)
    x = np.random.default_rng(4).normal(size=(12, 2))
    folds = grouped_folds(y, groups, n_splits=2)
    labellings = np.stack(
        [(y == "b").astype(int), np.isin(np.arange(12), folds[0].test).astype(int)]
    )
    told = probes.cross_validate(x, y, groups, folds=folds, probe="lda")
    null = refit_null(
        lambda: [({}, x)], told, np.zeros((2, 2), dtype=int), labellings, folds=folds, probe="lda"
    )
    assert len(null.draws) == 0  # neither fold has two classes to compare
    labellings[1, folds[0].test[:2]] = 0
    null = refit_null(
        lambda: [({}, x)], told, np.zeros((2, 2), dtype=int), labellings, folds=folds, probe="lda"
    )
    assert null.draws.tolist() == [0.5]


def test_labellings_whose_fit_does_not_end_have_no_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_logistic, "MOST_STEPS", 3)
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(60, 9)), random.integers(0, 2, (4, 50))
    with pytest.raises(StatisticsError, match="did not converge in 3 steps"):
        fit_labellings(x[:50], labels, x[50:], n_classes=2, C=1.0)
