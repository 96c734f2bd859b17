"""Rehearsal: a study gone through by its own stages, without its model's passes and its folder.

The model counts the passes that it is asked for (`interp.models.counted`), and the activations are
made up: what a stage does is done, at the right shapes, and nothing of it is true.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from interp.capture import Activations
from interp.models.counted import Counted
from interp.models.sizes import Dims, site_shape
from interp.sites import STREAM, Site
from interp.study.folder import Study
from interp.study.settings import Settings
from stimuli.battery import NEUTRAL, Battery

APART = 3.0
"""How far apart made-up twins lie, in standard deviations: every direction has a length."""


class Rehearsal(Study):
    """A study that writes into `out`, a folder of nobody's, and leaves no record.

    What depends on an earlier result is the most that there can be: all layers of the stream tell
    the twins apart equally well, and the last one, before which every head and neuron writes, is
    the first to be chosen. `layers` and `emotions` keep the first few of them (None: all).
    """

    def __init__(
        self,
        settings: Settings,
        battery: Battery,
        model: Counted,
        *,
        out: Path,
        layers: int | None = None,
        emotions: int | None = None,
    ) -> None:
        self._take(settings, battery)
        self.out = out
        self._model = model
        if settings.control_model is not None:  # its capture is as long as the study's own
            self.random_store = MadeUp(self.captured, model.dims)  # type: ignore[assignment]
        self._few = {"layers": layers, "emotions": emotions}

    @cached_property
    def model(self) -> Counted:
        """The model whose passes are counted."""
        return self._model

    @cached_property
    def sites(self) -> list[Site]:
        """The study's sites, the last layer first; with few `layers`, those of the stream there (or
        whatever there is instead).
        """
        found = sorted(super().sites, key=lambda site: -site.layer)
        if self._few["layers"] is None:
            return found
        stream = [site for site in found if site.name == STREAM]
        return (stream or found)[: self._few["layers"]]

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """The emotions of `pairs`, or the first few."""
        return super().emotions[: self._few["emotions"]]

    def unheard(self, sites: tuple[Site, ...]) -> Site:
        """The last one, behind every part: sites are sorted the last layer first."""
        return sites[0]

    @cached_property
    def store(self) -> "MadeUp":  # type: ignore[override]
        """Made-up activations of every text."""
        return MadeUp(self.captured, self.model.dims)


class MadeUp:
    """Activations of the texts of `battery` at any site: noise, and a direction per emotion.

    They are the same at all sites of a shape. Of an `ActivationStore` it has what stages read.
    """

    def __init__(self, battery: Battery, dims: Dims) -> None:
        self.items = tuple(item.id for item in battery)
        self.quarantined: dict[str, str] = {}
        self._emotions = [item.emotion for item in battery]
        self._dims = dims
        self._kept: dict[tuple[int, ...], Float[np.ndarray, "item ..."]] = {}

    def read(self, site: Site, position: str) -> Activations:
        """The texts' activations at a site, by a position rule."""
        shape = tuple(int(axis) for axis in site_shape(self._dims, site.name)[2:])
        shape = shape if site.head is None else shape[1:]
        if shape not in self._kept:
            self._kept[shape] = self._made(shape)
        return Activations(self._kept[shape], site, position, self.items)

    def _made(self, shape: tuple[int, ...]) -> Float[np.ndarray, "item ..."]:
        draw = np.random.default_rng(0)
        axes = {emotion: draw.normal(size=shape) for emotion in sorted(set(self._emotions))}
        steps = {one: axis * APART / float(np.linalg.norm(axis)) for one, axis in axes.items()}
        steps[NEUTRAL] = np.zeros(shape)
        shifts = np.stack([steps[one] for one in self._emotions])
        return (draw.normal(size=(len(self.items), *shape)) + shifts).astype(np.float32)
