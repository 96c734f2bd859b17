"""Calibrated units: a new neutral text reads as a neutral text, and a new affective one as one
natural length.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from interp.analysis.directions import MEAN_OF_ALL, anchored, fit
from interp.analysis.methods import LENGTH_FOLDS, cross_fit
from interp.analysis.units import READINGS, length_shares, percentiles, probabilities
from interp.directions import Direction
from interp.errors import ArtefactError
from interp.sites import Site

SITE = Site("resid_post", 2)
WIDTH = 60


def twins(n: int, *, seed: int, effect: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Twins that share their scene; the affective one lies `effect` further along axis 0."""
    random = np.random.default_rng(seed)
    scene = 5 + random.normal(size=(n, WIDTH))
    neutral, affective = (scene + 0.7 * random.normal(size=(n, WIDTH)) for _ in range(2))
    affective[:, 0] += effect
    return affective, neutral


def fitted(effect: float = 2.0, n: int = 40) -> Direction:
    return fit(*twins(n, seed=1, effect=effect), site=SITE, labels=("joy", "neutral"))


def over_batteries(effect: float, read: Callable[..., float]) -> float:
    """The mean of what `read` gives of a direction, its own twins and many new ones, over 20
    batteries.
    """
    found = []
    for seed in range(20):
        own, new = twins(40, seed=100 + seed, effect=effect), twins(1000, seed=seed, effect=effect)
        found.append(read(fit(*own, site=SITE, labels=("joy", "neutral")), own, new))
    return float(np.mean(found))


def test_new_texts_read_as_texts_of_their_kind():
    def share(side):
        return lambda one, own, new: length_shares(new[side] @ one.vector, one).mean()

    assert over_batteries(2.0, share(0)) == pytest.approx(1, abs=0.06)
    assert over_batteries(2.0, share(1)) == pytest.approx(0, abs=0.06)


def test_neutral_texts_that_helped_to_fit_would_lie_too_low():
    """Where there is nothing, a new neutral text is above those that were fitted on."""

    def percentile(one, own, new):
        return percentiles(new[1] @ one.vector, one).mean()

    def naive(one, own, new):
        return percentile(replace(one, neutral=own[1] @ one.vector), own, new)

    assert over_batteries(0.0, percentile) == pytest.approx(50, abs=4)
    assert over_batteries(0.0, naive) > 58


def test_held_out_projections_are_those_of_a_loop_over_folds():
    affective, neutral = (rows.astype(np.float64) for rows in twins(23, seed=4))
    found = cross_fit(affective, neutral, np.arange(23), method="paired")
    deal = np.random.default_rng(0).permutation(23) % LENGTH_FOLDS
    expected, apart = np.empty(23), np.empty(23)
    for at in range(23):
        others = deal != deal[at]
        mean = (affective - neutral)[others].mean(axis=0)
        vector = mean / np.linalg.norm(mean)
        centre = np.concatenate([affective[others], neutral[others]]).mean(axis=0)
        expected[at] = (neutral[at] - centre) @ vector
        apart[at] = (affective[at] - neutral[at]) @ vector
    np.testing.assert_allclose(found.neutral, expected, atol=1e-9)
    np.testing.assert_allclose(found.affective, expected + apart, atol=1e-9)
    assert found.length.value == pytest.approx(apart.mean())


def test_a_direction_without_a_length_gives_no_share():
    direction = replace(fitted(), length=0.0)
    assert np.isnan(length_shares(np.array([1.0, 2.0]), direction)).all()
    assert np.isfinite(percentiles(np.array([1.0, 2.0]), direction)).all()
    unknown = replace(fitted(), neutral=np.empty(0))
    for unit in READINGS.values():
        assert np.isnan(unit(np.array([1.0]), unknown)).all()


def test_percentiles_count_ties_half():
    direction = replace(fitted(), neutral=np.array([3.0, 1.0, 2.0, 2.0]))
    found = percentiles(np.array([0.0, 1.0, 2.0, 2.5, 9.0]), direction)
    assert found.tolist() == [0, 12.5, 50, 75, 100]


def test_neutral_projections_are_kept_on_disk_and_turn_with_the_sign(tmp_path):
    direction = fitted()
    direction.save(tmp_path / "joy.safetensors")
    back = Direction.load(tmp_path / "joy.safetensors")
    np.testing.assert_array_equal(back.neutral, direction.neutral)
    assert len(back.neutral) == 40
    low, high = twins(10, seed=5)
    turned = anchored(direction, high, low)
    np.testing.assert_array_equal(turned.neutral, -direction.neutral)
    np.testing.assert_array_equal(turned.affective, -direction.affective)
    for side in ("neutral", "affective"):
        np.testing.assert_array_equal(getattr(back, side), getattr(direction, side))
        with pytest.raises(ArtefactError, match=f"{side} projections that are not finite: 1 of 2"):
            replace(direction, **{side: np.array([1.0, np.nan])})


def test_of_new_texts_as_many_are_emotional_as_their_probability_says():
    """Texts of both kinds, as many, by their probability: what is told as p is so p of the time."""
    told, truth = [], []
    for seed in range(20):
        direction = fit(
            *twins(60, seed=300 + seed, effect=1.0), site=SITE, labels=("joy", "neutral")
        )
        for side, rows in enumerate(twins(400, seed=seed, effect=1.0)):
            told.append(probabilities(rows @ direction.vector, direction))
            truth.append(np.full(400, side == 0))
    p, is_emotional = np.concatenate(told), np.concatenate(truth)
    assert p.min() < 0.2
    assert p.max() > 0.8
    for low in (0.1, 0.3, 0.5, 0.7):
        near = (p >= low) & (p < low + 0.2)
        assert near.sum() > 500
        assert is_emotional[near].mean() == pytest.approx(p[near].mean(), abs=0.06)


def test_projections_of_the_texts_that_were_fitted_on_would_be_too_sure():
    affective, neutral = twins(40, seed=9, effect=0.0)
    direction = fit(affective, neutral, site=SITE, labels=("joy", "neutral"))
    direction = replace(direction, length=1.0)  # there is nothing, and a length is not refused
    seen = {"affective": affective @ direction.vector, "neutral": neutral @ direction.vector}
    new = twins(1000, seed=10, effect=0.0)[0] @ direction.vector
    naive = probabilities(new, replace(direction, **seen))
    assert np.abs(probabilities(new, direction) - 0.5).mean() < 0.1
    assert np.abs(naive - 0.5).mean() > 0.15


def test_twins_told_apart_without_a_fault_are_not_certain():
    direction = fitted(effect=40.0)
    found = probabilities(direction.affective, direction)
    assert (found > 0.9).all()
    assert found.mean() == pytest.approx(41 / 42, abs=1e-3)  # the mean of what was to be told


def test_a_probability_needs_neutral_texts_and_a_length():
    at = np.array([0.0, np.nan])
    assert np.isfinite(probabilities(at, fitted())).tolist() == [True, False]
    for without in (
        replace(fitted(), length=0.0),
        replace(fitted(), affective=np.empty(0)),  # a file of before
        replace(fitted(), labels=("joy", MEAN_OF_ALL)),
    ):
        assert np.isnan(probabilities(at, without)).all()
