"""Circuits: influence against finite differences, allocation against all allocations there are, the
file, faithfulness against hooks on plain Hugging Face modules.
"""

import json
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

import interp
from interp.causal import influence, rival_orders
from interp.causal.allocation import Budget, allocate, split_budget, usual_budget
from interp.causal.bench import Knockout
from interp.causal.circuit import Circuit, CircuitPart, load_circuits, save_circuits
from interp.causal.circuit_search import find_circuit, like
from interp.causal.circuits import bench_of, search
from interp.causal.contributions import Component, EmotionTwins
from interp.causal.edits import add
from interp.causal.faithfulness import (
    SHARES,
    FaithfulnessTrial,
    KeptParts,
    half_of,
    kept_of,
    measure_circuits,
    sized,
)
from interp.causal.faithfulness_rows import curve_area, faithfulness_rows
from interp.causal.forward import encode_stimuli, run_forward
from interp.causal.influence import sublayer_influence
from interp.causal.interventions import Intervention
from interp.causal.knockout import measure
from interp.causal.modulation import modulate, shifts_of
from interp.causal.overlap import jaccard, overlap_rows
from interp.causal.readout import Readout
from interp.causal.rival_orders import beside_optimal, by_single_ablation
from interp.causal.sublayers import (
    EmotionReading,
    Sublayer,
    half_cosine,
    stable_segment,
    sublayer_output,
)
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.evaluation.planted_bench import open_bench
from interp.models import load
from interp.sites import Site
from interp.testbeds import planted
from stimuli.battery import NEUTRAL, Stimulus

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
TEXTS = [
    Stimulus(name, text, NEUTRAL, "neutral", name, name)
    for name, text in (("a", "the dog saw the child and ran"), ("b", "he went home"))
]


@pytest.fixture(scope="module")
def bed():
    return open_bench("planted")


@pytest.fixture(scope="module")
def searched(bed):
    """The circuit of joy, of the fitting half."""
    sites = [Site(name, layer) for layer in range(SPEC.n_layers) for name in ("z", "post")]
    rows = {item: at for at, item in enumerate(bed.store.items)}
    pairs = bed.fitting.of("joy")
    items = np.array([[rows[item.id] for item in pair] for pair in pairs])
    activations = {site: bed.store.read(site).x for site in sites}
    twins = EmotionTwins("joy", items, pairs.groups)
    return search(bed.model, activations, twins, pairs.neutral, provenance={"battery": "b"})


@pytest.fixture(scope="module")
def bench(bed, searched):
    return bench_of(bed.model, bed.scoring.of("joy")[:5], {"joy": searched}, bed.readout)


def made_up(model, *, seed=0):
    """A reading of random directions at every sublayer of a model."""
    draw = np.random.default_rng(seed)
    dims = model.dims

    def unit():
        v = draw.standard_normal(dims.d_model)
        return v / np.linalg.norm(v)

    sublayers = [
        Sublayer(Site(name, layer), unit(), 1.0, 1.0, np.ones(1), np.ones(1))
        for layer in range(dims.n_layers)
        for name in ("z", "post")
    ]
    return EmotionReading("joy", tuple(sublayers), unit(), (0, 1))


@pytest.mark.parametrize("family", ["llama", "gpt_neo", "gemma2"])
def test_one_backward_pass_gives_the_slopes_that_finite_doses_have(tiny_folder, family):
    model = load(str(tiny_folder(family)), check=False)
    reading = made_up(model)
    found = sublayer_influence(model, TEXTS, reading)
    assert found.shape == (2, 2 * model.dims.n_layers)
    rows = encode_stimuli(model, TEXTS, Readout({"joy": ["joy"]}, ""))
    ends = [row.end for row in rows]
    last = torch.zeros(2, max(len(row.tokens) for row in rows), dtype=torch.bool)
    last[torch.arange(2), ends] = True
    final = Site("resid_post", model.dims.n_layers - 1)

    def end(place, vector, dose):
        edit = Intervention(place, add(vector, scale=dose), last)
        stream = run_forward(model, rows, interventions=[edit], read=[final]).at(final, ends)
        return stream.double().numpy() @ reading.reference

    for at, one in enumerate(reading.sublayers):
        sides = [end(one.place, one.vector, dose) for dose in (0.02, -0.02)]
        slope = (sides[0] - sides[1]) / 0.04
        np.testing.assert_allclose(found[:, at], slope, atol=1e-3 * max(1, abs(slope).max()))
    assert model.hooks_clean()
    assert not run_forward(model, rows, read=[final]).sites[final].requires_grad


def test_influence_does_not_depend_on_how_many_texts_are_read_at_once(bed, searched, monkeypatch):
    together = sublayer_influence(bed.model, TEXTS, searched.reading)
    monkeypatch.setattr(influence, "TRACED_TOKENS", 1)
    alone = sublayer_influence(bed.model, TEXTS, searched.reading)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)


def test_influence_needs_texts(bed, searched):
    with pytest.raises(StatisticsError, match="none was given"):
        sublayer_influence(bed.model, [], searched.reading)


def test_a_dose_at_the_planted_head_reaches_the_end_through_the_neurons(bed, searched):
    """The head's message counts once itself and READ_GAIN times through the neurons."""
    slopes = {
        (one.site.name, one.site.layer): float(searched.influence[:, at].mean())
        for at, one in enumerate(searched.reading.sublayers)
    }
    assert max(slopes, key=slopes.__getitem__) == ("z", TRUTH.head_layer)
    v = {name: TRUTH.direction("joy", Site(name, layer)) for name, layer in
         (("attn_out", TRUTH.head_layer), ("mlp_out", TRUTH.neuron_layer))}  # fmt: skip
    reference = searched.reading.reference
    expected = reference @ v["attn_out"] + planted.spec.READ_GAIN * (reference @ v["mlp_out"])
    assert slopes["z", TRUTH.head_layer] == pytest.approx(expected, abs=0.05)
    assert slopes["post", TRUTH.neuron_layer] == pytest.approx(reference @ v["mlp_out"], abs=0.05)
    assert searched.reading.segment == (TRUTH.head_layer, TRUTH.neuron_layer)
    assert reference @ (v["attn_out"] + v["mlp_out"]) / np.sqrt(2) > 0.95


def test_what_a_sublayer_adds_is_what_the_model_adds(tiny_folder):
    for family in ("llama", "gemma2"):
        model = load(str(tiny_folder(family)), check=False)
        rows = encode_stimuli(model, TEXTS, Readout({"joy": ["joy"]}, ""))
        for part, place in (("z", "attn_out"), ("post", "mlp_out")):
            sites = [Site(part, 1), Site(place, 1)]
            found = run_forward(model, rows, read=sites)
            x, added = (found.at(site, [row.end for row in rows]).numpy() for site in sites)
            np.testing.assert_allclose(sublayer_output(model, sites[0], x), added, atol=1e-4)


def test_halves_are_of_scenarios_and_not_of_their_retellings():
    differences = np.random.default_rng(0).normal(size=(8, 30))
    once = half_cosine(differences, np.arange(8), seed=0)
    retold = half_cosine(np.repeat(differences, 6, axis=0), np.repeat(np.arange(8), 6), seed=0)
    assert retold == pytest.approx(once)
    assert abs(once) < 0.3  # noise: one half says nothing of the other


def test_the_segment_is_the_run_that_holds_best():
    assert stable_segment([0.1, 0.9, 0.8, 0.2]) == range(1, 3)
    assert stable_segment([0.5]) == range(1)
    held = [0.0] * 28
    held[20:25] = [0.9] * 5
    assert stable_segment(held) == range(20, 25)


WEIGHTS = st.lists(st.integers(0, 50).map(lambda n: n / 7), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@drawn(WEIGHTS, st.integers(0, 3), st.integers(0, 30), st.integers(1, 12))
def test_quotas_sum_up_and_keep_floors_caps_and_sizes(weights, least, more, cap):
    n = len(weights)
    budget = Budget(n * least + more, least, cap)
    sizes = [least + 9] * n
    if min(cap, 9) * n < more:
        with pytest.raises(UsageError, match="do not fit"):
            allocate(weights, budget, sizes=sizes)
        return
    quota = allocate(weights, budget, sizes=sizes)
    assert sum(quota) == budget.parts
    assert all(least <= one <= least + min(cap, 9) for one in quota)
    order = np.random.default_rng(more).permutation(n)
    if len(set(weights)) == n:  # of equals the lower layer comes first
        mixed = allocate([weights[at] for at in order], budget, sizes=sizes)
        assert mixed == tuple(quota[at] for at in order)
    ranked = sorted(range(n), key=lambda at: weights[at])
    assert all(quota[a] <= quota[b] for a, b in pairwise(ranked)
               if weights[a] < weights[b])  # fmt: skip


@pytest.mark.parametrize("cap", [2, 3, 9])
@pytest.mark.parametrize(
    "weights", [(1.0, 2.0, 4.0), (5.0, 0.1, 0.1), (0.0, 0.0, 0.0), (3.0, 1.0, 1.0)]
)
def test_no_allocation_lies_closer_to_the_shares(weights, cap):
    """Largest remainders are least squares: held against every allocation there is."""
    for parts in range(1, 3 * cap + 1):
        quota = allocate(weights, Budget(parts, 0, cap), sizes=[9] * 3)
        total = sum(weights)
        raw = [parts * w / total if total else parts / 3 for w in weights]

        def off(one, raw=raw):
            return sum((a - b) ** 2 for a, b in zip(one, raw, strict=True))

        every = [one for one in product(range(cap + 1), repeat=3) if sum(one) == parts]
        assert off(quota) == pytest.approx(min(map(off, every)))


def test_the_published_budget_and_that_of_a_small_model():
    assert usual_budget("neuron", n_layers=28, width=8192) == Budget(392, 4, 156)
    assert usual_budget("head", n_layers=28, width=24) == Budget(168, 2, 67)
    assert usual_budget("head", n_layers=4, width=4) == Budget(4, 0, 1)
    assert usual_budget("head", n_layers=1, width=2, parts=2) == Budget(2, 1, 1)
    assert split_budget(560) == {"head": 168, "neuron": 392}
    for parts in (0, 17):
        with pytest.raises(UsageError, match="4 layers of 4, so give 1 to 16"):
            usual_budget("head", n_layers=4, width=4, parts=parts)
    with pytest.raises(UsageError, match="at least 2"):
        split_budget(1)


@pytest.mark.parametrize(
    ("weights", "budget", "told"),
    [
        ((1.0, -1.0), Budget(4, 0, 4), "weight is -1.0"),
        ((1.0, float("nan")), Budget(4, 0, 4), "weight is nan"),
        ((1.0,), Budget(4, 0, 4), "1 weights and 2 layers"),
        ((1.0, 1.0), Budget(4, 3, 4), "lower the floor"),
        ((1.0, 1.0), Budget(30, 10, 4), "the smallest of 9"),
    ],
)
def test_what_cannot_be_allocated(weights, budget, told):
    with pytest.raises(UsageError, match=told):
        allocate(weights, budget, sizes=[9, 9])


def test_the_planted_parts_are_the_heaviest_of_the_circuit(searched):
    heads, neurons = (
        [(node.layer, node.index) for node in nodes]
        for nodes in (searched.circuit.heads, searched.circuit.neurons)
    )
    assert tuple(heads[:1]) == TRUTH.heads["joy"]
    assert tuple(neurons[:4]) == TRUTH.neurons["joy"]  # in the order of their shares, 4 : 3 : 2 : 1
    weights = [node.weight for node in searched.circuit.neurons[:4]]
    np.testing.assert_allclose(np.array(weights) / sum(weights), [0.4, 0.3, 0.2, 0.1], atol=0.01)
    assert {len(node.shift) for node in searched.circuit.heads} == {SPEC.d_head}
    assert searched.circuit.provenance["digest"]
    assert sum(searched.found.quotas["neuron"].values()) == 14 * SPEC.n_layers
    for kind, order in searched.found.order.items():
        assert len({tuple(place) for place in order.tolist()}) == len(order), kind


def test_where_a_layer_has_too_few_that_push_others_fill_up():
    """Layer 0 has one part that pushes and a quota of two: the heaviest left over takes its
    place.
    """
    pushes = {0: [1.0, -1.0, -1.0, 0.0], 1: [4.0, 3.0, 2.0, -1.0]}
    sublayers = [
        Sublayer(Site("z", at), np.eye(2)[0], 1.0, 1.0, np.array(one), np.zeros((4, 3)))
        for at, one in pushes.items()
    ]
    reading = EmotionReading("joy", tuple(sublayers), np.eye(2)[0], (0, 1))
    found = find_circuit(reading, np.array([1.0, 0.5]), budget=13)
    assert found.quotas == {"head": {0: 2, 1: 2}}
    places = [(node.layer, node.index, node.weight) for node in found.circuit.heads]
    assert places == [(1, 0, 2.0), (1, 1, 1.5), (0, 0, 1.0), (1, 2, 1.0)]
    assert found.order["head"].tolist()[:4] == [[1, 0], [1, 1], [0, 0], [1, 2]]


def test_random_orders_have_the_layers_of_the_circuit_s(searched):
    order = searched.found.order
    other = like(order, np.random.default_rng(0))
    for kind in order:
        assert (order[kind][:, 0] == other[kind][:, 0]).all()
        assert sorted(map(tuple, order[kind])) == sorted(map(tuple, other[kind]))
        assert (order[kind] != other[kind]).any()


def test_sizes_are_the_shares_that_differ(searched):
    sizes = sized(KeptParts(searched.circuit, searched.found.order), (*SHARES, 0.0005))
    told = [size.share for size in sizes[1:]]
    assert told == [0.0005, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]  # .001 is as few
    assert sizes[0].parts == {k: len(n) for k, n in searched.circuit.nodes.items()}
    assert sizes[-1].parts == {"head": 8, "neuron": 256}
    with pytest.raises(UsageError, match="shares lie above 0"):
        FaithfulnessTrial(shares=(0.0,))
    with pytest.raises(UsageError, match="unknown reach 'some'"):
        FaithfulnessTrial(reach="some")


def test_faithfulness_is_what_hooks_on_plain_modules_give(bed, searched, bench):
    """m of the whole model, of nothing, of the circuit, and of all but the circuit, by hand."""
    trial = FaithfulnessTrial(shares=(0.02,), draws=1, tried=1, halves=2)
    found = measure_circuits(bench, [KeptParts(searched.circuit, searched.found.order)], trial)
    found = found["joy"]
    hf = bed.model.plain().eval()
    words = [bed.model.tokenizer.convert_tokens_to_ids(w) for w in bed.readout.words["joy"]]
    kept = kept_of(bed.model, searched.found.order, found["words"].sizes[0].parts)

    def modules():
        for layer, block in enumerate(hf.transformer.h):
            yield Site("z", layer), block.attn.c_proj, SPEC.d_head
            yield Site("post", layer), block.mlp.c_proj, 1

    def score(text, inside=None, twin=None):
        """The words' log-probability; with `inside`, units that are not in it are the twin's."""
        seen, handles = {}, []
        for site, module, width in modules():

            def swap(m, x, site=site, width=width):
                seen[site] = x[0].clone()
                if inside is None:
                    return None
                outside = torch.from_numpy(np.repeat(~inside[site], width))
                return (torch.where(outside, twin[site], x[0]),)

            handles.append(module.register_forward_pre_hook(swap))
        with torch.no_grad():
            logits = hf(torch.tensor(bed.model.tokenize([text]))).logits[0, -1]
        for handle in handles:
            handle.remove()
        return float(logits.double().log_softmax(-1)[words].logsumexp(-1)), seen

    for at, pair in enumerate(bench.pairs[:2]):
        text = pair.affective.text
        _, twin = score(pair.neutral.text)
        whole, _ = score(text)
        empty, _ = score(text, {site: np.zeros_like(m) for site, m in kept.items()}, twin)
        inside, _ = score(text, kept, twin)
        outside, _ = score(text, {site: ~m for site, m in kept.items()}, twin)
        mine = found["words"]
        assert whole - empty > 1
        f = mine.circuit[at] / mine.effect[at]
        assert f == pytest.approx((inside - empty) / (whole - empty), abs=1e-5)
        left = mine.without[at] / mine.effect[at]
        assert left == pytest.approx((outside - empty) / (whole - empty), abs=1e-5)
        for number in range(2):
            half = half_of(kept, 0, number)
            less = {site: kept[site] & ~half[site] for site in kept}
            inside, _ = score(text, less, twin)
            outside, _ = score(text, {site: ~m for site, m in half.items()}, twin)
            assert mine.halved[number, at] == pytest.approx(inside - empty, abs=1e-5)
            assert mine.whole_halved[number, at] == pytest.approx(outside - empty, abs=1e-5)


def test_kept_parts_and_knocked_out_parts_are_two_ways_to_say_one_thing(bed, searched, bench):
    kept = kept_of(bed.model, searched.found.order, {"head": 15, "neuron": 511})
    last = [searched.found.order[kind][-1].tolist() for kind in ("head", "neuron")]
    named = tuple(Component(name, *one) for name, one in zip(("z", "post"), last, strict=True))
    pairs = tuple(range(len(bench.pairs)))
    found = measure(bench, [Knockout(named, pairs), Knockout((), pairs, kept)])
    np.testing.assert_allclose(found.score[0], found.score[1], atol=1e-5)
    wrong = {Site("z", 0): np.ones(5, dtype=bool)}
    with pytest.raises(UsageError, match="no 5 heads or neurons to keep"):
        measure(bench, [Knockout((), pairs, wrong)])


def test_the_planted_circuit_is_faithful_and_random_ones_are_not(searched, bench):
    candidate = KeptParts(searched.circuit, searched.found.order)
    trial = FaithfulnessTrial(shares=(0.001, 0.01, 0.1, 0.5), draws=5, tried=5)
    (candidate,) = by_single_ablation(bench, [candidate], n=6, trial=trial)
    measured = measure_circuits(bench, [candidate], trial)
    groups = {"joy": [pair.affective.group for pair in bench.pairs]}
    rows, without = faithfulness_rows(measured, groups)
    assert without == []
    value = {
        (row["metric"], row.get("control", ""), row.get("share")): row
        for row in rows
        if row["outcome"] == "words"
    }
    at = value["circuit_faithfulness", "", measured["joy"]["words"].sizes[0].share]
    assert at["value"] == pytest.approx(1.0, abs=0.02)
    assert at["ci_low"] <= at["value"] <= at["ci_high"]
    assert value["left_without", "", None]["value"] == pytest.approx(0.0, abs=0.02)
    assert value["less_without", "", None]["value"] > 0.2
    assert value["cpr", "", None]["value"] > 0.98 > value["cpr", "random", None]["value"]
    assert value["cmd", "", None]["value"] < 0.02 < value["cmd", "random", None]["value"]
    # of five heads and five neurons that were tried, one and four are planted
    tried = min(5, len(searched.circuit.heads)) + 5
    assert value["needed", "", None]["value"] == pytest.approx(5 / tried)
    assert candidate.rivals["single"]["head"][0].tolist() == list(TRUTH.heads["joy"][0])


def test_random_halves_are_parts_of_the_circuit_and_differ(bed, searched):
    kept = kept_of(bed.model, searched.found.order, {"head": 4, "neuron": 20})
    halves = [half_of(kept, 0, number) for number in range(20)]
    sizes = [sum(int(units.sum()) for units in half.values()) for half in halves]
    assert 8 < np.mean(sizes) < 16
    for half in halves:
        assert not any((half[site] & ~kept[site]).any() for site in kept)
    masks = {b"".join(half[site].tobytes() for site in kept) for half in halves}
    assert len(masks) == 20
    one = {Site("z", 0): np.array([False, True])}
    assert all(half_of(one, 0, number)[Site("z", 0)].any() for number in range(20))


def test_the_planted_circuit_is_complete_and_a_random_one_is_not(searched, bench):
    trial = FaithfulnessTrial(shares=(0.5,), draws=1, tried=0, halves=6)
    groups = {"joy": [pair.affective.group for pair in bench.pairs]}
    random = like(searched.found.order, np.random.default_rng(0))
    told = []
    for order in (searched.found.order, random):
        measured = measure_circuits(bench, [KeptParts(searched.circuit, order)], trial)
        rows, _ = faithfulness_rows(measured, groups)
        words = [row for row in rows if row["outcome"] == "words" and not row.get("control")]
        told.append({row["metric"]: row for row in words})
    own, other = told
    assert own["incompleteness"]["value"] < 0.05
    assert own["halved_circuit"]["value"] < 0.9
    assert other["incompleteness"]["value"] > 0.5
    found = measured["joy"]["words"]
    apart = (found.halved - found.whole_halved).sum(axis=1) / found.effect.sum()
    assert other["incompleteness"]["value"] == pytest.approx(np.abs(apart).mean())
    assert other["incompleteness"]["ci_low"] < np.abs(apart).mean()


def test_cpr_is_the_area_under_the_curve(searched, bench):
    candidate = KeptParts(searched.circuit, searched.found.order)
    trial = FaithfulnessTrial(shares=(0.001, 0.5), draws=1, tried=0)
    found = measure_circuits(bench, [candidate], trial)["joy"]["words"]
    f = [0.0, *(found.own[1:].sum(axis=1) / found.effect.sum()), 1.0]
    by_hand = sum(
        (b - a) * (f[i] + f[i + 1]) / 2
        for i, (a, b) in enumerate(zip((0, 0.001, 0.5), (0.001, 0.5, 1), strict=True))
    )
    assert curve_area(found.own, found).sum() / found.effect.sum() == pytest.approx(by_hand)


def test_nothing_is_said_where_the_model_does_nothing(searched, bench):
    """A model that does nothing has no shares: of noise there is no ratio."""
    candidate = KeptParts(searched.circuit, searched.found.order)
    trial = FaithfulnessTrial(shares=(0.5,), draws=1, tried=0)
    found = measure_circuits(bench, [candidate], trial)["joy"]
    noise = np.array([1.0, -1.0, 0.5, -0.6, 0.0])
    still = {name: replace(one, effect=noise) for name, one in found.items()}
    rows, without = faithfulness_rows({"joy": still}, {"joy": list("abcde")})
    assert {row["metric"] for row in rows} == {"effect"}
    assert without == ["joy"]


def test_an_emotion_without_words_or_pairs_is_refused(searched, bench):
    candidate = KeptParts(replace(searched.circuit, emotion="envy"), searched.found.order)
    with pytest.raises(UsageError, match="no words for 'envy'"):
        measure_circuits(bench, [candidate], FaithfulnessTrial())
    candidate = KeptParts(replace(searched.circuit, emotion="fear"), searched.found.order)
    with pytest.raises(UsageError, match="no pair of the bench evokes 'fear'"):
        measure_circuits(bench, [candidate], FaithfulnessTrial())


def circuit_of(*places, emotion="joy"):
    nodes = tuple(CircuitPart(layer, index, 1.0, (0.5,)) for layer, index in places)
    return Circuit(emotion, (), nodes)


def test_overlap_stands_beside_random_circuits():
    one, same = circuit_of((0, 1), (0, 2), (1, 3)), circuit_of((0, 1), (0, 2), (1, 3))
    far = circuit_of((0, 5), (0, 6), (1, 7))
    assert jaccard({(0, 1)}, set()) == 0.0
    rows = overlap_rows({"joy": one, "fear": same, "anger": far}, {"head": 8, "neuron": 8})
    found = {(r["emotion"], r["target"]): r for r in rows if not r["control"]}
    random = {(r["emotion"], r["target"]): r for r in rows if r["control"]}
    assert found["joy", "fear"]["value"] == 1.0
    assert found["joy", "fear"]["p"] < 0.03
    assert found["joy", "anger"]["value"] == 0.0
    assert found["joy", "anger"]["p"] == 1.0
    # two of eight twice, and one of eight twice: 5/8 shared of 3, on average
    expected = random["joy", "fear"]["value"]
    draw = np.random.default_rng(9)
    by_hand = []
    for _ in range(4000):
        sets = [
            {(0, i) for i in draw.permutation(8)[:2].tolist()} | {(1, int(draw.integers(8)))}
            for _ in range(2)
        ]
        by_hand.append(jaccard(*sets))
    assert expected == pytest.approx(np.mean(by_hand), abs=0.03)
    assert found["all", "all"]["value"] == pytest.approx(1 / 3)
    assert {r["component"] for r in rows} == {"neuron"}


def test_a_circuit_comes_back_as_it_was_saved(searched, tmp_path):
    path = tmp_path / "joy.json"
    searched.circuit.save(path)
    again = Circuit.load(path)
    assert again == replace(searched.circuit, provenance=again.provenance)
    assert again.provenance["digest"] == searched.circuit.provenance["digest"]
    fear = replace(searched.circuit, emotion="fear")
    save_circuits(path, [searched.circuit, fear])
    assert Circuit.load(path, "fear").emotion == "fear"
    with pytest.raises(ArtefactError, match="circuits of fear, joy: name one"):
        Circuit.load(path)
    with pytest.raises(ArtefactError, match="none of 'envy'"):
        Circuit.load(path, "envy")
    with pytest.raises(ArtefactError, match="2 circuits of 1 emotions"):
        save_circuits(path, [fear, fear])


def test_a_damaged_or_newer_file_is_refused(searched, tmp_path):
    path = tmp_path / "joy.json"
    searched.circuit.save(path)
    whole = path.read_text(encoding="utf-8")
    told = json.loads(whole)
    told["circuits"]["joy"]["neurons"][0]["index"] += 1
    newer = {**json.loads(whole), "schema": 99}
    cases = (
        (json.dumps(told), "was changed after it was written"),
        (json.dumps(newer), "written by a newer interp"),
        (whole[:200], "no file of circuits, or is damaged"),
        ("[]", "no file of circuits, or is damaged"),
    )
    for text, says in cases:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ArtefactError, match=says):
            load_circuits(path)
    with pytest.raises(ArtefactError, match="cannot read the circuit"):
        load_circuits(tmp_path / "missing.json")
    with pytest.raises(ArtefactError, match="not finite"):
        replace(searched.circuit, heads=(CircuitPart(0, 0, float("nan"), ()),))
    with pytest.raises(ArtefactError, match="names a head twice"):
        replace(searched.circuit, heads=(CircuitPart(0, 0, 1.0, ()), CircuitPart(0, 0, 1.0, ())))


def test_modulation_moves_the_parts_of_the_circuit_and_writes_the_emotion(bed, searched):
    prompts = bed.scoring.neutral[:4]
    edits = modulate(bed.model, searched.circuit, scale=1.0)
    moved = shifts_of(bed.model, searched.circuit)
    assert {edit.site for edit in edits} == set(moved)
    (layer, head), *_ = TRUTH.heads["joy"]
    assert np.abs(moved[Site("z", layer)][head]).max() > 0.1
    words = set(bed.readout.words["joy"])
    plain = interp.generate(bed.model, prompts, max_new_tokens=1)
    written = interp.generate(bed.model, prompts, edits, max_new_tokens=1)
    assert not words & set(plain)
    assert set(written) <= words
    still = modulate(bed.model, searched.circuit, scale=0.0)
    assert interp.generate(bed.model, prompts, still, max_new_tokens=1) == plain


def test_the_circuit_of_another_model_is_refused(bed, searched, llama):
    with pytest.raises(ArtefactError, match="heads and neurons of two models do not correspond"):
        modulate(llama, searched.circuit)
    digest = {"digest": bed.model.provenance["digest"]}
    far = Circuit("joy", (), (CircuitPart(9, 0, 1.0, (0.5,)),), digest)
    with pytest.raises(ArtefactError, match="neuron 0 of layer 9"):
        modulate(bed.model, far)
    with pytest.raises(UsageError, match="is empty"):
        modulate(bed.model, Circuit("joy", (), (), digest))


@pytest.fixture(scope="module")
def optimal(bed, searched):
    """A circuit of the same size that misses every planted part, with its rivals; the planted parts
    come last in its own order.
    """
    order, nodes = {}, {}
    planted_ones = {"head": TRUTH.heads["joy"], "neuron": TRUTH.neurons["joy"]}
    for kind, places in searched.found.order.items():
        others = [place for place in places.tolist() if tuple(place) not in planted_ones[kind]]
        order[kind] = np.array([*others, *planted_ones[kind]])
        n = {"head": 2, "neuron": 6}[kind]
        nodes[kind] = tuple(CircuitPart(*place, 1.0, ()) for place in others[:n])
    blind = KeptParts(Circuit("joy", nodes["head"], nodes["neuron"]), order)
    choosing = bench_of(bed.model, bed.fitting.of("joy")[:4], {"joy": searched}, bed.readout)

    def found(reach):
        return beside_optimal(choosing, [blind], trial=FaithfulnessTrial(reach=reach))

    return found


@pytest.mark.parametrize("reach", ["last", "all"])
def test_gradient_and_greedy_choice_find_what_a_circuit_misses(bench, optimal, reach):
    (candidate,) = optimal(reach)
    for name, order in candidate.rivals.items():
        assert tuple(order["head"][0].tolist()) == TRUTH.heads["joy"][0], name
        first = {tuple(place) for place in order["neuron"][:4].tolist()}
        assert first == set(TRUTH.neurons["joy"]), name
        for kind, places in candidate.order.items():
            assert sorted(map(tuple, order[kind])) == sorted(map(tuple, places))
    trial = FaithfulnessTrial(shares=(0.02,), draws=2, tried=0, reach=reach)
    measured = measure_circuits(bench, [candidate], trial)
    groups = {"joy": [pair.affective.group for pair in bench.pairs]}
    rows, _ = faithfulness_rows(measured, groups)
    rows = [row for row in rows if row["outcome"] == "words"]
    held = {r["control"]: r["value"] for r in rows if r["metric"] == "circuit_faithfulness"}
    assert held["integrated"] == pytest.approx(1.0, abs=0.02)
    assert held["greedy"] == pytest.approx(1.0, abs=0.02)
    assert abs(held[""]) < 0.02
    (more,) = [row for row in rows if row["metric"] == "below_greedy"]
    assert more["value"] == pytest.approx(held["greedy"] - held[""])
    assert more["ci_low"] > 0.9
    assert more["p"] == pytest.approx(1 / 2 ** len(bench.pairs))


def test_the_greedy_choice_sees_what_parts_do_together(bench):
    """Two parts of which either suffices: alone each looks idle, and one of them has to stay."""
    order = {"head": np.array([[0, 2], [0, 0], [0, 1]]), "neuron": np.array([[0, 0]])}
    nodes = tuple(CircuitPart(0, index, 1.0, ()) for index in range(3))
    circuit = Circuit("joy", nodes, (CircuitPart(0, 0, 1.0, ()),))
    candidate = KeptParts(circuit, order, {"integrated": order})
    race = rival_orders._Race.of(bench, candidate)

    def left_without(kind, place):
        heads = {tuple(one) for one in race.left["head"].tolist()}
        heads -= {tuple(place)} if kind == "head" else set()
        return 1.0 if heads & {(0, 0), (0, 1)} else 0.0

    while race.goes_on:
        race.drop([left_without(kind, one) for kind in race.left for one in race.left[kind]])
    assert race.order["head"][0].tolist() in ([0, 0], [0, 1])
    assert len(race.order["head"]) == 3
