"""Path patching: equal to hooks on the plain model, and true of a planted circuit."""

import numpy as np
import pytest
import torch

from interp.causal.attribution import encode_cases
from interp.causal.edges import attribute_edges, edge_estimates, edges_from
from interp.causal.nodes import Node
from interp.causal.paths import Edge, Receiver, patch_paths, path_effects
from interp.causal.readout import Readout
from interp.errors import StatisticsError, UsageError
from interp.models import load
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from test_causal_patching import SUFFIX, UNEQUAL, WORDS, pick, planted_pairs

READOUT = Readout(WORDS, SUFFIX)
SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
HEAD, MLP = Node(Site("z", 0, 1)), Node(Site("mlp_out", 0))
EDGES = [
    *(Edge(HEAD, Receiver(name, 2, 3)) for name in "qkv"),
    Edge(HEAD, Receiver("k", 1, 0)),
    Edge(HEAD, Receiver("mlp", 0)),
    Edge(HEAD, Receiver("mlp", 2)),
    Edge(HEAD, Receiver("logits")),
    Edge(MLP, Receiver("v", 1, 2)),
    Edge(MLP, Receiver("mlp", 1)),
]
ADDED = {
    "llama": ("self_attn", "mlp"),
    "gemma2": ("post_attention_layernorm", "post_feedforward_layernorm"),
}
"""The modules whose output is added to the stream."""


class Plain:
    """Path patching of one case by hooks on the plain model; knows nothing of `interp.causal`."""

    def __init__(self, hf, family, n_heads, tokens):
        self.hf, self.layers, self.names = hf, hf.model.layers, ADDED[family]
        self.n_heads, self.tokens = n_heads, tokens

    def run(self, ids, *, inputs=None, outputs=None):
        """Logits and what passed: `inputs` and `outputs` map a module to what is put there."""
        seen, handles = {}, []
        for block in self.layers:
            added = [getattr(block, name) for name in self.names]
            attention = block.self_attn
            for module in (*added, attention.q_proj, attention.k_proj, attention.v_proj):
                handles.append(module.register_forward_hook(self._out(seen, outputs or {})))
            handles.append(attention.o_proj.register_forward_pre_hook(self._in(seen, inputs or {})))
        with torch.no_grad():
            logits = self.hf(torch.tensor([ids])).logits[0, -1]
        for handle in handles:
            handle.remove()
        scores = logits.log_softmax(-1)[self.tokens]
        return float(scores[1] - (scores[0] + scores[2]) / 2), seen

    def _out(self, seen, put):
        def hook(module, inputs, output):
            first = output[0] if isinstance(output, tuple) else output
            seen[module] = first.clone()
            if module not in put:
                return None
            new = put[module](first.clone())
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return hook

    def _in(self, seen, put):
        def hook(module, inputs):
            seen[module] = inputs[0].clone()
            return (put[module](inputs[0].clone()),) if module in put else None

        return hook

    def head(self, x, head):
        """The part of what o_proj reads that is one head's."""
        return x.view(*x.shape[:2], self.n_heads, -1)[:, :, head]

    def effect(self, source, target, taken, put, edge, *, share=1.0):
        """The receiver computes what the path gives it, or only a `share` of the change."""
        clean, here = self.run(target)
        _, there = self.run(source)
        sender, receiver = edge
        layer = sender.site.layer
        inputs, outputs = {}, {}
        if sender.site.name == "z":
            o_proj = self.layers[layer].self_attn.o_proj

            def send(x):
                new = self.head(there[o_proj], sender.site.head)[:, taken]
                self.head(x, sender.site.head)[:, put] = new
                return x

            inputs[o_proj] = send
        for at, block in enumerate(self.layers):
            for name, place in zip(self.names, (0, 1), strict=True):
                behind = at > layer or (at == layer and sender.site.name == "z" and place == 1)
                module = getattr(block, name)
                if behind:
                    outputs[module] = lambda x, module=module: here[module]
        if sender.site.name == "mlp_out":
            module = getattr(self.layers[layer], self.names[1])

            def add(x, module=module):
                x[:, put] = there[module][:, taken]
                return x

            outputs[module] = add
        if receiver.name == "logits":
            return self.run(target, inputs=inputs, outputs=outputs)[0] - clean
        block = self.layers[receiver.layer]
        if receiver.name == "mlp":
            module = getattr(block, self.names[1])
            _, seen = self.run(target, inputs=inputs, outputs=outputs)
            new = here[module] + share * (seen[module] - here[module])
            return self.run(target, outputs={module: lambda x: new})[0] - clean
        attention = block.self_attn
        for name in "qkv":
            module = getattr(attention, f"{name}_proj")
            if name != receiver.name:
                outputs[module] = lambda x, module=module: here[module]
        _, seen = self.run(target, inputs=inputs, outputs=outputs)
        own, clean_z = (self.head(x[attention.o_proj], receiver.head) for x in (seen, here))
        new = clean_z + share * (own - clean_z)

        def receive(x):
            self.head(x, receiver.head)[:] = new
            return x

        return self.run(target, inputs={attention.o_proj: receive})[0] - clean


@pytest.mark.parametrize("family", ADDED)
@pytest.mark.parametrize("position", ["last", "edit"])
def test_paths_equal_hooks_on_the_plain_model(tiny_model, family, position):
    model = tiny_model(family)
    bound, given = READOUT.bind(model), encode_cases(model, UNEQUAL, READOUT)
    found = path_effects(model, given.own["denoise"], bound, EDGES, position)
    tokens = [bound.tokens[emotion][0] for emotion in bound.emotions]
    plain = Plain(model.plain().eval(), family, model.dims.n_heads, tokens)
    sizes = []
    for edge in EDGES:
        for i, case in enumerate(given.own["denoise"]):
            taken, put = (torch.from_numpy(one) for one in case.moves[position, ""])
            expected = plain.effect(case.source.tokens, case.target.tokens, taken, put, edge)
            assert found[edge][i] == pytest.approx(expected, abs=3e-5), edge
            sizes.append(abs(expected))
    assert max(sizes) > 1e-3


def test_an_edge_is_estimated_by_the_slope_at_its_receiver(tiny_model):
    """By central differences on the plain model; the way to the logits is exact."""
    model = tiny_model("llama")
    bound, given = READOUT.bind(model), encode_cases(model, UNEQUAL, READOUT)
    found = edge_estimates(model, given.own["denoise"], bound, EDGES, "edit")
    tokens = [bound.tokens[emotion][0] for emotion in bound.emotions]
    plain = Plain(model.plain().eval(), "llama", model.dims.n_heads, tokens)
    for edge in EDGES:
        for i, case in enumerate(given.own["denoise"]):
            taken, put = (torch.from_numpy(one) for one in case.moves["edit", ""])
            at = (case.source.tokens, case.target.tokens, taken, put, edge)
            expected = plain.effect(*at)
            if edge.receiver.name != "logits":
                both = [plain.effect(*at, share=share) for share in (0.02, -0.02)]
                expected = (both[0] - both[1]) / 0.04
            assert found[edge][i] == pytest.approx(expected, rel=0.01, abs=2e-4), edge


def test_edges_of_the_planted_head_are_estimated_rightly():
    model, pairs = load("planted", check=False), planted_pairs(SPEC, 16)
    layer, head = TRUTH.heads["joy"][0]
    edges = edges_from(model, [Node(Site("z", layer, head))])
    above = SPEC.n_layers - 1 - layer
    assert len(edges) == above * (3 * SPEC.n_heads + 1) + 2
    mlps = {edge.receiver.layer for edge in edges if edge.receiver.name == "mlp"}
    assert mlps == set(range(layer, SPEC.n_layers))
    found = table(attribute_edges(model, pairs, Readout(planted.readout(SPEC), ""), edges))
    assert len(pick(found, metric="estimated_path_effect")) == 2 * len(edges)
    assert len(pick(found, metric="path_effect", chosen="top")) == 2 * 8
    assert len(pick(found, metric="path_effect", chosen="random")) == 2 * 8
    assert pick(found, metric="relative_error")["value"].max() < 0.1
    best = pick(found, metric="estimated_path_effect", mode="denoise").nlargest(1, "value")
    assert (best["receiver"].item(), best["receiver_layer"].item()) == ("mlp", TRUTH.neuron_layer)


def test_the_planted_message_goes_through_the_planted_mlp_and_nowhere_else():
    """The head writes what the neurons of a later MLP turn into the emotion; the words are not read
    from it directly.
    """
    model, pairs = load("planted", check=False), planted_pairs(SPEC, 16)
    joy = [pair for pair in pairs if pair.affective.emotion == "joy"]
    layer, head = TRUTH.heads["joy"][0]
    sender = Node(Site("z", layer, head))
    edges = [
        Edge(sender, Receiver("mlp", TRUTH.neuron_layer)),
        Edge(sender, Receiver("mlp", TRUTH.neuron_layer + 1)),
        Edge(sender, Receiver("v", TRUTH.neuron_layer, 0)),
        Edge(sender, Receiver("logits")),
    ]
    readout = Readout(planted.readout(SPEC), "")
    found = table(patch_paths(model, joy, readout, edges))
    for way, sign in (("denoise", 1), ("noise", -1)):
        own = pick(found, emotion="joy", mode=way)
        assert len(own) == len(edges)
        planted_path, *others = sign * own["value"].to_numpy()
        assert planted_path > 5
        assert np.abs(others).max() < 0.1
    assert set(found["receiver"]) == {"mlp", "v", "logits"}


def test_what_is_no_path(tiny_model):
    llama = tiny_model("llama")

    def asked(sender, receiver):
        return patch_paths(llama, UNEQUAL, READOUT, [Edge(sender, receiver)])

    with pytest.raises(UsageError, match="does not come behind its sender"):
        asked(Node(Site("z", 1, 0)), Receiver("q", 1, 0))
    with pytest.raises(UsageError, match="does not come behind its sender"):
        asked(Node(Site("mlp_out", 1)), Receiver("mlp", 1))
    with pytest.raises(UsageError, match="is no receiver of a path"):
        asked(HEAD, Receiver("q", 1))
    with pytest.raises(UsageError, match="is no receiver of a path"):
        asked(HEAD, Receiver("pattern", 1, 0))
    with pytest.raises(UsageError, match=r"has heads 0\.\.3"):
        asked(HEAD, Receiver("k", 1, 4))
    with pytest.raises(UsageError, match=r"has layers 0\.\.2"):
        asked(HEAD, Receiver("mlp", 3))
    with pytest.raises(UsageError, match="is no sender of a path"):
        asked(Node(Site("resid_post", 0)), Receiver("logits"))
    with pytest.raises(UsageError, match="unknown position 'first'"):
        patch_paths(llama, UNEQUAL, READOUT, EDGES, position="first")
    with pytest.raises(StatisticsError, match="needs pairs of twins and paths"):
        patch_paths(llama, [], READOUT, EDGES)
