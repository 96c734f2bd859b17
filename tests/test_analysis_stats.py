"""Resampling and tests of `interp.analysis.stats`, against independent computations and on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, kstest
from sklearn.metrics import roc_auc_score

from interp.analysis import stats
from interp.errors import DataError, StatisticsError, UsageError


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_scikit_learns_ties_included(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([float(s) for s, _ in rows])
    truth = np.array([t for _, t in rows])
    if truth.all() or not truth.any():
        with pytest.raises(StatisticsError, match="at least one positive"):
            stats.auroc(scores, truth)
    else:
        assert stats.auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_weights_of_an_auroc_mean_repeated_items() -> None:
    random = np.random.default_rng(0)
    scores, truth = random.integers(0, 6, 30).astype(float), random.random(30) > 0.5
    weights = random.integers(0, 4, (5, 30)).astype(float)
    found = stats.weighted_auroc(scores, weights * truth, weights * ~truth)
    for row, value in zip(weights.astype(int), found, strict=True):
        assert value == pytest.approx(roc_auc_score(np.repeat(truth, row), np.repeat(scores, row)))


def test_strata_forget_a_shift_between_folds() -> None:
    """Two folds whose scores have opposite offsets: perfect inside each, worthless when compared across."""
    scores = np.array([0.0, 1.0, 10.0, 11.0, 12.0])
    truth = np.array([False, True, False, False, True])
    fold = np.array([0, 0, 1, 1, 1])
    assert stats.weighted_auroc(scores, truth[None] * 1.0, ~truth[None] * 1.0, strata=fold)[0] == 1.0
    assert stats.auroc(scores, truth) < 0.7


def test_auroc_refuses_nan() -> None:
    with pytest.raises(DataError, match="1 of 2 scores are not finite"):
        stats.auroc(np.array([np.nan, 1.0]), np.array([True, False]))


def test_bootstrap_resamples_groups_not_items() -> None:
    """Ten copies of each group's value: an interval over items is far too narrow, over groups it has the right width."""
    random = np.random.default_rng(1)
    values = np.repeat(random.normal(size=40), 10)
    groups = np.repeat(np.arange(40), 10)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weights @ values / weights.sum(axis=1)

    over_groups = stats.cluster_bootstrap(mean, groups, n_boot=2000)
    over_items = stats.cluster_bootstrap(mean, np.arange(400), n_boot=2000)
    expected = 2 * 1.96 * values[::10].std() / np.sqrt(40)
    assert over_groups.ci_high - over_groups.ci_low == pytest.approx(expected, rel=0.1)
    assert over_items.ci_high - over_items.ci_low < 0.4 * expected


def test_bootstrap_interval_covers_the_mean_of_clusters() -> None:
    hits = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(40), 3)
        values = random.normal(size=40)[groups] + random.normal(size=120)

        def mean(weights: np.ndarray, values: np.ndarray = values) -> np.ndarray:
            return weights @ values / weights.sum(axis=1)

        found = stats.cluster_bootstrap(mean, groups, n_boot=400, seed=seed)
        hits += found.ci_low <= 0 <= found.ci_high
    assert 0.90 <= hits / 200 <= 0.985


def test_strata_keep_each_class_in_every_draw() -> None:
    y, groups = ["a", "b"], ["g1", "g2"]
    strata = stats.composition(y, groups)
    (draws,) = stats.group_draws(groups, n_boot=50, seed=0, strata=strata)
    assert (draws == 1).all()
    (free,) = stats.group_draws(groups, n_boot=50, seed=0)
    assert (free == 0).any()


def test_bootstrap_refuses_what_has_no_answer() -> None:
    with pytest.raises(StatisticsError, match="at least 2 groups, there is 1"):
        stats.cluster_bootstrap(lambda w: w.sum(axis=1), ["a", "a"])
    with pytest.raises(StatisticsError, match="undefined in 50 of 50"):
        stats.cluster_bootstrap(lambda w: np.full(len(w), np.nan), ["a", "b"], n_boot=50)
    with pytest.raises(UsageError, match="n_boot is 0"):
        stats.cluster_bootstrap(lambda w: w.sum(axis=1), ["a", "b"], n_boot=0)


def test_inflation_stretches_the_interval() -> None:
    values = np.arange(30.0)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weights @ values / weights.sum(axis=1)

    plain, wide = (stats.cluster_bootstrap(mean, np.arange(30), inflation=factor) for factor in (1.0, 2.0))
    assert wide.ci_high - wide.value == pytest.approx(2 * (plain.ci_high - plain.value))


def test_twins_swap_and_scenarios_exchange_whole() -> None:
    swapped = stats.relabel([0, 1, 0, 1], ["p", "p", "q", "q"], n_perm=400, seed=0)
    assert {tuple(row) for row in swapped.tolist()} == {(0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0)}
    exchanged = stats.relabel(["joy", "joy", "fear", "fear"], ["p", "p", "q", "q"], n_perm=50, seed=0)
    assert {tuple(row) for row in exchanged.tolist()} == {(1, 1, 0, 0), (0, 0, 1, 1)}


def test_blocks_keep_the_classes_of_a_fold() -> None:
    y, groups, fold = [0, 1, 2, 0, 1, 2], list("abcdef"), [0, 0, 0, 1, 1, 1]
    drawn = stats.relabel(y, groups, n_perm=500, seed=0, blocks=fold)
    assert (np.sort(drawn[:, :3], axis=1) == [0, 1, 2]).all()
    assert len({tuple(row) for row in drawn.tolist()}) == 36


def test_relabelling_one_class_is_refused() -> None:
    with pytest.raises(StatisticsError, match="one class only"):
        stats.relabel(["joy"] * 3, list("abc"), n_perm=5, seed=0)


def test_sign_flip_p_is_uniform_on_nothing_and_small_on_a_shift() -> None:
    random = np.random.default_rng(2)
    p = [stats.sign_flip(random.normal(size=25), n_perm=200, seed=seed) for seed in range(300)]
    assert kstest(p, "uniform").pvalue > 0.01
    assert stats.sign_flip(random.normal(1.0, 1.0, size=25)) < 0.01


def test_sign_flip_refuses_nothing_and_nan() -> None:
    with pytest.raises(StatisticsError, match="at least one difference"):
        stats.sign_flip(np.array([]))
    with pytest.raises(DataError, match="not finite"):
        stats.sign_flip(np.array([1.0, np.nan]))


def test_p_is_never_zero_and_counts_ties() -> None:
    assert stats.permutation_p(5.0, np.zeros(99)) == pytest.approx(0.01)
    assert stats.permutation_p(0.1 + 0.2, np.array([0.3, 0.0, 0.0])) == pytest.approx(0.5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert stats.benjamini_hochberg(np.array(p)) == pytest.approx(false_discovery_control(np.array(p)))


def test_benjamini_hochberg_refuses_nan() -> None:
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        stats.benjamini_hochberg(np.array([0.1, np.nan]))


def test_max_t_keeps_the_family_wise_error_where_single_tests_do_not() -> None:
    random = np.random.default_rng(3)
    single = family = 0
    for _ in range(200):
        # Twenty correlated tests, as the layers of one model are; scales differ, as sites' do.
        draws = (random.normal(size=(301, 20)) + random.normal(size=(301, 1))) * np.linspace(1, 5, 20)
        single += min(stats.permutation_p(v, n) for v, n in zip(draws[0], draws[1:].T, strict=True)) < 0.05
        family += stats.max_t(draws[0], draws[1:]).min() < 0.05
    assert family / 200 < 0.09
    assert single / 200 > 0.3
    draws[0, 7] += 30
    assert stats.max_t(draws[0], draws[1:]).argmin() == 7


def test_max_t_refuses_a_null_that_does_not_vary() -> None:
    with pytest.raises(StatisticsError, match="does not vary"):
        stats.max_t(np.array([1.0]), np.zeros((10, 1)))


def test_wilson_against_the_published_example() -> None:
    """Newcombe (1998), table I: 81 of 263 gives .2553 to .3662; 0 of 20 gives 0 to .1611."""
    assert stats.wilson(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert stats.wilson(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=1e-4)
    with pytest.raises(StatisticsError, match="3 out of 2"):
        stats.wilson(3, 2)
