"""Finding a circuit: parts ranked by what they push, layers by how much that reaches the end.

A part's *weight* is its contribution along its own sublayer's direction, times the influence of
that sublayer: how far it moves the end of the model along v_ref, to first order. The layers' quotas
come from their influence (`allocation`), and each quota is filled by the layer's parts that
contribute most. Only what pushes towards the emotion is taken: where a layer has fewer such parts
than its quota, the heaviest left over in the whole model take the places.

Source: "Do LLMs Feel?" (Emotion Circuits), integration of the circuit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.causal.allocation import Budget, allocate, split_budget, usual_budget
from interp.causal.circuit import Circuit, CircuitPart
from interp.causal.contributions import KINDS
from interp.causal.sublayers import EmotionReading, Sublayer, kind_of
from interp.sites import Site

Order = Mapping[str, Int[np.ndarray, "_ 2"]]
"""All heads and all neurons, each as (layer, index), those that are kept longest first."""


class FoundCircuits(NamedTuple):
    """A circuit; all parts of the model in an order that begins with its own; and each layer's
    quota, by kind.
    """

    circuit: Circuit
    order: Order
    quotas: Mapping[str, Mapping[int, int]]


def find_circuit(
    reading: EmotionReading,
    influence: Float[np.ndarray, " sublayer"],
    *,
    budget: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> FoundCircuits:
    """The circuit of `reading`, whose sublayers have this `influence` (the mean over neutral
    texts); `budget` parts in all, split .3 : .7 (None: `usual_budget`).

    Raises `UsageError` for a budget that the model is too small for.
    """
    nodes: dict[str, tuple[CircuitPart, ...]] = {"head": (), "neuron": ()}
    order: dict[str, np.ndarray] = {}
    quotas: dict[str, dict[int, int]] = {}
    asked = None if budget is None else split_budget(budget)
    for kind in KINDS:
        mine = [at for at, one in enumerate(reading.sublayers) if kind_of(one.site) == kind]
        if not mine:
            continue
        sublayers = [reading.sublayers[at] for at in mine]
        slopes = influence[mine]
        limits = usual_budget(
            kind,
            n_layers=len(mine),
            width=len(sublayers[0].pushes),
            parts=None if asked is None else asked[kind],
        )
        quota = _quotas(slopes, limits, sublayers)
        quotas[kind] = {one.site.layer: k for one, k in zip(sublayers, quota, strict=True)}
        ranked, n = _ranked(sublayers, slopes, quota)
        order[kind] = ranked
        nodes[kind] = circuit_parts(reading, influence, kind, ranked[:n])
    circuit = Circuit(reading.emotion, nodes["head"], nodes["neuron"], dict(provenance or {}))
    return FoundCircuits(circuit, order, quotas)


def like(order: Order, draw: np.random.Generator) -> Order:
    """A random order of all parts with the layers of `order` at the same places: whatever is kept
    of it, of each layer it is as many. It may begin with the same parts.
    """
    found = {}
    for kind, parts in order.items():
        taken = parts.copy()
        for layer in np.unique(parts[:, 0]):
            mine = parts[:, 0] == layer
            taken[mine, 1] = draw.permutation(parts[mine, 1])
        found[kind] = taken
    return found


def parts_sites(order: Order) -> list[Site]:
    """The sites that hold the parts of an order."""
    return [
        Site(KINDS[kind], int(layer))
        for kind, parts in order.items()
        for layer in np.unique(parts[:, 0])
    ]


def _quotas(
    slopes: Float[np.ndarray, " layer"], budget: Budget, sublayers: Sequence[Sublayer]
) -> tuple[int, ...]:
    weights = np.clip(slopes, 0.0, None).tolist()
    return allocate(weights, budget, sizes=[len(one.pushes) for one in sublayers])


def _ranked(
    sublayers: Sequence[Sublayer], slopes: Float[np.ndarray, " layer"], quota: Sequence[int]
) -> tuple[Int[np.ndarray, "part 2"], int]:
    """All parts of one kind as (layer, index), the circuit's first, and how many these are. Within
    the circuit and behind it the heavier comes first.
    """
    places, weights, first, pushing = [], [], [], []
    for one, slope, k in zip(sublayers, slopes, quota, strict=True):
        rank = np.empty(len(one.pushes), dtype=np.int64)
        rank[np.argsort(-one.pushes, kind="stable")] = np.arange(len(one.pushes))
        index = np.arange(len(one.pushes))
        places.append(np.stack([np.full_like(index, one.site.layer), index], axis=1))
        weights.append(one.pushes * slope)
        first.append((rank < k) & (one.pushes > 0))
        pushing.append(one.pushes > 0)
    place, weight = np.concatenate(places), np.concatenate(weights)
    chosen, towards = np.concatenate(first), np.concatenate(pushing)
    heaviest = np.argsort(-weight, kind="stable")
    spare = heaviest[(~chosen & towards & (weight > 0))[heaviest]]
    chosen[spare[: sum(quota) - int(chosen.sum())]] = True
    order = np.concatenate([heaviest[chosen[heaviest]], heaviest[~chosen[heaviest]]])
    return place[order], int(chosen.sum())


def circuit_parts(
    reading: EmotionReading,
    influence: Float[np.ndarray, " sublayer"],
    kind: str,
    places: Int[np.ndarray, "part 2"],
) -> tuple[CircuitPart, ...]:
    """The heads or neurons (`kind`) at these places, each (layer, index), as parts of a circuit."""
    of_layer = {
        one.site.layer: (one, slope)
        for one, slope in zip(reading.sublayers, influence, strict=True)
        if kind_of(one.site) == kind
    }
    found = []
    for layer, index in places.tolist():
        one, slope = of_layer[layer]
        shift = np.atleast_1d(one.shifts[index]).astype(float).tolist()
        found.append(CircuitPart(layer, index, float(one.pushes[index] * slope), tuple(shift)))
    return tuple(found)
