"""Attribution: the estimate is the slope of the exact patch, in every kind of block; its error is
the error; and what it ranks first is what was planted.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from interp.causal import attribution
from interp.causal.attribution import (
    OTHER_EMOTION,
    SAME_NORM,
    Attribution,
    encode_cases,
    estimate_effects,
)
from interp.causal.attribution_rows import attribute_pairs
from interp.causal.dtype_error import dtype_error_row
from interp.causal.edits import blend
from interp.causal.estimate_errors import error_rows
from interp.causal.estimates import INPUTS, contrast_score
from interp.causal.forward import run_forward
from interp.causal.interventions import Intervention
from interp.causal.nodes import NODE_SITES, Node, node_sites
from interp.causal.patched_runs import patched_cells
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.transplants import goal_of, read_sources
from interp.causal.words import word_scores
from interp.errors import DataError, StatisticsError, UsageError
from interp.models import load
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from stimuli.battery import Pair
from test_causal_patching import SUFFIX, UNEQUAL, WORDS, pick, story

READOUT = Readout(WORDS, SUFFIX)
SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
ESTIMATED = ("resid_post@1", "attn_out@1", "mlp_out@1", "z@1", "post@1")
KINDS_OF_BLOCK = ("gpt2", "llama", "qwen3", "gemma2", "gemma3", "olmo2", "gpt_neox")
"""Plain, grouped queries, norms of queries, post-norms with windows (two), without, parallel."""


def estimated(model, pairs, sites, *, readout=READOUT, **asked):
    """The estimates, the cases and the bound readout of pairs."""
    given, bound = encode_cases(model, pairs, readout), readout.bind(model)
    how = Attribution(**asked)
    return estimate_effects(model, given, bound, sites, how), given, bound


@pytest.mark.parametrize("method", ["attribution", "integrated"])
@pytest.mark.parametrize("position", ["last", "edit"])
def test_a_batch_has_few_tokens_in_its_graph(tiny_model, monkeypatch, method, position):
    """Counted where it is made: what a backward pass keeps grows with these tokens."""
    model, wide = tiny_model("llama"), []
    cases, bound = encode_cases(model, UNEQUAL * 4, READOUT), READOUT.bind(model)
    monkeypatch.setattr(attribution, "GRADIENT_TOKENS", 30)
    inner = Prefix.read

    def watched(prefix, interventions, hooks, rows, **how):
        if model._traced:
            wide.append((len(rows), prefix.batch.ids.shape[1] - prefix.column))
        return inner(prefix, interventions, hooks, rows, **how)

    monkeypatch.setattr(Prefix, "read", watched)
    asked = Attribution(method=method, positions=(position,), steps=2)
    estimate_effects(model, cases, bound, [Site("resid_post", 0)], asked)
    most = max(rows for rows, _ in wide)
    assert all(rows == 1 or rows * columns <= 30 for rows, columns in wide)
    short = (method, position) == ("attribution", "last")
    # the text's last token, and the three of the suffix
    assert (max(columns for _, columns in wide) == 4) == short
    assert (most >= 6) == short


def slope(model, cases, bound, site, position, *, by=0.01):
    """The slope of the score on the way from the target's activation to the source's, by central
    differences of edited passes: no gradient is asked for.
    """
    moves = [case.moves[position, ""] for case in cases]
    whole = Site(site.name, site.layer)
    donor = read_sources(model, cases, range(len(cases)), "", [whole])
    values = donor.held.taken(whole, [taken for taken, _ in moves])
    lengths = [len(case.target.tokens) for case in cases]
    place = goal_of(moves, lengths)
    if site.head is not None:
        values = values[:, site.head]
    score = contrast_score(bound, [case.pair.affective.emotion for case in cases])
    prefix = Prefix(model, [case.target for case in cases], [0] * len(cases))

    def at(share):
        edit = Intervention(site, blend(values, place, share=share), place >= 0)
        return score(prefix.run([edit], further=True)).double()

    return ((at(by) - at(-by)) / (2 * by)).numpy()


@pytest.mark.parametrize("family", KINDS_OF_BLOCK)
def test_an_estimate_is_the_slope_of_the_patch(tiny_model, family):
    model = tiny_model(family)
    sites = node_sites(model, ESTIMATED)
    found, given, bound = estimated(model, UNEQUAL, sites)
    largest = 0.0
    for way, position in (("denoise", "last"), ("noise", "edit")):
        for site in sites:
            units = found[way, site, position, ""]
            expected = slope(model, given.own[way], bound, site, position)
            np.testing.assert_allclose(units.sum(axis=1), expected, rtol=0.005, atol=4e-4)
            largest = max(largest, np.abs(expected).max())
        head = Site("z", 1, 2)
        expected = slope(model, given.own[way], bound, head, position)
        own = found[way, Site("z", 1), position, ""][:, 2]
        np.testing.assert_allclose(own, expected, rtol=0.005, atol=4e-4)
    assert largest > 0.01  # there is something to get wrong
    assert found["denoise", Site("z", 1), "last", ""].shape == (2, model.dims.n_heads)
    assert model.hooks_clean()


def held_by(hf, ids, layer):
    """Of the plain Hugging Face Llama: the block's output and what o_proj and down_proj read, with
    their graph, and the logits behind the last token.
    """
    block, kept = hf.model.layers[layer], {}

    def root(module, inputs, output):
        return output.detach().requires_grad_()

    def read(name, module, inputs):
        kept[name] = inputs[0]

    def out(module, inputs, output):
        kept["resid_post"] = output[0] if isinstance(output, tuple) else output

    handles = [
        hf.model.embed_tokens.register_forward_hook(root),
        block.register_forward_hook(out),
        block.self_attn.o_proj.register_forward_pre_hook(partial(read, "z")),
        block.mlp.down_proj.register_forward_pre_hook(partial(read, "post")),
    ]
    logits = hf(torch.tensor([ids])).logits[0, -1]
    for handle in handles:
        handle.remove()
    return kept, logits


@pytest.mark.parametrize("position", ["last", "edit"])
@pytest.mark.parametrize("way", ["denoise", "noise"])
def test_twins_of_unequal_length_equal_autograd_on_the_plain_model(tiny_model, way, position):
    model = tiny_model("llama")
    sites = [Site(name, 1) for name in ("resid_post", "z", "post")]
    found, given, bound = estimated(model, UNEQUAL, sites)
    hf = model.plain().eval()
    tokens = [bound.tokens[emotion][0] for emotion in bound.emotions]
    own, others = bound.emotions.index("fear"), [0, 2]
    for i, case in enumerate(given.own[way]):
        here, logits = held_by(hf, case.target.tokens, 1)
        there, _ = held_by(hf, case.source.tokens, 1)
        scores = logits.log_softmax(-1)[tokens]
        gradients = torch.autograd.grad(scores[own] - scores[others].mean(), list(here.values()))
        taken, put = (torch.from_numpy(one) for one in case.moves[position, ""])
        for (name, x), gradient in zip(here.items(), gradients, strict=True):
            along = (there[name][0, taken] - x[0, put]) * gradient[0, put]
            along = along.sum(0).detach()
            if name == "resid_post":
                along = along.sum(0, keepdim=True)
            if name == "z":
                along = along.reshape(model.dims.n_heads, -1).sum(-1)
            ours = found[way, Site(name, 1), position, ""][i]
            np.testing.assert_allclose(ours, along.numpy(), rtol=1e-3, atol=1e-5)


def test_words_of_several_tokens_are_estimated_whole(tiny_model):
    long = Readout({"fear": ["lost a child"], "joy": ["won the cake", "cake"]}, SUFFIX)
    model = tiny_model("llama")
    sites = node_sites(model, ("resid_post@1",))
    found, given, bound = estimated(model, UNEQUAL, sites, readout=long)
    assert not bound.whole
    expected = slope(model, given.own["denoise"], bound, sites[0], "last")
    ours = found["denoise", sites[0], "last", ""][:, 0]
    np.testing.assert_allclose(ours, expected, rtol=0.005, atol=4e-4)


def test_more_steps_come_nearer_to_the_exact_effect_of_the_inputs(tiny_model):
    """The inputs are the one activation that the path of integrated gradients moves."""
    model, errors = tiny_model("llama"), []
    for steps in (2, 8, 32):
        asked = {"method": "integrated", "steps": steps, "positions": ("edit",)}
        found, given, bound = estimated(model, UNEQUAL, [INPUTS], **asked)
        exact = exact_effects(model, given.own["denoise"], bound, Node(INPUTS), "edit")
        ours = found["denoise", INPUTS, "edit", ""][:, 0]
        errors.append(np.abs(ours - exact).max() / np.abs(exact).max())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.03


def effects_of_each(model, cases, bound, nodes, position):
    cells = patched_cells(model, cases, bound, {position: nodes})
    labels = [case.pair.affective.emotion for case in cases]
    clean, *patched = (
        bound.contrast(cells[key]["scores"], labels)
        for key in ((None, "target", ""), *((node, position, "") for node in nodes))
    )
    return [one - clean for one in patched]


def exact_effects(model, cases, bound, node, position):
    return effects_of_each(model, cases, bound, [node], position)[0]


def test_one_neuron_is_patched_alone(tiny_model):
    """By a hook on what down_proj of the plain model reads."""
    model = tiny_model("llama")
    given, bound = encode_cases(model, UNEQUAL, READOUT), READOUT.bind(model)
    hf = model.plain().eval()
    tokens = [bound.tokens[emotion][0] for emotion in bound.emotions]
    ours = exact_effects(model, given.own["denoise"], bound, Node(Site("post", 1), 7), "last")
    for i, case in enumerate(given.own["denoise"]):
        there, _ = held_by(hf, case.source.tokens, 1)
        _, clean = held_by(hf, case.target.tokens, 1)
        taken, put = (int(one[0]) for one in case.moves["last", ""])

        def swap(module, inputs, put=put, value=there["post"][0, taken, 7]):
            x = inputs[0].clone()
            x[0, put, 7] = value
            return (x,)

        handle = hf.model.layers[1].mlp.down_proj.register_forward_pre_hook(swap)
        patched = hf(torch.tensor([case.target.tokens])).logits[0, -1]
        handle.remove()
        scores = [x.log_softmax(-1)[tokens].detach().numpy() for x in (patched, clean)]
        expected = np.subtract(*(s[1] - (s[0] + s[2]) / 2 for s in scores))
        assert ours[i] == pytest.approx(expected, abs=2e-5)


@pytest.fixture(scope="module")
def rows():
    pairs = planted.stimuli(SPEC, n=20).pairs()
    chosen, reported = pairs.split()
    halves = tuple(type(pairs)(half[::5]) for half in (chosen, reported))
    model, readout = load("planted", check=False), Readout(planted.readout(SPEC), "")
    asked = Attribution(top=3, positions=("last",))
    return table(attribute_pairs(model, halves, readout, asked))


@pytest.mark.parametrize("way", ["denoise", "noise"])
def test_the_planted_heads_stand_out_and_the_controls_do_not(rows, way):
    found = pick(rows, metric="estimated_effect", component="head", mode=way, emotion="all")
    own = {TRUTH.heads[emotion][0] for emotion in SPEC.emotions}
    sign = 1 if way == "denoise" else -1
    for control in ("", OTHER_EMOTION, SAME_NORM):
        mine = pick(found, control=control)
        assert len(mine) == SPEC.n_layers * SPEC.n_heads
        is_planted = [(row.layer, row.index) in own for row in mine.itertuples(index=False)]
        values = sign * mine["value"].to_numpy()
        if not control:
            assert values[is_planted].min() > 1
            assert np.abs(values[~np.array(is_planted)]).max() < 0.1
            assert set(mine["rank"][is_planted]) == {1.0, 2.0}
        if control == SAME_NORM:
            assert np.abs(values).max() < 1


def test_estimates_stand_beside_exact_patches_and_their_error(rows):
    exact = pick(rows, metric="exact_effect")
    assert set(exact["chosen"]) == {"all", "top", "random"}
    assert len(pick(exact, component="head", mode="noise")) == 6
    for way in ("denoise", "noise"):
        for component in ("sublayer", "head", "neuron"):
            own = pick(exact, component=component, mode=way)
            error = pick(rows, metric="relative_error", component=component, mode=way)
            apart = np.abs(own["estimated"] - own["value"]).sum() / np.abs(own["value"]).sum()
            assert error["value"].item() == pytest.approx(apart, rel=1e-5)
            assert error["nodes"].item() == len(own)
            ranks = pick(rows, metric="rank_correlation", component=component, mode=way)
            idle = (own["estimated"] == 0) & (own["value"] == 0)
            expected = spearmanr(own["estimated"][~idle], own["value"][~idle]).statistic
            assert ranks["value"].item() == pytest.approx(expected, abs=1e-6)
            absolute = pick(rows, metric="mean_absolute_error", component=component, mode=way)
            apart = np.abs(own["estimated"] - own["value"]).mean()
            assert absolute["value"].item() == pytest.approx(apart, rel=1e-5)


def test_what_the_chosen_heads_do_is_told_of_exact_patches(rows):
    exact = pick(rows, metric="exact_effect", component="head", chosen="top")
    ways = [pick(exact, mode=way)["value"].mean() for way in ("denoise", "noise")]
    (found,) = pick(rows, metric="chosen_effect", component="head", control="").to_dict("records")
    assert found["value"] == pytest.approx((ways[0] - ways[1]) / 2, rel=1e-6)
    assert found["mode"] == "both"
    assert found["p"] < 0.01
    (above,) = pick(rows, metric="above_random", component="head").to_dict("records")
    (random,) = pick(rows, metric="chosen_effect", component="head", control="random").to_dict(
        "records"
    )
    assert above["value"] == pytest.approx(found["value"] - random["value"])
    total = pick(rows, metric="total_effect")["value"].item()
    assert total > found["value"] > random["value"]


def test_one_half_ranks_and_the_other_is_told_of():
    """Ranked by an emotion whose head is not that of the one that is told of; and all texts of
    that one are of one scenario, which is no evidence.
    """
    first = SPEC.emotions[0]
    second = next(one for one in SPEC.emotions if TRUTH.heads[one][0] != TRUTH.heads[first][0])
    pairs = planted.stimuli(SPEC, n=3).pairs()
    told = [Pair(*(replace(item, group="one") for item in pair)) for pair in pairs.of(second)]
    asked = Attribution(sites=("z",), top=1, positions=("last",))
    model, readout = load("planted", check=False), Readout(planted.readout(SPEC), "")
    found = table(attribute_pairs(model, (pairs.of(first), told), readout, asked))
    top = pick(found, metric="exact_effect", component="head", chosen="top", mode="denoise")
    assert (top["layer"].item(), top["index"].item()) == TRUTH.heads[first][0]
    (row,) = pick(found, metric="chosen_effect", control="").to_dict("records")
    assert abs(row["value"]) < 0.1
    assert np.isnan(row["ci_low"])
    assert row["p"] >= row["least_p"] == 0.5


def test_errors_of_known_size():
    """Estimates that are twice the exact effect, and turned for the smallest node."""
    exact = np.array([[4.0, 2.0, 1.0, 0.01]] * 6) + np.arange(6)[:, None] * 0.001
    twisted = exact * np.array([2.0, 2.0, 2.0, -2.0])
    found = {row["metric"]: row for row in error_rows(twisted, exact, np.arange(6))}
    size = exact.mean(axis=0)
    expected = (size[:3].sum() + 3 * size[3]) / size.sum()
    assert found["relative_error"]["value"] == pytest.approx(expected)
    assert found["mean_absolute_error"]["value"] == pytest.approx(expected * size.sum() / 4)
    assert found["sign_agreement"]["value"] == 1.0  # the smallest is no node to have a sign
    assert found["sign_agreement"]["nodes"] == 3
    assert found["rank_correlation"]["value"] == pytest.approx(1.0)
    assert found["rank_correlation"]["ci_high"] <= 1.0
    idle = np.concatenate([exact, np.zeros((6, 4))], axis=1)
    turned = np.concatenate([exact[:, ::-1], np.zeros((6, 4))], axis=1)
    ranks = {row["metric"]: row for row in error_rows(turned, idle, np.arange(6))}
    assert ranks["rank_correlation"]["value"] == pytest.approx(-1.0)
    assert ranks["rank_correlation"]["nodes"] == 4
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in found.values())
    assert list(error_rows(exact[:, :2], 0 * exact[:, :2], np.arange(6))) == [
        {"metric": "mean_absolute_error", "nodes": 2, **_of_zero(exact)}
    ]


def _of_zero(exact):
    """The only error that there is where no patch does anything."""
    (row,) = [
        one
        for one in error_rows(exact[:, :2], 0 * exact[:, :2], np.arange(6))
        if one["metric"] == "mean_absolute_error"
    ]
    assert row["value"] == pytest.approx(exact[:, :2].mean())
    return {name: row[name] for name in ("value", "ci_low", "ci_high", "n")}


def test_one_emotion_has_no_control_of_another(tiny_model):
    halves = ([UNEQUAL[0]], [UNEQUAL[1]])
    asked = Attribution(sites=("attn_out@1", "z@1"), top=2, positions=("last",))
    found = table(attribute_pairs(tiny_model("llama"), halves, READOUT, asked))
    estimates = pick(found, metric="estimated_effect", emotion="all")
    assert set(estimates["control"]) == {"", SAME_NORM}
    assert pd.isna(pick(estimates, component="sublayer")["index"]).all()


def test_what_cannot_be_attributed(tiny_model):
    llama, halves = tiny_model("llama"), ([UNEQUAL[0]], [UNEQUAL[1]])
    with pytest.raises(UsageError, match="steps is 0: give at least 1"):
        Attribution(steps=0)
    with pytest.raises(UsageError, match="top is 0"):
        Attribution(top=0)
    with pytest.raises(UsageError, match="unknown method of attribution 'taylor'"):
        Attribution(method="taylor")
    with pytest.raises(UsageError, match=r"positions are \['first'\]"):
        Attribution(positions=("first",))
    with pytest.raises(UsageError, match="is not a site of nodes: expected resid_post"):
        attribute_pairs(llama, halves, READOUT, Attribution(sites=("q",)))
    with pytest.raises(UsageError, match="out of range"):
        attribute_pairs(llama, halves, READOUT, Attribution(sites=("z@9",)))
    with pytest.raises(StatisticsError, match="they have 1 and 0"):
        attribute_pairs(llama, ([UNEQUAL[0]], []), READOUT)
    sad = story(0, "the dog ran", "the dog sat", "sadness")
    with pytest.raises(UsageError, match="no words for 'sadness'"):
        attribute_pairs(llama, ([sad], [sad]), READOUT)
    same = story(0, "the dog zzz", "the dog yyy")
    with pytest.raises(DataError, match="same tokens"):
        attribute_pairs(llama, ([same], [same]), READOUT)
    assert set(NODE_SITES) == {"resid_post", "attn_out", "mlp_out", "z", "post"}


def test_the_estimates_keep_no_graph_and_leave_no_hook(tiny_model):
    model = tiny_model("gpt2")
    texts = encode_cases(model, UNEQUAL, READOUT).own["denoise"]
    estimated(model, UNEQUAL, node_sites(model, ("resid_post",)))
    assert model.hooks_clean()
    found = run_forward(model, [case.target for case in texts])
    assert not found.logits.requires_grad
    assert not word_scores(found, READOUT.bind(model)).requires_grad


def test_the_error_of_a_coarse_dtype_is_the_largest_difference_of_effects(tiny_folder):
    coarse, exact = (
        load(str(tiny_folder("llama")), check=False, dtype=dtype)
        for dtype in ("bfloat16", "float32")
    )
    row = dtype_error_row(coarse, exact, UNEQUAL, READOUT)
    effects = []
    for model in (coarse, exact):
        given, bound = encode_cases(model, UNEQUAL, READOUT), READOUT.bind(model)
        nodes = [Node(Site(name, at)) for name in ("attn_out", "mlp_out") for at in range(3)]
        nodes.append(Node(Site("resid_post", 1)))
        effects.append(
            [effects_of_each(model, cases, bound, nodes, "last") for cases in given.own.values()]
        )
    assert row["value"] == pytest.approx(np.abs(np.subtract(*effects)).max())
    assert row["largest"] == pytest.approx(np.abs(effects[1]).max())
    assert 0 < row["value"] < 0.1 * row["largest"]
    assert row["n"] == len(UNEQUAL)
    with pytest.raises(UsageError, match="a coarse dtype, and in float32"):
        dtype_error_row(exact, exact, UNEQUAL, READOUT)
