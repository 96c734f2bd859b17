"""p-values from relabelled data are uniform on nothing; controls show what a probe learns by heart,
and what else it reads.
"""

from functools import partial

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from interp.analysis import controls, folds, probes
from interp.analysis.design import Design
from interp.analysis.features import FoldFeatures
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import score
from interp.analysis.site_probes import (
    P_OF_RIDGE,
    Sweep,
    Task,
    prepare,
    probe_rows,
    probe_sites,
    text_predictions,
    text_score_rows,
)
from interp.chance import permutation_p
from interp.errors import StatisticsError


def twins(
    n_pairs: int, d: int, signal: float, seed: int, shared: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_pairs), 2)
    y = np.tile(["affective", "neutral"], n_pairs)
    x = shared * random.normal(size=(n_pairs, d))[groups] + random.normal(size=(2 * n_pairs, d))
    x[y == "affective", 0] += signal
    return x, y, groups


def p_of(x: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 0) -> float:
    folds = grouped_folds(y, groups, seed=seed)
    drawn = controls.relabellings(Design.infer(y, groups), folds=folds, n_perm=100, seed=seed)
    return controls.permutation_null(x, drawn, folds=folds).p


@pytest.mark.parametrize("kind", ["reception", "categorisation"])
def test_p_is_uniform_on_nothing(kind: str) -> None:
    found = []
    for seed in range(200):
        x, y, groups = twins(24, 6, 0.0, seed)
        if kind == "categorisation":
            x, groups = x[::2], groups[::2]
            y = np.tile(["joy", "fear", "anger", "trust"], 6)
        found.append(p_of(x, y, groups, seed))
    assert kstest(found, "uniform").pvalue > 0.01


def test_shuffling_held_out_labels_without_refitting_is_not_uniform() -> None:
    """Why the null refits: swapping the twins' labels of cross-validated scores rejects nothing far
    too often.
    """
    rejected = 0
    for seed in range(200):
        x, y, groups = twins(60, 8, 0.0, seed, shared=0.0)
        side, held_out = np.where(y == "affective", 1.0, -1.0), np.zeros(len(y))
        for fold in grouped_folds(y, groups, seed=seed):
            held_out[fold.test] = controls.ridge_hat(x[fold.train], x[fold.test]) @ side[fold.train]
        swapped = np.where(Design.infer(y, groups).relabel(n_perm=100, seed=seed) == 0, 1.0, -1.0)
        rejected += permutation_p(float(side @ held_out), swapped @ held_out) <= 0.05
    assert rejected / 200 > 0.09


def test_a_planted_signal_has_a_small_p() -> None:
    assert p_of(*twins(40, 10, 2.0, 1)) == pytest.approx(1 / 101)


def test_the_closed_form_is_ridge_regression() -> None:
    """The hat matrix against a plain least-squares solve with the penalty as extra rows, wide and
    narrow.
    """
    random = np.random.default_rng(2)
    for d in (5, 50):
        x, labels = random.normal(size=(30, d)), random.integers(0, 2, 24).astype(float)
        train, test = x[:24], x[24:]
        z = (train - train.mean(axis=0)) / train.std(axis=0)
        held = (test - train.mean(axis=0)) / train.std(axis=0)
        rows = np.vstack([z, np.sqrt(controls.RIDGE * 24) * np.eye(d)])
        weights = np.linalg.lstsq(rows, np.append(labels - labels.mean(), np.zeros(d)), rcond=None)[
            0
        ]
        assert controls.ridge_hat(train, test) @ (labels - labels.mean()) == pytest.approx(
            held @ weights, abs=1e-5
        )


@pytest.mark.parametrize("d", [6, 300])
def test_labellings_are_read_as_by_ridge_regression_whatever_the_shape(
    d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many narrow rows by the features' weights (no matrix of test by training rows is made), few
    wide ones by that matrix; all draws at once or three at a time.
    """
    random = np.random.default_rng(4)
    x, labellings = random.normal(size=(250, d)) + 1, random.integers(0, 3, (7, 250))
    train, test = np.arange(200), np.arange(200, 250)
    scaler = StandardScaler().fit(x[train])
    expected = [
        np.mean(
            [
                np.corrcoef(
                    Ridge(controls.RIDGE * 200)
                    .fit(scaler.transform(x[train]), labels[train] == one)
                    .predict(scaler.transform(x[test])),
                    labels[test] == one,
                )[0, 1]
                for one in range(3)
            ]
        )
        for labels in labellings
    ]
    if d == 6:
        monkeypatch.delattr(controls, "ridge_hat")
    found = controls.ridge_correlation(x, labellings, train, test)
    assert found == pytest.approx(expected, abs=1e-7)
    read: list[int] = []
    correlate = controls._correlation
    monkeypatch.setattr(
        controls, "_correlation", lambda a, b: read.append(len(a)) or correlate(a, b)
    )
    monkeypatch.setattr(controls, "BYTES_AT_ONCE", 3 * 32 * 250)
    again = controls.ridge_correlation(x, labellings, train, test)
    assert again == pytest.approx(found, abs=1e-7)
    assert read == [3, 3, 3, 3, 3, 3, 1, 1, 1]


def test_a_constant_score_correlates_with_nothing() -> None:
    """Twins with equal activations: every held-out score ties, and the p-value is 1, not NaN."""
    x, y, groups = twins(20, 4, 0.0, 3)
    x[1::2] = x[::2]
    assert p_of(x, y, groups) > 0.4


def test_memorised_scenarios_show_and_say_nothing_of_the_task() -> None:
    """Strong scenario vectors in many dimensions: random labels tied to scenarios are learned by
    heart, task or no task.
    """
    x, y, groups = twins(40, 100, 0.0, 5, shared=4.0)
    told = probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups))
    (row,) = controls.memorisation(x, told)
    assert row["value"] > 0.9
    assert score(told)[0]["ci_low"] < 0.5
    x, y, groups = twins(80, 4, 3.0, 6, shared=0.0)
    told = probes.cross_validate(x, y, groups, folds=grouped_folds(y, groups))
    (row,) = controls.memorisation(x, told)
    assert row["value"] == pytest.approx(0.5, abs=0.12)


def test_where_no_scenario_comes_twice_there_is_nothing_to_learn_by_heart() -> None:
    x, y, _ = twins(30, 4, 3.0, 7)
    alone = np.arange(60)
    told = probes.cross_validate(x, y, alone, folds=grouped_folds(y, alone))
    assert controls.memorisation(x, told) == []


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_a_nuisance_competes_on_the_tasks_own_folds(strength: float) -> None:
    """A task along axis 0 and a nuisance of `strength` along axis 1, scenarios strongly coded,
    which memory could use.
    """
    x, y, groups = twins(80, 12, 3.0, 8, shared=2.0)
    length = np.random.default_rng(0).permutation(np.repeat(["short", "long"], 80))
    x[length == "long", 1] += strength
    folds = grouped_folds(y, groups)
    told = probes.cross_validate(x, y, groups, folds=folds)
    rows = {
        row["metric"]: row
        for row in controls.nuisance_rows(FoldFeatures(x), told, {"length": length}, folds=folds)
    }
    assert {row["target"] for row in rows.values()} == {"length"}
    alone = probes.cross_validate(x, length, groups, folds=folds, settings=told.chosen)
    assert rows["auroc"]["value"] == pytest.approx(score(alone)[0]["value"])
    apart = score(told)[0]["value"] - rows["auroc"]["value"]
    assert rows["selectivity"]["value"] == pytest.approx(apart)
    assert rows["selectivity"]["ci_low"] < apart < rows["selectivity"]["ci_high"]
    assert (rows["selectivity"]["ci_low"] > 0) == (strength == 0)


def test_a_nuisance_that_some_fold_lacks_cannot_compete() -> None:
    x, y, groups = twins(20, 4, 1.0, 9)
    folds = grouped_folds(y, groups)
    rare = np.where(groups == 0, "kitchen", "street")
    assert not controls.can_compete(rare, folds)
    assert not controls.can_compete(np.full(40, "street"), folds)
    assert controls.can_compete(y, folds)
    told = probes.cross_validate(x, y, groups, folds=folds)
    with pytest.raises(StatisticsError, match="nuisance 'domain' lacks a class"):
        controls.nuisance_rows(FoldFeatures(x), told, {"domain": rare}, folds=folds)


def test_sweep_names_the_site_with_the_signal_and_no_other() -> None:
    task = prepare("reception", Design.infer(*twins(40, 8, 0.0, 0)[1:]), n_perm=400)
    sites = [
        ({"site": f"s{k}", "layer": k}, twins(40, 8, 3.0 if k == 3 else 0.0, 50 + k)[0])
        for k in range(6)
    ]
    found = probe_sites(lambda: sites, task)
    headlines = {
        row["site"]: row for row in found.rows if row["metric"] == "auroc" and row["control"] == ""
    }
    assert len(headlines) == 6
    assert headlines["s3"]["value"] > 0.85
    for correction in ("p_corrected", "p_max_t"):
        assert [site for site, row in headlines.items() if row[correction] < 0.05] == ["s3"]
    controls_of = [row for row in found.rows if row["control"] == "memorisation"]
    assert {row["metric"] for row in controls_of} == {"auroc"}
    assert all(
        np.isnan(row["p"]) and np.isnan(row["p_corrected"]) and row["p_of"] == ""
        for row in controls_of
    )
    assert all(row["p_of"] == P_OF_RIDGE for row in headlines.values())
    with pytest.raises(StatisticsError, match="at least one site"):
        probe_sites(list, task)


def test_control_can_be_left_out_and_warnings_name_the_task() -> None:
    x, y, groups = twins(12, 30, 0.0, 8)
    task = prepare("reception", Design.infer(y, groups), n_splits=3, n_perm=20, seed=4)
    rows, null, told, _ = probe_rows(x, task, control=False)
    assert {row["control"] for row in rows} == {""}
    assert len(null.draws) == 20
    assert "fewer training items" in told[0]
    side = np.resize(["left", "right", "right", "left"], len(y))
    swept = probe_sites(lambda: [({}, x)], task, control=False, nuisances={"side": side})
    assert swept.warnings[0].startswith("reception: ")
    assert {row["target"] for row in swept.rows if row["control"] == "nuisance"} == {"side"}
    assert {row["target"] for row in swept.rows if row["control"] == ""} == {""}


def test_few_relabellings_are_told() -> None:
    """Five scenarios of three pairs that swap as one: 16 relabellings beside their mirror
    images.
    """
    x, y, _ = twins(15, 4, 3.0, 10)

    def told(task: Task) -> Sweep:
        return probe_sites(lambda: [({}, x)], task)

    task = prepare("reception", Design.infer(y, np.repeat(np.arange(5), 6)), n_perm=300)
    few = told(task)
    assert any(
        "allow 16 different relabellings, so no p can fall below 0.06" in one
        for one in few.warnings
    )
    (nested,) = [row for row in few.rows if row["metric"] == "nested_auroc"]
    assert nested["least_p"] == 1 / 16
    apart = Design.infer(y, np.repeat(np.arange(5), 6), np.repeat(np.arange(15), 2))
    many = prepare("reception", apart, n_perm=300)
    assert not any("relabellings" in one for one in told(many).warnings)


def test_text_rows_stand_on_the_same_folds() -> None:
    _, y, groups = twins(15, 1, 0.0, 9)
    texts = [
        f"{'no' if one == 'neutral' else 'yes'} word {group}"
        for one, group in zip(y, groups, strict=True)
    ]
    task = prepare("reception", Design.infer(y, groups), n_perm=10)
    rows = text_score_rows(
        text_predictions(texts, task, lexicons={"negation": ["no"], "function_words": ["the"]}),
        task,
    )
    found = {row["control"]: row["value"] for row in rows if row["metric"] == "auroc"}
    assert found["negation"] == found["bag_of_words"] == 1.0
    assert found["function_words"] == 0.5
    assert {row["task"] for row in rows} == {"reception"}


def test_of_very_many_labels_there_are_fewer_relabellings(monkeypatch):
    y, groups = np.repeat(["a", "b", "c"], 20), np.arange(60)
    made = partial(
        controls.relabellings, Design.infer(y, groups), folds=grouped_folds(y, groups), n_perm=500
    )
    assert len(made()) == 501
    monkeypatch.setattr(controls, "MOST_RELABELLED", 300 * 60 * 3)
    assert len(made()) == 301
    monkeypatch.setattr(controls, "MOST_RELABELLED", 1)
    assert len(made()) == 1 + controls.FEWEST_RELABELLINGS


def test_of_many_scenarios_one_inner_fold_chooses(monkeypatch):
    y, groups = np.tile(["a", "b"], 30), np.repeat(np.arange(30), 2)
    three = grouped_folds(y, groups)
    monkeypatch.setattr(folds, "MANY_SCENARIOS", 24)  # each fold trains on 24 of 30
    one = grouped_folds(y, groups)
    assert [len(fold.inner) for fold in three] == [3] * 5
    assert [len(fold.inner) for fold in one] == [1] * 5
    for fold, other in zip(one, three, strict=True):
        for mine, theirs in zip(fold.inner[0], other.inner[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)
