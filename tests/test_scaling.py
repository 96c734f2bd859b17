"""The script that measures how cost grows: its exponents are those of planted costs, and each part
runs. That the work grows as it should is counted in each part's own tests.
"""

import importlib.util
import json
import runpy
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_scaling"


@pytest.fixture(scope="module")
def bench():
    loader = SourceFileLoader("bench_scaling", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_the_exponent_is_that_of_planted_costs(bench):
    sizes = (100, 200, 400)
    for power in (0.5, 1.0, 2.0):
        costs = [3 * n**power for n in sizes]
        assert bench.exponent(sizes, costs) == pytest.approx(power)
    assert bench.exponent(sizes, [0.0, 1.0, 2.0]) is None
    assert bench.exponent((5,), [1.0]) is None


def test_every_part_runs(bench):
    for part in bench.PARTS:
        n = 4 if part == "patching" else 40
        found = bench.measured(part, n)
        assert found["n"] == n
        assert found["seconds"] >= 0 <= found["megabytes"]


def test_the_table_has_a_row_per_part_and_unknown_parts_are_refused(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "halves", "--sizes", "40", "80", "--json"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = json.loads(capfd.readouterr().out)
    assert (told["part"], [one["n"] for one in told["sizes"]]) == ("halves", [40, 80])
    assert set(told["exponent"]) == {"seconds", "megabytes"}
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "halfs"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "no part is called 'halfs'" in capfd.readouterr().err
