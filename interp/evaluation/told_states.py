"""An outside state as a model is told it, in each arm of a conversation: as a vector that is added,
or as a sentence before what the user says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.analysis.dynamics import AffectAxes, StateDynamics
from interp.analysis.released import AT_RANDOM
from interp.analysis.turn_rows import (
    FIRST_ORDER,
    MEMORYLESS,
    SECOND_ORDER,
    SHUFFLED_TURNS,
    UNTOLD,
    OfTurns,
    Stretches,
)
from interp.causal.steps import random_like, step
from interp.directions import Direction
from interp.models.generation import Decoding

TOLD_BY_STEERING, TOLD_IN_WORDS = "steering", "words"
"""How a state is told."""

MOOD = "(Your mood now, each from 1 to 9: {told}.) "
"""The sentence that tells a state in words, before what the user says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingOfStates:
    """How states move and are told: `scale` counts in `unit` what a state as far out as an emotion
    adds; the model sees `history` earlier exchanges.
    """

    first: StateDynamics
    second: StateDynamics
    decoding: Decoding
    stretches: Stretches
    by: str = TOLD_BY_STEERING
    scale: float = 1.0
    unit: str = "dose"
    history: int = 2


def states_of(affect: OfTurns, how: TellingOfStates) -> dict[str, OfTurns]:
    """The state of each arm in each turn. The order of `SHUFFLED_TURNS` is another one in each
    conversation.
    """
    draw = np.random.default_rng(how.decoding.seed)
    orders = [draw.permutation(affect.shape[1]) for _ in affect]
    shuffled = np.stack([one[order] for one, order in zip(affect, orders, strict=True)])
    return {
        FIRST_ORDER: how.first.over(affect),
        SECOND_ORDER: how.second.over(affect),
        MEMORYLESS: affect,
        SHUFFLED_TURNS: how.first.over(shuffled),
        UNTOLD: np.zeros_like(affect),
    }


StatesNow = Mapping[str, Float[np.ndarray, "conversation axis"]]


class ToldStates:
    """How states become vectors that are added, or sentences."""

    def __init__(
        self,
        axes: AffectAxes,
        directions: Mapping[str, Direction],
        how: TellingOfStates,
        *,
        n: int,
    ) -> None:
        self.axes, self.how = axes, how
        (self.site,) = {one.site for one in directions.values()}
        self.steps = how.scale * np.stack([step(one, how.unit) for one in directions.values()])
        draw = np.random.default_rng(how.decoding.seed)
        self.drawn = np.stack([random_like(self.steps, draw) for _ in range(n)])
        turned = draw.standard_normal((n, len(axes.names), len(axes.names)))
        self.turned = np.linalg.qr(turned).Q

    def vectors(self, now: StatesNow) -> Float[np.ndarray, "row d_model"]:
        """What is added in each conversation of each arm: nothing, where states are told in
        words.
        """
        if self.how.by == TOLD_IN_WORDS:
            n = sum(map(len, now.values()))
            return np.zeros((n, self.steps.shape[1]))
        return np.concatenate([self._vectors(arm, states) for arm, states in now.items()])

    def _vectors(
        self, arm: str, states: Float[np.ndarray, "conversation axis"]
    ) -> Float[np.ndarray, "conversation d_model"]:
        weights = self.axes.weights(states)
        own = weights @ self.steps
        if arm != AT_RANDOM:
            return own
        drawn = np.einsum("ce,ced->cd", weights, self.drawn)
        size, wanted = (np.linalg.norm(x, axis=1, keepdims=True) for x in (drawn, own))
        return np.divide(drawn * wanted, size, out=np.zeros_like(drawn), where=size > 0)

    def moods(self, now: StatesNow) -> dict[str, list[str]]:
        """The sentence of each conversation of each arm: none, where states are steered by."""
        if self.how.by == TOLD_BY_STEERING:
            return {arm: [""] * len(states) for arm, states in now.items()}
        said = dict(now)
        said[AT_RANDOM] = np.einsum("ca,cab->cb", now[AT_RANDOM], self.turned)
        return {arm: [self._mood(one) for one in states] for arm, states in said.items()}

    def _mood(self, state: Float[np.ndarray, " axis"]) -> str:
        numbers = zip(self.axes.names, self.axes.middle + state, strict=True)
        return MOOD.format(told=", ".join(f"{name} {value:.1f}" for name, value in numbers))
