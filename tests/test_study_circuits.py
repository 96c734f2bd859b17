"""The stage circuit and the command: the planted circuit is found and claimed, families run or are
refused by name, bad input is told before the work.
"""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import interp
import stimuli
from interp import study
from interp.causal.circuit import Circuit, load_circuits
from interp.causal.faithfulness import FaithfulnessTrial
from interp.causal.readout import Readout
from interp.errors import StatisticsError, UsageError
from interp.evaluation.judges import judges_of
from interp.evaluation.steering import CIRCUIT_SCALES, SteeringTrial, evaluate_steering
from interp.models import load
from interp.models.generation import Decoding
from interp.results import read_table
from interp.sites import Site
from interp.study import circuits
from interp.study.circuits import enough_draws, gather, influence_of, search_all
from interp.study.folder import Study
from interp.testbeds import planted
from stimuli.battery import Battery, Stimulus
from support.commands import outcome
from support.given_directions import given

EMOTIONS = ("joy", "fear")
TRUTH = planted.truth(planted.SPECS["planted"])
FINAL = Site("resid_post", TRUTH.neuron_layer)


def test_the_stage_finds_the_planted_circuits_and_says_so(tmp_path, monkeypatch):
    """What they were found in is no longer in memory when they are measured."""
    opened, forget = [], Study.forget_read

    def measured(*material, **how):
        assert not opened[-1]._read
        return influence_of(*material, **how)

    monkeypatch.setattr(Study, "forget_read", lambda one: (opened.append(one), forget(one))[1])
    monkeypatch.setattr(circuits, "influence_of", measured)
    asked = study.Settings.of(
        model="planted", stimuli="planted", out=tmp_path / "run", emotions=EMOTIONS,
        preset="quick", optimal_circuits=True,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the record keeps them
        told = study.run(asked, stages=["circuit"])
    alone = [one for one in told["findings"] if one["family"] == "above_random"]
    without = [one for one in told["findings"] if one["family"] == "less_without"]
    assert [one["verdict"] for one in alone] == ["found", "found"]  # at the last token, and at all
    # of four heads per layer a random circuit takes the planted one too often for two emotions
    assert all(one["estimate"] > 0.1 for one in without)
    assert len(without) == 2
    greedy = [one for one in told["findings"] if one["family"] == "below_greedy"]
    assert [one["verdict"] for one in greedy] == ["not found"] * 2  # the circuits are whole
    assert all(abs(one["estimate"]) < 0.02 for one in greedy)
    rows = read_table(tmp_path / "run" / "tables" / "circuit.csv")
    assert {"influence", "quota", "weight", "overlap", "faithfulness", "cpr"} <= set(rows["metric"])
    held = rows[(rows["metric"] == "circuit_faithfulness") & (rows["outcome"] == "words")]
    assert held[held["control"] == ""]["value"].min() > 0.98
    assert {"integrated", "greedy"} <= set(held["control"])
    wide = rows.assign(ci_low=rows.ci_low.where(rows.metric != "influence", -1e6))
    largest = rows[rows.metric == "influence"].value.abs().max()
    panel = interp.draw("influence_by_depth", wide).axes[0]
    assert panel.get_ylim() == pytest.approx((-2 * largest, 2 * largest))
    curve = interp.draw("faithfulness_curve", rows)
    lines = {text.get_text() for legend in curve.legends for text in legend.get_texts()}
    assert {"by integrated gradients", "chosen greedily", "the circuit"} <= lines
    one = interp.draw("faithfulness_curve", rows.assign(ci_low=np.nan, ci_high=np.nan))
    lines = {text.get_text() for legend in one.legends for text in legend.get_texts()}
    assert "the circuit" not in lines
    assert "the circuit (no interval)" in lines
    saved = load_circuits(tmp_path / "run" / "circuits" / "circuits.json")
    for emotion in EMOTIONS:
        neurons = [(node.layer, node.index) for node in saved[emotion].neurons]
        assert tuple(neurons[:4]) == TRUTH.neurons[emotion]


@pytest.mark.parametrize(
    "family",
    ["gpt2", "llama", "qwen3", "gemma2", "gemma3", "mistral", "gpt_neo", "gpt_neox", "mixtral"],
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
    readout = Readout({"fear": ["afraid"]}, " he was")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        material = gather(model, battery, ["fear"], readout=readout)
        searched = search_all(material, ["fear"])
        trial = FaithfulnessTrial(shares=(0.5,), draws=2, tried=1)
        rows = influence_of(material, searched, [trial], n_pairs=2)
    assert searched["fear"].circuit.heads
    assert {"influence", "quota", "weight", "effect"} <= {row["metric"] for row in rows}
    left_out = any("post is left out" in str(one.message) for one in told)
    assert bool(searched["fear"].circuit.neurons) != left_out
    assert left_out == (family == "mixtral")  # its MLP shows no neurons


def test_a_model_whose_parts_do_not_add_up_is_refused_before_it_reads(small, monkeypatch):
    model = load("planted", check=False)
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
    twins = [item for pair in battery.pairs().of("joy")[:12] for item in pair]
    return replace(battery, items=tuple(twins))


def test_one_verb_gives_a_circuit(small):
    model = load("planted", check=False)
    found = interp.circuit(model, small, budget=30)
    assert isinstance(found, Circuit)
    assert (len(found.heads) <= 9, found.emotion) == (True, "joy")
    assert (found.heads[0].layer, found.heads[0].index) == TRUTH.heads["joy"][0]
    best = interp.circuit(model, small, budget=30, optimal=True)
    assert [len(nodes) for nodes in best.nodes.values()] == [len(n) for n in found.nodes.values()]
    assert {(node.layer, node.index) for node in best.neurons[:4]} == set(TRUTH.neurons["joy"])
    own = {(node.layer, node.index): node for node in found.heads}
    assert best.heads[0] == own[TRUTH.heads["joy"][0]]
    assert best.provenance["chosen"] == "greedy"
    with pytest.raises(UsageError, match="so give 1 to 16"):
        interp.circuit(model, small, budget=800)
    with pytest.raises(UsageError, match="name one"):
        interp.circuit(model, stimuli.load("planted"))
    with pytest.raises(StatisticsError, match="no pair of the battery evokes 'fear'"):
        interp.circuit(model, small, emotion="fear")
    with pytest.raises(UsageError, match="no words for 'envy'"):
        gather(model, small, ["envy"], readout=Readout({"joy": ["joy"]}, ""))


def test_the_command_writes_a_file_and_says_what_it_is_worth(small, tmp_path):
    path = stimuli.save(small, tmp_path / "joy.jsonl")
    line = ("circuit", "--model", "planted", "--stimuli", path, "--pairs", "5")
    out = tmp_path / "joy.json"
    code, told = outcome(*line, "--emotion", "joy", "--out", out, "--json", "--optimal-circuits")
    assert code == 0, told
    said = json.loads(told[told.index("{") :])
    (of_joy,) = said["circuits"]
    for reach in ("last", "all"):
        assert of_joy[f"f ({reach})"] == pytest.approx(1.0, abs=0.02)
        assert of_joy[f"f random ({reach})"] < 0.9
        assert of_joy[f"left without ({reach})"] == pytest.approx(0.0, abs=0.02)
        for rival in ("by the gradient", "greedy"):
            assert of_joy[f"f {rival} ({reach})"] == pytest.approx(1.0, abs=0.02)
    # of eight heads (or as many as there are) and eight neurons one and four are planted
    tried = min(8, of_joy["heads"]) + 8
    assert of_joy["needed (last)"] == pytest.approx(5 / tried, abs=0.001)
    assert Circuit.load(out).emotion == "joy"
    (prompt,) = [item.text for item in small if item.emotion == "neutral"][:1]
    steered = ("steer", "--circuit", out, "--prompt", prompt, "--max-new-tokens", "1", "--json")
    code, told = outcome(*steered, "--model", "planted")
    texts = {row["arm"]: row["text"] for row in json.loads(told)["texts"]}
    assert texts["steered"] in planted.readout(planted.SPECS["planted"])["joy"]
    assert texts["unsteered"] != texts["steered"]
    code, told = outcome(*steered, "--model", "planted", "--layer", "2")
    assert (code, "without --layer" in told) == (2, True)
    code, told = outcome(*steered, "--model", "planted_null")
    assert (code, "heads and neurons of two models do not correspond" in told) == (4, True)
    code, told = outcome(*line, "--emotion", "envy", "--out", out)
    assert (code, "'envy' has no twins; the battery has joy" in told) == (2, True)
    code, told = outcome(*line, "--out", tmp_path)
    assert (code, "is a folder" in told) == (2, True)
    code, told = outcome(*line, "--out", out, "--budget", "1")
    assert code == 2


def test_circuits_are_an_arm_of_an_evaluation_of_steering(small):
    model = load("planted", check=False)
    found = {"joy": interp.circuit(model, small)}
    directions = {"joy": given(TRUTH.direction("joy", FINAL), FINAL, 5.0, model.provenance)}
    judges = judges_of("oracle", model, Readout(planted.readout(planted.SPECS["planted"]), ""))
    prompts = small.pairs().neutral[:4]
    asked = SteeringTrial(
        scales=(1.0,), unit="length", draws=1, decoding=Decoding(max_new_tokens=2), circuits=found
    )
    scored = evaluate_steering(model, prompts, [directions], judges, asked)
    success = {
        (row["half"], row["control"], row["emotion"]): row
        for row in scored.rows
        if row["metric"] == "success"
    }
    row = success["report", "circuit", "all"]
    assert (row["value"], row["unit"], row["layer"] != row["layer"]) == (1.0, "shift", True)
    tried = [row for row in scored.rows if row["half"] == "choose" and row["control"] == "circuit"]
    assert [row["scale"] for row in tried] == list(CIRCUIT_SCALES)
    assert row["scale"] == max(tried, key=lambda one: one["value"])["scale"]
    asked = replace(asked, circuits={"fear": found["joy"]})
    with pytest.raises(UsageError, match="none of joy"):
        evaluate_steering(model, prompts, [directions], judges, asked)


def test_few_emotions_have_more_random_orders():
    assert [enough_draws(n) for n in (1, 2, 8)] == [49, 10, 3]
