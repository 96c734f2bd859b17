"""Tests of `interp.chance`: p is uniform where there is nothing, exact where it can be, never
zero.
"""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, kstest

from interp import chance
from interp.errors import DataError, StatisticsError


def test_few_signs_are_all_tried_and_p_is_exact() -> None:
    assert chance.sign_flip(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    assert chance.sign_flip(np.array([1.0, 2.0, 3.0]), side="above") == pytest.approx(1 / 8)
    assert chance.sign_flip(np.array([-1.0, 2.0, 3.0]), side="above") == pytest.approx(2 / 8)
    assert chance.sign_flip(-np.ones(8), side="above") == 1.0
    assert len(np.unique(chance.flips(5), axis=0)) == 32


def test_sign_flip_p_is_uniform_on_nothing_and_small_on_a_shift() -> None:
    random = np.random.default_rng(2)
    p = [chance.sign_flip(random.normal(size=25), n_perm=200, seed=seed) for seed in range(300)]
    assert kstest(p, "uniform").pvalue > 0.01
    assert chance.sign_flip(random.normal(1.0, 1.0, size=25)) < 0.01


def test_sign_flip_refuses_nothing_and_nan() -> None:
    with pytest.raises(StatisticsError, match="at least one difference"):
        chance.sign_flip(np.array([]))
    with pytest.raises(DataError, match="not finite"):
        chance.sign_flip(np.array([1.0, np.nan]))


@pytest.mark.parametrize("side", ["above", "two"])
@pytest.mark.parametrize("n", [1, 2, 6, 12, 40])
def test_the_least_p_is_that_of_equal_differences(n: int, side: Literal["above", "two"]) -> None:
    assert chance.least_flip_p(n, side=side) == pytest.approx(
        chance.sign_flip(np.ones(n), side=side)
    )


def test_p_is_never_zero_and_counts_ties() -> None:
    assert chance.permutation_p(5.0, np.zeros(99)) == pytest.approx(0.01)
    assert chance.permutation_p(0.1 + 0.2, np.array([0.3, 0.0, 0.0])) == pytest.approx(0.5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert chance.benjamini_hochberg(np.array(p)) == pytest.approx(
        false_discovery_control(np.array(p))
    )


def test_benjamini_hochberg_refuses_nan() -> None:
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        chance.benjamini_hochberg(np.array([0.1, np.nan]))


def test_each_to_its_own_is_tested_against_every_other_assignment() -> None:
    assert chance.assignment_p(np.eye(4)) == pytest.approx(1 / 24)
    assert chance.assignment_p(np.eye(4)[[1, 0, 3, 2]]) == 1.0
    # What a row does to all columns, or all rows to a column, is nobody's own.
    raised = np.eye(4) + 9 * np.arange(4)[:, None] + 7 * np.arange(4)
    assert chance.assignment_p(raised) == pytest.approx(1 / 24)
    assert chance.assignment_p(np.eye(8), n_perm=499) == pytest.approx(1 / 500)
    with pytest.raises(DataError, match="finite"):
        chance.assignment_p(np.full((2, 2), np.nan))


def test_an_assignment_rejects_nothing_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    p = np.array([chance.assignment_p(random.normal(size=(5, 5))) for _ in range(400)])
    assert kstest(p, "uniform").pvalue > 0.01


def test_few_draws_in_many_strata_give_a_small_p() -> None:
    random = np.random.default_rng(4)
    draws = [random.normal(size=12) for _ in range(8)]
    assert chance.strata_p(np.full(8, 2.0), draws) < 0.01  # of one stratum p is never below 1 / 13
    assert chance.strata_p(np.full(1, 9.0), draws[:1]) == pytest.approx(1 / 13, abs=0.01)
    # Draws that let a p reach .01: 99 of one stratum, 9 of each of two.
    assert [chance.draws_for(n) for n in (1, 2, 4, 8)] == [99, 9, 3, 1]
    with pytest.raises(StatisticsError, match="at least one random draw"):
        chance.strata_p(np.zeros(2), [np.zeros(3), np.zeros(0)])


def test_chosen_among_its_like_is_rejected_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    p = []
    for seed in range(300):
        effects = random.standard_t(3, size=(6, 13)) * random.uniform(0.5, 3, size=(6, 1))
        p.append(chance.strata_p(effects[:, 0], list(effects[:, 1:]), n_perm=400, seed=seed))
    assert kstest(p, "uniform").pvalue > 0.01
