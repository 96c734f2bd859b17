"""Spaces: CKA, maps between two of them, and probes read through a map."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from interp.analysis.carried_probes import CARRIED, OWN_SPACE, carried_auroc, carried_rows
from interp.analysis.folds import Fold, grouped_folds
from interp.analysis.spaces import (
    MAPS,
    cka,
    explained_by_map,
    fit_linear,
    fit_rotation,
    held_out,
    only_trained_on,
)
from interp.errors import DataError, StatisticsError


@pytest.fixture(scope="module")
def texts():
    """Twins of 40 scenarios that differ along one axis, and their folds."""
    random = np.random.default_rng(0)
    groups = np.repeat([f"s{at}" for at in range(40)], 2)
    y = np.tile(["affective", "neutral"], 40)
    x = random.normal(size=(80, 12)) + random.normal(size=(40, 12)).repeat(2, axis=0)
    x[y == "affective", 0] += 4
    return x, y, groups, grouped_folds(y, groups)


def turned(x, seed=1, width=None):
    random = np.random.default_rng(seed)
    width = width or x.shape[1]
    turn = np.linalg.qr(random.normal(size=(width, width)))[0][: x.shape[1]]
    return 3 * x @ turn + random.normal(size=width)


def hsic_by_sums(k, other):
    """The U-statistic over all quadruples of different items."""
    n = len(k)
    total, count = 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
                        count += 1
    return total / count


def test_cka_is_the_ratio_of_u_statistics():
    random = np.random.default_rng(2)
    x, y = random.normal(size=(7, 3)), random.normal(size=(7, 5))
    k, other = (rows @ rows.T for rows in (x - x.mean(0), y - y.mean(0)))
    expected = hsic_by_sums(k, other) / np.sqrt(hsic_by_sums(k, k) * hsic_by_sums(other, other))
    assert cka(x, y) == pytest.approx(expected)


def test_cka_knows_a_turned_copy_and_is_not_deceived_by_many_dimensions(texts):
    x = texts[0]
    assert cka(x, turned(x, width=30)) == pytest.approx(1)
    random = np.random.default_rng(3)
    found = [cka(random.normal(size=(20, 300)), random.normal(size=(20, 300))) for _ in range(20)]
    assert abs(np.mean(found)) < 0.1
    with pytest.raises(StatisticsError, match="4 or more"):
        cka(x[:3], x[:3])
    with pytest.raises(DataError, match="80 rows of one space came with 79"):
        cka(x, x[1:])
    assert np.isnan(cka(np.ones((9, 2)), x[:9]))


def test_a_rotation_is_the_nearest_one(texts):
    x = texts[0]
    random = np.random.default_rng(4)
    y = turned(x) + random.normal(size=x.shape)
    found = fit_rotation(x, y)
    centred = x - x.mean(0), y - y.mean(0)
    turn, stretch = orthogonal_procrustes(*centred)
    np.testing.assert_allclose(found.weights, stretch / (centred[0] ** 2).sum() * turn, atol=1e-9)
    wider = turned(x, width=20)
    np.testing.assert_allclose(fit_rotation(x, wider)(x), wider, atol=1e-8)
    with pytest.raises(StatisticsError, match="no spread"):
        fit_rotation(np.ones((5, 2)), np.eye(5))


def test_the_linear_map_is_ridge(texts):
    x = texts[0]
    y = x @ np.random.default_rng(5).normal(size=(12, 4)) + 1
    length = ((x - x.mean(0)) ** 2).sum() / len(x)
    expected = Ridge(alpha=0.5 * length).fit(x, y).predict(x)
    np.testing.assert_allclose(fit_linear(x, y, penalty=0.5)(x), expected)


def test_maps_are_scored_on_scenarios_that_they_have_not_seen(texts):
    x, _, groups, folds = texts
    y = turned(x)
    carried = held_out(x, y, folds=folds, fit=MAPS["procrustes"])
    share, at = explained_by_map(carried, y, groups, folds=folds)
    assert share.value == pytest.approx(1)
    assert list(at) == list(range(80))
    moved = y.copy()
    moved[folds[0].test] += 100  # what a fold tests, it has not seen
    again = held_out(x, moved, folds=folds[:1], fit=MAPS["linear"])[folds[0].test]
    before = held_out(x, y, folds=folds[:1], fit=MAPS["linear"])[folds[0].test]
    np.testing.assert_allclose(again, before)
    one = folds[:1]
    noisy = y + np.random.default_rng(6).normal(size=y.shape)
    told = held_out(x, noisy, folds=one, fit=MAPS["linear"])
    share, at = explained_by_map(told, noisy, groups, folds=one)
    spread = ((noisy[at] - noisy[one[0].train].mean(0)) ** 2).sum()
    assert share.value == pytest.approx(1 - ((noisy[at] - told[at]) ** 2).sum() / spread)
    assert share.value == pytest.approx(
        r2_score(noisy[at], told[at], multioutput="variance_weighted"), abs=0.1
    )
    assert share.ci_low < share.value < share.ci_high
    alone = [Fold(np.arange(len(at)), np.arange(len(at)))]
    five = [Fold(np.arange(5 * len(at)), np.arange(5 * len(at)))]
    once, _ = explained_by_map(told[at], noisy[at], groups[at], folds=alone)
    retold = [np.repeat(rows[at], 5, axis=0) for rows in (told, noisy, groups)]
    often, _ = explained_by_map(*retold, folds=five)
    assert often.ci_low == pytest.approx(once.ci_low)  # five texts of a scenario are one of it


@pytest.mark.parametrize("control", ["random", "shuffled"])
def test_controls_tell_nothing(texts, control):
    x, _, groups, folds = texts
    other = turned(x)
    carried = held_out(x, other, folds=folds, fit=MAPS[control])
    assert explained_by_map(carried, other, groups, folds=folds)[0].value < 0.1


def test_a_map_of_neutral_texts_is_tried_on_the_others(texts):
    x, y, groups, folds = texts
    neutral = np.flatnonzero(y == "neutral")
    own = only_trained_on(folds, neutral)
    assert all(set(y[fold.train]) == {"neutral"} for fold in own)
    assert all(set(y[fold.test]) == {"affective"} for fold in own)
    assert all(set(y[rows[0]]) == {"neutral"} for fold in own for rows in fold.inner)
    other = turned(x)
    carried = held_out(x, other, folds=own, fit=MAPS["linear"])
    assert np.isnan(carried[neutral]).all()
    share, at = explained_by_map(carried, other, groups, folds=own)
    assert set(y[at]) == {"affective"}
    assert share.value > 0.9


def test_a_probe_is_read_through_the_map_and_not_through_a_random_one(texts):
    x, y, groups, folds = texts
    other = turned(x)
    found = carried_auroc(x, other, y, groups, folds=folds, fit=MAPS["procrustes"])
    assert found[CARRIED].value == pytest.approx(found[OWN_SPACE].value, abs=1e-6)
    assert found[OWN_SPACE].value > 0.95
    rows = list(carried_rows(x, other, y, groups, folds=folds, maps=("linear", "shuffled")))
    assert [row["method"] for row in rows] == ["own", "linear", "shuffled"]
    assert rows[1]["value"] > 0.95
    assert rows[2]["value"] < 0.8
    assert all(row["n"] == 80 for row in rows)


def test_a_probe_that_knows_nothing_reads_nothing_through_a_map():
    """Fitted on the same scenarios, probe and map shared their noise, and this read 1."""
    random = np.random.default_rng(7)
    found = []
    for _ in range(4):
        groups = np.repeat([f"s{at}" for at in range(30)], 2)
        y = np.tile(["affective", "neutral"], 30)
        x = random.normal(size=(60, 20))
        x[y == "affective", 0] += 8
        nothing = random.normal(size=(60, 20))
        folds = grouped_folds(y, groups)
        told = carried_auroc(x, nothing, y, groups, folds=folds, fit=MAPS["procrustes"])
        found.append(told[CARRIED].value)
    assert abs(np.mean(found) - 0.5) < 0.25
