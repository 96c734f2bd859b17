"""Whole studies where nothing is there: no sentence claims an effect. The long form is
scripts/null_studies.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from interp.models import load
from interp.models.checks.model_checks import cache_bound, measured_whole
from interp.models.checks.probe import LOST, pass_bound
from interp.testbeds import planted
from interp.testbeds.planted.spec import subspaces
from support.report_pages import folder
from support.reporting_tables import all_tables

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
        "persistence",
        "directions",
        "geometry",
        "patching",
        "attribution",
        "contributions",
        "ablation",
        "circuit",
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


def test_a_model_that_enlarges_a_rounding_under_an_edit_is_loaded():
    """That of seed 50 does, a hundredfold: read in steps its logits differ by more than most may,
    and by no more than the same pass does when its embedding moves by one rounding.
    """
    script = runpy.run_path(str(SCRIPT), run_name="null")
    with script["planted_as"]("planted_null", 50):
        model = load("planted_null")
    error = measured_whole(model, "cache under an edit").error
    assert pass_bound(model) < error <= cache_bound(model) < LOST


def test_a_seed_draws_the_planted_model_and_the_words_that_it_knows(tmp_path):
    script = runpy.run_path(str(SCRIPT), run_name="null")
    known = []
    for seed in (1, 2):
        with script["planted_as"]("planted", seed):
            _, battery = script["STUDIES"]["planted"](tmp_path, seed)
            loaded = load("planted", check=False)
        lines = Path(battery).read_text(encoding="utf-8").splitlines()
        tokens = loaded.tokenize([json.loads(line)["text"] for line in lines])
        assert not any(loaded.tokenizer.unk_token_id in row for row in tokens)
        known.append(loaded.tokenizer.get_vocab())
    assert known[0] != known[1]


def test_an_unknown_study_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "plante"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "unknown studies plante" in capsys.readouterr().err


def test_what_is_kept_is_not_run_again(tmp_path, monkeypatch, capsys):
    """Two of three seeds are there: the third alone is run, and all three are counted. What counts
    are the verdicts of the present rules on the tables that were kept.
    """
    script = runpy.run_path(str(SCRIPT), run_name="null")
    asked, kept = [], tmp_path / "kept"
    probes = all_tables()["probes"]
    claim = (
        "probes: a linear probe tells emotional texts from their neutral twins, beyond the words"
    )

    def run_study(name, seed, *, preset, out):
        asked.append((name, seed, preset))
        p = 0.005 if seed == 1 else 0.5
        folder(out, {"probes": probes.assign(p=p, p_max_t=p)})

    monkeypatch.setitem(script["main"].__globals__, "run_study", run_study)
    for seeds in (2, 3, 3):
        monkeypatch.setattr(
            sys,
            "argv",
            [str(SCRIPT), "planted_null", "--seeds", str(seeds), "--keep", str(kept), "--json"],
        )
        script["main"]()
    assert asked == [("planted_null", seed, "quick") for seed in range(3)]
    told = capsys.readouterr().out
    last = json.loads(told[told.rindex("[") :])
    found = {row["what"]: (row["found"], row["seeds"]) for row in last}
    assert (found[claim], found[ANY]) == ((1, 3), (1, 3))
    assert len(list(kept.iterdir())) == 3


def test_half_the_effect_is_half_the_part_of_the_noise():
    script = runpy.run_path(str(SCRIPT), run_name="null")
    whole, half = (script["spec_of"](name, 3)["planted"] for name in ("planted", "planted_half"))
    assert whole.seed == half.seed == 3
    ratios = []
    for spec in (whole, half):
        table = planted.build(spec)[0].get_input_embeddings().weight.detach().numpy()
        space = subspaces(spec)
        ratios.append(
            np.linalg.norm(table @ space.evidence.T, axis=1).max()
            / np.linalg.norm(table @ space.free.T, axis=1).mean()
        )
    assert ratios[1] == pytest.approx(ratios[0] / 2, rel=0.05)
