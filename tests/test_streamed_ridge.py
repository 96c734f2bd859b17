"""The probe from sums: the scores of a ridge fitted in memory, and the script that makes a store
and probes it site by site.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from interp.analysis.dependence import RIDGE
from interp.analysis.folds import grouped_folds
from interp.analysis.streamed_ridge import predict_streamed
from interp.errors import DataError

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_store"


def data(seed: int = 0, n: int = 60):
    random = np.random.default_rng(seed)
    y, groups = np.tile(["anger", "fear", "joy"], n // 3), np.repeat(np.arange(n // 3), 3)
    x = random.normal(size=(n, 5)) * [1, 10, 0.1, 1, 1] + 3
    x[:, 0] += y == "joy"
    x[:, 4] = 2.0  # constant
    return x, y, groups


def in_blocks(x, size=7):
    order = np.random.default_rng(1).permutation(len(x)).tolist()
    return lambda: (
        (order[at : at + size], x[order[at : at + size]]) for at in range(0, len(x), size)
    )


def test_the_scores_are_those_of_a_ridge_in_memory():
    x, y, groups = data()
    folds = grouped_folds(y, groups)
    told = predict_streamed(in_blocks(x), y, groups, folds=folds)
    assert told.classes == ("anger", "fear", "joy")
    one_hot = (y[:, None] == np.unique(y)).astype(float)
    for fold in folds:
        scaled = StandardScaler().fit(x[fold.train])
        ridge = Ridge(alpha=RIDGE * len(fold.train)).fit(
            scaled.transform(x[fold.train]), one_hot[fold.train]
        )
        expected = ridge.predict(scaled.transform(x[fold.test]))
        np.testing.assert_allclose(told.probability[fold.test], expected, atol=1e-9)


def test_what_is_missing_or_not_finite_is_told():
    x, y, groups = data()
    folds = grouped_folds(y, groups)
    with pytest.raises(DataError, match="3 items were in no block"):
        predict_streamed(lambda: iter([(range(57), x[:57])]), y, groups, folds=folds)
    x[4, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        predict_streamed(in_blocks(x), y, groups, folds=folds)


def test_the_script_makes_a_store_and_probes_each_site(monkeypatch, capsys, tmp_path):
    size = ["--items", "1100", "--width", "8", "--layers", "2", "--json"]
    words = [str(SCRIPT), "--out", str(tmp_path / "store"), *size]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    made = capsys.readouterr().out
    opened, *rows = [json.loads(line) for line in made.splitlines()]
    assert opened["texts"] == 1100
    assert opened["manifest_bytes"] == (tmp_path / "store" / "manifest.jsonl").stat().st_size
    assert [row["layer"] for row in rows] == [0, 1]
    assert rows[0]["ci_low"] < 0.5 < rows[0]["ci_high"]
    assert rows[1]["ci_low"] > rows[0]["ci_high"]
    monkeypatch.setattr(sys, "argv", [*words, "--most", "0.001"])  # the store is there
    with pytest.raises(SystemExit, match=r"above 0\.001 GB"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()][1:]
    assert [row["auroc"] for row in again] == [row["auroc"] for row in rows]
    monkeypatch.setattr(sys, "argv", [*words, "--unprobed"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) == 1
