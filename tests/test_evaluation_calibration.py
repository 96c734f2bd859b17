"""A short calibration: p rejects nothing too often, intervals hold the truth. The long one is
`interp calibrate`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from interp.cli import cli
from interp.errors import DataError, UsageError
from interp.evaluation import calibration
from interp.evaluation.calibration import INTERVALS, TESTS, calibrate
from interp.reporting import calibrated

RUNS = 60
MOST_REJECTED = 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / RUNS)
"""Three and a half binomial errors above the level: .15."""
LEAST_COVERED = 0.90 - 3.5 * np.sqrt(0.90 * 0.10 / RUNS)
"""As far below .90: .76. A percentile bootstrap of 4 groups covers .69 to .79, the plain norm 0."""
CHEAP = (
    "mean", "restoration", "norm", "held-out", "corrected", "nested restoration", "steering",
    "kappa",
)  # fmt: skip
QUICK = [name for name in INTERVALS if name.startswith(CHEAP)]
SLOW = [
    "probe auroc, shift 3.0, n 16",
    "probe accuracy, shift 0.0, n 16",
]
SLOW += ["separation_auroc, shift 2.0, n 16", "d_prime, shift 2.0, n 16"]
SLOW += [
    "nested_auroc, any of 4 sites, shift 0.0, n 16",
    "above_text, any of 4 sites, shift 2.0, n 16",
]


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
    (row,) = [
        row for row in calibrate(runs=RUNS, names=[what]) if row["what"] == f"coverage of {what}"
    ]
    assert row["nominal"] == 0.95
    assert row["runs"] == RUNS or "restoration" in what
    assert row["runs"] < RUNS / 2 or row["measured"] >= LEAST_COVERED


def test_rows_count_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that rejects at .05 and never at .01; an interval missing in one of four and right in
    two of three.
    """
    missing = calibration.Estimate(1.0, np.nan, np.nan, 5)
    found = [missing, *(calibration.Estimate(1.0, low, 2.0, 5) for low in (0.0, 0.5, 1.5))]
    monkeypatch.setattr(calibration, "TESTS", {"a test": lambda seed: 0.03})
    monkeypatch.setattr(calibration, "INTERVALS", {"an interval": lambda seed: (found[seed], 1.0)})
    rows = {(row["what"], row["nominal"]): row for row in calibrate(runs=4)}
    assert rows["rejection of a test", 0.05]["measured"] == 1.0
    assert rows["rejection of a test", 0.01]["measured"] == 0.0
    last = rows["coverage of an interval", 0.95]
    assert (last["measured"], last["runs"]) == (pytest.approx(2 / 3), 3)
    assert set(last) == {"what", "nominal", "measured", "runs", "note"}
    monkeypatch.setattr(calibration, "INTERVALS", {"an interval": lambda seed: (missing, 1.0)})
    assert calibrate(runs=2, names=["an interval"])[0]["measured"] is None


def test_a_seed_draws_other_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(calibration, "TESTS", {"a test": lambda seed: seen.append(seed) or 0.5})
    for seed in (0, 1):
        calibrate(runs=3, seed=seed, names=["a test"])
    assert len(set(seen)) == 6


def test_what_cannot_be_calibrated_is_told() -> None:
    with pytest.raises(UsageError, match="no check is called 'nothing of that name'"):
        calibrate(runs=1, names=["nothing of that name"])
    with pytest.raises(UsageError, match="runs is 0"):
        calibrate(runs=0)


def test_the_command_prints_the_rows_and_keeps_table_and_figure(tmp_path: Path) -> None:
    arguments = [
        "calibrate",
        "--runs",
        "5",
        "--seed",
        "1",
        "--json",
        "--out",
        str(tmp_path / "out"),
        "mean, normal, n 4",
        "norm p",
    ]
    told = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    rows = json.loads(told.stdout)
    assert [row["what"] for row in rows] == ["rejection of norm p"] * 2 + [
        "coverage of mean, normal, n 4"
    ]
    assert all(list(row) == ["what", "nominal", "measured", "runs", "note"] for row in rows)
    assert {row["runs"] for row in rows} == {5}
    kept = pd.read_csv(tmp_path / "out" / "calibration.csv", keep_default_na=False)
    assert kept.to_dict("records") == rows
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "calibration.csv",
        "calibration.svg",
        "calibration.png",
    }


def test_the_figure_shows_every_measured_share_at_its_level() -> None:
    rows = [
        ("a", 0.05, 0.04, 400),
        ("a", 0.01, 0.0, 400),
        ("b", 0.95, 0.9, 200),
        ("c", 0.95, None, 0),
    ]
    table = pd.DataFrame(rows, columns=["what", "nominal", "measured", "runs"])
    figure = calibrated.calibration(table)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "nominal 0.01",
        "nominal 0.05",
        "nominal 0.95",
    ]
    points = [panel.lines[0].get_xdata().tolist() for panel in figure.axes]
    assert points == [[0.0], [0.04], [0.9]]  # what has no interval is no point
    with pytest.raises(DataError, match="nothing to draw"):
        calibrated.calibration(table.assign(measured=np.nan))
