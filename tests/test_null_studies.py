"""Whole studies where nothing is there: no sentence claims an effect. The long form is
scripts/null_studies.
"""

import json
import runpy
import sys
from pathlib import Path

import pytest

from interp.models import load

SCRIPT = Path(__file__).parent.parent / "scripts" / "null_studies"
ANY = "any sentence that claims an effect"


@pytest.mark.slow
def test_a_study_without_a_circuit_claims_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "planted_null", "--seeds", "1", "--json"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = json.loads(capsys.readouterr().out)
    assert {row["seeds"] for row in told} == {1}
    stages = {row["what"].split(":")[0] for row in told}
    assert stages == {
        "probes",
        "directions",
        "patching",
        "contributions",
        "ablation",
        "steering",
        ANY,
    }
    assert [row for row in told if row["found"]] == []


def test_a_random_llama_knows_the_words_that_it_is_asked_for(tmp_path):
    script = runpy.run_path(str(SCRIPT), run_name="null")
    model, battery = script["STUDIES"]["random_llama"](tmp_path, 1)
    loaded = load(model, check=False)
    lines = [json.loads(line) for line in Path(battery).read_text(encoding="utf-8").splitlines()]
    unknown = 0
    texts = loaded.tokenize([line["text"] for line in lines])
    assert max(max(tokens) for tokens in texts) > 100
    assert not any(unknown in tokens for tokens in texts)
    other = script["texts_of"]("planted_null", tmp_path, 2)
    assert Path(other).read_text(encoding="utf-8") != "\n".join(map(json.dumps, lines))


def test_an_unknown_study_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "plante"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "unknown studies plante" in capsys.readouterr().err
