"""Patches beyond the twins' usual ones: every place, way, control and metric equals plain forwards
with hooks; swaps between emotions find the planted place and nothing without a circuit.
"""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch

from interp.causal import patching, transplants
from interp.causal.forward import encode_stimuli
from interp.causal.patches import CONTROLS, METRICS, MODES, Patches
from interp.causal.patching import patch_pairs
from interp.causal.readout import Readout
from interp.causal.restoration import COPY, SAME_NORM, moved_answers
from interp.causal.swaps import matched_sources, swap_cases
from interp.causal.transplants import Texts, random_like
from interp.errors import DataError, StatisticsError, UsageError
from interp.models import load
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from stimuli.battery import NEUTRAL, Pair, Stimulus
from stimuli.splits import balanced, of_other_emotions, whole_scenarios

SUFFIX = " . he feels"
READOUT = Readout({"joy": ["happy"], "fear": ["afraid"], "anger": ["angry"]}, SUFFIX)
EVERYWHERE = ("last", "edit", "first", "all", "span(where)")


def pair(name, group, emotion, affective, neutral, where):
    fields = {"where": where}
    return Pair(
        Stimulus(f"{name}a", affective, emotion, "keyword_free", name, group, fields=fields),
        Stimulus(f"{name}n", neutral, NEUTRAL, "neutral", name, group, fields=fields),
    )


TOLD = {
    "g0": ("the dog {} the child and ran", "and ran", "saw"),
    "g1": ("anna {} the old key near the river", "the old key", "kept with the friend"),
}
TURNS = {"fear": "bit and hurt", "joy": "found", "anger": "lost again"}
PAIRS = [
    pair(f"{group}-{emotion}", group, emotion, text.format(turn), text.format(still), where)
    for group, (text, where, still) in TOLD.items()
    for emotion, turn in TURNS.items()
]
"""Two scenarios, each told under three emotions, all of them of unequal lengths."""


class Recorder:
    """Runs `patched_cells` and keeps what it was given and gave."""

    def __init__(self):
        self.run, self.calls = patching.patched_cells, []

    def __call__(self, model, cases, bound, *given):
        self.calls.append((cases, bound, self.run(model, cases, bound, *given)))
        return self.calls[-1][2]


def layers_of(hf):
    return hf.transformer.h if hasattr(hf, "transformer") else hf.model.layers


class ByHand:
    """Plain forwards of a Hugging Face model, one text at a time, with hooks on its blocks: what
    each block reads (number 0) and writes.
    """

    def __init__(self, hf):
        self.hf, self.kept = hf, {}
        self.goal, self.held = cache(self.logits), cache(self._held)

    def logits(self, tokens, exchanged=None):
        """Behind the last token; `exchanged` is {layer: {position: vector}}, -1 the first's
        input.
        """
        handles = [layers_of(self.hf)[0].register_forward_pre_hook(self._reading(exchanged))]
        for layer, block in enumerate(layers_of(self.hf)):
            handles.append(block.register_forward_hook(self._writing(layer, exchanged)))
        with torch.no_grad():
            found = self.hf(torch.tensor([tokens])).logits[0, -1]
        for handle in handles:
            handle.remove()
        return found.log_softmax(-1).numpy().astype(float)

    def _held(self, tokens):
        self.logits(tokens)
        return dict(self.kept)

    def _put(self, x, layer, exchanged):
        new = x.clone()
        for position, vector in (exchanged or {}).get(layer, {}).items():
            new.reshape(-1, x.shape[-1])[position] = vector
        self.kept[layer] = new.reshape(-1, x.shape[-1]).clone()
        return new

    def _reading(self, exchanged):
        return lambda module, args: (self._put(args[0], -1, exchanged), *args[1:])

    def _writing(self, layer, exchanged):
        def hook(module, args, output):
            if isinstance(output, tuple):
                return (self._put(output[0], layer, exchanged), *output[1:])
            return self._put(output, layer, exchanged)

        return hook


def measured_by_hand(hand, case, position, control, layer, columns):
    """Scores, KL to the source and KL to the target of one case."""
    source = case.strangers.get(control, case.source)
    come, go = case.moves[position, control if control in case.strangers else ""]
    held = hand.held(source.tokens)
    layers = [-1, *range(len(layers_of(hand.hf)))] if control == COPY else [layer]
    turned = (lambda x: x.flip(-1)) if control == SAME_NORM else (lambda x: x)
    exchanged = {
        one: {int(b): turned(held[one][int(a)]) for a, b in zip(come, go, strict=True)}
        for one in layers
    }
    patched = hand.logits(case.target.tokens, exchanged)
    goals = [hand.goal(text.tokens) for text in (case.source, case.target)]
    kl = [float((np.exp(patched) * (patched - goal)).sum()) for goal in goals]
    return patched[columns], *kl


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_every_patch_equals_plain_forwards_with_hooks(family, tiny_folder, monkeypatch):
    model = load(str(tiny_folder(family)), check=False)
    record = Recorder()
    monkeypatch.setattr(patching, "patched_cells", record)
    monkeypatch.setattr(transplants, "random_like", lambda values, draw: values.flip(-1))
    asked = Patches(
        sites=("resid_post@1",),
        positions=EVERYWHERE,
        modes=MODES,
        controls=CONTROLS,
        metrics=METRICS,
    )
    rows = table(patch_pairs(model, PAIRS, READOUT, asked))
    hand, apart, seen = ByHand(model.plain().eval()), 0.0, set()
    for cases, bound, cells in record.calls:
        columns = [bound.tokens[emotion][0] for emotion in bound.emotions]
        for (node, position, control), cell in cells.items():
            if position not in EVERYWHERE:
                continue
            for at, case in enumerate(cases):
                scores, kl, kl_target = measured_by_hand(hand, case, position, control, 1, columns)
                apart = max(apart, abs(cell["scores"][at] - scores).max())
                apart = max(apart, abs(cell["kl"][at] - kl), abs(cell["kl_target"][at] - kl_target))
            seen.add((position, control))
    assert len(record.calls) == len(MODES)
    assert len(seen) == len(EVERYWHERE) * (2 + len(CONTROLS))
    assert apart < 1e-5
    assert set(rows["mode"]) == set(MODES)
