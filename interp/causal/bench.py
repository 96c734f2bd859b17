"""The bench of an ablation: what is measured on it, what is knocked out, and what that did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.causal.contributions import Component
from interp.causal.readout import Readout
from interp.directions import Direction
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.sites import Site
from stimuli.battery import Pair, Stimulus

SIDES = ("affective", "neutral")
"""The two texts of a pair."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What ablations are measured on: pairs that did not choose the components, a direction an
    emotion, and a readout. `side` says which text of each pair is read and edited: `affective` or
    `neutral`; its twin is the other one.

    Raises `StatisticsError` for no pairs, `UsageError` for an emotion without direction and another
    side, `ArtefactError` for a direction of another width.
    """

    model: LanguageModel
    pairs: Sequence[Pair]
    directions: Mapping[str, Direction]
    readout: Readout
    side: str = SIDES[0]

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise UsageError(
                f"unknown side {self.side!r} of a pair: choose one of {', '.join(SIDES)}."
            )
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

    @property
    def read(self) -> list[Stimulus]:
        """The text of each pair that is read and edited."""
        return [pair.affective if self.side == SIDES[0] else pair.neutral for pair in self.pairs]

    @property
    def twins(self) -> list[Stimulus]:
        """The other text of each pair."""
        return [pair.neutral if self.side == SIDES[0] else pair.affective for pair in self.pairs]


Kept = Mapping[Site, Bool[np.ndarray, " unit"]]
"""The heads (at a z site) and neurons (at a post site) that are left as they are."""


class Scaled(NamedTuple):
    """Components are multiplied by `factor`."""

    factor: float


class Turned(NamedTuple):
    """Whole sublayers are moved as far as their stand-in lies away, in a random direction that
    `seed` draws: a change of the same size.
    """

    seed: int


class Knockout(NamedTuple):
    """Components to knock out together, and the indices of the pairs of whose text (`Bench.side`)
    they are knocked out. A component may be a whole sublayer, too: `attn_out` or `mlp_out`, index
    0.

    `kept` says the same the other way round: at these sites (z and post), all heads or neurons
    that are not True are knocked out, too. `instead` is another change than the stand-in.
    """

    components: tuple[Component, ...]
    pairs: tuple[int, ...]
    kept: Kept | None = None
    instead: Scaled | Turned | None = None


class Effects(NamedTuple):
    """The projection on the pair's own emotion's unit direction, and the readout's score of it in
    nats; NaN where not run.

    `lead` is by how many nats that score lies above the highest of the other emotions (NaN where
    these were not asked for), `top` the token that the model expects most; -1 where not run.
    """

    projection: Float[np.ndarray, "plan pair"]
    score: Float[np.ndarray, "plan pair"]
    lead: Float[np.ndarray, "plan pair"]
    top: Int[np.ndarray, "plan pair"]
