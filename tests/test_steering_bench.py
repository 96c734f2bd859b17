"""The bench of steering: it runs, both ways write the same, and its ratio is what it says."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_steering"


def test_both_ways_write_the_same_tokens(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--quick", "--json"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = json.loads(capsys.readouterr().out)
    assert told["same"] == 1
    (ours,), (theirs,) = (told["seconds"][name] for name in ("ours", "transformers"))
    assert told["ratio"] == theirs / ours


def test_a_ratio_is_taken_within_a_round():
    bench = runpy.run_path(str(SCRIPT), run_name="bench")
    found = bench["ratio_of"]({"transformers": [2.0, 9.0, 4.0], "ours": [1.0, 3.0, 4.0]})
    assert found == {"ratio": 2.0, "spread": 2.0}
    assert bench["shared"]([[1, 2], [3]], [[1, 5], [3]]) == pytest.approx(2 / 3)
