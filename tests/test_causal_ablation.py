"""Ablation against the planted model's closed form, and against hooks on plain Hugging Face
modules.
"""

import numpy as np
import pytest
import torch

from interp.causal import knockout
from interp.causal.ablation import ablate, ablating
from interp.causal.alignment import align
from interp.causal.bench import Bench, Knockout
from interp.causal.contributions import Component
from interp.causal.knockout import change_rows, measure
from interp.causal.matching import matched_draws
from interp.causal.ranked_parts import Counts, ranked_rows
from interp.causal.readout import Readout
from interp.errors import ArtefactError, InternalError, StatisticsError, UsageError
from interp.models import load
from interp.sites import Site
from interp.testbeds import planted
from stimuli.battery import NEUTRAL, Pair, Stimulus
from support.given_directions import given

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
FINAL = Site("resid_post", SPEC.n_layers - 1)


def component(name, found):
    return Component(name, *found)


@pytest.fixture(scope="module")
def bench():
    directions = {e: given(TRUTH.direction(e, FINAL), FINAL, 2.0) for e in SPEC.emotions}
    pairs = planted.stimuli(SPEC, n=3).pairs()
    return Bench(
        load("planted", check=False), pairs, directions, Readout(planted.readout(SPEC), "")
    )


@pytest.mark.parametrize("mode", ["zero", "resample"])
def test_knocking_out_the_planted_head_or_neuron_is_the_closed_form(bench, mode):
    cases, plans = [], [Knockout((), tuple(range(len(bench.pairs))))]
    for i, pair in list(enumerate(bench.pairs))[::4]:
        told, emotion = pair.affective, pair.affective.emotion
        knocked = [("z", TRUTH.heads[emotion][0], TRUTH.without_head(told, emotion))]
        for rank in (0, 3):
            left = TRUTH.without_neuron(told, emotion, rank=rank, mode=mode)
            knocked.append(("post", TRUTH.neurons[emotion][rank], left))
        cases += [(i, TRUTH.projection(told, emotion), left) for _, _, left in knocked]
        plans += [Knockout((component(name, found),), (i,)) for name, found, _ in knocked]
    found = measure(bench, plans, mode=mode).projection
    for row, (i, plain, left) in enumerate(cases, start=1):
        assert found[0, i] == pytest.approx(plain, rel=0.01)
        assert found[0, i] - found[row, i] == pytest.approx(
            plain - left, rel=0.01, abs=0.005 * plain
        )
        assert np.isnan(np.delete(found[row], i)).all()


def test_the_specificity_matrix_is_the_planted_one(bench):
    rows = ablate(
        bench,
        {e: [component("post", n) for n in TRUTH.neurons[e]] for e in ("joy", "fear")},
        ks=(4,),
        n_draws=9,
    )
    together = [r for r in rows if r["emotion"] == "all"]
    rows = [r for r in rows if r["emotion"] != "all"]
    top = {(r["emotion"], r["target"], r["metric"]): r for r in rows if not r["control"]}
    assert len(top) == 2 * len(SPEC.emotions) * 2
    for (emotion, target, metric), row in top.items():
        own = emotion == target
        if metric == "projection_drop":
            told = [p.affective for p in bench.pairs if p.affective.emotion == target]
            lost = [
                sum(
                    TRUTH.projection(s, target)
                    - TRUTH.without_neuron(s, target, rank=r, mode="resample")
                    for r in range(4)
                )
                for s in told
            ]
            assert row["value"] == pytest.approx(own * np.mean(lost) / 2.0, rel=0.01, abs=0.01)
        else:
            assert (row["value"] < -3) if own else abs(row["value"]) < 0.05
        assert ("p" in row) == own
        assert not own or row["p"] == pytest.approx(0.1)
        assert (row["n"], row["k"], row["mode"], row["component"]) == (3, 4, "resample", "neuron")
    random = [r for r in rows if r["control"] == "random"]
    assert {(r["emotion"], r["target"]) for r in random} == {("joy", "joy"), ("fear", "fear")}
    # A range over draws is no interval of their mean.
    assert all(
        abs(r["value"]) < 0.5 and r["n"] == 9 and r["draw_low"] <= r["value"] <= r["draw_high"]
        for r in random
    )
    assert all(np.isnan([r["ci_low"], r["ci_high"]]).all() for r in random)
    own = {(r["metric"], r["control"]): r for r in together}
    for metric in ("projection_drop", "label_logprob_change"):
        both = [top[e, e, metric]["value"] for e in ("joy", "fear")]
        row = own[metric, ""]
        assert (row["value"], row["n"], row["target"]) == (pytest.approx(np.mean(both)), 6, "all")
        assert row["p"] == pytest.approx(1 / 100, abs=0.003)  # two emotions, ten sets each
        drawn = [r["value"] for r in random if r["metric"] == metric]
        together = own[metric, "random"]
        assert (together["value"], together["n"]) == (pytest.approx(np.mean(drawn)), 18)


def test_both_kinds_together_are_each_by_itself_and_read_a_text_once(bench, monkeypatch):
    neurons = {e: [component("post", n) for n in TRUTH.neurons[e]] for e in SPEC.emotions}
    heads = {e: [component("z", h) for h in TRUTH.heads[e]] for e in SPEC.emotions}
    counts, read, run = Counts((2,), 5, 3), [], type(bench.model)._run

    def watched(model, ids, *given, **how):
        read.append(ids.shape)
        return run(model, ids, *given, **how)

    monkeypatch.setattr(type(bench.model), "_run", watched)
    alone = [ranked_rows(bench, [one], ablating(), counts) for one in (heads, neurons)]
    apart, read[:] = len(read), []
    together = ranked_rows(bench, [heads, neurons], ablating(), counts)
    assert len(read) < apart
    key = ("component", "emotion", "target", "metric", "control")
    found = {tuple(row[name] for name in key): row for row in together}
    assert len(found) == len(together) == len(alone[0]) + len(alone[1])
    for row in (*alone[0], *alone[1]):
        same = found[tuple(row[name] for name in key)]
        for name in ("value", "p", "ci_low", "n"):
            if name in row:
                assert same[name] == pytest.approx(row[name], abs=1e-4, nan_ok=True)


def test_of_twins_only_what_may_be_put_in_is_held(bench, monkeypatch):
    held = []

    def kept(model, plans, stand_in, rows, may):
        held.append((may, stand_in))
        return change_rows(model, plans, stand_in, rows, may)

    monkeypatch.setattr(knockout, "change_rows", kept)
    plan = Knockout((component("z", TRUTH.heads["joy"][0]),), tuple(range(len(bench.pairs))))
    for reach in ("last", "all"):
        held.clear()
        measure(bench, [plan], mode="resample", reach=reach)
        assert held
        for may, stand_in in held:
            assert may.any()
            assert all(len(x) <= may.sum() for x in stand_in.values.values())
            assert stand_in.place.max() < min(map(len, stand_in.values.values()))


def test_distractors_do_nothing_and_have_no_small_p(bench):
    heads = {h for found in TRUTH.heads.values() for _, h in found}
    idle = [Component("z", TRUTH.head_layer, h) for h in range(SPEC.n_heads) if h not in heads]
    rows = ablate(bench, {"joy": idle}, ks=(1,), n_draws=9)
    own = next(
        r
        for r in rows
        if r["target"] == "joy" and r["metric"] == "projection_drop" and not r["control"]
    )
    assert abs(own["value"]) < 0.02
    assert own["p"] > 0.1


def test_ks_beyond_what_there_is(bench):
    order = [component("post", n) for n in TRUTH.neurons["joy"]]
    ks = {r["k"] for r in ablate(bench, {"joy": order}, ks=(1, 4, 64), n_draws=1)}
    assert ks == {1, 4}
    assert {r["k"] for r in ablate(bench, {"joy": order[:3]}, ks=(8, 64), n_draws=1)} == {3}


@pytest.mark.parametrize("k", [2, 4, 10])
def test_random_heads_are_never_the_chosen_ones(bench, k):
    """Layers of 4 heads: beside 2 the layer's others serve, beside 4 other layers, beside 10 of 16
    there are too few.
    """
    top = [Component("z", layer, head) for layer in (2, 1, 3) for head in range(4)][:k]
    arguments = {"n_draws": 30, "rng": np.random.default_rng(0)}
    if k == 10:
        with pytest.warns(UserWarning, match="beside the top 10 there are too few others"):
            assert matched_draws(top, bench.model, FINAL, **arguments) == ([], "")
        return
    draws, matched = matched_draws(top, bench.model, FINAL, **arguments)
    assert matched == ("layer" if k == 2 else "layers")
    for draw in draws:
        assert len(set(draw)) == k
        assert not set(draw) & set(top)
        assert k == 4 or {one.layer for one in draw} == {2}
    assert len(set(map(frozenset, draws))) == len(draws)
    assert len(draws) == (1 if k == 2 else 30)  # beside two of a layer's four there is one choice
    early, _ = matched_draws(top, bench.model, Site("resid_post", 2), **arguments)
    assert all(one.layer <= 2 for draw in early for one in draw)


def test_no_component_is_made_that_is_not_drawn(bench, monkeypatch):
    """Five draws of three neurons make fifteen, however many a layer has."""
    made = []

    def counted(*place):
        made.append(place)
        return Component(*place)

    monkeypatch.setattr("interp.causal.matching.Component", counted)
    top = [Component("post", 1, 7), Component("post", 0, 9), Component("post", 1, 8)]
    draws, matched = matched_draws(top, bench.model, FINAL, n_draws=5, rng=np.random.default_rng(0))
    assert (len(draws), matched, len(made)) == (5, "layer", 15)
    assert all(sorted(one.layer for one in draw) == [0, 1, 1] for draw in draws)
    assert not {one for draw in draws for one in draw} & set(top)


def test_a_whole_layer_of_heads_has_a_control_with_a_width(bench):
    """All heads of the head layer: every "random" draw used to be the chosen set, [.477, .477]
    beside .477.
    """
    rows = ablate(
        bench,
        {"joy": [Component("z", TRUTH.head_layer, head) for head in range(4)]},
        ks=(4,),
        n_draws=12,
    )
    together = next(r for r in rows if r["emotion"] == "all")
    assert together["p"] == pytest.approx(1 / 13, abs=0.01)
    assert together["least_p"] == pytest.approx(1 / 13)
    random = next(r for r in rows if r["control"] == "random" and r["metric"] == "projection_drop")
    own = next(
        r
        for r in rows
        if r["target"] == "joy" and not r["control"] and r["metric"] == "projection_drop"
    )
    assert random["matched"] == "layers"
    assert random["value"] < 0.5 * own["value"]
    assert own["p"] == pytest.approx(1 / 13)
    all_heads = [Component("z", layer, head) for layer in range(4) for head in range(4)]
    with pytest.warns(UserWarning, match="too few others"):
        rows = ablate(bench, {"joy": all_heads}, ks=(16,), n_draws=3)
    assert {r["control"] for r in rows} == {""}
    assert np.isnan(next(r["p"] for r in rows if r["target"] == "joy"))


@pytest.mark.parametrize(("length", "interval"), [(-0.1, (np.nan, np.nan)), (0.1, (-0.1, 0.3))])
def test_a_direction_without_a_sure_length_is_no_unit(bench, length, interval):
    joy = given(bench.directions["joy"].vector, FINAL, length, length_interval=interval)
    lost = {**bench.directions, "joy": joy}
    head = [component("z", h) for h in TRUTH.heads["joy"]]
    with pytest.warns(
        UserWarning, match="the direction of joy has no held-out length that is surely above zero"
    ):
        rows = ablate(
            Bench(bench.model, bench.pairs, lost, bench.readout), {"joy": head}, ks=(1,), n_draws=3
        )
    found = {(r["target"], r["metric"], r["control"]): r for r in rows}
    assert not [key for key in found if key[:2] == ("joy", "projection_drop")]
    assert found["joy", "label_logprob_change", ""]["value"] < -1
    assert np.isfinite(found["fear", "projection_drop", ""]["value"])


WORDS = {"joy": ["happy"], "fear": ["afraid"], "anger": ["angry"]}
STORY = Pair(
    Stimulus("a", "the dog bit the small child and ran", "fear", "keyword_free", "p", "g"),
    Stimulus("n", "the dog saw the child and ran", NEUTRAL, "neutral", "p", "g"),
)
HEADS = (Component("z", 1, 0), Component("z", 1, 3))
NEURONS = (Component("post", 1, 5), Component("post", 1, 40))


@pytest.fixture(scope="module")
def llama(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


@pytest.mark.parametrize("components", [HEADS, NEURONS], ids=["heads", "neurons"])
@pytest.mark.parametrize("mode", ["resample", "mean", "zero"])
def test_every_mode_equals_hooks_on_plain_modules(llama, mode, components):
    site = Site("resid_post", 2)
    v = np.random.default_rng(0).standard_normal(32)
    v /= np.linalg.norm(v)
    readout = Readout(WORDS, " . he feels")
    bench = Bench(llama, [STORY], {"fear": given(v, site)}, readout)
    effects = measure(bench, [Knockout((), (0,)), Knockout(components, (0,))], mode=mode)

    hf = llama.plain().eval()
    layer = hf.model.layers[1]
    module = layer.self_attn.o_proj if components is HEADS else layer.mlp.down_proj
    width = llama.dims.d_head if components is HEADS else 1
    columns = [c.index * width + i for c in components for i in range(width)]
    text, twin = (torch.tensor(llama.tokenize([s.text + " . he feels"])) for s in STORY)
    seen = []
    handle = module.register_forward_pre_hook(lambda m, x: seen.append(x[0][0].clone()))
    with torch.no_grad():
        clean = hf(text)
        hf(twin)
    handle.remove()
    source = align(twin[0].tolist(), text[0].tolist()).source_of
    end, twin_end = (len(llama.tokenize([s.text])[0]) - 1 for s in STORY)
    cuts = [(slice(1, e), slice(e, e + 1), slice(e + 1, None)) for e in (end, twin_end)]
    mean = seen[0].clone()  # the tokenizer's BOS, at 0, stays
    for own, other in zip(*cuts, strict=True):  # inner tokens, the last one, the suffix
        mean[own] = torch.cat([seen[0][own], seen[1][other]]).mean(0)
    zero = torch.zeros_like(seen[0])
    zero[0] = seen[0][0]
    new = {"resample": seen[1][source], "mean": mean, "zero": zero}[mode]

    def swap(m, x):
        changed = x[0].clone()
        changed[0][:, columns] = new[:, columns]
        return (changed,)

    kept = []
    handles = [
        module.register_forward_pre_hook(swap),
        hf.model.layers[2].register_forward_hook(
            lambda m, x, y: kept.append(y[0] if isinstance(y, tuple) else y)
        ),
    ]
    with torch.no_grad():
        logits = hf(text).logits[0, -1]
    for handle in handles:
        handle.remove()
    token = llama.tokenizer.convert_tokens_to_ids("afraid")
    last = kept[0].reshape(-1, 32)[end].double().numpy()
    assert effects.score[1, 0] == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)
    assert effects.score[0, 0] == pytest.approx(
        float(clean.logits[0, -1].log_softmax(-1)[token]), abs=1e-4
    )
    assert effects.projection[1, 0] == pytest.approx(last @ v, abs=1e-3)
    assert abs(effects.score[1, 0] - effects.score[0, 0]) > 1e-3


def test_what_cannot_be_ablated(bench, llama):
    head = component("z", TRUTH.heads["joy"][0])
    with pytest.raises(InternalError, match="ablated twice"):
        ablate(bench, {"joy": [head, head]}, ks=(2,))
    with pytest.raises(UsageError, match="modes are resample"):
        ablate(bench, {"joy": [head]}, mode="shuffle")
    with pytest.raises(UsageError, match="counts start at 1"):
        ablate(bench, {"joy": [head]}, ks=(0,))
    with pytest.raises(UsageError, match="n_draws 0"):
        ablate(bench, {"joy": [head]}, n_draws=0)
    with pytest.raises(UsageError, match="no components are given for joy"):
        ablate(bench, {"joy": []})
    for wrong in (Component("z", 9, 0), Component("z", 0, 4), Component("q", 0, 0)):
        with pytest.raises(UsageError, match="planted has no"):
            measure(bench, [Knockout((wrong,), (0,))])
    with pytest.raises(StatisticsError, match="at least one pair"):
        Bench(bench.model, [], bench.directions, bench.readout)
    with pytest.raises(UsageError, match="no direction is given for joy"):
        Bench(
            bench.model,
            bench.pairs,
            {e: d for e, d in bench.directions.items() if e != "joy"},
            bench.readout,
        )
    with pytest.raises(ArtefactError, match=r"128 wide and .* is 32 wide"):
        Bench(llama, [STORY], {"fear": bench.directions["fear"]}, bench.readout)
