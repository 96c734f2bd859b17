"""The benchmark runs, agrees with TransformerLens, and prints what it promises; its ratios are read
on a quiet machine.
"""

import importlib.util
import json
import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_capture"


def test_the_benchmark_prints_its_ratios(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), "--shape", "small", "--texts", "4", "--rounds", "1", "--json"]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = json.loads(capsys.readouterr().out)
    peers = {"transformer_lens_filtered", "transformer_lens_full", "hidden_states"}
    peers |= {"nnsight"} if importlib.util.find_spec("nnsight") else set()
    assert set(told["ratio"]) == {*peers, "floor", "store"}
    assert told["max_abs_diff"] < 1e-4
    assert min(told["peak_mb"].values()) > 0


def test_peers_can_be_left_out(monkeypatch, capsys):
    left = ["--without", "hidden_states", "transformer_lens_filtered", "transformer_lens_full"]
    left += ["nnsight"]
    monkeypatch.setattr(
        sys,
        "argv",
        [str(SCRIPT), "--shape", "small", "--texts", "2", "--rounds", "1", "--json", *left],
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert set(json.loads(capsys.readouterr().out)["ratio"]) == {"floor", "store"}


def test_ratios_are_medians_of_ratios_within_a_round():
    ratios = runpy.run_path(str(SCRIPT), run_name="bench")["ratios"]
    seconds = {
        "ours": [2.0, 4.0, 2.0],
        "memory": [1.0, 3.0, 1.0],
        "floor": [1.0, 2.0, 2.0],
        "peer": [4.0, 12.0, 5.0],
    }
    assert ratios(seconds)["ratio"] == {"floor": 2.0, "peer": 2.5, "store": 0.5}
    assert ratios(seconds)["spread"]["peer"] == 1.0
