"""PlantedBench: a planted model at work, with its battery, what it computed on it, and what is true
of it.
"""

from dataclasses import dataclass

from interp.analysis.directions import fit
from interp.capture import ActivationStore, capture
from interp.capture.store.activations import Twins
from interp.causal.readout import Readout
from interp.defaults import DIRECTION
from interp.directions import Direction
from interp.errors import InternalError
from interp.evaluation.readouts import readout_for
from interp.models import LanguageModel, load
from interp.sites import LAST, Site
from interp.testbeds import planted
from interp.testbeds.records import testbed
from stimuli.battery import NEUTRAL, Battery, Pairs

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


def open_bench(name: str, *, seed: int = 0) -> PlantedBench:
    """The planted model `name` (planted, planted_null), run on a battery and split in halves by
    `seed`.
    """
    spec = planted.SPECS[name]
    model, battery = load(name), testbed(name).battery(seed)
    store = capture(model, battery, sites=CAPTURED, positions=(LAST,))
    fitting, scoring = battery.pairs().split(seed=seed)
    return PlantedBench(
        model,
        planted.truth(spec),
        battery,
        store,
        readout_for(model, spec.emotions),
        fitting,
        scoring,
    )
