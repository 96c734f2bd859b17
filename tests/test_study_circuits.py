"""The stage circuit and the command: the planted circuit is found and claimed, families run or are
refused by name, bad input is told before the work.
"""

import json
import warnings
from dataclasses import replace

import pytest

import interp
import stimuli
from interp import study
from interp.causal.circuit import Circuit, load_circuits
from interp.causal.faithfulness import FaithfulnessTrial
from interp.errors import StatisticsError, UsageError
from interp.models import load
from interp.results import read_table
from interp.study.circuits import enough_draws, gather, rows_of, search_all
from interp.testbeds import planted
from stimuli.battery import Battery, Stimulus
from support.commands import outcome

EMOTIONS = ("joy", "fear")
TRUTH = planted.truth(planted.SPECS["planted"])


def test_the_stage_finds_the_planted_circuits_and_says_so(tmp_path):
    asked = study.Settings.of(
        model="planted", stimuli="planted", out=tmp_path / "run", emotions=EMOTIONS, preset="quick"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the record keeps them
        told = study.run(asked, stages=["circuit"])
    (finding,) = told["findings"]
    assert finding["verdict"] == "found"
    rows = read_table(tmp_path / "run" / "tables" / "circuit.csv")
    assert {"influence", "quota", "weight", "overlap", "faithfulness", "cpr"} <= set(rows["metric"])
    held = rows[(rows["metric"] == "circuit_faithfulness") & (rows["outcome"] == "words")]
    assert held[held["control"] == ""]["value"].min() > 0.98
    saved = load_circuits(tmp_path / "run" / "circuits" / "circuits.json")
    for emotion in EMOTIONS:
        neurons = [(node.layer, node.index) for node in saved[emotion].neurons]
        assert tuple(neurons[:4]) == TRUTH.neurons[emotion]


@pytest.mark.parametrize(
    "family", ["gpt2", "llama", "qwen3", "gemma2", "mistral", "gpt_neo", "mixtral"]
)
def test_families_run_or_are_refused_by_name_before_anything_is_read(tiny_folder, family):
    model = load(str(tiny_folder(family)), check=False)
    texts = ("the dog bit the child", "the man lost the house", "the old cat died", "he was left")
    items = []
    for at, text in enumerate(texts):
        about = {"pair": str(at), "group": str(at)}
        items.append(Stimulus(f"a{at}", f"{text} and ran home", "fear", "keyword_free", **about))
        items.append(Stimulus(f"n{at}", f"{text} and saw home", "neutral", "neutral", **about))
    battery = Battery("tiny", tuple(items))
    readout = interp.causal.Readout({"fear": ["afraid"]}, " he was")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        material = gather(model, battery, ["fear"], readout=readout)
        searched = search_all(material, ["fear"])
        trial = FaithfulnessTrial(shares=(0.5,), draws=2, tried=1)
        rows = rows_of(material, searched, trial, n_pairs=2)
    assert searched["fear"].circuit.heads
    assert {"influence", "quota", "weight", "effect"} <= {row["metric"] for row in rows}
    left_out = any("post is left out" in str(one.message) for one in told)
    assert bool(searched["fear"].circuit.neurons) != left_out
    assert left_out == (family == "mixtral")  # its MLP shows no neurons


def test_a_model_whose_parts_do_not_add_up_is_refused_before_it_reads(small, monkeypatch):
    model = interp.load("planted")
    monkeypatch.setattr(
        "interp.causal.circuits.usable",
        lambda model, method, sites: ([], dict.fromkeys(sites, "why")),
    )
    monkeypatch.setattr("interp.study.circuits.capture", None)
    with pytest.raises(UsageError, match="z is left out in 4 layers: why"):
        gather(model, small, ["joy"])


@pytest.fixture(scope="module")
def small() -> Battery:
    battery = stimuli.load("planted")
    keep = {item.pair for item in battery if item.emotion == "joy"}
    return replace(battery, items=tuple(item for item in battery if item.pair in keep))


def test_one_verb_gives_a_circuit(small):
    model = interp.load("planted")
    found = interp.circuit(model, small, budget=30)
    assert isinstance(found, Circuit)
    assert (len(found.heads) <= 9, found.emotion) == (True, "joy")
    assert (found.heads[0].layer, found.heads[0].index) == TRUTH.heads["joy"][0]
    with pytest.raises(UsageError, match="so give 1 to 512"):
        interp.circuit(model, small, budget=800)
    with pytest.raises(UsageError, match="name one"):
        interp.circuit(model, stimuli.load("planted"))
    with pytest.raises(StatisticsError, match="no pair of the battery evokes 'fear'"):
        interp.circuit(model, small, emotion="fear")
    with pytest.raises(UsageError, match="no words for 'envy'"):
        gather(model, small, ["envy"], readout=interp.causal.Readout({"joy": ["joy"]}, ""))


def test_the_command_writes_a_file_and_says_what_it_is_worth(small, tmp_path):
    path = stimuli.save(small, tmp_path / "joy.jsonl")
    line = ("circuit", "--model", "planted", "--stimuli", path, "--pairs", "5")
    out = tmp_path / "joy.json"
    code, told = outcome(*line, "--emotion", "joy", "--out", out, "--json")
    assert code == 0, told
    said = json.loads(told[told.index("{") :])
    assert said["circuits"][0]["f"] == pytest.approx(1.0, abs=0.02)
    assert said["circuits"][0]["f"] > said["circuits"][0]["f random"]
    assert Circuit.load(out).emotion == "joy"
    code, told = outcome(*line, "--emotion", "envy", "--out", out)
    assert (code, "'envy' has no twins; the battery has joy" in told) == (2, True)
    code, told = outcome(*line, "--out", tmp_path)
    assert (code, "is a folder" in told) == (2, True)
    code, told = outcome(*line, "--out", out, "--budget", "1")
    assert code == 2


def test_few_emotions_have_more_random_orders():
    assert [enough_draws(n) for n in (1, 2, 8)] == [99, 10, 3]
