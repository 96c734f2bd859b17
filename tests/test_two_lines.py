"""An inverted U is found where there is one, and not where a curve only bends."""

import numpy as np
import pytest

from interp.analysis.two_lines import best_turn, turns, two_lines
from interp.errors import StatisticsError

DOSE = np.repeat(np.arange(1.0, 11.0), 6)
CHOOSING = np.tile([True, False], 30)


def told(curve, *, noise: float = 0.5, seed: int = 0):
    random = np.random.default_rng(seed)
    score = curve(DOSE) + noise * random.normal(size=len(DOSE))
    return two_lines(DOSE, score, CHOOSING, draws=99, seed=seed)


def tent(dose):
    return -np.abs(dose - 5)


def test_a_tent_has_its_slopes_and_its_turn():
    found = told(tent)
    assert found.turn in (4, 5)
    below, above = found.slopes
    assert below.ci_low < 1 < below.ci_high
    assert above.ci_low < -1 < above.ci_high
    assert found.p < 0.001
    assert found.p_order == pytest.approx(0.01)
    assert found.both.value == pytest.approx(min(below.value, -above.value))


def test_lines_are_those_of_least_squares():
    """Each line alone, by numpy's own fit."""
    found = told(tent, noise=1)
    score = tent(DOSE) + np.random.default_rng(0).normal(size=len(DOSE))
    for side, one in zip((found.turn >= DOSE, found.turn < DOSE), found.slopes, strict=True):
        mine = side & ~CHOOSING
        assert one.value == pytest.approx(np.polyfit(DOSE[mine], score[mine], 1)[0])


@pytest.mark.parametrize("curve", [np.log, np.sqrt, np.zeros_like, lambda dose: -dose])
def test_a_curve_that_bends_or_falls_is_no_inverted_u(curve):
    """A quadratic term would be found in the first two."""
    p = [told(curve, noise=0.1, seed=seed).p for seed in range(40)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05


def test_no_dose_at_all_is_rejected_as_often_as_it_should_be():
    p = [told(np.zeros_like, seed=seed).p_order for seed in range(100)]
    assert np.mean(np.array(p) <= 0.1) <= 0.18
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def test_the_turn_is_chosen_on_the_other_half():
    """A much higher tent of another top in the reported half does not move it."""
    random = np.random.default_rng(0)
    score = np.where(CHOOSING, tent(DOSE), -20 * np.abs(DOSE - 8)) + random.normal(size=len(DOSE))
    every, own = (
        best_turn(DOSE[half], score[half], possible=turns(DOSE))
        for half in (np.ones(len(DOSE), dtype=bool), CHOOSING)
    )
    assert every != own
    assert two_lines(DOSE, score, CHOOSING, draws=19).turn == own


def test_what_has_no_two_lines_is_refused():
    with pytest.raises(StatisticsError, match="need 6 items to report"):
        two_lines(DOSE[:8], DOSE[:8], np.arange(8) > 1, draws=19)
    with pytest.raises(StatisticsError, match="need 4 different doses"):
        two_lines(np.ones(12), np.ones(12), np.arange(12) % 2 == 0, draws=19)
