"""How well each ranking finds what is planted as the noise grows: heads, neurons, layers and the
token that decides.

The noise is the length of a word's identity beside its evidence (`PlantedSpec.noise`): what tells
words apart, and has nothing to do with the emotion. Rankings are by exact contribution to the
direction that was found, by the gradient (both ways of `ESTIMATES`), and by the exact patch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from interp.causal.attribution import BOTH_WAYS, Attribution, Estimates, encode_cases
from interp.causal.attribution_rows import exact_effects
from interp.causal.contributions import EXACT, KINDS
from interp.causal.estimates import ESTIMATES
from interp.causal.nodes import node_at, node_sites
from interp.causal.patching import PATCHING
from interp.evaluation.attributed_truth import EmotionEffects, pairs_for, ranking_auroc
from interp.evaluation.planted_bench import PlantedBench, build_bench
from interp.evaluation.truth_rows import row
from interp.results import TableRow, TableRows
from interp.testbeds.planted import PlantedSpec

NOISES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Noises of the curve; 1 is the default of the testbed."""

_SUBLAYERS = {"attn_out": "z", "mlp_out": "post"}
_SITES = (*_SUBLAYERS, "z", "post", "resid_post")
_ASKED = Attribution(sites=_SITES, positions=("last", "edit"))


def recovery_rows(
    spec: PlantedSpec, *, noises: Sequence[float] = NOISES, seed: int = 0
) -> TableRows:
    """Rows of `auroc` by `noise`: of what is planted (`what`: head, neuron, layer, position)
    against all else, by each ranking (`method`); the worst over the emotions. Contributions are
    read at the last token alone, so that they rank no position.
    """
    return [
        {**found, "noise": noise, "n": len(spec.emotions)}
        for noise in noises
        for found in _recovered(build_bench(replace(spec, noise=noise), seed=seed), seed)
    ]


def _recovered(bed: PlantedBench, seed: int) -> Iterator[TableRow]:
    yield from _by_contribution(bed)
    for method in ESTIMATES:
        found = EmotionEffects.of(bed, replace(_ASKED, method=method), seed)
        yield from _by_effect(bed, found, method)
    yield from _by_effect(bed, _exactly(bed, seed), PATCHING)


def _by_contribution(bed: PlantedBench) -> Iterator[TableRow]:
    worst = {"head": 1.0, "neuron": 1.0, "layer": 1.0}
    for emotion in bed.truth.emotions:
        pushes = {name: bed.pushes(name, emotion) for name in KINDS.values()}
        for kind, planted_ones in _planted(bed, emotion).items():
            worst[kind] = min(worst[kind], ranking_auroc(pushes[KINDS[kind]], planted_ones))
        for name, layer in _layers(bed).items():
            of_layer: dict[int, float] = {}
            for (at, _), push in pushes[_SUBLAYERS[name]].items():
                of_layer[at] = of_layer.get(at, 0.0) + push
            worst["layer"] = min(worst["layer"], ranking_auroc(of_layer, (layer,)))
    for what, value in worst.items():
        yield row(what, EXACT, "auroc", value)


def _by_effect(bed: PlantedBench, found: EmotionEffects, method: str) -> Iterator[TableRow]:
    worst = dict.fromkeys(("head", "neuron", "layer", "position"), 1.0)
    for emotion in bed.truth.emotions:
        for kind, planted_ones in _planted(bed, emotion).items():
            means = found.means(emotion, KINDS[kind])
            worst[kind] = min(worst[kind], ranking_auroc(means, planted_ones))
        for name, layer in _layers(bed).items():
            means = found.means(emotion, name)
            worst["layer"] = min(worst["layer"], ranking_auroc(means, ((layer, 0),)))
        cells = {
            (site.layer, position): float(found.mean(emotion, site, position)[0])
            for site in found.sites
            if site.name == "resid_post"
            for position in _ASKED.positions
        }
        deciding = {(at, bed.truth.position(at)) for at in range(bed.model.dims.n_layers)}
        worst["position"] = min(worst["position"], ranking_auroc(cells, deciding))
    for what, value in worst.items():
        yield row(what, method, "auroc", value)


def _exactly(bed: PlantedBench, seed: int) -> EmotionEffects:
    """The exact patch of every node, in the form of the estimates."""
    pairs = pairs_for(bed, bed.scoring, seed)
    sites = node_sites(bed.model, _SITES)
    given = encode_cases(bed.model, pairs, bed.readout, seed=seed)
    bound, dims = bed.readout.bind(bed.model), bed.model.dims
    units = {"z": dims.n_heads, "post": dims.d_mlp}
    found: Estimates = {}
    for position in _ASKED.positions:
        asked = [site for site in sites if position == "last" or site.name == "resid_post"]
        nodes = {site: [node_at(site, i) for i in range(units.get(site.name, 1))] for site in asked}
        every = [node for mine in nodes.values() for node in mine]
        exact = exact_effects(bed.model, given, bound, {position: every})
        for way in BOTH_WAYS:
            for site, mine in nodes.items():
                effects = np.stack([exact[node, position, way] for node in mine], axis=1)
                found[way, site, position, ""] = effects
    return EmotionEffects(sites, [pair.affective.emotion for pair in pairs], found)


def _planted(bed: PlantedBench, emotion: str) -> dict[str, tuple[tuple[int, int], ...]]:
    return {"head": bed.truth.heads[emotion], "neuron": bed.truth.neurons[emotion]}


def _layers(bed: PlantedBench) -> dict[str, int]:
    return {"attn_out": bed.truth.head_layer, "mlp_out": bed.truth.neuron_layer}
