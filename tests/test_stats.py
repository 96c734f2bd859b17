"""Intervals of `interp.stats`: they cover, count scenarios, and say where there is none."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student

from interp import stats
from interp.errors import InternalError, StatisticsError
from interp.shares import Share, share_difference, wilson


def mean_of(values: np.ndarray) -> stats.Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_an_interval_counts_groups_not_items() -> None:
    """Ten copies of each group's value: an interval over items is far too narrow, over groups it
    has the right width.
    """
    random = np.random.default_rng(1)
    values, groups = np.repeat(random.normal(size=40), 10), np.repeat(np.arange(40), 10)
    expected = 2 * 1.96 * values[::10].std() / np.sqrt(40)
    for found, alone in (
        (stats.mean_interval(values, groups), stats.mean_interval(values, np.arange(400))),
        (
            stats.jackknife(mean_of(values), groups),
            stats.jackknife(mean_of(values), np.arange(400)),
        ),
    ):
        assert found.ci_high - found.ci_low == pytest.approx(expected, rel=0.1)
        assert alone.ci_high - alone.ci_low < 0.4 * expected
        assert found.n == 400


def test_few_groups_are_students_t_and_fewer_have_no_interval() -> None:
    values = np.array([1.0, 2.0, 6.0])
    low, high = student.interval(0.95, 2, loc=3.0, scale=values.std(ddof=1) / np.sqrt(3))
    assert stats.mean_interval(values, list("abc")) == pytest.approx((3.0, low, high, 3))
    alone = list("aaa")
    for found in (
        stats.mean_interval(values, alone),
        stats.ratio_interval(values, values, alone),
        stats.jackknife(mean_of(values), alone),
    ):
        assert np.isnan(found[1:3]).all()
        assert found.n == 3
    with pytest.raises(StatisticsError, match="mean over no items"):
        stats.mean_interval(np.array([]), [])
    with pytest.raises(InternalError, match="3 values came with 2 groups"):
        stats.mean_interval(values, ["a", "b"])


@pytest.mark.parametrize("n", [4, 8, 64])
def test_no_interval_of_a_mean_is_narrower_than_students(n: int) -> None:
    for seed in range(20):
        x = np.random.default_rng(seed).standard_t(3, size=n)
        reach = student.ppf(0.975, n - 1) * x.std(ddof=1) / np.sqrt(n)
        found = stats.mean_interval(x, np.arange(n))
        assert found.ci_low <= x.mean() - reach + 1e-9
        assert found.ci_high >= x.mean() + reach - 1e-9


def test_values_without_spread_have_an_interval_without_width() -> None:
    assert stats.mean_interval(np.full(6, 1.5), list("abcdef"))[:3] == (1.5, 1.5, 1.5)
    # a third of all draws misses the one that differs: Student's t
    rare = np.append(np.zeros(7), 1.0)
    low, high = student.interval(0.95, 7, loc=0.125, scale=rare.std(ddof=1) / np.sqrt(8))
    assert stats.mean_interval(rare, list("abcdefgh"))[:3] == pytest.approx((0.125, low, high))


def test_a_large_offset_costs_no_digits() -> None:
    noise = np.random.default_rng(0).normal(size=12)
    small, large = (stats.mean_interval(offset + noise, np.arange(12)) for offset in (0.0, 1e6))
    assert np.array(large[:3]) - 1e6 == pytest.approx(small[:3], abs=1e-6)


def test_a_ratio_is_fiellers_and_has_no_interval_where_its_denominator_may_be_zero() -> None:
    """Large, even sample: the bounds solve Fieller's equation; a denominator about zero: nothing,
    and no crash.
    """
    random = np.random.default_rng(2)
    below = 3 + random.normal(size=600)
    above = 0.5 * below + random.normal(size=600)
    found = stats.ratio_interval(above, below, np.arange(600))
    for bound in (found.ci_low, found.ci_high):
        rest = above - bound * below
        assert abs(rest.mean()) / (rest.std(ddof=1) / np.sqrt(600)) == pytest.approx(
            student.ppf(0.975, 599), rel=1e-6
        )
    turned = stats.ratio_interval(-above, -below, np.arange(600))
    assert turned[:3] == pytest.approx(found[:3])
    weak = stats.ratio_interval(
        np.ones(4), np.array([1.0, 1.0, 1.0, 0.0]) * [1, -1, 1, 1], list("abcd")
    )
    assert np.isnan(weak[1:3]).all()
    assert weak.value == pytest.approx(4.0)
    few = stats.ratio_interval(
        np.array([1.0, 2.0, 2.0, 3.0]), np.array([9.0, 10.0, 11.0, 10.0]), list("abcd")
    )
    assert np.isnan(few[1:3]).all()
    with pytest.raises(StatisticsError, match="denominator"):
        stats.ratio_interval(np.ones(3), np.zeros(3), list("abc"))


def test_one_zero_among_the_effects_is_no_crash() -> None:
    """Effects 1, 1, 1, 0 in 4 groups: some resamples of them sum to zero, which took the whole
    stage down.
    """
    found = stats.ratio_interval(
        np.array([0.5, 0.5, 0.5, 0.0]), np.array([1.0, 1.0, 1.0, 0.0]), list("abcd")
    )
    assert found.value == pytest.approx(0.5)
    # the same share in every group: no effect near zero can blow that up
    below = np.array([1.0, 1.0, 1.0, 1e-9])
    assert stats.ratio_interval(0.5 * below, below, list("abcd"))[:3] == pytest.approx(
        (0.5, 0.5, 0.5)
    )


def test_the_jackknife_of_a_mean_is_students_t() -> None:
    values = np.random.default_rng(3).normal(size=30)
    low, high = student.interval(
        0.95, 29, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(30)
    )
    assert stats.jackknife(mean_of(values), np.arange(30))[:3] == pytest.approx(
        (values.mean(), low, high)
    )
    wide = stats.jackknife(mean_of(values), np.arange(30), inflation=2.0)
    assert wide.ci_high - wide.value == pytest.approx(2 * (high - values.mean()))
    # left out three at a time
    many = stats.jackknife(mean_of(np.tile(values, 40)), np.arange(1200))
    assert many.ci_high - many.ci_low == pytest.approx(
        2 * 1.96 * values.std() / np.sqrt(1200), rel=0.1
    )


def test_shares_stay_inside_and_a_perfect_one_is_bounded_by_its_scenarios() -> None:
    hits = np.append(np.ones(29), 0.0)
    near = Share(mean_of(hits)).estimate(np.arange(30))
    assert 0.7 < near.ci_low < 0.95 < near.value < near.ci_high < 1
    for n in (5, 20, 60):
        whole = Share(mean_of(np.ones(n))).estimate(np.arange(n))
        assert whole[:3] == pytest.approx((1.0, 0.05 ** (1 / n), 1.0))
        assert binomtest(n, n, whole.ci_low, alternative="greater").pvalue == pytest.approx(0.05)
        none = Share(mean_of(np.zeros(n))).estimate(np.arange(n))
        assert none[:3] == pytest.approx((0.0, 0.0, 1 - 0.05 ** (1 / n)))
    heavy = Share(mean_of(np.ones(20)), heaviest=0.1).estimate(np.arange(20))
    assert 1 - heavy.ci_low == pytest.approx(2 * (1 - 0.05 ** (1 / 20)))


def test_a_statistic_that_needs_every_group_has_no_interval() -> None:
    found = stats.jackknife(lambda w: np.where(w.all(axis=1), 1.5, np.nan), list("abc"))
    assert found.value == 1.5
    assert np.isnan(found[1:3]).all()
    with pytest.raises(StatisticsError, match="undefined on 2 scenarios"):
        stats.jackknife(lambda w: np.full(len(w), np.nan), ["a", "b"])


def test_wilson_against_the_published_example() -> None:
    """Newcombe (1998), table I: 81 of 263 gives .2553 to .3662; 0 of 20 gives 0 to .1611."""
    assert wilson(81, 263)[1:3] == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.0, 0.1611, 20), abs=1e-4)
    with pytest.raises(StatisticsError, match="3 out of 2"):
        wilson(3, 2)


SHAPES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda random, n: random.normal(size=n), 0.0),
    "skewed": (lambda random, n: random.exponential(size=n), 1.0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [4, 8, 16, 64])
def test_means_are_covered_at_every_n(n: int, shape: str) -> None:
    """Nominal .95, 400 samples: the binomial error is .011, so that .90 is more than four of it
    below.
    """
    draw, truth = SHAPES[shape]
    random = np.random.default_rng(n)
    found = [stats.mean_interval(draw(random, n), np.arange(n)) for _ in range(400)]
    covered = np.mean([one.ci_low <= truth <= one.ci_high for one in found])
    assert 0.90 <= covered <= 0.99


@pytest.mark.parametrize("n", [8, 16, 64])
def test_ratios_are_covered_where_there_is_an_interval(n: int) -> None:
    """A denominator four of its standard deviations from zero; nominal .95, 400 samples, binomial
    error .011.
    """
    random = np.random.default_rng(n)
    hits = []
    for _ in range(400):
        below = 4 + random.normal(size=n)
        found = stats.ratio_interval(
            0.5 * below + random.exponential(size=n) - 1, below, np.arange(n)
        )
        if not np.isnan(found.ci_low):
            hits.append(found.ci_low <= 0.5 <= found.ci_high)
    assert len(hits) > 360
    assert 0.90 <= np.mean(hits) <= 0.985


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 7), (10, 10)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    found, expected = wilson(k, n), binomtest(k, n).proportion_ci(method="wilson")
    assert found == pytest.approx((k / n, expected.low, expected.high, n), abs=1e-9)
    with pytest.raises(StatisticsError, match="0 out of 0"):
        wilson(0, 0)


def paired_hits(
    random: np.random.Generator, n: int, *, shared: float
) -> tuple[np.ndarray, np.ndarray]:
    """Two judges of n scenarios, right in .9 and .7 of them; `shared` of the time by one
    accident.
    """
    own, other = random.random(n), random.random(n)
    other = np.where(random.random(n) < shared, own, other)
    return (own < 0.9).astype(float), (other < 0.7).astype(float)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_a_difference_of_shares_covers_and_knows_what_they_share(shared: float) -> None:
    random, held, widths = np.random.default_rng(7), 0, []
    for _ in range(300):
        one, other = paired_hits(random, 40, shared=shared)
        found = share_difference(Share(mean_of(one)), Share(mean_of(other)), np.arange(40))
        held += found.ci_low <= 0.2 <= found.ci_high
        widths.append(found.ci_high - found.ci_low)
    assert held / 300 >= 0.91  # nominal .95, binomial error .013
    assert np.mean(widths) == pytest.approx(0.30 if shared else 0.35, abs=0.02)


def test_a_difference_from_a_score_without_error_has_a_width() -> None:
    """Ten of ten against a coin that always says one half: the jackknife alone gives [.5, .5]."""
    whole, half = Share(mean_of(np.ones(10))), Share(mean_of(np.full(10, 0.5)))
    found = share_difference(whole, half, np.arange(10))
    assert found.value == pytest.approx(0.5)
    bound = 1 - 0.05 ** (1 / 10)
    assert found.ci_low == pytest.approx(0.5 - bound * np.sqrt(1.25))
    alike = half.estimate(np.arange(10))
    assert alike[:3] == pytest.approx((0.5, 0.5 - bound / 2, 0.5 + bound / 2))
    same = share_difference(whole, whole, np.arange(10))
    assert same.ci_low < 0 < same.ci_high
    alone = share_difference(whole, half, ["a"] * 10)
    assert np.isnan(alone[1:3]).all()
