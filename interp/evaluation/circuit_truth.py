"""Whether circuits find what is planted, what that is worth, and nothing where nothing is."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from interp.causal.bench import Bench, Knockout
from interp.causal.circuit import Circuit, CircuitPart
from interp.causal.circuits import Searched, bench_of, circuit_sites, search
from interp.causal.contributions import EmotionTwins
from interp.causal.faithfulness import FaithfulnessTrial, KeptParts, measure_circuits
from interp.causal.faithfulness_rows import curve_area
from interp.causal.knockout import measure
from interp.chance import sign_flip
from interp.errors import StatisticsError
from interp.evaluation.planted_bench import PlantedBench, PlantedPart
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.sites import Site
from interp.stats import group_sums
from stimuli.splits import balanced

PAIRS_KEPT = 2
"""Pairs of each emotion on which circuits are measured."""


class _Worth(NamedTuple):
    """CPR of the planted parts, and the mean CPR of random orders of their layers."""

    planted: float
    random: float


def check_circuits(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """The share of planted parts in the circuits that are found; how far the CPR of the planted
    parts is from 1, and the largest mean CPR of random orders of the same layers; and, where
    nothing is planted, the p that there is anything for a circuit to hold.
    """
    searched = _searched(bed, seed)
    shares, worth = [], []
    for emotion in bed.truth.emotions:
        one = searched.get(emotion)
        shares.append(0.0 if one is None else _share(bed, one))
        if one is not None:
            worth.append(_worth(bed, one, seed))
    yield row("circuit", "emotion_circuit", "rate", min(shares), bed.final)
    error = max((abs(1 - one.planted) for one in worth), default=np.inf)
    yield row("circuit", "cpr_of_planted_parts", "error", error, bed.final)
    random = max((one.random for one in worth), default=np.inf)
    yield row("circuit", "cpr_of_random_orders", "rate", random, bed.final)
    yield row("null", "circuit", "p", _p_of_effect(null, seed), "planted_null")


def _searched(bed: PlantedBench, seed: int) -> dict[str, Searched]:
    """The circuit of each emotion, of the fitting half; none where nothing holds."""
    sites, _ = circuit_sites(bed.model)
    activations = {site: bed.store.read(site).x for site in sites}
    rows = {item: at for at, item in enumerate(bed.store.items)}
    found = {}
    for emotion in bed.truth.emotions:
        pairs = bed.fitting.of(emotion)
        items = np.array([[rows[item.id] for item in pair] for pair in pairs])
        twins = EmotionTwins(emotion, items, pairs.groups)
        try:
            found[emotion] = search(
                bed.model, activations, twins, pairs.neutral, provenance={}, seed=seed
            )
        except StatisticsError:
            continue
    return found


def _planted(bed: PlantedBench, emotion: str) -> dict[str, tuple[PlantedPart, ...]]:
    return {"head": bed.truth.heads[emotion], "neuron": bed.truth.neurons[emotion]}


def _share(bed: PlantedBench, one: Searched) -> float:
    """The share of an emotion's planted parts that its circuit has."""
    hits = [
        place in {(node.layer, node.index) for node in one.circuit.nodes[kind]}
        for kind, places in _planted(bed, one.circuit.emotion).items()
        for place in places
    ]
    return float(np.mean(hits))


def _worth(bed: PlantedBench, one: Searched, seed: int) -> _Worth:
    """What the planted parts are worth, put before all others."""
    emotion = one.circuit.emotion
    order, nodes = {}, {}
    for kind, places in _planted(bed, emotion).items():
        others = [place for place in one.found.order[kind].tolist() if tuple(place) not in places]
        order[kind] = np.array([*places, *others])
        nodes[kind] = tuple(CircuitPart(*place, 1.0, ()) for place in places)
    candidate = KeptParts(Circuit(emotion, nodes["head"], nodes["neuron"]), order)
    pairs = balanced(bed.scoring.of(emotion), n=PAIRS_KEPT, seed=seed)
    bench = bench_of(bed.model, pairs, {emotion: one}, bed.readout)
    trial = FaithfulnessTrial(draws=5, tried=0, halves=0, seed=seed)
    found = measure_circuits(bench, [candidate], trial)[emotion]["words"]
    total = float(found.effect.sum())
    drawn = [float(curve_area(gains, found).sum()) / total for gains in found.random]
    return _Worth(float(curve_area(found.own, found).sum()) / total, float(np.mean(drawn)))


def _p_of_effect(bed: PlantedBench, seed: int) -> float:
    """One-sided p that all parts together do nothing for the emotions' words."""
    pairs = balanced(bed.scoring, n=PAIRS_KEPT * len(bed.truth.emotions), seed=seed)
    directions = {one: bed.direction(one, bed.final) for one in pairs.emotions}
    bench = Bench(bed.model, pairs, directions, bed.readout)
    dims, every = bed.model.dims, tuple(range(len(pairs)))
    widths = {"z": dims.n_heads, "post": dims.d_mlp}
    nothing = {
        Site(name, layer): np.zeros(width, dtype=bool)
        for name, width in widths.items()
        for layer in range(dims.n_layers)
    }
    whole, empty = measure(bench, [Knockout((), every), Knockout((), every, nothing)]).score
    return sign_flip(group_sums(whole - empty, pairs.groups), side="above")
