"""Whether attribution ranks what was planted first, and finds nothing where nothing is."""

from collections.abc import Iterator
from dataclasses import dataclass

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
from interp.evaluation.planted_bench import PlantedBench
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
        found = _Found.of(bed, asked, seed)
        for kind, planted_ones in (("head", bed.truth.heads), ("neuron", bed.truth.neurons)):
            worst = min(
                found.ranking(one, KINDS[kind], set(planted_ones[one])) for one in planted_ones
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
    halves = _some(bed, bed.fitting, seed), _some(bed, bed.scoring, seed)
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


def _some(bed: PlantedBench, pairs: Pairs, seed: int) -> Pairs:
    return balanced(pairs, n=ATTRIBUTED * len(bed.truth.emotions), seed=seed)


@dataclass(frozen=True, eq=False)
class _Found:
    """The estimates of some pairs of every emotion."""

    sites: tuple[Site, ...]
    emotions: list[str]
    estimates: Estimates

    @classmethod
    def of(cls, bed: PlantedBench, asked: Attribution, seed: int) -> "_Found":
        """The estimates of the scoring half."""
        pairs = _some(bed, bed.scoring, seed)
        sites = node_sites(bed.model, asked.sites)
        given = encode_cases(bed.model, pairs, bed.readout, seed=seed)
        bound = bed.readout.bind(bed.model)
        found = estimate_effects(bed.model, given, bound, sites, asked, seed=seed)
        return cls(sites, [pair.affective.emotion for pair in pairs], found)

    def mean(self, emotion: str, site: Site) -> np.ndarray:
        """The mean estimate of each unit of the site in the emotion's pairs, towards it."""
        mine = np.array(self.emotions) == emotion
        return towards_emotion(self.estimates, site, "last")[mine].mean(axis=0)

    def ranking(self, emotion: str, name: str, planted: set[tuple[int, int]]) -> float:
        """AUROC of the planted units of the sites called `name` against all others."""
        means = {site.layer: self.mean(emotion, site) for site in self.sites if site.name == name}
        places = [(layer, unit) for layer, own in means.items() for unit in range(len(own))]
        positive = np.array([place in planted for place in places])
        return auroc(np.concatenate(list(means.values())).astype(np.float64), positive)

    def peak(self, emotion: str, name: str) -> int:
        """The layer whose sublayer of this name is estimated to do most."""
        sites = [site for site in self.sites if site.name == name]
        return max(sites, key=lambda site: float(self.mean(emotion, site)[0])).layer
