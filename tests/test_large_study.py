"""The script that runs a study of many texts or emotions: its model has room for them, and what is
planted is found.
"""

import runpy
import sys
from pathlib import Path

import pytest

from interp.testbeds import planted

SCRIPT = Path(__file__).parent.parent / "scripts" / "large_study"


@pytest.mark.parametrize(
    ("emotions", "texts"), [(28, 32_000), (171, 2000), (3, 54), (8, 24)], ids=str
)
def test_the_model_has_room_for_what_is_asked(emotions, texts):
    spec = runpy.run_path(str(SCRIPT), run_name="large")["spec_for"](emotions, texts, n_layers=12)
    assert (len(spec.emotions), spec.n_layers) == (emotions, 12)
    assert len(planted.readout(spec)) == emotions
    assert abs(3 * emotions * spec.words - texts) <= 1.5 * emotions


def test_a_study_tells_its_findings_seconds_and_memory(monkeypatch, capsys, tmp_path):
    size = ["--emotions", "4", "--texts", "72", "--layers", "3", "--preset", "quick"]
    some = ["--stages", "capture", "probes", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *size, *some])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = capsys.readouterr()
    assert "72 texts of 4 emotions, 3 layers of" in told.err
    lines = told.out.splitlines()
    assert [line for line in lines if line.startswith("found ") and "neutral twins" in line]
    stages = {line.split()[0] for line in lines if line.endswith(" s")}
    assert stages == {"capture", "probes"}
    assert lines[-1].endswith("GB")
    assert (tmp_path / "run" / "tables" / "probes.csv").is_file()
