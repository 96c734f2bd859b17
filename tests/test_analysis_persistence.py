"""A state that stays is followed to the end, one that goes has its half-life, and nothing stays
that is not there.
"""

import numpy as np
import pytest

from interp.analysis.dependence import drawn_inflation, shared_inflation
from interp.analysis.folds import grouped_folds
from interp.analysis.persistence import follow, half_life, retained
from interp.analysis.persistence_rows import persistence_rows
from interp.analysis.stats import weighted_auroc
from interp.errors import DataError
from interp.stats import Estimate

N, WIDTH, OFFSETS = 40, 12, (0, 1, 2, 4, 8)


def made(kept: tuple[float, ...], *, noise: float = 0.5, seed: int = 0):
    """Twins of N scenarios whose difference along axis 0 is the share `kept` of itself at each
    offset; the continuation itself moves all of them alike.
    """
    random = np.random.default_rng(seed)
    y = np.repeat(["affective", "neutral"], N)
    groups = np.tile(np.arange(N), 2).astype(str)
    scene = np.tile(random.normal(size=(N, 1, WIDTH)), (2, 1, 1))
    states = scene + noise * random.normal(size=(2 * N, len(kept), WIDTH))
    states[:N, :, 0] += 4 * np.array(kept)
    return states + 3 * random.normal(size=(1, len(kept), WIDTH)), y, groups


def followed(kept: tuple[float, ...], **how):
    return follow(*made(kept, **how), offsets=OFFSETS[: len(kept)])


def test_a_state_that_stays_is_read_at_every_offset():
    told = followed((1, 1, 1, 1, 1))
    assert min(one.observed for one in told.nulls) > 0.93
    assert told.p.max() < 0.01
    assert told.p_max_t.max() < 0.01
    assert np.mean([one.draws.mean() for one in told.nulls]) == pytest.approx(0.5, abs=0.03)


def test_a_state_that_goes_has_the_half_life_that_was_planted():
    told = followed((1, 0.9, 0.7, 0.3, 0))
    kept = retained(told)
    assert [one.value for one in kept] == pytest.approx([1, 0.9, 0.7, 0.3, 0], abs=0.06)
    for one, true in zip(kept[1:], (0.9, 0.7, 0.3, 0), strict=True):
        assert one.ci_low < true < one.ci_high
    half = half_life(told.offsets, kept)
    true = np.expm1(0.5 * (np.log1p(2) + np.log1p(4)))
    assert half.ci_low < true < half.ci_high
    assert half.value == pytest.approx(true, rel=0.1)
    assert told.p[-1] > 0.05


def test_nothing_is_followed_where_nothing_is():
    told = followed((0, 0, 0, 0, 0), seed=3)
    assert told.p_max_t.min() > 0.05
    assert not {"retained", "half_life"} & {row["metric"] for row in persistence_rows(told, {})}


def test_a_half_life_that_was_not_reached_is_not_told():
    kept = [Estimate(value, value - 0.1, value + 0.1, 9) for value in (1.0, 0.8, 0.55)]
    found = half_life((0, 1, 2), tuple(kept))
    assert np.isnan([found.value, found.ci_high]).all()
    assert 1 < found.ci_low < 2
    unsure = tuple(Estimate(value, np.nan, np.nan, 9) for value in (1.0, 0.8, 0.2))
    assert np.isnan([half_life((0, 1, 2), unsure).ci_low]).all()


def test_a_state_in_another_form_is_read_by_a_probe_of_its_own():
    states, y, groups = made((1, 0), seed=7)
    states[:N, 1, 5] += 4  # the same state along another axis
    told = follow(states, y, groups, offsets=(0, 1))
    across, own = (persistence_rows(told, {})[at] for at in (1, 3))
    assert (own["control"], own["offset"], across["control"]) == ("own", 1, "")
    assert own["value"] > 0.93
    assert own["ci_low"] > 0.8
    assert across["value"] < 0.7
    assert told.p[1] > 0.05


def test_a_probe_of_its_own_is_that_of_its_offset_alone():
    states, y, groups = made((1, 0.2), seed=7)
    told = follow(states, y, groups, offsets=(0, 1))
    for at in (0, 1):
        alone = follow(states[:, [at]], y, groups, offsets=(0,)).told[0]
        np.testing.assert_allclose(told.own[at].probability, alone.probability, atol=1e-6)


def test_the_texts_that_taught_count_as_drawn_for_what_stands_behind_them():
    first, behind = followed((0.2, 0.2), noise=1.0, seed=3).told
    assert first.inflation == shared_inflation(first.influence)
    assert behind.inflation == drawn_inflation(behind.influence)
    assert behind.inflation != shared_inflation(behind.influence)


def test_scores_are_those_of_a_ridge_regression_written_out():
    states, y, groups = made((1, 0.4), seed=5)
    told = follow(states, y, groups, offsets=(0, 1))
    scores = np.empty((2 * N, 2))
    for fold in grouped_folds(y, groups):
        first = states[fold.train, 0]
        mean, spread = first.mean(axis=0), first.std(axis=0)
        z = (first - mean) / spread
        target = (y[fold.train] == "neutral") - 0.5
        weights = np.linalg.solve(z.T @ z + 0.1 * len(z) * np.eye(WIDTH), z.T @ target)
        for at in (0, 1):
            scores[fold.test, at] = (states[fold.test, at] - mean) / spread @ weights
    for at in (0, 1):
        np.testing.assert_allclose(told.told[at].probability[:, 1], scores[:, at], atol=1e-5)
        truth = (y == "neutral").astype(float)[None]
        expected = weighted_auroc(
            told.told[at].probability[:, 1], truth, 1 - truth, strata=told.told[at].fold
        )
        assert told.nulls[at].observed == pytest.approx(float(expected[0]))


def test_several_emotions_are_told_apart_behind_the_text():
    random = np.random.default_rng(1)
    y = np.tile(["joy", "fear", "anger"], 15)
    states = random.normal(size=(45, 3, WIDTH))
    for at, emotion in enumerate(("joy", "fear", "anger")):
        states[y == emotion, :2, at] += 4
    told = follow(states, y, np.arange(45).astype(str), offsets=(0, 1, 2))
    aurocs = [one.observed for one in told.nulls]
    assert min(aurocs[:2]) > 0.95
    assert aurocs[2] < 0.7
    assert told.p[2] > 0.05
    assert {row["metric"] for row in persistence_rows(told, {})} == {"auroc"}


def test_the_first_offset_is_the_texts_last_token():
    states, y, groups = made((1, 1))
    with pytest.raises(DataError, match="the first of them 0"):
        follow(states, y, groups, offsets=(1, 2))
