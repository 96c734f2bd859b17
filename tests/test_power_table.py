"""The table of power: naive tests claim what is not there, those of a study find what is."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "power_table"


def rows_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *given: str
) -> dict[tuple[str, float], dict]:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--json", *given])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return {(row["what"], row["size"]): row for row in json.loads(capsys.readouterr().out)}


def test_effects_are_found_and_nothing_is_not(monkeypatch, capsys):
    names = ("gate", "restoration", "component", "ablation", "steering", "dose")
    rows = rows_of(monkeypatch, capsys, "--runs", "20", *names)
    assert {name for name, _ in rows} == set(names)
    assert {row["runs"] for row in rows.values()} == {20}
    for name in names:
        assert rows[name, 0.0]["now"] <= 0.2  # .05 and three and a half binomial errors
        assert rows[name, 1.0]["now"] >= 0.8
        assert rows[name, 0.0]["now"] < rows[name, 0.5]["now"]
    assert rows["component", 0.0]["naive"] > 0.5  # ranked and told on the same scenarios
    assert rows["ablation", 1.0]["naive"] == 0.0  # 12 draws allow no p below 1 in 13


@pytest.mark.parametrize("name", ["probe", "direction"])
def test_a_place_is_chosen_in_both_ways(name):
    """A study finds some two thirds of the effects of 12 scenarios, so that one data set says
    nothing: of 8, at least 4 in 10, binomial error .17.
    """
    claim = runpy.run_path(str(SCRIPT), run_name="power")["CLAIMS"][name]
    planted, nothing = (
        np.array([claim(size, np.random.default_rng([seed, 1])) for seed in range(8)])
        for size in (1.0, 0.0)
    )
    assert planted[:, 0].all()
    assert planted[:, 1].mean() >= 0.4
    assert not nothing[:, 1].any()


def test_an_unknown_claim_is_told(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        rows_of(monkeypatch, capsys, "prob")
    assert "unknown claims prob" in capsys.readouterr().err
