"""check_truth: every method run on models whose circuit is known, and how much of it each recovers.

`planted` has the circuit: directions, heads, neurons, layers and positions are compared with what
was planted, ablation with its closed form, steering with the emotion's words. `planted_null` has
none: there, nothing may be found. Everything that is fitted is fitted on one half of the scenarios
and scored on the other. Values are the worst over the emotions.

To let a further method be checked, write a function from the two beds to rows, and its line in
`CHECKS`.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from interp.analysis.methods import DIRECTIONS
from interp.causal.bench import Bench, Knockout
from interp.causal.contributions import EXACT, KINDS, Component
from interp.causal.knockout import measure
from interp.causal.patches import Patches
from interp.causal.patching import patch_pairs
from interp.causal.steering import steer
from interp.defaults import DIRECTION
from interp.evaluation.attributed_truth import check_attribution, ranking_auroc
from interp.evaluation.circuit_truth import check_circuits
from interp.evaluation.dissected_truth import check_dissection, check_reading
from interp.evaluation.geometry_truth import check_geometry, check_spaces
from interp.evaluation.judges import oracle
from interp.evaluation.persisting_truth import check_persistence
from interp.evaluation.planted_bench import PlantedBench, open_bench
from interp.evaluation.probed_truth import check_reception, check_transfer
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.sites import Site
from stimuli.battery import Stimulus
from stimuli.splits import balanced

PAIRS_PATCHED = 6
"""Pairs of each emotion that are patched: enough for the sign flips of an effect to reach a small
p.
"""

PROMPTS = 8
STEERED_TOKENS = 4


def check_truth(*, seed: int = 0) -> list[TableRow]:
    """Rows of all checks: `what` was looked for, by which `method`, the `metric` and its `value`,
    and `where`.

    Metrics: cosine (with the planted direction), auroc (planted components against distractors),
    error (relative, for ablation; in layers, for layer; in degrees, for angles), rate (share of
    cases that came out as planted), p (corrected over layers), correlation (of distances), cka, r2
    (of a map, on scenarios that it has not seen). `seed` draws the texts and all that is random in
    the methods; the models stay the same.
    """
    bed, null = open_bench("planted", seed=seed), open_bench("planted_null", seed=seed)
    return [row for check in CHECKS.values() for row in check(bed, null, seed)]


def check_directions(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """The cosine of each method's direction with the planted one, at each layer from the planted
    one on.
    """
    for method in DIRECTIONS:
        for layer in range(bed.truth.head_layer, bed.model.dims.n_layers):
            site = Site("resid_post", layer)
            found = {
                emotion: bed.direction(emotion, site, method=method).vector
                for emotion in bed.truth.emotions
            }
            worst = min(
                vector @ bed.true_direction(emotion, site).vector
                for emotion, vector in found.items()
            )
            yield row("direction", method, "cosine", worst, site)


def check_components(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """How well contributions to the direction that was found rank planted heads and neurons above
    all distractors.
    """
    for kind, planted_ones in (("head", bed.truth.heads), ("neuron", bed.truth.neurons)):
        worst = 1.0
        for emotion in bed.truth.emotions:
            pushes = bed.pushes(KINDS[kind], emotion)
            worst = min(worst, ranking_auroc(pushes, planted_ones[emotion]))
        yield row(kind, EXACT, "auroc", worst, bed.final)


def check_patching(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """Where patching peaks: the layers of heads and neurons, and the token that decides after each
    layer.
    """
    pairs = balanced(bed.scoring, n=PAIRS_PATCHED * len(bed.truth.emotions), seed=seed)
    rows = [
        row
        for sites, positions in (
            (("resid_post",), ("last", "edit")),
            (("attn_out", "mlp_out"), ("last",)),
        )
        for row in patch_pairs(
            bed.model,
            pairs,
            bed.readout,
            Patches(sites=sites, positions=positions, modes=("denoise",)),
            seed=seed,
        )
    ]
    table = pd.DataFrame(rows).query(
        "metric == 'restoration' and control == '' and emotion != 'all'"
    )
    cells = table.set_index(["site", "position", "emotion", "layer"])["value"].to_dict()
    layers = range(bed.model.dims.n_layers)

    def restored(site: str, position: str, emotion: str, layer: int) -> float:
        # where nothing is to restore, nothing was restored
        return float(cells.get((site, position, emotion, layer), 0.0))

    def peak(site: str, emotion: str) -> int:
        return max(layers, key=lambda layer: restored(site, "last", emotion, layer))

    def decides(emotion: str, layer: int) -> str:
        return max(
            ("edit", "last"), key=lambda position: restored("resid_post", position, emotion, layer)
        )

    for site, layer in (("attn_out", bed.truth.head_layer), ("mlp_out", bed.truth.neuron_layer)):
        worst = max(abs(peak(site, emotion) - layer) for emotion in bed.truth.emotions)
        yield row("layer", "activation_patching", "error", float(worst), site)
    right = [
        decides(emotion, layer) == bed.truth.position(layer)
        for emotion in bed.truth.emotions
        for layer in layers
    ]
    yield row("position", "activation_patching", "rate", float(np.mean(right)), "resid_post")


def check_ablation(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """How far each planted head's or neuron's ablation lets the projection fall, against the closed
    form, relative to it.
    """
    true = {emotion: bed.true_direction(emotion, bed.final) for emotion in bed.truth.emotions}
    bench = Bench(bed.model, bed.scoring, true, bed.readout)
    for mode in ("zero", "resample"):
        for kind, planted_ones in (("head", bed.truth.heads), ("neuron", bed.truth.neurons)):
            cases = [
                (emotion, rank, where)
                for emotion in planted_ones
                for rank, where in enumerate(planted_ones[emotion])
            ]
            plans = [Knockout((), tuple(range(len(bench.pairs))))]
            for emotion, _, where in cases:
                own = tuple(
                    i for i, pair in enumerate(bench.pairs) if pair.affective.emotion == emotion
                )
                plans.append(Knockout((Component(KINDS[kind], *where),), own))
            whole, *left = measure(bench, plans, mode=mode).projection
            worst = 0.0
            for (_, rank, _), plan, ablated in zip(cases, plans[1:], left, strict=True):
                for i in plan.pairs:
                    expected = _fall(bed, bench.pairs[i].affective, kind, rank, mode)
                    worst = max(worst, abs(whole[i] - ablated[i] - expected) / expected)
            yield row("ablation", f"{mode}_{kind}", "error", worst, bed.final)


def _fall(bed: PlantedBench, text: Stimulus, kind: str, rank: int, mode: str) -> float:
    """The closed form of how far one ablation lets the projection fall."""
    whole = bed.truth.projection(text, text.emotion)
    if kind == "head":
        return whole - bed.truth.without_head(text, text.emotion)
    return whole - bed.truth.without_neuron(text, text.emotion, rank=rank, mode=mode)


def check_steering(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """The share of neutral texts continued with the emotion's words: steered by the direction
    found, and unsteered.
    """
    judge = oracle(bed.model, bed.readout)
    prompts = balanced(bed.scoring, n=PROMPTS, seed=seed).neutral

    def rate(emotion: str, layer: int, scale: float) -> float:
        direction = bed.direction(emotion, Site("resid_post", layer))
        if direction.length <= 0:
            return 0.0  # it points nowhere that other scenarios share, and steers nothing
        written = steer(
            bed.model, prompts, direction, scale=scale, max_new_tokens=STEERED_TOKENS, seed=seed
        )
        return judge(written).count(emotion) / len(prompts)

    for layer in (bed.truth.head_layer, bed.final.layer):
        least = min(rate(emotion, layer, 1.0) for emotion in bed.truth.emotions)
        yield row("steering", DIRECTION, "rate", least, Site("resid_post", layer))
    yield row(
        "steering",
        "unsteered",
        "rate",
        max(rate(e, bed.final.layer, 0.0) for e in bed.truth.emotions),
        bed.final,
    )


CHECKS: dict[str, Callable[[PlantedBench, PlantedBench, int], Iterator[TableRow]]] = {
    "directions": check_directions,
    "components": check_components,
    "patching": check_patching,
    "attribution": check_attribution,
    "ablation": check_ablation,
    "circuits": check_circuits,
    "steering": check_steering,
    "reception": check_reception,
    "transfer": check_transfer,
    "geometry": check_geometry,
    "spaces": check_spaces,
    "persistence": check_persistence,
    "dissection": check_dissection,
    "reading": check_reading,
}
"""The checks by name, each a function of the model with the circuit, the model without, and the
seed.
"""
