"""Sources of patches: each text is read once, and holds what a pass of its own would show."""

import numpy as np
import pytest
import torch

from interp.causal import sources
from interp.causal.attribution import Attribution, encode_cases, estimate_sources
from interp.causal.nodes import Node
from interp.causal.patched_runs import patch_sources, patched_cells
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.causal.restoration import OTHER_EMOTION
from interp.causal.transplants import read_sources
from interp.causal.words import text_scores
from interp.sites import Site
from test_causal_patches import PAIRS, READOUT

NODES = {
    "last": [Node(Site("z", 1)), Node(Site("post", 1), 5)],
    "edit": [Node(Site("resid_post", 0))],
}
SITES = [node.site for own in NODES.values() for node in own]
LONG = Readout({"joy": ["so good"], "fear": ["afraid of it"], "anger": ["angry"]}, READOUT.suffix)


@pytest.fixture
def llama(tiny_model):
    return tiny_model("llama")


@pytest.fixture
def read(monkeypatch):
    """The tokens of every text that is read as a source."""
    found, run = [], sources.run_forward

    def watched(model, rows, **how):
        found.extend(row.tokens for row in rows)
        return run(model, rows, **how)

    monkeypatch.setattr(sources, "run_forward", watched)
    return found


def all_cases(llama):
    """Both directions, each case with a stranger."""
    return encode_cases(llama, PAIRS, READOUT).foreign


def test_only_what_is_taken_at_the_positions_that_are_asked_for_is_kept(llama):
    cases = encode_cases(llama, PAIRS, READOUT)
    bound, sites = READOUT.bind(llama), [Site("resid_post", 0)]
    texts = [case.source for case in cases.own["denoise"]]
    wide = {
        asked: estimate_sources(llama, cases, bound, sites, Attribution(positions=asked))
        .donor(texts)
        .held.sites[sites[0]]
        .shape[1]
        for asked in (("last",), ("edit",), ("last", "edit"))
    }
    assert wide["last",] == 1 < wide["edit",] < wide["last", "edit"]


def test_one_head_is_taken_out_of_all_that_are_held(llama):
    cases = encode_cases(llama, PAIRS, READOUT)
    bound, head = READOUT.bind(llama), Node(Site("z", 1, 3))
    held = estimate_sources(llama, cases, bound, [Site("z", 1)], Attribution(positions=("last",)))
    shared, alone = (
        patched_cells(llama, cases.own["denoise"], bound, {"last": [head]}, sources=one)
        for one in (held, None)
    )
    ours, theirs, clean = (
        cell["scores"]
        for cell in (shared[head, "last", ""], alone[head, "last", ""], alone[None, "target", ""])
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs - clean).max() > 0.001


def test_a_text_is_read_once_whatever_it_is_a_source_of(llama, read):
    ways = all_cases(llama)
    every = [case for cases in ways.values() for case in cases]
    held = patch_sources(llama, every, READOUT.bind(llama), NODES)
    for cases in ways.values():
        assert all(case.strangers for case in cases)
        held.donor([case.source for case in cases])
        held.donor([case.strangers[OTHER_EMOTION] for case in cases])
        held.scores([case.source for case in cases])
    texts = {case.source.tokens for case in every}
    assert len(texts) == 8  # six emotional ones, and a neutral one of each scenario
    assert sorted(read) == sorted(texts)


@pytest.mark.parametrize("room", [0, 5000, 1 << 30])
def test_what_a_text_holds_is_what_a_pass_of_its_own_shows(llama, monkeypatch, room):
    """Whether or not there is room to keep it, at each position that a case takes it from."""
    monkeypatch.setattr(sources, "SOURCE_BYTES", room)
    ways = all_cases(llama)
    every = [case for cases in ways.values() for case in cases]
    held = patch_sources(llama, every, READOUT.bind(llama), NODES)
    for cases in ways.values():
        rows = list(range(len(cases)))
        for control in ("", OTHER_EMOTION):
            alone = read_sources(llama, cases, rows, control, SITES)
            texts = [case.strangers[control] if control else case.source for case in cases]
            found = held.donor(texts)
            assert torch.allclose(found.logits, alone.logits, atol=1e-4)
            for position in ("last", "edit"):
                taken = [case.moves[position, control][0] for case in cases]
                for site in SITES:
                    ours, theirs = (one.held.taken(site, taken) for one in (found, alone))
                    assert torch.allclose(ours, theirs, atol=1e-4)
                    assert ours.abs().max() > 0.01


def test_without_room_patching_reads_again_and_finds_the_same(llama, read, monkeypatch):
    asked = Patches(sites=("resid_post", "z"), controls=("random_source", "other_emotion"))
    kept = patch_pairs(llama, PAIRS, READOUT, asked)
    once = len(read)
    monkeypatch.setattr(sources, "SOURCE_BYTES", 0)
    again = patch_pairs(llama, PAIRS, READOUT, asked)
    assert once == 8
    assert len(read) - once > 2 * once
    assert len(kept) == len(again)
    for one, other in zip(kept, again, strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-3, nan_ok=True)


@pytest.mark.parametrize("readout", [READOUT, LONG], ids=["one token", "several"])
def test_the_effects_are_told_before_anything_is_patched(llama, monkeypatch, readout):
    """By a reading of each text alone; words of several tokens whole."""
    told = []

    def before(effects):
        told.append(effects)
        monkeypatch.setattr("interp.causal.patching.patched_cells", None)  # it comes behind this

    with pytest.raises(TypeError, match="not callable"):
        patch_pairs(llama, PAIRS, readout, before=before)
    bound = readout.bind(llama)
    cases = encode_cases(llama, PAIRS, readout).own["denoise"]
    expected = []
    for case in cases:
        emotion = case.pair.affective.emotion
        scores = (
            text_scores(llama, [text], bound).double().numpy()
            for text in (case.source, case.target)
        )
        own, twin = (bound.contrast(one, [emotion])[0] for one in scores)
        expected.append(own - twin)
    np.testing.assert_allclose(told[0], expected, atol=1e-4)
    assert np.ptp(expected) > 0.001


def test_the_positions_of_one_sweep_share_their_reading(llama, monkeypatch):
    """Of each batch the sources are read once, the targets once, and all patches behind them."""
    cases = all_cases(llama)["denoise"]
    alone = {
        at: patched_cells(llama, cases, READOUT.bind(llama), {at: own}) for at, own in NODES.items()
    }
    wide, run = [], type(llama)._run
    monkeypatch.setattr(
        type(llama),
        "_run",
        lambda own, ids, *a, **k: wide.append(ids.shape) or run(own, ids, *a, **k),
    )
    together = patched_cells(llama, cases, READOUT.bind(llama), NODES)
    # the sources (the strangers are among them); the targets up to the edit, and behind it; patches
    assert len(wide) == 1 + 2 + 2
    for at, own in NODES.items():
        for node in own:
            for control in ("", OTHER_EMOTION):
                ours, theirs = (one[node, at, control] for one in (together, alone[at]))
                np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
