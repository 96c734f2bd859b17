"""What is true of a planted model, in closed form: directions, heads, neurons, positions, and what
each ablation does.

With evidence s in the slot, the last position holds from the head layer on the message M s (M =
MOVE_GAIN), and from the neuron layer on the emotion R (M s + r) (R = READ_GAIN, r = REST), on two
orthogonal axes of that emotion; everything else is orthogonal to them. A LayerNorm changes these
figures by less than a part in two thousand (see weights.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.errors import UsageError
from interp.sites import RESIDUAL_WIDE, Site
from interp.testbeds.planted.spec import (
    MOVE_GAIN,
    READ_GAIN,
    REST,
    PlantedSpec,
    planted_heads,
    planted_neurons,
    shares,
    subspaces,
)
from interp.testbeds.planted.weights import strengths
from stimuli.battery import Stimulus

_BOTH = math.hypot(1, READ_GAIN)
"""Length of the final direction before it is made a unit vector: 1 on the message axis, READ_GAIN
on the emotion axis.
"""

LayerIndex = tuple[int, int]
"""(layer, index) of a head or of a neuron."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a planted model; without a circuit, `heads` and `neurons` are empty and no
    site has a direction.

    `heads` and `neurons` are (layer, index) by emotion, the component with the larger share first.
    `head_layer` is where the evidence arrives at the last position, `neuron_layer` where it becomes
    the emotion. `strength` is each word's evidence.
    """

    spec: PlantedSpec
    emotions: tuple[str, ...]
    head_layer: int
    neuron_layer: int
    heads: Mapping[str, tuple[LayerIndex, ...]]
    neurons: Mapping[str, tuple[LayerIndex, ...]]
    strength: Mapping[str, float]

    def direction(self, emotion: str, site: Site) -> Float[np.ndarray, " d_model"] | None:
        """Unit vector along which the twins of `emotion` differ at `site`, last position; None
        where they do not.

        That difference is MOVE_GAIN x strength on the message axis from the head layer on, and
        READ_GAIN times as much on the emotion axis from the neuron layer on. Raises `UsageError`
        for a site that is not d_model wide.
        """
        if site.name not in RESIDUAL_WIDE:
            raise UsageError(
                f"the planted directions live in {', '.join(RESIDUAL_WIDE)}, not in {site.name!r}."
            )
        moved, read = self._parts(site)
        if not (self.heads and (moved or read)):
            return None
        space, place = subspaces(self.spec), self.emotions.index(emotion)
        vector = moved * space.message[place] + read * READ_GAIN * space.emotion[place]
        return vector / np.linalg.norm(vector)

    def _parts(self, site: Site) -> tuple[bool, bool]:
        """Whether the message, and whether the emotion, is present at `site`."""
        layer = site.layer
        if site.name == "attn_out":
            return layer == self.head_layer, False
        if site.name == "mlp_out":
            return False, layer == self.neuron_layer
        attended, read = site.name != "resid_pre", site.name == "resid_post"
        return layer + attended > self.head_layer, layer + read > self.neuron_layer

    def position(self, layer: int) -> str:
        """The token whose residual after `layer` decides the read-out: the slot's ("edit"), later
        the "last".
        """
        return "edit" if layer < self.head_layer else "last"

    def projection(
        self, stimulus: Stimulus, emotion: str, *, evidence: float | None = None
    ) -> float:
        """Where the last token's final residual stands along the emotion's final direction;
        `evidence` overrides the word's.
        """
        if not self.heads:
            return 0.0
        message = MOVE_GAIN * (self._evidence(stimulus, emotion) if evidence is None else evidence)
        named = READ_GAIN * (message + REST)
        return (message + READ_GAIN * named) / _BOTH

    def _evidence(self, stimulus: Stimulus, emotion: str) -> float:
        return self.strength[stimulus.fields["situation"]] if stimulus.emotion == emotion else 0.0

    def without_head(self, stimulus: Stimulus, emotion: str) -> float:
        """`projection` after the planted head of `emotion` was zeroed, or replaced by its output on
        the neutral twin: the same, for the head is silent on a word without evidence.
        """
        return self.projection(stimulus, emotion, evidence=0.0)

    def without_neuron(self, stimulus: Stimulus, emotion: str, *, rank: int, mode: str) -> float:
        """`projection` after the neuron of `emotion` with the `rank`-th largest share (0-based) was
        ablated.

        `mode` "zero" silences it, "resample" gives it its value on the neutral twin, where it hears
        only REST. Raises `UsageError` for another mode.
        """
        if mode not in ("zero", "resample"):
            raise UsageError(f"the closed form knows the modes zero and resample, not {mode!r}.")
        heard = MOVE_GAIN * self._evidence(stimulus, emotion) + (REST if mode == "zero" else 0.0)
        lost = READ_GAIN**2 * float(shares(self.spec)[rank]) * heard / _BOTH
        return self.projection(stimulus, emotion) - lost


def truth(spec: PlantedSpec) -> Truth:
    """What is true of the model that `spec` builds."""
    heads = {emotion: ((spec.head_layer, head),) for emotion, head in planted_heads(spec).items()}
    neurons = {
        emotion: tuple((spec.neuron_layer, n) for n in chosen)
        for emotion, chosen in planted_neurons(spec).items()
    }
    return Truth(
        spec,
        spec.emotions,
        spec.head_layer,
        spec.neuron_layer,
        heads if spec.circuit else {},
        neurons if spec.circuit else {},
        strengths(spec),
    )
