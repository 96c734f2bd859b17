"""PlantedBench: a planted model at work, with its battery, what it computed on it, and what is true
of it.
"""

import tempfile
from dataclasses import dataclass

from interp.analysis.directions import fit
from interp.capture import ActivationStore, capture
from interp.capture.store.activations import Twins
from interp.causal.contributions import contributions_at
from interp.causal.readout import Readout
from interp.defaults import DIRECTION
from interp.directions import Direction
from interp.errors import InternalError
from interp.models import LanguageModel, load
from interp.sites import LAST, Site
from interp.testbeds import planted
from interp.testbeds.records import testbed
from stimuli.battery import NEUTRAL, Battery, Pairs

PlantedPart = tuple[int, int]
"""(layer, index) of a head or neuron."""

CAPTURED = ("resid_post", "z", "post")


@dataclass(frozen=True)
class PlantedBench:
    """A planted model, its battery and activations (last token), and the pairs in two halves: one
    fits, the other scores.
    """

    model: LanguageModel
    truth: planted.Truth
    battery: Battery
    store: ActivationStore
    readout: Readout
    fitting: Pairs
    scoring: Pairs

    @property
    def final(self) -> Site:
        """The residual stream behind the last layer."""
        return Site("resid_post", self.model.dims.n_layers - 1)

    def values(self, site: Site, pairs: Pairs) -> Twins:
        """What the site holds at the last token of the pairs' affective and neutral texts."""
        return self.store.read(site).twins(pairs)

    def direction(self, emotion: str, site: Site, *, method: str = DIRECTION) -> Direction:
        """The direction of `emotion` that `method` finds at `site` on the fitting half."""
        pairs = self.fitting.of(emotion)
        found = fit(
            *self.values(site, pairs), site=site, labels=(emotion, NEUTRAL), groups=pairs.groups,
            method=method,
        )  # fmt: skip
        return found.with_origin(self.model.provenance)

    def true_direction(self, emotion: str, site: Site) -> Direction:
        """The direction that was planted. Raises `InternalError` where none was."""
        vector = self.truth.direction(emotion, site)
        if vector is None:
            raise InternalError(f"no direction of {emotion} was planted at {site}.")
        return Direction(
            vector=vector,
            site=site,
            method="planted",
            labels=(emotion, NEUTRAL),
            length=1.0,
            spread=0.0,
            provenance=self.model.provenance,
        )

    def pushes(self, name: str, emotion: str) -> dict[PlantedPart, float]:
        """Mean paired contribution of each component (name z or post), on the scoring half, to the
        direction of the fitting half behind the last layer.
        """
        vector, pairs = self.direction(emotion, self.final).vector, self.scoring.of(emotion)
        found = {}
        for layer in range(self.model.dims.n_layers):
            site = Site(name, layer)
            affective, neutral = (
                contributions_at(self.model, site, x, vector) for x in self.values(site, pairs)
            )
            means = (affective - neutral).mean(axis=0)
            found.update({(layer, i): float(push) for i, push in enumerate(means)})
        return found


def open_bench(name: str, *, seed: int = 0) -> PlantedBench:
    """The planted model `name` (planted, planted_null), run on a battery and split in halves by
    `seed`.
    """
    return _at_work(load(name), planted.SPECS[name], testbed(name).battery(seed), seed=seed)


def build_bench(spec: planted.PlantedSpec, *, seed: int = 0) -> PlantedBench:
    """The same of any planted model, which is built now."""
    with tempfile.TemporaryDirectory() as folder:
        for part in planted.build(spec):
            part.save_pretrained(folder)
        model = load(folder, check=False)
    battery = planted.stimuli(spec, n=spec.words, seed=seed)
    return _at_work(model, spec, battery, seed=seed)


def _at_work(
    model: LanguageModel, spec: planted.PlantedSpec, battery: Battery, *, seed: int
) -> PlantedBench:
    store = capture(model, battery, sites=CAPTURED, positions=(LAST,))
    fitting, scoring = battery.pairs().split(seed=seed)
    readout = Readout(planted.readout(spec), "")
    return PlantedBench(model, planted.truth(spec), battery, store, readout, fitting, scoring)
