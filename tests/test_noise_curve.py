"""The curve against noise: every ranking is right at the default noise, and noise undoes those that
stand on a fitted direction first.
"""

import json
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

from interp.errors import DataError
from interp.evaluation import noise_truth
from interp.evaluation.noise_truth import recovery_rows
from interp.reporting.recovered import recovery_by_noise
from interp.testbeds.planted import SPECS, PlantedSpec

SCRIPT = Path(__file__).parent.parent / "scripts" / "noise_curve"
SMALL = PlantedSpec(n_layers=3, d_mlp=16, emotions=("joy", "trust"), words=8)
METHODS = {"exact_contribution", "attribution", "integrated", "activation_patching"}


@pytest.fixture(scope="module")
def found():
    return pd.DataFrame(recovery_rows(SMALL, noises=(1.0, 128.0)))


def test_at_the_default_noise_everything_planted_ranks_first(found):
    usual = found[found["noise"] == SPECS["planted"].noise]
    assert set(usual["method"]) == METHODS
    assert set(usual["what"]) == {"head", "neuron", "layer", "position"}
    assert set(usual[usual["what"] == "position"]["method"]) == METHODS - {"exact_contribution"}
    assert (usual["value"] == 1.0).all()


def test_noise_undoes_contributions_before_exact_patches(found):
    loud = found[found["noise"] == 128.0].set_index(["what", "method"])["value"]
    assert loud.xs("exact_contribution", level="method").min() < 1.0
    for what in ("head", "neuron", "layer", "position"):
        assert loud[what, "activation_patching"] > 0.95


def test_the_figure_has_a_panel_for_each_thing_planted(found):
    figure = recovery_by_noise(found)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["planted heads", "planted neurons", "planted layers", "planted positions"]
    drawn = figure.axes[0].lines[0]
    assert drawn.get_xdata().tolist() == [1.0, 128.0]
    with pytest.raises(DataError, match="no noise was tried"):
        recovery_by_noise(found.iloc[:0])


def test_the_script_writes_the_table_and_its_figure(found, monkeypatch, capsys, tmp_path):
    def known(spec, *, noises, seed):
        assert (spec, noises, seed) == (SPECS["planted"], [1.0, 128.0], 3)
        return found.to_dict("records")

    monkeypatch.setattr(noise_truth, "recovery_rows", known)
    given = ["--json", "--noises", "1,128", "--seed", "3", "--out", str(tmp_path / "noise")]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *given])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    rows = json.loads(capsys.readouterr().out)
    assert rows == found.to_dict("records")
    assert len(pd.read_csv(tmp_path / "noise" / "noise_curve.csv")) == len(rows) == 30
    assert (tmp_path / "noise" / "recovery_by_noise.svg").exists()
