"""A short calibration: p rejects nothing too often, intervals hold the truth. The long one is scripts/calibrate."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interp.evaluation import calibration
from interp.evaluation.calibration import INTERVALS, TESTS, calibrate

RUNS = 60
MOST_REJECTED = 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / RUNS)
"""Three and a half binomial errors above the level: .15."""
LEAST_COVERED = 0.90 - 3.5 * np.sqrt(0.90 * 0.10 / RUNS)
"""As far below .90: .76. A percentile bootstrap of 4 groups covers .69 to .79, the plain norm 0."""
QUICK = [name for name in INTERVALS if name.startswith(("mean", "restoration", "norm", "held-out", "corrected"))]
SLOW = ["probe auroc, shift 3.0, n 16", "probe log_loss, shift 1.0, n 16", "probe accuracy, shift 0.0, n 16"]
SLOW += ["separation_auroc, shift 2.0, n 16", "d_prime, shift 2.0, n 16"]


@pytest.mark.parametrize("what", [name for name in TESTS if "any of" not in name])
def test_a_p_rejects_nothing_as_often_as_it_says(what: str) -> None:
    p = np.array([TESTS[what](seed) for seed in range(RUNS)])
    assert (p <= 0.05).mean() <= MOST_REJECTED
    assert (p <= 0.5).mean() >= 0.25  # it can be small: nominal .5, binomial error .065


@pytest.mark.parametrize("what", [name for name in TESTS if "any of" in name])
def test_a_family_rejects_anything_as_seldom(what: str) -> None:
    p = np.array([TESTS[what](seed) for seed in range(RUNS)])
    assert (p <= 0.05).mean() <= MOST_REJECTED


@pytest.mark.parametrize("what", [*QUICK, *SLOW])
def test_an_interval_holds_the_truth(what: str) -> None:
    (row,) = [row for row in calibrate(runs=RUNS, names=[what]) if row["what"] == f"coverage of {what}"]
    assert row["nominal"] == 0.95
    assert row["runs"] + row["without"] == RUNS
    assert row["measured"] >= LEAST_COVERED or row["runs"] < RUNS / 2
    assert row["without"] == 0 or "restoration" in what


def test_rows_count_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that rejects at .05 and never at .01; an interval missing in one of four and right in two of three."""
    missing = calibration.Estimate(1.0, np.nan, np.nan, 5)
    found = [missing, *(calibration.Estimate(1.0, low, 2.0, 5) for low in (0.0, 0.5, 1.5))]
    monkeypatch.setattr(calibration, "TESTS", {"a test": lambda seed: 0.03})
    monkeypatch.setattr(calibration, "INTERVALS", {"an interval": lambda seed: (found[seed], 1.0)})
    rows = {(row["what"], row["nominal"]): row for row in calibrate(runs=4)}
    assert rows["rejection of a test", 0.05]["measured"] == 1.0
    assert rows["rejection of a test", 0.01]["measured"] == 0.0
    last = rows["coverage of an interval", 0.95]
    assert (last["measured"], last["runs"], last["without"]) == (pytest.approx(2 / 3), 3, 1)
    assert calibrate(runs=1, names=["nothing of that name"]) == []


def test_the_script_prints_the_rows() -> None:
    script = Path(__file__).parents[1] / "scripts" / "calibrate"
    command = [sys.executable, str(script), "--runs", "5", "--json", "mean, normal, n 4"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [row["what"] for row in rows] == ["coverage of mean, normal, n 4"]
    assert rows[0]["runs"] == 5
