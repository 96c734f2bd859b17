"""Fits side by side end where scikit-learn's end, alone; and the bench says so in its numbers."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from interp.analysis import probes
from interp.analysis.features import in_span
from interp.analysis.folds import Fold, grouped_folds
from interp.analysis.grid_logistic import fit_grid

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_probes"


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("d", [5, 90])
def test_all_settings_and_parts_are_fitted_as_one_by_one(n_classes: int, d: int) -> None:
    random = np.random.default_rng(d)
    x, y = random.normal(size=(80, d)), random.integers(0, n_classes, 80)
    x[:, 0] += 3  # rows need not be centred
    parts = [np.arange(60), np.arange(10, 50), np.arange(30, 60)]
    grid = [{"C": 0.01}, {"C": 0.1}, {"C": 1.0}]
    told = fit_grid(in_span(x, parts[0]), y, parts, grid)
    assert told.converged
    for own, setting in zip(told.probability, grid, strict=True):
        for found, part in zip(own, parts, strict=True):
            alone = LogisticRegression(tol=1e-9, max_iter=5000, **setting).fit(x[part], y[part])
            assert found == pytest.approx(alone.predict_proba(x), abs=5e-3)


def test_rows_of_no_part_count_for_nothing() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 3)), random.integers(0, 2, 40)
    once = fit_grid(x, y, [np.arange(20)], [{"C": 1.0}])
    y[20:] = 1 - y[20:]
    again = fit_grid(x, y, [np.arange(20)], [{"C": 1.0}])
    np.testing.assert_array_equal(once.probability, again.probability)


def test_the_span_keeps_inner_products_with_training_rows_also_of_copies() -> None:
    random = np.random.default_rng(1)
    x, train = random.normal(size=(30, 50)), np.setdiff1d(np.arange(30), [2, 3, 20])
    x[7] = x[5]
    found = in_span(x, train)
    assert found.shape == (30, 26)  # 27 rows, one of them a copy
    assert found @ found[train].T == pytest.approx(x @ x[train].T, abs=1e-8)


def test_the_probe_chooses_and_tells_what_scikit_learns_does() -> None:
    random = np.random.default_rng(2)
    y, groups = np.tile(["a", "b", "c"], 20), np.repeat(np.arange(20), 3)
    x = random.normal(size=(60, 40))
    x[:, 0] += 1.5 * (y == "a")
    folds = grouped_folds(y, groups, n_splits=3)
    ours, theirs = (
        probes.cross_validate(x, y, groups, folds=folds, probe=name)
        for name in ("logistic", "scikit_logistic")
    )
    assert ours.chosen == theirs.chosen
    assert ours.probability == pytest.approx(theirs.probability, abs=5e-3)


def test_parts_that_lack_a_class_are_fitted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    y, groups = np.array(["a", "b", "c", "a", "b", "c", "a", "b"]), np.arange(8)
    x = np.random.default_rng(3).normal(size=(8, 2))
    inner = ((np.array([0, 1]), np.array([3, 4])),)
    fold = Fold(np.array([0, 1, 2, 3, 4]), np.array([5, 6, 7]), inner)
    told = probes.cross_validate(x, y, groups, folds=[fold])
    known = probes.cross_validate(x, y, groups, folds=[fold], probe="scikit_logistic")
    assert told.chosen == known.chosen
    monkeypatch.setattr(probes, "MOST_AT_ONCE", 0)  # large places, too
    again = probes.cross_validate(x, y, groups, folds=[Fold(fold.train, fold.test)])
    assert any("too few scenarios to choose" in one for one in again.warnings)


def test_the_bench_gives_ratios_and_both_ways_agree(monkeypatch, capsys):
    asked = [str(SCRIPT), "--quick", "--rounds", "1", "--refits", "2"]
    monkeypatch.setattr(sys, "argv", asked)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = json.loads(capsys.readouterr().out)
    assert len(told) == 2
    for place in told.values():
        assert place["largest difference of probabilities"] < 5e-3
        assert place["largest difference of correlations"] < 1e-5
        whole = place["scikit-learn (seconds)"] / place["ours (seconds)"]
        assert place["scikit-learn over ours"] == pytest.approx(whole)
