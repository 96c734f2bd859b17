"""What scenarios teach each other's probes, and what comparisons have of their own, against
independent computations.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from interp.analysis import dependence, probes
from interp.analysis.controls import ridge_hat
from interp.analysis.features import standardiser
from interp.analysis.folds import grouped_folds, transfer_folds
from interp.analysis.predictions import auroc_share
from interp.analysis.stats import weighted_auroc
from interp.errors import StatisticsError
from interp.shares import Share
from interp.stats import without_each


def twins(n: int, d: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y, groups = np.tile(["affective", "neutral"], n), np.repeat(np.arange(n), 2)
    x = random.normal(size=(2 * n, d)) + random.normal(size=(n, d))[groups]
    x[y == "affective", 0] += shift
    return x, y, groups


@pytest.mark.parametrize("d", [4, 90])
def test_influence_sums_to_the_margins_of_a_ridge_probe(d: int) -> None:
    x, y, groups = twins(20, d, 1.0, 0)
    fold = grouped_folds(y, groups)[2]
    z = standardiser(x[fold.train])(x)
    found = dependence.influence(z, y, groups, fold.train, fold.test)
    code = (y == "neutral") - (y[fold.train] == "neutral").mean()
    scores = ridge_hat(x[fold.train], x[fold.test]) @ code[fold.train]
    # two classes, mirrored
    margins = np.bincount(groups[fold.test], weights=2 * code[fold.test] * scores, minlength=20)
    assert found.sum(axis=1) == pytest.approx(margins, abs=1e-5)
    tested = np.unique(groups[fold.test])
    assert not found[:, tested].any()
    assert not np.delete(found, tested, axis=0).any()


@pytest.mark.parametrize("is_sparse", [False, True])
def test_influence_of_several_classes_is_that_of_their_centred_codes(is_sparse: bool) -> None:
    random = np.random.default_rng(0)
    y, groups = random.choice(list("abcd"), 120), random.integers(0, 50, 120)
    x = random.normal(size=(120, 30)) * (random.random((120, 30)) < 0.2)
    z = sparse.csr_array(x) if is_sparse else x
    rows, part = random.permutation(120), random.integers(0, 2, 120)
    train, test = rows[:90], rows[90:]
    found = dependence.influences(z, y, groups, train, test, part=part)
    member = (y[:, None] == np.unique(y)).astype(float)
    coded = member - member[train].mean(axis=0)
    inverse = np.linalg.inv(x[train].T @ x[train] + dependence.RIDGE * 90 * np.eye(30))
    adds = (x @ inverse @ x.T) * (coded @ coded.T)
    sums = np.eye(50)[groups]
    for number in (0, 1):
        here = test[part[test] == number]
        expected = sums[here].T @ adds[np.ix_(here, train)] @ sums[train]
        assert found[number] == pytest.approx(expected, abs=1e-12)


def test_what_is_learned_of_nothing_is_shared_and_what_is_learned_of_much_is_not() -> None:
    def inflation(shift: float, seed: int) -> float:
        x, y, groups = twins(40, 8, shift, seed)
        folds = grouped_folds(y, groups, seed=seed)
        return probes.cross_validate(x, y, groups, folds=folds, settings=[{"C": 0.1}] * 5).inflation

    assert np.mean([inflation(0.0, seed) for seed in range(20)]) > 1.25
    assert np.mean([inflation(4.0, seed) for seed in range(5)]) < 1.2
    # nothing is known
    assert dependence.shared_inflation(np.zeros((3, 3))) == dependence.UNKNOWN_INFLATION
    alone = probes.cross_validate(
        *twins(10, 3, 1.0, 0), folds=grouped_folds(*twins(10, 3, 1.0, 0)[1:])[:1]
    )
    assert alone.inflation == 1.0


def test_the_variance_is_the_sum_over_comparisons_with_a_common_scenario() -> None:
    random = np.random.default_rng(1)
    scores, truth = random.integers(0, 9, 24).astype(float), np.tile([True, False, False], 8)
    groups, fold = np.arange(24) // 3, np.arange(24) // 3 % 2
    ones = np.ones((1, 24))
    value = float(weighted_auroc(scores, ones * truth, ones * ~truth, strata=fold)[0])
    compared = [
        (i, j)
        for i in range(24)
        for j in range(24)
        if truth[i] and not truth[j] and fold[i] == fold[j]
    ]

    def part(i: int, j: int) -> float:
        return (float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j]) - value) / len(
            compared
        )

    # All pairs of comparisons that have a scenario in common, each once.
    told = [(i, j, part(i, j)) for i, j in compared]
    expected = sum(
        one * other
        for i, j, one in told
        for k, m, other in told
        if {groups[i], groups[j]} & {groups[k], groups[m]}
    )
    found = dependence.auroc_over([scores], [truth], strata=fold, groups=groups).variance
    assert found == pytest.approx(expected * 8 / 7)
    twice = dependence.auroc_over([scores, scores], [truth, truth], strata=fold, groups=groups)
    assert twice.variance == pytest.approx(found)  # a mean of two that are the same


@pytest.mark.parametrize(
    "compared", [0, dependence.COMPARED_ONE_BY_ONE], ids=["sorted", "one by one"]
)
@pytest.mark.parametrize(("n_groups", "share"), [(9, 0.5), (9, 0.9), (700, 0.5), (1, 0.5)])
def test_an_auroc_without_each_scenario_is_that_of_the_other_items(
    n_groups: int, share: float, compared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ties, folds, two AUROCs, and scenarios that are left out several at a time."""
    monkeypatch.setattr(dependence, "COMPARED_ONE_BY_ONE", compared)
    random = np.random.default_rng(n_groups)
    n = 4 * max(n_groups, 30)
    groups, fold = np.arange(n) % n_groups, np.arange(n) % n_groups % 2
    scores = [random.integers(0, 9, n).astype(float) for _ in range(2)]
    truth = [random.random(n) < share for _ in range(2)]

    def statistic(w: np.ndarray) -> np.ndarray:
        both = zip(scores, truth, strict=True)
        return np.mean([weighted_auroc(s, w * t, w * ~t, strata=fold) for s, t in both], axis=0)

    found = dependence.auroc_over(scores, truth, strata=fold, groups=groups).left_out
    expected = without_each(statistic, groups)
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    np.testing.assert_allclose(found.without, expected.without, atol=1e-12)
    assert found.n_groups == expected.n_groups == n_groups


def test_an_auroc_that_a_scenario_is_needed_for_has_no_value_without_it() -> None:
    truth, groups = np.array([True, False, False, False]), np.array([0, 0, 1, 1])
    found = dependence.auroc_over([np.arange(4.0)], [truth], strata=0 * groups, groups=groups)
    assert found.left_out.value == 0.0
    np.testing.assert_array_equal(found.left_out.without, [np.nan, 0.0])
    none = dependence.auroc_over([np.arange(4.0)], [truth], strata=np.arange(4), groups=groups)
    with pytest.raises(StatisticsError, match="undefined on 2 scenarios"):
        Share(none.left_out).estimate(groups)


def test_an_aurocs_variance_counts_each_comparison_once() -> None:
    """Two scenarios per fold, scores that tell nothing: the plain jackknife says far more than
    there is.
    """
    truth, groups, fold = (
        np.tile([True, False], 16),
        np.repeat(np.arange(16), 2),
        np.repeat(np.arange(16), 2) // 2 % 8,
    )
    values, told, plain = [], [], []
    for seed in range(300):
        scores = np.random.default_rng(seed).normal(size=32)

        def statistic(w: np.ndarray, scores: np.ndarray = scores) -> np.ndarray:
            return weighted_auroc(scores, w * truth, w * ~truth, strata=fold)

        variance = dependence.auroc_over([scores], [truth], strata=fold, groups=groups).variance
        found, naive = (Share(statistic, variance=one).estimate(groups) for one in (variance, None))
        values.append(found.value)
        for into, one in ((told, found), (plain, naive)):
            half = (
                np.log(one.ci_high / (1 - one.ci_high)) - np.log(one.ci_low / (1 - one.ci_low))
            ) / 2
            # Student's quantile of 15
            into.append((half * one.value * (1 - one.value) / 2.131450) ** 2)
    # that of 300 has an error of .08
    assert np.mean(told) / np.var(values) == pytest.approx(1.0, abs=0.25)
    assert np.mean(plain) / np.var(values) > 1.3


def test_a_probe_of_other_texts_varies_with_the_scenarios_that_it_was_fitted_on() -> None:
    """Labels lie along one axis in the arm that is fitted and along another in the one that is
    tested: the AUROC is .5 on average, and each fit hits the other arm by an accident of its own.
    """
    found, told, alone = [], [], []
    for seed in range(40):
        random = np.random.default_rng(seed)
        y, groups = np.tile(["affective", "neutral"], 120), np.tile(np.repeat(np.arange(60), 2), 2)
        rich = np.arange(240) < 120
        x = random.normal(size=(240, 12)) + random.normal(size=(60, 12))[groups]
        x[rich & (y == "affective"), 0] += 3
        x[~rich & (y == "affective"), 1] += 3
        folds = transfer_folds(y, groups, source=rich, target=~rich)
        one = probes.cross_validate(x, y, groups, folds=folds)
        for drawn, kept in ((True, told), (False, alone)):
            share = auroc_share(replace(one, drawn=drawn)).estimate(one.groups)
            kept.append((share.ci_high - share.ci_low) / 4)
        found.append(share.value)
    assert 0.8 < np.mean(told) / np.std(found) < 1.5
    assert np.mean(alone) / np.std(found) < 0.7  # what the tested scenarios' own scores say
