"""The AUROC and the correction for a peak, against independent computations and on data whose truth
is known.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from interp.analysis import stats
from interp.chance import permutation_p
from interp.errors import DataError, StatisticsError


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
    """Two folds whose scores have opposite offsets: perfect inside each, worthless when compared
    across.
    """
    scores = np.array([0.0, 1.0, 10.0, 11.0, 12.0])
    truth = np.array([False, True, False, False, True])
    fold = np.array([0, 0, 1, 1, 1])
    assert (
        stats.weighted_auroc(scores, truth[None] * 1.0, ~truth[None] * 1.0, strata=fold)[0] == 1.0
    )
    assert stats.auroc(scores, truth) < 0.7


def test_auroc_refuses_nan() -> None:
    with pytest.raises(DataError, match="1 of 2 scores are not finite"):
        stats.auroc(np.array([np.nan, 1.0]), np.array([True, False]))


def test_max_t_keeps_the_family_wise_error_where_single_tests_do_not() -> None:
    random = np.random.default_rng(3)
    single = family = 0
    for _ in range(200):
        # Twenty correlated tests, as the layers of one model are; scales differ, as sites' do.
        draws = (random.normal(size=(301, 20)) + random.normal(size=(301, 1))) * np.linspace(
            1, 5, 20
        )
        single += (
            min(permutation_p(v, n) for v, n in zip(draws[0], draws[1:].T, strict=True)) < 0.05
        )
        family += stats.max_t(draws[0], draws[1:]).min() < 0.05
    assert family / 200 < 0.09
    assert single / 200 > 0.3
    draws[0, 7] += 30
    assert stats.max_t(draws[0], draws[1:]).argmin() == 7


def test_max_t_refuses_a_null_that_does_not_vary() -> None:
    with pytest.raises(StatisticsError, match="does not vary"):
        stats.max_t(np.array([1.0]), np.zeros((10, 1)))
