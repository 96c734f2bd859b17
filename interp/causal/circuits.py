"""Circuits from a model and twins, the whole way: sublayers read, their influence, the circuit; and
what it is worth on twins that it has not seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.allocation import PER_LAYER
from interp.causal.bench import Bench
from interp.causal.circuit import Circuit
from interp.causal.circuit_search import FoundCircuits, circuit_parts, find_circuit
from interp.causal.contributions import KINDS, EmotionTwins
from interp.causal.faithfulness import (
    FaithfulnessTrial,
    KeptParts,
    Measured,
    measure_circuits,
)
from interp.causal.influence import influence_rows, sublayer_influence
from interp.causal.readout import Readout
from interp.causal.rival_orders import GREEDY, beside_optimal, by_single_ablation
from interp.causal.sublayers import PLACES, EmotionReading, read_emotion
from interp.directions import Direction
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import tell_refused, usable
from interp.sites import LAST, STREAM, Site, site_columns
from stimuli.battery import NEUTRAL, Pairs, Stimulus

FOUND_BY = "emotion_circuit"

INFLUENCE_TEXTS = 8
"""Neutral texts on which influence is measured, at most."""


class Searched(NamedTuple):
    """A circuit with all that it was found by: `influence` is that of each sublayer in each
    neutral text of the scenarios `groups`.
    """

    reading: EmotionReading
    influence: Float[np.ndarray, "text sublayer"]
    groups: Sequence[str]
    found: FoundCircuits

    @property
    def circuit(self) -> Circuit:
        """The circuit."""
        return self.found.circuit


def circuit_sites(model: LanguageModel) -> tuple[list[Site], str]:
    """The z and post sites whose parts a circuit may have, and what is to be said of those that
    it may not (empty: nothing): their parts must add up, be editable, and what their sublayer adds
    must be editable, too.

    Raises `UsageError`, with the reason, where there is none.
    """
    sites = [Site(name, layer) for layer in range(model.dims.n_layers) for name in PLACES]
    refused: dict[Site, str] = {}
    for method in ("contributions", "ablation"):
        refused |= usable(model, method, [site for site in sites if site not in refused])[1]
    places = {Site(PLACES[one.name], one.layer): one for one in sites if one not in refused}
    shut = usable(model, "steering", list(places))[1]
    refused |= {places[place]: why for place, why in shut.items()}
    found = [site for site in sites if site not in refused]
    told = tell_refused(refused) if refused else ""
    if not found:
        raise UsageError(told)
    return found, told


def search(
    model: LanguageModel,
    activations: Mapping[Site, Float[np.ndarray, "item ..."]],
    twins: EmotionTwins,
    neutral: Sequence[Stimulus],
    *,
    provenance: Mapping[str, Any],
    seed: int = 0,
    budget: int | None = None,
) -> Searched:
    """The circuit of an emotion, from what heads and neurons hold in its `twins` at the text's last
    token (`activations`, at the sites of `circuit_sites`), and from its `neutral` texts, of which
    the first `INFLUENCE_TEXTS` are run. Raises as `read_emotion`, `sublayer_influence` and
    `find_circuit`.
    """
    reading = read_emotion(model, activations, twins, seed=seed)
    texts = neutral[:INFLUENCE_TEXTS]
    influence = sublayer_influence(model, texts, reading)
    told = {
        **{name: model.provenance.get(name) for name in ("model", "revision", "digest", "dtype")},
        "direction": "mean paired difference of what each sublayer adds",
        "position": LAST,
        "segment": list(reading.segment),
        "pairs": len(twins.items),
        "scenarios": len(set(map(str, twins.groups))),
        "seed": seed,
        "budget": budget or f"{sum(PER_LAYER.values())} per layer, or what the model allows",
        **provenance,
    }
    found = find_circuit(reading, influence.mean(axis=0), budget=budget, provenance=told)
    return Searched(reading, influence, [text.group for text in texts], found)


def bench_of(
    model: LanguageModel, pairs: Pairs, searched: Mapping[str, Searched], readout: Readout
) -> Bench:
    """What circuits are measured on: these pairs, their emotions' words, and their references."""
    directions = {
        emotion: Direction(
            one.reading.reference,
            Site(STREAM, model.dims.n_layers - 1),
            FOUND_BY,
            (emotion, NEUTRAL),
            length=1.0,
            spread=0.0,
        )
        for emotion, one in searched.items()
    }
    return Bench(model, pairs, directions, readout)


def scored_circuit(
    searched: Mapping[str, Searched], choosing: Bench, reported: Bench, trial: FaithfulnessTrial
) -> dict[str, dict[str, Measured]]:
    """What each circuit is worth in the `reported` pairs, by emotion and outcome. Its rivals are
    chosen in the `choosing` pairs: the order by single ablation tries four times as many parts of a
    kind as are `tried`.
    """
    candidates = [KeptParts(one.circuit, one.found.order) for one in searched.values()]
    if trial.tried:
        candidates = by_single_ablation(choosing, candidates, n=4 * trial.tried, trial=trial)
    if trial.optimal:
        candidates = beside_optimal(choosing, candidates, trial=trial)
    return measure_circuits(reported, candidates, trial)


def optimal_circuit(searched: Searched, choosing: Bench, trial: FaithfulnessTrial) -> Circuit:
    """As many parts as the circuit has, chosen greedily in the `choosing` pairs
    (`interp.causal.rival_orders`), the one that is needed most first. Weights are those of the
    parts, and may be below zero.
    """
    own = searched.circuit
    (found,) = beside_optimal(choosing, [KeptParts(own, searched.found.order)], trial=trial)
    influence = searched.influence.mean(axis=0)
    nodes = {
        kind: circuit_parts(searched.reading, influence, kind, places[: len(own.nodes[kind])])
        for kind, places in found.rivals[GREEDY].items()
    }
    told = {**own.provenance, "chosen": GREEDY, "reach": trial.reach}
    return Circuit(own.emotion, nodes.get("head", ()), nodes.get("neuron", ()), told)


def search_rows(searched: Searched) -> list[dict[str, Any]]:
    """Rows of `influence`, of each layer's `quota`, and of each part's `weight`, by rank."""
    emotion, groups = searched.reading.emotion, list(searched.groups)
    rows = influence_rows(searched.reading, searched.influence, groups)
    about = {**site_columns(None), "emotion": emotion, "method": FOUND_BY}
    for kind, quotas in searched.found.quotas.items():
        here = {**about, "component": kind, "site": KINDS[kind], "metric": "quota"}
        rows += [
            {**here, "layer": layer, "value": float(k), "n": sum(quotas.values())}
            for layer, k in quotas.items()
        ]
    n = len(groups)
    for kind, nodes in searched.circuit.nodes.items():
        here = {**about, "component": kind, "site": KINDS[kind], "metric": "weight"}
        rows += [
            {
                **here,
                "layer": one.layer,
                "index": one.index,
                "rank": rank,
                "value": one.weight,
                "n": n,
            }
            for rank, one in enumerate(nodes, start=1)
        ]
    return rows
