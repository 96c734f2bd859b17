"""Transfer finds what two arms share, and nothing where they share nothing, or words alone."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from interp.analysis import transfer
from interp.analysis.folds import straddling
from interp.analysis.probes import PROBES, cross_validate
from interp.analysis.questions import lexicons
from interp.analysis.transfer import ArmRows, ArmTask, prepare_arms
from interp.analysis.transfer_rows import transfer_rows
from interp.errors import DataError, StatisticsError
from interp.reporting.sections.transfer import cautions, findings
from interp.results import table

pytestmark = pytest.mark.usefixtures("few_baselines")

N = 40
"""Scenarios, each told in two arms and each time with its neutral twin."""


def rows_of(*, extra: int = 0) -> ArmRows:
    """Labels, scenarios and arms: twins of both arms, and texts that only sound emotional."""
    y = ["affective", "neutral"] * 2 * N + ["neutral"] * extra
    groups = np.tile(np.repeat(np.arange(N), 2), 2).astype(str).tolist()
    arms = ["keyword_rich"] * 2 * N + ["keyword_free"] * 2 * N + ["complex_neutral"] * extra
    return ArmRows(y, groups + [f"c{at}" for at in range(extra)], arms)


def made(task: ArmTask, axes: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Activations in which affective texts of each arm lie along an axis of the arm."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(len(task.y), 6))
    x += random.normal(size=(len(set(task.groups)), 6))[task.groups.astype(int)]
    for arm, axis in zip(("keyword_rich", "keyword_free"), axes, strict=True):
        x[(task.arms == arm) & (task.y == "affective"), axis] += 4
    return x


def texts_of(task: ArmTask, *, tell: bool) -> list[str]:
    """Texts in which one word gives an affective text away, in both arms; or none does."""
    return [
        f"{'stone' if tell and label == 'affective' else 'paper'} lies at place {at % 7}"
        for at, label in enumerate(task.y)
    ]


def carried(
    task: ArmTask,
    xs: Iterable[np.ndarray],
    *,
    tell: bool = False,
    probe: str = "logistic",
    unlabelled: str = "neutral",
) -> pd.DataFrame:
    places = [({"site": "resid_post", "layer": at}, x) for at, x in enumerate(xs)]
    swept = transfer_rows(
        lambda: places,
        task,
        texts=texts_of(task, tell=tell),
        lexicons=lexicons(),
        unlabelled=unlabelled,
        probe=probe,
    )
    common = {"run": "r", "model": "m", "battery": "b", "seed": 0, "position": "last_content"}
    return table({**common, **row} for row in swept.rows)


def cell(found: pd.DataFrame, fit: str, test: str, **wanted: str) -> pd.Series:
    wanted = {"metric": "auroc", "control": "", "train_arm": fit, "test_arm": test} | wanted
    keep = np.logical_and.reduce([found[name] == value for name, value in wanted.items()])
    (row,) = found[keep].to_dict("records")
    return pd.Series(row)


@pytest.fixture(scope="module")
def task() -> ArmTask:
    return prepare_arms("reception", rows_of(extra=20))


def test_no_scenario_is_trained_on_and_tested(task: ArmTask) -> None:
    for fit in task.fitted:
        for test in (*task.tested, None):
            folds = task.folds(fit, test)
            assert straddling(folds, task.groups) == []
            assert all((task.arms[fold.train] == fit).all() for fold in folds)
            if test is not None:
                assert all((task.arms[fold.test] == test).all() for fold in folds)
    number = [task.folds(fit, "keyword_free") for fit in task.fitted]
    for one, other in zip(*number, strict=True):  # both arms are tested on the same texts
        np.testing.assert_array_equal(one.test, other.test)


def test_a_relabelling_changes_a_scenario_in_all_arms_at_once(task: ArmTask) -> None:
    drawn = task.labellings[1:, : 4 * N] != task.labellings[0, : 4 * N]
    rich, free = drawn[:, : 2 * N], drawn[:, 2 * N :]
    np.testing.assert_array_equal(rich, free)
    assert 0.4 < drawn.mean() < 0.6
    assert (task.labellings[:, 4 * N :] == 1).all()  # what is only tested keeps its label


def test_what_both_arms_share_is_carried_and_the_words_are_not(task: ArmTask) -> None:
    random = np.random.default_rng(5).normal(size=(len(task.y), 6))
    found = carried(task, [random, made(task, (0, 0))])
    for fit, test in (("keyword_rich", "keyword_free"), ("keyword_free", "keyword_rich")):
        row = cell(found, fit, test)
        assert row["value"] > 0.95
        assert row["p"] == pytest.approx(1 / (1 + transfer.CARRIED_REFITS))
        assert row["layer"] == 1  # chosen where the signal is
        assert abs(cell(found, fit, test, metric="lost_in_transfer")["value"]) < 0.05
    told = findings(found)
    assert [one.verdict for one in told] == ["found", "found"]
    assert "beyond the words that both share" in told[0].sentence
    assert {row["control"] for _, row in found.iterrows()} == {"", "bag_of_words", "length"}


def test_nothing_is_carried_between_arms_whose_axes_differ(task: ArmTask) -> None:
    found = carried(task, [made(task, (0, 1))])
    row = cell(found, "keyword_rich", "keyword_free")
    assert cell(found, "keyword_free", "keyword_free")["value"] > 0.95
    assert row["ci_low"] < 0.5 < row["ci_high"]
    lost = cell(found, "keyword_rich", "keyword_free", metric="lost_in_transfer")
    assert lost["ci_low"] > 0
    assert [one.verdict for one in findings(found)] == ["not found"] * 2
    assert "was not found" in findings(found)[0].sentence


def test_a_word_that_both_arms_share_takes_the_claim_away(task: ArmTask) -> None:
    found = carried(task, [made(task, (0, 0))], tell=True)
    words = cell(found, "keyword_rich", "keyword_free", control="bag_of_words")
    assert words["value"] == 1.0
    assert {one.verdict for one in findings(found)} == {"not told apart from the words"}


def test_texts_that_only_lie_along_the_axis_raise_false_alarms(task: ArmTask) -> None:
    x = made(task, (0, 0))
    calm = carried(task, [x])
    x[task.arms == "complex_neutral", 0] += 4
    loud = carried(task, [x])
    rate = {"metric": "called_emotional"}
    assert cell(calm, "keyword_rich", "complex_neutral", **rate)["value"] < 0.2
    row = cell(loud, "keyword_rich", "complex_neutral", **rate)
    assert row["value"] >= 0.8
    assert row["ci_low"] > cell(loud, "keyword_rich", "neutral", **rate)["ci_high"]
    assert not list(cautions(calm))
    told = list(cautions(loud))
    assert len(told) == 2
    assert "calls texts of complex_neutral" in told[0].text


def test_false_alarms_rise_where_the_texts_lie_along_the_axis_and_nowhere_else(
    task: ArmTask,
) -> None:
    calm, loud = made(task, (0, 0)), made(task, (0, 0), seed=1)
    loud[task.arms == "complex_neutral", 0] += 4
    found = carried(task, [calm, loud, calm])
    rows = found[found["metric"] == "called_at_layer"]
    assert set(rows["train_arm"]) == {"keyword_rich", "keyword_free"}
    for fit in task.fitted:
        of_arm = rows[rows["train_arm"] == fit]
        by_set = of_arm.pivot_table(index="layer", columns="test_arm", values="value")
        assert set(by_set) == {fit, "neutral", "complex_neutral"}
        assert by_set[fit].min() > 0.85
        assert by_set["neutral"].max() < 0.2
        assert by_set["complex_neutral"].loc[[0, 2]].max() < 0.2
        assert by_set["complex_neutral"].loc[1] > 0.7
        assert (of_arm["ci_high"] > of_arm["ci_low"]).all()
        assert cell(found, fit, fit, metric="found_emotional")["value"] > 0.85


def test_a_layer_calls_emotional_what_a_probe_fitted_by_hand_does(task: ArmTask) -> None:
    x = made(task, (0, 0))
    x[task.arms == "complex_neutral", 0] += 2
    found = carried(task, [x], probe="lda")
    called = np.zeros(len(task.y))
    for fold in task.folds("keyword_free"):
        mean, spread = x[fold.train].mean(axis=0), x[fold.train].std(axis=0)
        z = (x - mean) / spread
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        model.fit(z[fold.train], task.y[fold.train] == "affective")
        called[fold.test] = model.predict(z[fold.test])
    own = task.arms == "keyword_free"
    for test, rows in (
        ("complex_neutral", task.arms == "complex_neutral"),
        ("neutral", own & (task.y == "neutral")),
        ("keyword_free", own & (task.y == "affective")),
    ):
        told = cell(found, "keyword_free", test, metric="called_at_layer")
        assert told["value"] == pytest.approx(called[rows].mean())
        assert told["n"] == rows.sum()
    assert 0.2 < called[task.arms == "complex_neutral"].mean() < 0.95  # neither none nor all


def test_there_is_no_trajectory_of_false_alarms_without_texts_for_it() -> None:
    task = prepare_arms("reception", rows_of())
    found = carried(task, [made(task, (0, 0))], probe="lda")
    assert "called_at_layer" not in set(found["metric"])


def test_the_p_of_transfer_is_uniform_where_nothing_is_there() -> None:
    """Twins share their scenario's noise in both arms, and labels mean nothing."""
    p = []
    for seed in range(12):
        task = prepare_arms("reception", rows_of(), seed=seed)
        random = np.random.default_rng(seed)
        noise = random.normal(size=(2, N, 2, 5))
        noise[1] = noise[0] + 0.3 * noise[1]  # the arms are nearly the same texts
        found = carried(task, [noise.reshape(len(task.y), 5)])
        p.append(cell(found, "keyword_rich", "keyword_free")["p"])
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.1) <= 0.25


@pytest.mark.parametrize("probe", PROBES)
def test_emotions_are_carried_by_every_probe(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CARRIED_REFITS", 19)
    y = [("joy", "fear")[at % 2] for at in range(N)] * 2
    groups, arms = list(range(N)) * 2, ["keyword_rich"] * N + ["keyword_free"] * N
    task = prepare_arms("categorisation", ArmRows(y, groups, arms))
    x = np.random.default_rng(0).normal(size=(2 * N, 6))
    x[np.array(y) == "joy", 2] += 3
    found = carried(task, [x], probe=probe, unlabelled="")
    least = 0.85 if probe == "knn" else 0.9  # neighbours see all axes alike
    assert cell(found, "keyword_rich", "keyword_free")["value"] > least
    assert cell(found, "keyword_rich", "keyword_free")["p"] == 0.05


def test_what_cannot_be_carried_is_refused() -> None:
    one = ArmRows(["joy"] * 4, [1, 2, 3, 4], ["a", "a", "b", "b"])
    with pytest.raises(StatisticsError, match="needs texts of two labels"):
        prepare_arms("reception", one)
    with pytest.raises(StatisticsError, match="needs texts of two labels"):
        prepare_arms("reception", rows_of(extra=9), fit=["complex_neutral"])
    y, groups, arms = rows_of()
    strange = ArmRows([*y, "calm"], [*groups, "x"], [*arms, "complex_neutral"])
    with pytest.raises(DataError, match=r"labelled \['calm'\]"):
        prepare_arms("reception", strange)


def test_an_arm_that_is_not_fitted_is_tested() -> None:
    task = prepare_arms("reception", rows_of(), fit=["keyword_rich"])
    found = carried(task, [made(task, (0, 0))])
    assert set(found["train_arm"]) == {"keyword_rich"}
    assert cell(found, "keyword_rich", "keyword_free")["value"] > 0.95
    assert not (found["metric"] == "lost_in_transfer").any()  # there is no ceiling


def test_one_fit_for_all_arms_tells_of_each_what_a_fit_for_it_alone_does(task: ArmTask) -> None:
    x = made(task, (0, 0))
    every = cross_validate(
        x, task.y, task.groups, folds=task.folds("keyword_rich"), parts=task.arms, probe="lda"
    )
    for arm in task.tested:
        folds = task.folds("keyword_rich", arm)
        alone = cross_validate(x, task.y, task.groups, folds=folds, probe="lda")
        one = every.of_part(arm, task.arms[every.rows] == arm)
        np.testing.assert_array_equal(one.rows, alone.rows)
        np.testing.assert_allclose(one.probability, alone.probability)
        np.testing.assert_allclose(one.influence, alone.influence)
        assert one.inflation == pytest.approx(alone.inflation)
