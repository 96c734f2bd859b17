"""Probes on data whose truth is known: leakage shows and is refused, nothing scores at chance, a
planted signal is found.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from interp.analysis import baselines, features, grid_logistic, probes
from interp.analysis.features import check_features
from interp.analysis.folds import (
    MANY_SCENARIOS,
    Fold,
    fold_of,
    grouped_folds,
    plain_folds,
    straddling,
    transfer_folds,
)
from interp.analysis.predictions import Predictions, auroc_share, score
from interp.analysis.probes import Probe, predict_folds
from interp.analysis.stats import auroc
from interp.errors import DataError, StatisticsError, UsageError


def twins(
    n_pairs: int, d: int, signal: float, seed: int, shared: float = 3.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that share a scenario vector; the affective member is moved along axis 0 by
    `signal`.
    """
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_pairs), 2)
    y = np.tile(["affective", "neutral"], n_pairs)
    x = shared * random.normal(size=(n_pairs, d))[groups] + random.normal(size=(2 * n_pairs, d))
    x[y == "affective", 0] += signal
    return x, y, groups


def headline(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    folds: list[Fold] | None = None,
    probe: str = "logistic",
) -> float:
    folds = folds or grouped_folds(y, groups)
    rows = score(probes.cross_validate(x, y, groups, folds=folds, probe=probe))
    return {row["metric"]: row["value"] for row in rows}["auroc"]


def test_folds_keep_groups_whole_and_classes_even() -> None:
    y = np.repeat(["joy", "fear", "anger"], [40, 20, 15])
    groups = np.concatenate([np.repeat(np.arange(20), 2), np.arange(100, 120), np.arange(200, 215)])
    folds = grouped_folds(y, groups, n_splits=5, seed=3)
    assert straddling(folds, groups) == []
    assert (np.bincount(fold_of(folds, len(y))) == 15).all()
    for fold in folds:
        assert {one: int((y[fold.test] == one).sum()) for one in np.unique(y)} == {
            "joy": 8,
            "fear": 4,
            "anger": 3,
        }
        for train, test in fold.inner:
            assert set(train) | set(test) == set(fold.train)
            assert not set(groups[train]) & set(groups[test])


def test_seed_changes_the_folds_and_repeats_them() -> None:
    _, y, groups = twins(20, 2, 0, 0)
    first, again, other = (grouped_folds(y, groups, seed=s)[0].test.tolist() for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_random_labels_on_twins_score_high_under_plain_folds_only() -> None:
    """Scenario labels drawn at random: a twin in the training rows gives the answer away."""
    x, _, groups = twins(60, 120, 0.0, 4)
    y = np.random.default_rng(5).permutation(np.repeat([0, 1], 30))[groups]
    plain = plain_folds(y)
    assert headline(x, y, groups, folds=plain) > 0.8
    assert headline(x, y, groups) < 0.65
    told = probes.cross_validate(x, y, groups, folds=plain)
    assert any(one.startswith("UNGROUPED") for one in told.warnings)


def test_a_straddling_fold_is_refused_unless_it_says_so() -> None:
    x, y, groups = twins(20, 5, 0.0, 4)
    admitted = plain_folds(y)
    silent = [Fold(fold.train, fold.test) for fold in admitted]
    with pytest.raises(StatisticsError, match="lie on both sides of a fold"):
        probes.cross_validate(x, y, groups, folds=silent)


def test_features_chosen_outside_the_folds_score_on_noise_and_inside_do_not() -> None:
    """Selection leakage: the twenty noise features that best agree with all labels, against the
    same done per fold.
    """
    random = np.random.default_rng(6)
    x, y = random.normal(size=(80, 2000)), np.tile(["a", "b"], 40)
    groups = np.repeat(np.arange(40), 2)
    folds = grouped_folds(y, groups)

    def best(rows: np.ndarray) -> np.ndarray:
        centred = x[rows] - x[rows].mean(axis=0)
        return np.argsort(-np.abs(centred.T @ np.where(y[rows] == "a", 1.0, -1.0)))[:20]

    outside = headline(x[:, best(np.arange(80))], y, groups)
    inside = probes.predict_folds(
        lambda fold: x[:, best(fold.train)],
        y,
        groups,
        folds=folds,
        kind=probes.PROBES["logistic"],
        grids=[({"C": 0.1},)] * 5,
    )
    assert outside > 0.85
    assert score(inside)[0]["value"] < 0.65


@pytest.mark.parametrize("probe", list(probes.PROBES))
def test_a_planted_signal_is_found_and_its_absence_too(probe: str) -> None:
    x, y, groups = twins(800, 8, 2.0, 7, shared=0.0)
    # The best possible AUROC of two unit normals 2 apart is Phi(2 / sqrt 2) = .921.
    near = 0.04 if probe == "knn" else 0.02  # neighbours count in steps
    assert headline(x, y, groups, probe=probe) == pytest.approx(0.921, abs=near)
    nothing, y, groups = twins(800, 8, 0.0, 8, shared=0.0)
    assert headline(nothing, y, groups, probe=probe) == pytest.approx(0.5, abs=0.05)


def test_eight_classes_are_told_apart_and_chance_is_a_half() -> None:
    random = np.random.default_rng(9)
    y = np.repeat([f"e{k}" for k in range(8)], 15)
    centres = 2.0 * random.normal(size=(8, 24))
    groups = np.arange(120)
    x = centres[np.repeat(np.arange(8), 15)] + random.normal(size=(120, 24))
    assert headline(x, y, groups) > 0.99
    assert headline(random.normal(size=(120, 24)), y, groups) == pytest.approx(0.5, abs=0.08)


def test_scores_are_those_of_the_held_out_probabilities() -> None:
    x, y, groups = twins(40, 6, 1.0, 10)
    told = probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups))
    rows = {row["metric"]: row for row in score(told)}
    neutral = told.probability[:, 1]
    right = (neutral > 0.5) == (told.y == "neutral")
    assert rows["accuracy"]["value"] == pytest.approx(right.mean())
    recalls = [right[told.y == one].mean() for one in ("affective", "neutral")]
    assert rows["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    own = np.where(told.y == "neutral", neutral, 1 - neutral)
    assert rows["log_loss"]["value"] == pytest.approx(-np.log(own).mean())
    inside = [auroc(neutral[told.fold == k], told.y[told.fold == k] == "neutral") for k in range(5)]
    assert rows["auroc"]["value"] == pytest.approx(np.mean(inside))
    loss = rows.pop("log_loss")
    assert np.isnan([loss["ci_low"], loss["ci_high"]]).all()  # none is known that covers
    assert loss["n"] == 80
    assert all(
        row["ci_low"] <= row["value"] <= row["ci_high"] and row["n"] == 80 for row in rows.values()
    )


def test_held_out_rows_do_not_touch_the_probe() -> None:
    """Ruining the test rows of one fold changes that fold's predictions and no choice, weight or
    mean of its probe.
    """
    x, y, groups = twins(30, 4, 1.0, 11)
    folds = grouped_folds(y, groups)
    clean = probes.cross_validate(x, y, groups, folds=folds[:1])
    ruined = x.copy()
    ruined[folds[0].test[1:]] *= 1e3
    told = probes.cross_validate(ruined, y, groups, folds=folds[:1])
    assert told.probability[0] == pytest.approx(clean.probability[0], abs=1e-12)
    assert told.chosen == clean.chosen


def test_interval_of_cross_validated_nothing_covers_a_half_only_when_inflated() -> None:
    """The folds share training rows: the plain interval covers less than it says,
    `Predictions.inflation` mends it. 600 data sets: binomial error .010, that of the variance .058.
    """
    n_runs, plain, mended, values, told_variance = 600, 0, 0, [], []
    for seed in range(n_runs):
        x, y, groups = twins(60, 8, 0.0, 1000 + seed, shared=1.0)
        folds = grouped_folds(y, groups, seed=seed)
        told = probes.cross_validate(x, y, groups, folds=folds, settings=[{"C": 0.1}] * 5)
        share = auroc_share(told)
        narrow, wide = (one.estimate(groups) for one in (replace(share, inflation=1.0), share))
        values.append(wide.value)
        told_variance.append(share.variance * told.inflation**2)
        plain += narrow.ci_low <= 0.5 <= narrow.ci_high
        mended += wide.ci_low <= 0.5 <= wide.ci_high
    assert mended / n_runs >= 0.92
    assert plain / n_runs < 0.92
    assert np.mean(told_variance) == pytest.approx(np.var(values), rel=0.1)
    x, y, groups = twins(60, 8, 3.0, 0, shared=1.0)  # with the folds of before
    assert probes.cross_validate(x, y, groups, folds=folds).inflation < 1.1


def test_a_perfect_score_is_not_certain() -> None:
    """10 and 40 scenarios without an error: the bound is the count's, and it holds the true .99; it
    was [1, 1].
    """
    for n in (10, 40):
        y, groups = np.tile(["affective", "neutral"], n), np.repeat(np.arange(n), 2)
        fold = np.repeat(np.arange(n) % 2, 2)
        right = np.where(y == "affective", 0.9, 0.1)
        told = Predictions(
            np.column_stack([right, 1 - right]),
            ("affective", "neutral"),
            y,
            groups,
            fold,
            np.arange(2 * n),
            (),
        )
        for row in score(told)[:3]:
            assert (row["value"], row["ci_high"]) == (1.0, 1.0)
            assert row["ci_low"] == pytest.approx(0.05 ** (1 / n))
            assert row["ci_low"] < 0.99
    emotions, alone = np.repeat(["joy", "fear", "anger"], [4, 8, 12]), np.arange(24)
    sure = (np.array(["anger", "fear", "joy"])[None] == emotions[:, None]) * 0.8 + 0.1
    told = Predictions(
        sure, ("anger", "fear", "joy"), emotions, alone, np.arange(24) % 2, alone, ()
    )
    # one of the four scenarios of joy is a twelfth of the macro average
    assert score(told)[0]["ci_low"] == pytest.approx(1 - (1 - 0.05 ** (1 / 24)) * 24 / 12)


def test_transfer_trains_on_one_arm_and_tests_on_the_other() -> None:
    """The signal lies on axis 0 in the source arm and on axis 1 in the target: found inside an arm,
    not across.
    """
    random = np.random.default_rng(12)
    n = 100
    arm = np.repeat(["rich", "free"], n)
    y = np.tile(["joy", "fear"], n)
    groups = np.tile(np.arange(n), 2)
    x = random.normal(size=(2 * n, 6))
    x[(arm == "rich") & (y == "joy"), 0] += 3
    x[(arm == "free") & (y == "joy"), 1] += 3
    rich, free = arm == "rich", arm == "free"
    across = transfer_folds(y, groups, source=rich, target=free)
    within = transfer_folds(y, groups, source=free, target=free)
    assert straddling(across, groups) == []
    assert headline(x, y, groups, folds=across) == pytest.approx(0.5, abs=0.15)
    assert headline(x, y, groups, folds=within) > 0.95
    told = probes.cross_validate(x, y, groups, folds=across)
    assert (arm[told.rows] == "free").all()


@pytest.mark.parametrize(
    ("y", "n_splits", "message"),
    [
        (["joy"] * 6, 2, "only 'joy' present; need >= 2"),
        (["joy"] * 4 + ["fear"] * 2, 3, "the largest valid number is 2"),
        (["joy"] * 5 + ["fear"], 2, "no number of folds is valid"),
    ],
)
def test_impossible_folds_are_refused(y: list[str], n_splits: int, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        grouped_folds(y, list("abcdef"), n_splits=n_splits)


def test_bad_requests_are_refused() -> None:
    x, y, groups = twins(10, 3, 0.0, 13)
    folds = grouped_folds(y, groups)
    with pytest.raises(UsageError, match="unknown probe 'svm'"):
        probes.cross_validate(x, y, groups, folds=folds, probe="svm")
    with pytest.raises(UsageError, match="at least 2 folds"):
        grouped_folds(y, groups, n_splits=1)
    with pytest.raises(DataError, match="20 labels came with 3 groups"):
        grouped_folds(y, groups[:3].tolist())
    spoilt = x.copy()
    spoilt[7, 1] = np.nan
    with pytest.raises(DataError, match="1 rows of the features are not finite, first row 7"):
        probes.cross_validate(spoilt, y, groups, folds=folds)
    with pytest.raises(DataError, match="hook at this site did not fire"):
        probes.cross_validate(np.zeros_like(x), y, groups, folds=folds)
    with pytest.raises(StatisticsError, match="only 'joy' present"):
        check_features(x, np.array(["joy"] * 20))


def test_odd_data_is_warned_of() -> None:
    x, y, groups = twins(12, 40, 0.0, 14)
    x[:, 3] = 1.0
    told = " ".join(probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups)).warnings)
    assert "1 of 40 features are constant" in told
    assert "fewer training items than the 40 dimensions" in told
    rare = np.array(["b"] * 3 + ["a"] * 97)
    assert "accuracy 0.97" in " ".join(
        check_features(np.random.default_rng(0).normal(size=(100, 2)), rare)
    )


def test_too_few_scenarios_to_choose_a_setting_is_said() -> None:
    y, groups = np.repeat(["a", "b"], 2), np.arange(4)
    x = np.array([[1.0], [1.1], [-1.0], [-1.2]])
    told = probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups, n_splits=2))
    assert any("too few scenarios to choose" in one for one in told.warnings)
    assert told.chosen == ({"C": 0.1}, {"C": 0.1})


def test_a_probe_that_does_not_converge_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = probes.PROBES["scikit_logistic"]
    hurried = replace(usual, make=lambda seed: usual.make(seed).set_params(max_iter=1))
    monkeypatch.setitem(probes.PROBES, "scikit_logistic", hurried)
    monkeypatch.setattr(grid_logistic, "MOST_GRID_STEPS", 1)
    x, y, groups = twins(20, 5, 1.0, 15)
    for probe in ("logistic", "scikit_logistic"):
        told = probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups), probe=probe)
        assert any("did not converge" in one for one in told.warnings)


def test_a_solver_that_gives_up_is_warned_of_and_other_warnings_pass(monkeypatch):
    """As lbfgs does where it finds no way down, long before its last iteration."""

    class GivesUp(LogisticRegression):
        def fit(self, x, y):
            warnings.warn("the line search failed", ConvergenceWarning, stacklevel=1)
            warnings.warn("something else", FutureWarning, stacklevel=1)
            return super().fit(x, y)

    hurried = replace(probes.PROBES["logistic"], make=lambda seed: GivesUp(), fit_grid=None)
    monkeypatch.setitem(probes.PROBES, "logistic", hurried)
    x, y, groups = twins(20, 5, 1.0, 15)
    with pytest.warns(FutureWarning, match="something else"):
        told = probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups))
    assert any("did not converge" in one for one in told.warnings)


def test_features_of_a_fold_are_made_once_and_change_no_number(monkeypatch):
    x, y, groups = twins(10, 8, 2.0, 0)
    folds = grouped_folds(y, groups)
    alone = probes.cross_validate(x, y, groups, folds=folds)
    made = []
    real = features.features_of
    monkeypatch.setattr(features, "features_of", lambda *a, **k: made.append(1) or real(*a, **k))
    shared = features.FoldFeatures(x)
    for _ in range(2):
        told = probes.cross_validate(shared, y, groups, folds=folds)
        np.testing.assert_array_equal(told.probability, alone.probability)
    assert len(made) == len(folds)
    monkeypatch.setattr(features, "MOST_KEPT", 0)  # large ones are not kept
    probes.cross_validate(features.FoldFeatures(x), y, groups, folds=folds)
    assert len(made) == 2 * len(folds)


MANY = 2 * MANY_SCENARIOS  # a half of them is trained on
GRID = tuple({"C": c} for c in (1e-4, 1e-2, 1.0))


def chosen_among_many(apart: float) -> tuple[list[tuple[float, float]], Predictions]:
    """What a probe with a rough chooser fits (tolerance, C) on scenarios so many that they are
    split once, and what it tells; classes are `apart` along one of 40 axes.
    """
    fitted: list[tuple[float, float]] = []

    class Noted(LogisticRegression):
        def fit(self, x, y):
            fitted.append((self.tol, self.C))
            return super().fit(x, y)

    labels = np.array(["a", "b"] * MANY)
    groups = np.repeat(np.arange(MANY), 2).astype(str)
    x = np.random.default_rng(0).normal(size=(len(labels), 40))
    x[:, 0] += np.where(labels == "a", apart, -apart)
    kind = Probe(
        lambda seed: Noted(tol=1e-6, random_state=seed),
        GRID,
        chooser=lambda seed: Noted(tol=1e-3, random_state=seed),
    )
    (fold, *_) = grouped_folds(labels, groups, n_splits=2, seed=0)
    assert len(fold.inner) == 1
    told = predict_folds(lambda fold: x, labels, groups, folds=[fold], kind=kind, grids=[GRID])
    return fitted, told


def test_among_many_scenarios_a_rough_fit_chooses_and_ends_at_the_first_worse_penalty():
    noise, told = chosen_among_many(0.0)
    assert noise == [(1e-3, 1e-4), (1e-3, 1e-2), (1e-6, 1e-4)]  # the last fit is exact
    assert told.chosen == ({"C": 1e-4},)
    signal, told = chosen_among_many(3.0)
    assert signal == [(1e-3, 1e-4), (1e-3, 1e-2), (1e-3, 1.0), (1e-6, 1.0)]
    assert told.chosen == ({"C": 1.0},)
    assert score(told)[0]["value"] > 0.99


def test_the_penalty_of_a_baseline_of_many_texts_is_the_one_that_exact_fits_choose(monkeypatch):
    assert baselines.READER.chooser is not None
    labels = np.array(["a", "b"] * MANY)
    groups = np.repeat(np.arange(MANY), 2).astype(str)
    random = np.random.default_rng(1)
    words = random.choice([f"w{letter}" for letter in "abcdefghij"], size=(len(labels), 8))
    texts = [
        " ".join([*row, "good" if label == "a" and random.random() < 0.3 else "bad"])
        for row, label in zip(words, labels, strict=True)
    ]
    folds = grouped_folds(labels, groups, n_splits=2, seed=0)
    assert [len(fold.inner) for fold in folds] == [1, 1]
    asked = {"folds": folds, "lexicons": {}}
    fast = baselines.predict_text(texts, labels, groups, baseline="tfidf", **asked)
    monkeypatch.setattr(baselines, "READER", replace(baselines.READER, chooser=None))
    exact = baselines.predict_text(texts, labels, groups, baseline="tfidf", **asked)
    assert fast.chosen == exact.chosen
    np.testing.assert_array_equal(fast.probability, exact.probability)
