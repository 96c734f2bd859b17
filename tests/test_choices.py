"""What it costs to choose a place by folds: against a loop, and against made data whose truth is
known.
"""

import numpy as np
import pytest

from interp.chance import flips
from interp.choices import choice_inflation, choose_by_folds
from interp.stats import mean_interval

N = 20
FOLD = np.arange(N) % 5


def test_each_fold_takes_the_place_that_the_others_name():
    random = np.random.default_rng(0)
    values, means = random.normal(size=(7, N)), random.normal(size=7)
    signs = flips(N, n_perm=9, seed=1)
    found = choose_by_folds(values, FOLD, signs, means)
    for draw, own in enumerate(signs):
        made = means[:, None] + own * values
        for one in range(5):
            best = made[:, one != FOLD].sum(axis=1).argmax()
            assert found.place[draw, one] == best
            np.testing.assert_allclose(
                found.told[draw, one == FOLD], made[best, one == FOLD], rtol=1e-12, atol=1e-12
            )


@pytest.mark.parametrize("lead", [0.0, 0.3, 4.0], ids=["none leads", "one leads a little", "clear"])
def test_intervals_hold_the_truth_of_the_places_that_were_chosen(lead):
    """One of twelve places is `lead` above the rest: only where it is clear the choice costs
    nothing.
    """
    random, signs = np.random.default_rng(4), flips(N, n_perm=1000)[1:]
    truth = np.where(np.arange(12) == 3, lead, 0.0)
    wider, held = [], []
    for _ in range(300):
        values = truth[:, None] + random.normal(size=(12, N))
        (place,), (told,) = choose_by_folds(values, FOLD, np.ones((1, N)))
        wider.append(choice_inflation(values, FOLD, signs))
        plain = mean_interval(told, np.arange(N))
        expected = truth[place][FOLD].mean()
        held.append(
            [one.ci_low <= expected <= one.ci_high for one in (plain, plain.widened(wider[-1]))]
        )
    covered = np.mean(held, axis=0)
    assert 0.92 <= covered[1] <= 0.99
    if lead == 0:
        assert covered[0] < 0.88  # where the choice is not counted
        assert 1.2 < np.median(wider) < 1.6
    if lead == 4:
        assert max(wider) < 1.1  # the draws alone make .05


def test_a_single_place_costs_nothing():
    values = np.random.default_rng(2).normal(size=(1, N))
    assert choice_inflation(values, FOLD, flips(N, n_perm=4000)[1:]) < 1.05
