"""Whether attribution ranks what was planted first, and finds nothing where nothing is."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.analysis.stats import auroc
from interp.causal.attribution import (
    Attribution,
    Estimates,
    encode_cases,
    estimate_effects,
    towards_emotion,
)
from interp.causal.attribution_rows import attribute_pairs
from interp.causal.contributions import KINDS
from interp.causal.estimates import ESTIMATES
from interp.causal.nodes import node_sites
from interp.evaluation.planted_bench import PlantedBench, PlantedPart
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.sites import Site
from stimuli.battery import Pairs
from stimuli.splits import balanced

ATTRIBUTED = 4
"""Pairs of each emotion whose nodes are attributed."""

_NAMES = ("attn_out", "mlp_out", "z", "post")


def check_attribution(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """By both gradients: how well the estimates rank planted heads and neurons above all others,
    and by how many layers the largest sublayer misses; how far they are from the exact patches of
    the chosen parts; and the p of what the chosen parts do, in both models.
    """
    for method in ESTIMATES:
        asked = Attribution(sites=_NAMES, positions=("last",), method=method)
        found = EmotionEffects.of(bed, asked, seed)
        for kind, planted_ones in (("head", bed.truth.heads), ("neuron", bed.truth.neurons)):
            worst = min(
                ranking_auroc(found.means(one, KINDS[kind]), planted_ones[one])
                for one in planted_ones
            )
            yield row(kind, method, "auroc", worst, "last token")
        layers = (("attn_out", bed.truth.head_layer), ("mlp_out", bed.truth.neuron_layer))
        for name, layer in layers:
            miss = max(abs(found.peak(one, name) - layer) for one in bed.truth.emotions)
            yield row("layer", method, "error", float(miss), name)
    for where, one in (("planted", bed), ("planted_null", null)):
        yield from _exact(one, where, seed)


def _exact(bed: PlantedBench, where: str, seed: int) -> Iterator[TableRow]:
    """What exact patches say of the parts that attribution chose."""
    halves = pairs_for(bed, bed.fitting, seed), pairs_for(bed, bed.scoring, seed)
    asked = Attribution(sites=_NAMES, positions=("last",), top=4)
    rows = attribute_pairs(bed.model, halves, bed.readout, asked, seed=seed)
    what = "attribution" if where == "planted" else "null"
    for kind in ("head", "neuron"):
        chosen = {"metric": "chosen_effect", "component": kind, "control": ""}
        (told,) = [one for one in rows if chosen.items() <= one.items()]
        yield row(what, f"chosen_{kind}s", "p", told["p"], where)
    errors = [one["value"] for one in rows if one["metric"] == "relative_error"]
    if where == "planted":
        yield row(what, "exact_patch", "error", max(errors), where)


def pairs_for(bed: PlantedBench, pairs: Pairs, seed: int) -> Pairs:
    """The pairs whose nodes are attributed, as many of each emotion."""
    return balanced(pairs, n=ATTRIBUTED * len(bed.truth.emotions), seed=seed)


@dataclass(frozen=True, eq=False)
class EmotionEffects:
    """What nodes do in some pairs of every emotion, estimated or exactly."""

    sites: tuple[Site, ...]
    emotions: list[str]
    estimates: Estimates

    @classmethod
    def of(cls, bed: PlantedBench, asked: Attribution, seed: int) -> "EmotionEffects":
        """The estimates of the scoring half."""
        pairs = pairs_for(bed, bed.scoring, seed)
        sites = node_sites(bed.model, asked.sites)
        given = encode_cases(bed.model, pairs, bed.readout, seed=seed)
        bound = bed.readout.bind(bed.model)
        found = estimate_effects(bed.model, given, bound, sites, asked, seed=seed)
        return cls(sites, [pair.affective.emotion for pair in pairs], found)

    def mean(self, emotion: str, site: Site, position: str = "last") -> np.ndarray:
        """The mean effect of each unit of the site in the emotion's pairs, towards it."""
        mine = np.array(self.emotions) == emotion
        return towards_emotion(self.estimates, site, position)[mine].mean(axis=0)

    def means(self, emotion: str, name: str) -> dict[PlantedPart, float]:
        """The mean effect of each unit of the sites called `name`, by layer and index."""
        return {
            (site.layer, unit): float(effect)
            for site in self.sites
            if site.name == name
            for unit, effect in enumerate(self.mean(emotion, site))
        }

    def peak(self, emotion: str, name: str) -> int:
        """The layer whose sublayer of this name is estimated to do most."""
        sites = [site for site in self.sites if site.name == name]
        return max(sites, key=lambda site: float(self.mean(emotion, site)[0])).layer


def ranking_auroc(effects: Mapping[Any, float], planted_ones: Collection[Any]) -> float:
    """AUROC of what is planted against all else, by what each does."""
    positive = np.array([place in planted_ones for place in effects])
    return auroc(np.array(list(effects.values())), positive)
