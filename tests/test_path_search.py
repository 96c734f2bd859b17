"""Searching paths, and its command: the planted path is found and told of, every tiny family runs,
bad input is refused.
"""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import stimuli
from interp.causal import search_paths
from interp.causal.nodes import Node
from interp.causal.path_search import PathSearch
from interp.causal.paths import Edge, Receiver, patch_paths
from interp.causal.readout import Readout
from interp.errors import StatisticsError, UsageError
from interp.models import load
from interp.reporting.paths import path_map, said_of_paths
from interp.results import read_table, table
from interp.sites import Site
from interp.testbeds import planted
from stimuli.splits import balanced
from support.commands import outcome
from test_causal_patching import SUFFIX, UNEQUAL, WORDS, pick

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
EMOTIONS = ("joy", "trust")
READOUT = Readout(planted.readout(SPEC), "")


@pytest.fixture(scope="module")
def battery():
    """Two emotions of the planted battery, without the arm that names them."""
    whole = stimuli.load("planted")
    kept = {
        item.id for pair in whole.pairs() if pair.affective.emotion in EMOTIONS for item in pair
    }
    return replace(whole, items=tuple(item for item in whole if item.id in kept))


@pytest.fixture(scope="module")
def halves(battery):
    return tuple(balanced(half, n=4) for half in battery.pairs().split())


@pytest.fixture(scope="module")
def found(halves):
    model = load("planted", check=False)
    return table(search_paths(model, halves, READOUT, PathSearch(senders=3, top=3)))


def test_the_planted_paths_rank_first_and_random_ones_carry_nothing(found):
    """From the head into the neurons' MLP, and from there to the words."""
    exact = pick(found, metric="path_effect")
    first = exact[exact["chosen"] == "top"]
    heads = {TRUTH.heads[emotion] for emotion in EMOTIONS}
    senders = {(row.layer, row.index) for row in first.itertuples() if row.component == "head"}
    assert senders == {place for (place,) in heads}  # each emotion has one of its own
    of_heads, of_mlp = (first[first["component"] == kind] for kind in ("head", "sublayer"))
    assert set(of_heads["receiver"]) == {"mlp"}
    assert set(of_heads["receiver_layer"]) == {TRUTH.neuron_layer}
    assert (of_mlp["layer"].item(), of_mlp["receiver"].item()) == (TRUTH.neuron_layer, "logits")
    assert first["value"].min() > 1
    assert exact[exact["chosen"] == "random"]["value"].abs().max() < 0.1
    chosen = pick(found, metric="chosen_effect", control="")
    assert chosen["value"].item() == pytest.approx(first["value"].mean())
    assert chosen["p"].item() == 1 / 2**4  # four scenarios: no smaller one is there
    above = pick(found, metric="above_random")["value"].item()
    random = pick(found, metric="chosen_effect", control="random")["value"].item()
    assert above == pytest.approx(chosen["value"].item() - random)
    assert pick(found, metric="relative_error")["value"].item() < 0.01


def test_effects_are_those_of_path_patching_on_the_half_that_chose_nothing(found, halves):
    (layer, head), *_ = TRUTH.heads["joy"]
    edge = Edge(Node(Site("z", layer, head)), Receiver("mlp", TRUTH.neuron_layer))
    model = load("planted", check=False)
    rows = table(patch_paths(model, halves[1], READOUT, [edge]))
    ways = [pick(rows, mode=way, emotion="all")["value"].item() for way in ("denoise", "noise")]
    exact = pick(found, metric="path_effect", chosen="top")
    own = exact[(exact["layer"] == layer) & (exact["index"] == head)]
    assert own["value"].item() == pytest.approx((ways[0] - ways[1]) / 2)
    assert own["n"].item() == len(halves[1])


def test_edges_are_ranked_by_the_half_that_chooses(halves):
    model, asked = load("planted", check=False), PathSearch(senders=1, top=1)

    def ranked(told):
        rows = table(search_paths(model, (halves[0], told), READOUT, asked))
        rows = pick(rows, metric="estimated_path_effect").sort_values("rank")
        places = rows[["receiver", "receiver_layer", "receiver_head"]].fillna(-1)
        return places.to_numpy().tolist(), rows["value"].to_numpy()

    (own, effects), (other, elsewhere) = ranked(halves[0]), ranked(halves[1])
    assert own == other
    assert (np.diff(effects) <= 0).all()
    assert not (np.diff(elsewhere) <= 0).all()


def test_the_sentence_says_no_more_than_its_number(found):
    """Four scenarios give no p below .05, so nothing can be said; with more it is found, unless
    random paths do as much.
    """

    def said(**p):
        told = found.assign(p=[p.get(one, 0.01) for one in found["metric"]], least_p=0.01)
        return said_of_paths(told)

    nothing = "It was not found that the paths"
    first = said_of_paths(found)[0]
    assert first.startswith("Whether the paths that the gradient ranks first")
    assert "p = 0.062 (never below 0.062)" in first
    assert said()[0].startswith("The paths that the gradient ranks first in one half")
    assert said(above_random=0.4)[0].startswith(nothing)
    assert said(chosen_effect=0.4)[0].startswith(nothing)
    assert "miss these exact patches by" in said()[1]


def test_the_map_has_a_row_per_sender_and_sums_heads(found):
    figure = path_map(found)
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(images) == 4
    rows = pick(found, metric="estimated_path_effect")
    shown = float(np.nansum([np.ma.filled(image, np.nan) for image in images]))
    assert shown == pytest.approx(rows["value"].sum())


FAMILIES = ("gpt2", "qwen3", "gemma3", "mistral", "gpt_neo", "gpt_neox")
"""Those beside Llama and Gemma-2, which `test_causal_paths` holds against the plain model."""


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_runs(tiny_folder, family):
    halves = ([UNEQUAL[0]], [UNEQUAL[1]])
    asked = PathSearch(senders=1, top=2, position="edit")
    model = load(str(tiny_folder(family)), check=False)
    rows = table(search_paths(model, halves, Readout(WORDS, SUFFIX), asked))
    exact = pick(rows, metric="path_effect")
    assert len(exact) == 4
    assert exact["value"].notna().all()
    assert model.hooks_clean()


def test_what_cannot_be_searched(halves):
    with pytest.raises(UsageError, match="unknown position 'first'"):
        PathSearch(position="first")
    with pytest.raises(UsageError, match="senders is 0"):
        PathSearch(senders=0)
    model = load("planted", check=False)
    with pytest.raises(StatisticsError, match="they have 4 and 0"):
        search_paths(model, (halves[0], []), READOUT)
    with pytest.raises(UsageError, match="senders is 21: planted has 20 heads and MLPs"):
        search_paths(model, halves, READOUT, PathSearch(senders=21))
    with pytest.raises(UsageError, match="top is 99, and there are 14 edges from 1 senders"):
        search_paths(model, halves, READOUT, PathSearch(senders=1, top=99))


def test_the_command_fills_a_folder_and_says_what_it_found(battery, tmp_path):
    path = stimuli.save(battery, tmp_path / "two.jsonl")
    line = ("paths", "--model", "planted", "--stimuli", path, "--out", tmp_path / "out")
    how = ("--senders", "2", "--top", "2", "--pairs", "2", "--position", "edit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, told = outcome(*line, *how, "--emotions", "joy", "--json")
    assert code == 0, told
    said = json.loads(told[told.index("{") :])
    assert {"from", "into", "chosen", "exact", "estimated"} == set(said["paths"][0])
    assert len(said["paths"]) == 4
    rows = read_table(tmp_path / "out" / "tables" / "paths.csv")
    assert isinstance(rows, pd.DataFrame)
    assert rows[rows["metric"] == "path_effect"]["n"].unique().tolist() == [2]
    assert (tmp_path / "out" / "figures" / "path_map.svg").exists()
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert (record["config"]["senders"], record["config"]["position"]) == (2, "edit")
    code, told = outcome(*line)
    assert (code, "holds something" in told) == (4, True)
    line = (*line[:-1], tmp_path / "new")
    code, told = outcome(*line, "--senders", "0")
    assert code == 2
    code, told = outcome("paths", "--model", "nowhere", "--stimuli", path, "--out", tmp_path / "x")
    assert code == 2
    assert not (tmp_path / "x").exists()
