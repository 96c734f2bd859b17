"""Probes of a number: a planted one is read and nothing is not; fits are those of others."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import kstest, spearmanr
from sklearn.linear_model import LogisticRegression, Ridge

from interp.analysis import graded
from interp.analysis.controls import Null, ridge_agreement
from interp.analysis.features import FoldFeatures
from interp.analysis.folds import graded_folds, straddling
from interp.analysis.graded_rows import NESTED_PEARSON, graded_rows, prepare_graded
from interp.analysis.questions import lexicons
from interp.analysis.targets import target_of, without_rare
from interp.errors import DataError, StatisticsError, UsageError
from interp.reporting.decisions import Verdict
from interp.reporting.graded import graded_findings
from interp.results import table
from stimuli.battery import Stimulus

STEPS = np.tile([0.0, 1.0, 2.0], 30)
GROUPS = np.repeat(np.arange(30), 3)


def planted(seed: int, signal: float, *, d: int = 6) -> np.ndarray:
    """Activations that share a scenario's noise; axis 0 grows with the steps."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(30, d))[GROUPS] + random.normal(size=(90, d))
    x[:, 0] += signal * STEPS
    return x


def rows_of(xs: list[np.ndarray], texts: list[str], *, probe: str = "ridge", n_perm: int = 99):
    task = prepare_graded("steps", STEPS.tolist(), GROUPS, n_perm=n_perm)
    places = [({"site": "resid_post", "layer": at}, x) for at, x in enumerate(xs)]
    return graded_rows(lambda: places, task, texts, probe=probe, lexicons=lexicons())


def test_fits_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    for d in (5, 60):
        x, y = random.normal(size=(40, d)) + 1, random.normal(size=40)
        known = Ridge(alpha=4.0).fit(x[:30], y[:30]).predict(x)
        found = graded.fit_ridge(x[:30], y[:30], x, {"penalty": 4.0 / 30})
        assert found == pytest.approx(known, abs=1e-9)
    x, y = random.normal(size=(60, 4)), random.integers(0, 2, 60).astype(float)
    sure = LogisticRegression(C=0.5, tol=1e-9).fit(x, y).predict_proba(x)[:, 1]
    assert graded.fit_ordinal(x, y, x, {"C": 0.5}) == pytest.approx(sure, abs=1e-4)


def test_the_slope_of_proportional_odds_is_that_of_its_objective() -> None:
    random = np.random.default_rng(1)
    rows, step = random.normal(size=(50, 3)), random.integers(0, 4, 50)
    at = np.array([0.3, -0.2, 0.5, -1.0, 0.2, -0.1])
    wrong = check_grad(
        lambda p: graded.odds_loss(p, rows, step, 1.0)[0],
        lambda p: graded.odds_loss(p, rows, step, 1.0)[1],
        at,
    )
    assert wrong < 1e-4


@pytest.mark.parametrize("probe", graded.GRADED)
def test_a_planted_number_is_read_and_nothing_is_not(probe: str) -> None:
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(["sea", "tree", "road", "door"], 5)) for _ in STEPS]
    found = rows_of([planted(0, 0.0), planted(1, 1.5), planted(2, 0.0)], texts, probe=probe)
    pearson = {row["layer"]: row for row in found if row["metric"] == "pearson" and row["site"]}
    assert pearson[1]["value"] > 0.6
    assert pearson[1]["p"] == pearson[1]["p_max_t"] == 0.01
    assert min(pearson[0]["p"], pearson[2]["p"]) > 0.05
    assert max(pearson[0]["ci_low"], pearson[2]["ci_low"]) < 0
    (nested,) = [row for row in found if row["metric"] == NESTED_PEARSON]
    assert (nested["layer"], nested["chosen_by"], nested["p"]) == (1, "5 of 5 folds", 0.01)
    assert nested["least_p"] == 0.01  # as many relabellings as were drawn
    above = {row["target"]: row for row in found if row["metric"] == "above_text"}
    assert set(above) == {"bag_of_words", "tfidf", "char", "negation", "length", "function_words"}
    assert above["bag_of_words"]["ci_low"] > 0
    assert {row["method"] for row in found if row["site"]} == {probe}


def test_too_few_scenarios_for_a_small_p_decide_nothing() -> None:
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(["sea", "tree", "road", "door"], 5)) for _ in STEPS]
    where = {"run": "r", "model": "m", "battery": "b", "seed": 0, "position": "last_content"}
    rows = table({**where, **row} for row in rows_of([planted(1, 1.5)], texts))
    (found,) = graded_findings(rows)
    (few,) = graded_findings(rows.assign(p=0.25, least_p=0.25))
    assert (found.verdict, few.verdict) == (Verdict.FOUND, Verdict.CANNOT_SAY)
    assert "p = 0.250 (never below 0.250)" in dict(few.beside).values()


def test_words_that_tell_the_number_stand_beside_it() -> None:
    texts = [f"it was {'very ' * int(step)}cold there today" for step in STEPS]
    found = rows_of([planted(1, 1.5)], texts)
    words = {row["control"]: row for row in found if row["metric"] == "pearson" and not row["site"]}
    assert words["length"]["value"] > 0.99
    assert np.isnan(words["negation"]["ci_low"])  # nothing varies, so that no interval is made up
    above = {row["target"]: row for row in found if row["metric"] == "above_text"}
    assert above["length"]["ci_high"] < 0 < above["negation"]["ci_low"]


def test_scores_are_inside_folds_and_against_the_training_mean() -> None:
    x, task = planted(3, 1.0), prepare_graded("steps", STEPS.tolist(), GROUPS, n_perm=9)
    features = FoldFeatures(x)
    told = graded.predict_numbers(
        lambda fold: features.of(fold, turned=True),
        task.values, task.groups, folds=task.folds, probe="ridge",
    )  # fmt: skip
    rows = {row["metric"]: row for row in graded.score_numbers(told)}
    parts = [told.fold == one for one in range(5)]
    inside = [
        (told.told[part] - told.told[part].mean(), STEPS[part] - STEPS[part].mean())
        for part in parts
    ]
    a, b = (np.concatenate(side) for side in zip(*inside, strict=True))
    assert rows["pearson"]["value"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    each = [spearmanr(told.told[part], STEPS[part]).statistic for part in parts]
    assert rows["spearman"]["value"] == pytest.approx(np.mean(each), abs=0.02)
    plain = sum(((STEPS[f.test] - STEPS[f.train].mean()) ** 2).sum() for f in task.folds)
    assert rows["r2"]["value"] == pytest.approx(1 - ((told.told - STEPS) ** 2).sum() / plain)
    assert told.inflation >= 1


def test_p_is_uniform_on_nothing() -> None:
    random, found = np.random.default_rng(4), []
    for seed in range(100):
        values = random.normal(size=24)
        task = prepare_graded("v", values.tolist(), np.arange(24), n_perm=39, seed=seed)
        x = random.normal(size=(24, 4))
        told = [ridge_agreement(x, task.relabelled, one.train, one.test) for one in task.folds]
        drawn = np.mean(told, axis=0)
        found.append(Null(float(drawn[0]), drawn[1:]).p)
    assert kstest(found, "uniform").pvalue > 0.01


def test_folds_of_numbers_keep_scenarios_whole_and_refuse_what_cannot_be() -> None:
    values = np.random.default_rng(5).normal(size=90)
    folds = graded_folds(values, GROUPS)
    assert straddling(folds, GROUPS) == []
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(90))
    with pytest.raises(StatisticsError, match="all values are the same"):
        graded_folds(np.ones(90), GROUPS)
    with pytest.raises(StatisticsError, match="need 10 scenarios, and there are 6"):
        graded_folds(values[:18], GROUPS[:18])
    with pytest.raises(UsageError, match="at least 2 folds"):
        graded_folds(values, GROUPS, n_splits=1)
    with pytest.raises(StatisticsError, match=r"up to 12 different values.*use the probe 'ridge'"):
        graded.fit_ordinal(planted(0, 0.0), values, planted(0, 0.0), {"C": 1.0})
    with pytest.raises(UsageError, match="unknown probe 'lda' of a number"):
        rows_of([planted(0, 0.0)], ["a b"] * 90, probe="lda", n_perm=9)


def texts_with(name: str, values: list) -> list[Stimulus]:
    return [
        Stimulus(str(at), f"text {at}", "joy", group=f"g{at}", fields={name: value})
        for at, value in enumerate(values)
    ]


def test_fields_are_read_as_steps_numbers_or_words() -> None:
    steps = [Stimulus(str(at), "a", "joy", intensity=one) for at, one in enumerate(["mild", None])]
    steps.append(Stimulus("9", "b", "joy", intensity="strong"))
    found = target_of("intensity", steps)
    assert (found.values, found.is_graded) == ((1.0, 3.0), True)
    found = target_of("valence", texts_with("valence", ["1.5", 2, ""]))
    assert (found.values, found.is_graded, len(found.items)) == ((1.5, 2.0), True, 2)
    inner = texts_with("appraisal", [{"agent": "self"}, {"agent": "other"}, {"agent": "-"}])
    found = target_of("appraisal.agent", inner)
    assert (found.words, found.is_graded) == (["self", "other"], False)
    many = target_of("who", texts_with("who", ["a"] * 6 + ["b"] * 6 + ["c"] * 2))
    with pytest.warns(UserWarning, match="who: 'c' have fewer than 5 scenarios and were left out"):
        assert set(without_rare(many, folds=5).values) == {"a", "b"}
    with pytest.raises(StatisticsError, match="fewer than two words are left"):
        without_rare(target_of("who", texts_with("who", ["a"] * 6 + ["b"])), folds=5)


@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        ([1, "high", 2], DataError, "text '1' has 'high' in the field 'v'"),
        ([1, float("nan"), 2], DataError, "text '1' has nan .* a finite number"),
        ([3, 3.0], StatisticsError, "have the same"),
        (["", None], DataError, "no text has the field 'v'; the fields of the texts are: v"),
    ],
)
def test_bad_fields_name_the_text_and_the_fix(values, error, told) -> None:
    with pytest.raises(error, match=told):
        target_of("v", texts_with("v", values))
    wrong = [Stimulus("7", "a", "joy", intensity="huge")]
    with pytest.raises(DataError, match="text '7' has the intensity 'huge': expected one of none"):
        target_of("intensity", wrong)
