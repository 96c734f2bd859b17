"""How many scenarios a test needs: against the closed form for normal values."""

import numpy as np
import pytest
from scipy.stats import nct, t

from interp.analysis.power import SIZES, power, scenario_means, scenarios_needed
from interp.errors import StatisticsError


def closed_form(effect: float, n: int, alpha: float = 0.05) -> float:
    """Power of a one-sided t-test for a standardised mean: the noncentral t distribution."""
    return float(1 - nct.cdf(t.ppf(1 - alpha, n - 1), n - 1, effect * np.sqrt(n)))


@pytest.mark.parametrize(("effect", "n"), [(0.3, 32), (0.6, 16), (1.0, 8)])
def test_power_is_that_of_the_t_test(effect, n):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(4000)
    values = (values - values.mean()) / values.std() + 2 * effect  # half of it is the effect
    assert power(values, n, n_studies=4000) == pytest.approx(closed_form(effect, n), abs=0.03)


def test_the_number_needed_is_the_first_that_suffices():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(4000) + 1.0
    needed = scenarios_needed(values)
    before = SIZES[SIZES.index(needed) - 1]
    assert closed_form(0.5, needed) >= 0.78 > 0.77 > closed_form(0.5, before) - 0.03
    assert scenarios_needed(values - 2) is None  # the wrong way round
    assert scenarios_needed(rng.standard_normal(500) + 0.02) is None


def test_scenarios_count_once():
    assert scenario_means(np.array([1.0, 3.0, 5.0]), ["a", "a", "b"]).tolist() == [2.0, 5.0]
    with pytest.raises(StatisticsError, match="at least 5 scenarios"):
        power(np.ones(4), 10)
