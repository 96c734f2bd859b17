"""Whole layers knocked out, directions ablated, parts multiplied, and what that costs a neutral
text: against hooks on plain Hugging Face modules, and true of a planted circuit.
"""

from functools import cache, partial

import numpy as np
import pytest
import torch

from interp.causal.ablation import ablating, enhance
from interp.causal.alignment import align
from interp.causal.bench import Bench, Knockout, Scaled, Turned
from interp.causal.contributions import Component
from interp.causal.direction_ablation import DirectionTrial, ablate_directions
from interp.causal.forward import encode_stimuli, run_forward
from interp.causal.knockout import StandInValues, change_rows, measure
from interp.causal.layer_knockout import LayerTrial, knock_out_layers
from interp.causal.losses import neutral_losses
from interp.causal.paired import beside_rows
from interp.causal.ranked_parts import Counts, ranked_loss_rows, ranked_rows
from interp.causal.readout import Readout
from interp.causal.stand_ins import position_classes, zero_values
from interp.errors import InternalError, UsageError
from interp.models import load
from interp.reporting.dissection_told import dissection_sentences
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from support.given_directions import given
from test_causal_ablation import HEADS, NEURONS, STORY, WORDS

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
FINAL = Site("resid_post", SPEC.n_layers - 1)
EMOTIONS = ("joy", "trust")  # two heads
PAIRS = [one for one in planted.stimuli(SPEC, n=4).pairs() if one.affective.emotion in EMOTIONS]
SUFFIX = " . he feels"
ADDED = {
    "gpt2": ("transformer.h", "attn", "mlp"),
    "llama": ("model.layers", "self_attn", "mlp"),
    "gemma2": ("model.layers", "post_attention_layernorm", "post_feedforward_layernorm"),
}
"""Where the blocks are, and the modules whose output is added to the stream."""


loaded = cache(partial(load, check=False))


def bench_of(name, *, site=FINAL):
    directions = {one: given(TRUTH.direction(one, site), site, 2.0) for one in EMOTIONS}
    words = {one: planted.readout(SPEC)[one] for one in (*EMOTIONS, "anger")}
    return Bench(loaded(name), PAIRS, directions, Readout(words, ""))


@pytest.fixture(scope="module")
def bench():
    return bench_of("planted")


@pytest.fixture(scope="module")
def null():
    return bench_of("planted_null")


def of(rows, **wanted):
    return [row for row in rows if all(row.get(name) == one for name, one in wanted.items())]


def value(rows, **wanted):
    (row,) = of(rows, **wanted)
    return row["value"]


def test_the_planted_layers_are_needed_beyond_their_size(bench):
    rows = knock_out_layers(bench, LayerTrial(n_draws=1))
    where = {"attention": {SPEC.head_layer}, "mlp": {SPEC.neuron_layer}}
    where["block"] = where["attention"] | where["mlp"]
    for part, needed in where.items():
        for layer in range(SPEC.n_layers):
            here = {"component": part, "layer": layer, "emotion": "all", "control": ""}
            (above,) = of(rows, metric="label_logprob_change_above_random", **here)
            accuracy = value(rows, metric="accuracy_drop", **here)
            if layer in needed:
                assert above["value"] > 5
                assert above["p_corrected"] < 0.05
                assert value(rows, metric="top1_changed", **here) == 1
                assert accuracy > 0.4
            else:
                assert abs(value(rows, metric="label_logprob_change", **here)) < 0.1
                assert accuracy == 0
            assert abs(value(rows, metric="neutral_loss_rise", **here)) < 0.1
    lost = [
        TRUTH.projection(pair.affective, "joy") - TRUTH.without_head(pair.affective, "joy")
        for pair in PAIRS
        if pair.affective.emotion == "joy"
    ]
    here = {"component": "attention", "layer": SPEC.head_layer, "emotion": "joy", "control": ""}
    found = value(rows, metric="projection_drop", **here)
    assert found == pytest.approx(np.mean(lost) / 2.0, rel=0.01)
    modes = {(row["metric"], row["mode"]) for row in rows if row["metric"] in ("top1_changed",)}
    assert modes == {("top1_changed", "resample")}
    assert {row["mode"] for row in of(rows, metric="neutral_loss_rise")} == {"mean"}


def test_a_direction_behind_which_a_layer_writes_is_not_read(bench):
    early = bench_of("planted", site=Site("resid_post", SPEC.neuron_layer))
    rows = knock_out_layers(early, LayerTrial(layers=(2, 3), n_draws=1, neutral=False))
    told = {row["layer"] for row in of(rows, metric="projection_drop")}
    assert told == {SPEC.neuron_layer}
    assert not of(rows, metric="neutral_loss_rise")


def test_without_a_circuit_no_layer_direction_or_part_does_anything(null):
    rows = knock_out_layers(null, LayerTrial(n_draws=1, neutral=False))
    said = dissection_sentences({"knockout": table(rows)})
    assert len(said) == 3
    assert all(one.endswith("not found in any of 4 layers.") for one in said)
    assert not any(row["value"] for row in of(rows, metric="top1_changed", emotion="all"))
    rows = ablate_directions(null, DirectionTrial((3,), n_draws=1))
    told = of(rows, metric="label_logprob_change", control="", emotion="all")
    assert len(told) == 2
    assert all(abs(row["value"]) < 0.2 for row in told)
    parts = {"joy": [Component("z", 1, head) for head in range(4)]}
    rows = enhance(null, parts, counts=Counts((1,), 3, bottom=True))
    assert all(abs(r["value"]) < 0.2 for r in rows if r["metric"] == "label_logprob_change")


def naive(hf, family, tokens, put):
    """Logits and what each sublayer adds, under `put`: from (layer, attn_out or mlp_out) to what is
    put in its place. Knows nothing of `interp.causal`.
    """
    path, *names = ADDED[family]
    blocks, seen, handles = hf.get_submodule(path), {}, []

    def hook(place):
        def run(module, inputs, output):
            first = output[0] if isinstance(output, tuple) else output
            new = put[place](first.clone()) if place in put else first
            seen[place] = new[0].clone()
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return run

    for layer, block in enumerate(blocks):
        for name, module in zip(("attn_out", "mlp_out"), names, strict=True):
            handles.append(getattr(block, module).register_forward_hook(hook((layer, name))))
        handles.append(block.register_forward_hook(hook((layer, "resid_post"))))
    embed = hf.get_input_embeddings()
    handles.append(embed.register_forward_hook(hook((0, "embed"))))
    with torch.no_grad():
        logits = hf(tokens).logits[0]
    for handle in handles:
        handle.remove()
    return logits, seen


def told_apart(model, *, side="affective"):
    """The bench of one story, and its tokens and its twin's with the suffix."""
    v = np.random.default_rng(0).standard_normal(model.dims.d_model)
    direction = given(v / np.linalg.norm(v), Site("resid_post", 2))
    bench = Bench(model, [STORY], {"fear": direction}, Readout(WORDS, SUFFIX), side)
    texts = [torch.tensor(model.tokenize([text.text + SUFFIX])) for text in STORY]
    return bench, *texts


def afraid(model, logits):
    return float(logits[-1].log_softmax(-1)[model.tokenizer.convert_tokens_to_ids("afraid")])


@pytest.mark.parametrize("family", ADDED)
@pytest.mark.parametrize("mode", ["resample", "zero"])
def test_a_sublayer_knocked_out_equals_hooks_on_plain_modules(tiny_model, family, mode):
    model = tiny_model(family)
    bench, text, twin = told_apart(model)
    parts = [[(1, "attn_out")], [(1, "mlp_out")], [(1, "attn_out"), (1, "mlp_out")]]
    plans = [Knockout((), (0,))]
    plans += [
        Knockout(tuple(Component(name, layer, 0) for layer, name in one), (0,)) for one in parts
    ]
    found = measure(bench, plans, mode=mode, rivals=True)
    hf = model.plain().eval()
    clean, _ = naive(hf, family, text, {})
    _, held = naive(hf, family, twin, {})
    source = align(twin[0].tolist(), text[0].tolist()).source_of
    bos = int(family != "gpt2")

    def put(place):
        new = held[place][source] if mode == "resample" else torch.zeros_like(held[place][source])

        def swap(x):
            x[:, bos:] = new[bos:]
            return x

        return swap

    expected = [naive(hf, family, text, {place: put(place) for place in one}) for one in parts]
    end = len(model.tokenize([STORY.affective.text])[0]) - 1
    for row, (logits, seen) in enumerate([(clean, None), *expected]):
        assert found.score[row, 0] == pytest.approx(afraid(model, logits), abs=2e-5)
        assert found.top[row, 0] == int(logits[-1].argmax())
        others = [logits[-1].log_softmax(-1)[i] for i in ids_of(model, "happy", "angry")]
        lead = afraid(model, logits) - float(max(others))
        assert found.lead[row, 0] == pytest.approx(lead, abs=2e-5)
        if seen is not None:
            v = bench.directions["fear"].vector
            last = seen[2, "resid_post"][end].double().numpy()
            assert found.projection[row, 0] == pytest.approx(last @ v, abs=1e-4)
    assert np.ptp(found.score[:, 0]) > 1e-3


def ids_of(model, *words):
    return [model.tokenizer.convert_tokens_to_ids(word) for word in words]


def test_a_random_change_is_as_long_as_the_knock_out_and_another_for_each_draw(tiny_model):
    model = tiny_model("llama")
    bench, *_ = told_apart(model)
    (row,) = rows = encode_stimuli(model, [STORY.affective], bench.readout)
    site, classes = Site("mlp_out", 1), position_classes(rows)
    held = StandInValues(zero_values(model, rows, [site]), classes.clamp(min=0))
    whole = (Component("mlp_out", 1, 0),)
    plans = [Knockout((), (0,))] + [Knockout(whole, (0,), instead=Turned(at)) for at in (1, 2, 1)]
    seen = []
    for plan in plans:
        edits = change_rows(model, [plan], held, [0], classes >= 0) if plan.components else []
        seen.append(run_forward(model, rows, interventions=edits, read=[site]).sites[site][0])
    clean, first, second, again = (one[row.first :] for one in seen)
    np.testing.assert_allclose((first - clean).norm(dim=-1), clean.norm(dim=-1), rtol=1e-4)
    turned = (first - clean) / clean.norm(dim=-1, keepdim=True)
    np.testing.assert_allclose(turned, turned[:1].expand_as(turned), atol=1e-4)
    assert abs(float(turned[0] @ (second - clean)[0]) / float(clean[0].norm())) < 0.9
    assert torch.equal(first, again)
    with pytest.raises(InternalError, match="only whole ones are turned"):
        measure(bench, [Knockout(HEADS, (0,), instead=Turned(0))])


@pytest.mark.parametrize("components", [HEADS, NEURONS], ids=["heads", "neurons"])
def test_parts_multiplied_in_the_neutral_text_equal_hooks_on_plain_modules(tiny_model, components):
    model = tiny_model("llama")
    bench, _, twin = told_apart(model, side="neutral")
    plans = [Knockout((), (0,)), Knockout(components, (0,), instead=Scaled(3.0))]
    found = measure(bench, plans, mode="zero")
    hf = model.plain().eval()
    layer = hf.model.layers[1]
    module = layer.self_attn.o_proj if components is HEADS else layer.mlp.down_proj
    width = model.dims.d_head if components is HEADS else 1
    columns = [one.index * width + i for one in components for i in range(width)]

    def scale(m, x):
        new = x[0].clone()
        new[0][1:, columns] *= 3.0
        return (new,)

    handle = module.register_forward_pre_hook(scale)
    with torch.no_grad():
        logits = hf(twin).logits[0]
    handle.remove()
    assert found.score[1, 0] == pytest.approx(afraid(model, logits), abs=2e-5)
    assert abs(found.score[1, 0] - found.score[0, 0]) > 1e-4


@pytest.mark.parametrize("mode", ["project", "mean"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_a_direction_ablated_equals_hooks_on_plain_modules(tiny_model, family, mode):
    model = tiny_model(family)
    bench, text, twin = told_apart(model)
    rows = ablate_directions(bench, DirectionTrial((1,), mode=mode, n_draws=1))
    hf = model.plain().eval()
    v = torch.tensor(bench.directions["fear"].vector.tolist())
    clean, _ = naive(hf, family, text, {})
    _, held = naive(hf, family, twin, {})
    bos, end = int(family != "gpt2"), len(model.tokenize([STORY.affective.text])[0]) - 1
    twin_end = len(model.tokenize([STORY.neutral.text])[0]) - 1

    def out(place):
        mean = torch.zeros(text.shape[1])  # c . v at each token, in the mean of its class
        if mode == "mean":
            along = held[place] @ v
            mean[bos:end] = along[bos:twin_end].mean()
            mean[end] = along[twin_end]
            mean[end + 1 :] = along[twin_end + 1 :].mean()

        def take(x):
            x[0, bos:] -= (x[0, bos:] @ v - mean[bos:])[:, None] * v
            return x

        return take

    one = naive(hf, family, text, {(1, "resid_post"): out((1, "resid_post"))})[0]
    found = value(rows, reach="1", metric="label_logprob_change", control="", emotion="fear")
    assert found == pytest.approx(afraid(model, one) - afraid(model, clean), abs=2e-5)
    assert abs(found) > 1e-4
    if family == "llama":  # what the first block reads is the embedding there
        places = [(0, "embed"), *((at, "resid_post") for at in range(3))]
        every = naive(hf, family, text, {place: out(place) for place in places})[0]
        found = value(rows, reach="all", metric="label_logprob_change", control="", emotion="fear")
        assert found == pytest.approx(afraid(model, every) - afraid(model, clean), abs=2e-5)


def test_the_planted_direction_is_needed_and_random_ones_are_not(bench):
    rows = ablate_directions(bench, DirectionTrial((FINAL.layer,), n_draws=4))
    for reach in ("3", "all"):
        here = {"reach": reach, "metric": "label_logprob_change", "emotion": "joy"}
        (own,) = of(rows, **here, control="", target="joy")
        (trust,) = of(rows, **here, control="", target="trust")
        assert own["value"] < -5
        assert own["p"] == pytest.approx(1 / 5)
        assert abs(trust["value"]) < 0.2
        for control in ("random", "same_size"):
            assert value(rows, **here, control=control) > own["value"] / 4
    assert not of(rows, metric="projection_drop")
    assert all(abs(r["value"]) < 0.05 for r in of(rows, metric="neutral_loss_rise", control=""))
    early = ablate_directions(bench, DirectionTrial((0,), everywhere=False, n_draws=1))
    assert {row["layer"] for row in of(early, metric="projection_drop")} == {0}
    assert abs(value(early, metric="projection_drop", control="", emotion="all")) < 0.02


@pytest.mark.parametrize("way", ["twin", "scale"])
def test_enhancing_the_planted_parts_gives_the_neutral_text_the_emotion(bench, way):
    """What heads move is nothing in a neutral text, and so is any multiple of it."""
    heads = {h for found in TRUTH.heads.values() for _, h in found}
    idle = [Component("z", SPEC.head_layer, h) for h in range(SPEC.n_heads) if h not in heads]
    order = {e: [Component("z", *TRUTH.heads[e][0]), *idle] for e in EMOTIONS}
    rows = enhance(bench, order, way=way, counts=Counts((1,), 6, bottom=True))
    assert {row["mode"] for row in rows} == {way}
    joy = {"emotion": "joy", "target": "joy"}
    rise = value(rows, **joy, metric="projection_rise", control="")
    expected = [
        TRUTH.projection(p.affective, "joy") - TRUTH.without_head(p.affective, "joy")
        for p in PAIRS
        if p.affective.emotion == "joy"
    ]
    assert rise == pytest.approx((way == "twin") * np.mean(expected) / 2.0, rel=0.01, abs=0.02)
    change = {"metric": "label_logprob_change"}
    (own,) = of(rows, **joy, **change, control="")
    assert (own["value"] > 5) == (way == "twin")
    assert (own["p"] < 0.5) == (way == "twin")
    for control in ("random", "bottom"):
        assert abs(value(rows, **joy, **change, control=control)) < 0.5
        assert abs(value(rows, emotion="all", **change, control=control)) < 0.5
    assert abs(value(rows, emotion="joy", target="trust", **change, control="")) < 0.2


def test_the_bottom_of_a_ranking_stands_beside_its_top_where_the_two_are_apart(bench):
    order = {"joy": [Component("post", *n) for n in TRUTH.neurons["joy"]]}
    idle = [Component("post", SPEC.neuron_layer, n) for n in range(40, 44)]
    full = {"joy": [*order["joy"], *(one for one in idle if one not in order["joy"])]}
    rows = ranked_rows(bench, [full], ablating("zero"), Counts((4,), 2, bottom=True))
    wanted = {"emotion": "joy", "target": "joy", "metric": "label_logprob_change"}
    assert value(rows, **wanted, control="") < -3
    assert abs(value(rows, **wanted, control="bottom")) < 0.2
    with pytest.warns(UserWarning, match="the bottom 4 would be among the top 4"):
        rows = ranked_rows(bench, [order], ablating(), Counts((4,), 2, bottom=True))
    assert not of(rows, control="bottom")
    costs = ranked_loss_rows(bench, [full], ablating(), Counts((4,), 2, bottom=True))
    assert {row["metric"] for row in costs} == {"neutral_loss_rise"}
    assert {row["control"] for row in costs} == {"", "random", "bottom"}
    assert {row["mode"] for row in costs} == {"mean"}


def test_the_loss_on_neutral_text_equals_hooks_on_plain_modules(tiny_model):
    model = tiny_model("llama")
    bench, *_ = told_apart(model)
    plans = [Knockout((), (0,)), Knockout(HEADS, (0,)), Knockout((), ())]
    found = neutral_losses(bench, plans, mode="zero")
    assert np.isnan(found[2]).all()
    hf = model.plain().eval()
    tokens = torch.tensor(model.tokenize([STORY.neutral.text]))
    columns = [one.index * model.dims.d_head + i for one in HEADS for i in range(model.dims.d_head)]

    def zero(m, x):
        new = x[0].clone()
        new[0][1:, columns] = 0.0
        return (new,)

    for row, hooked in enumerate((False, True)):
        module = hf.model.layers[1].self_attn.o_proj
        handle = module.register_forward_pre_hook(zero) if hooked else None
        with torch.no_grad():
            logits = hf(tokens).logits
        expected = torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:])
        if handle is not None:
            handle.remove()
        assert found[row, 0] == pytest.approx(float(expected), abs=2e-5)
    assert abs(found[1, 0] - found[0, 0]) > 1e-5


def test_what_cannot_be_knocked_out_or_enhanced(bench):
    head = {"joy": [Component("z", 1, 0)]}
    with pytest.raises(UsageError, match=r"layers \[7\].*planted has layers 0\.\.3"):
        knock_out_layers(bench, LayerTrial(layers=(7,)))
    with pytest.raises(UsageError, match="0 random changes"):
        knock_out_layers(bench, LayerTrial(n_draws=0))
    with pytest.raises(UsageError, match=r"layers \[4\].*planted has layers"):
        ablate_directions(bench, DirectionTrial((4,)))
    with pytest.raises(UsageError, match="name one or take all"):
        ablate_directions(bench, DirectionTrial((), everywhere=False))
    with pytest.raises(UsageError, match="unknown mode 'shuffle' of a direction"):
        ablate_directions(bench, DirectionTrial(mode="shuffle"))
    with pytest.raises(UsageError, match="unknown way 'louder' of enhancing: choose one of twin"):
        enhance(bench, head, way="louder")
    for factor in (1.0, float("nan")):
        with pytest.raises(UsageError, match="give a finite number; 1 would change nothing"):
            enhance(bench, head, way="scale", factor=factor)
    with pytest.raises(UsageError, match="unknown side 'other' of a pair"):
        Bench(bench.model, PAIRS, bench.directions, bench.readout, "other")


def test_a_control_that_moves_the_other_way_is_no_loss():
    """Random changes that raise the words by .5 make a layer that does nothing stand above them."""
    groups = np.arange(32).astype(str)
    still = np.random.default_rng(0).normal(0, 0.1, 32)
    here = {"emotion": "all", "metric": "fall"}

    def p_of(own, **how):
        rows = list(beside_rows(own, {"random": own * 0 - 0.5}, groups, here, **how))
        return rows[-1]["p"]

    assert p_of(still) < 0.001
    assert p_of(still, of_itself=True) > 0.05
    assert p_of(still + 0.3, of_itself=True) < 0.001
    assert p_of(still - 0.3, sign=-1, of_itself=True) > 0.05  # lower, but not below the control
