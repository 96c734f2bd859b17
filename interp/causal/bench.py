"""The bench of an ablation: what is measured on it, what is knocked out, and what that did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interp.causal.contributions import Component
from interp.causal.readout import Readout
from interp.directions import Direction
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.sites import Site
from stimuli.battery import Pair


@dataclass(frozen=True, eq=False)
class Bench:
    """What ablations are measured on: pairs that did not choose the components, a direction an
    emotion, and a readout.

    Raises `StatisticsError` for no pairs, `UsageError` for an emotion without direction,
    `ArtefactError` for a direction of another width.
    """

    model: LanguageModel
    pairs: Sequence[Pair]
    directions: Mapping[str, Direction]
    readout: Readout

    def __post_init__(self) -> None:
        if not self.pairs:
            raise StatisticsError(
                "an ablation needs at least one pair to be measured on, and none was given."
            )
        missing = sorted(set(self.emotions) - set(self.directions))
        if missing:
            raise UsageError(
                f"no direction is given for {', '.join(missing)}: fit one, or leave these pairs "
                "out."
            )
        for emotion, direction in self.directions.items():
            if len(direction.vector) != self.model.dims.d_model:
                raise ArtefactError(
                    f"the direction for {emotion} is {len(direction.vector)} wide and "
                    f"{self.model.name} is {self.model.dims.d_model} wide: fit it on this model."
                )

    @property
    def emotions(self) -> list[str]:
        """The emotion of each pair."""
        return [pair.affective.emotion for pair in self.pairs]


Kept = Mapping[Site, Bool[np.ndarray, " unit"]]
"""The heads (at a z site) and neurons (at a post site) that are left as they are."""


class Knockout(NamedTuple):
    """Components to knock out together, and the indices of the pairs whose affective text they are
    knocked out of.

    `kept` says the same the other way round: at these sites (z and post), all heads or neurons
    that are not True are knocked out, too.
    """

    components: tuple[Component, ...]
    pairs: tuple[int, ...]
    kept: Kept | None = None


class Effects(NamedTuple):
    """The projection on the pair's own emotion's unit direction, and the readout's score of it in
    nats; NaN where not run.
    """

    projection: Float[np.ndarray, "plan pair"]
    score: Float[np.ndarray, "plan pair"]
