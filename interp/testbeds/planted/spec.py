"""What a planted model is made of: its sizes, its subspaces, and which heads and neurons carry the
circuit.

The residual stream is cut into orthogonal parts, so that the truth about the circuit is exact:

- `rogue`: a very large constant (real models have such outlier dimensions too). It keeps the length
  of every residual vector constant but for a part in two thousand, so that a LayerNorm whose gain
  undoes that length passes vectors on unchanged.
- `flag`: set on the words of the slot, evidence or not; it is what the planted heads attend to.
- `evidence`, `message`, `emotion`: one axis per emotion. A head moves evidence to message,
  neurons turn message into emotion, the unembedding reads emotion.
- `free`: everything else. Identities of words and positions live here; distractor heads and neurons
  read and write here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from interp.errors import UsageError

PRIMARIES = ("joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
"""Plutchik's eight primary emotions."""

ROGUE = 512.0
"""Absolute value of the two rogue coordinates; their sum is zero, so that a LayerNorm's mean is
zero as well.
"""

MOVE_GAIN = 3.0
"""A planted head writes MOVE_GAIN x the evidence of the word it attends to."""

READ_GAIN = 1.5
"""The planted neurons of an emotion write READ_GAIN x (message + REST), all together."""

REST = 0.5
"""What planted neurons hear in silence, so that they are never at the kink of their ReLU."""

_LEAST_FREE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedSpec:
    """Sizes and seed of a planted model; two equal specs build the same model to the last bit.

    `noise` is the length of a word's identity in the free space, in units of the mean evidence (1).
    `words` is the number of situation words an emotion has, `neurons` the number of planted neurons
    an emotion has. With `circuit=False` the words carry no evidence, and what would be planted
    heads and neurons are distractors. Raises `UsageError` for sizes that leave no room for the
    circuit beside its distractors.
    """

    n_layers: int = 4
    n_heads: int = 4
    d_head: int = 32
    d_mlp: int = 128
    emotions: tuple[str, ...] = PRIMARIES
    neurons: int = 4
    words: int = 20
    noise: float = 1.0
    circuit: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_layers < 2 or self.n_heads < 2:
            raise UsageError(
                f"a planted model needs 2 layers and 2 heads, not {self.n_layers} and "
                f"{self.n_heads}."
            )
        if not self.emotions or len(set(self.emotions)) < len(self.emotions):
            raise UsageError(f"a planted model needs emotions, each once, not {self.emotions}.")
        if self.n_free < max(_LEAST_FREE, self.d_head):
            raise UsageError(
                f"{self.n_heads} heads of {self.d_head} leave {self.n_free} dimensions to "
                f"distractors beside {len(self.emotions)} emotions; "
                f"{max(_LEAST_FREE, self.d_head)} are needed: raise n_heads."
            )
        if len(self.emotions) * self.neurons > self.d_mlp // 2:
            raise UsageError(
                f"{len(self.emotions)} x {self.neurons} planted neurons fill more than half of "
                f"d_mlp {self.d_mlp}."
            )
        if min(self.neurons, self.words) < 1 or not 0 <= self.noise < float("inf"):
            raise UsageError(
                "a planted model needs a neuron and a word per emotion, and a finite noise of at "
                "least 0."
            )

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.n_heads * self.d_head

    @property
    def n_free(self) -> int:
        """Dimensions left to distractors: all but two rogue coordinates, the mean, the flag, three
        axes per emotion.
        """
        return self.d_model - 4 - 3 * len(self.emotions)

    @property
    def head_layer(self) -> int:
        """The layer whose attention moves the evidence; at least one layer comes before it."""
        return max(1, self.n_layers // 3)

    @property
    def neuron_layer(self) -> int:
        """The layer whose MLP turns the message into the emotion."""
        return max(self.head_layer, 2 * self.n_layers // 3)

    def rng(self, *key: int) -> np.random.Generator:
        """A random stream of this spec for one purpose: what one part draws does not depend on
        another part.
        """
        return np.random.default_rng([self.seed, *key])


@dataclass(frozen=True, slots=True)
class Subspaces:
    """Orthonormal axes of the residual stream, each row of unit length; see the module's head for
    their roles.
    """

    rogue: Float[np.ndarray, " d_model"]
    flag: Float[np.ndarray, " d_model"]
    evidence: Float[np.ndarray, "emotion d_model"]
    message: Float[np.ndarray, "emotion d_model"]
    emotion: Float[np.ndarray, "emotion d_model"]
    free: Float[np.ndarray, "free d_model"]


@cache
def subspaces(spec: PlantedSpec) -> Subspaces:
    """Cut the residual stream of `spec` into its parts, turned at random within the coordinates
    that are not rogue.
    """
    width, n = spec.d_model, len(spec.emotions)
    rogue = np.zeros(width)
    rogue[:2] = np.array([1.0, -1.0]) / np.sqrt(2)
    draws = spec.rng(0).standard_normal((width - 2, width - 3))
    basis, _ = np.linalg.qr(draws - draws.mean(axis=0))
    axes = np.concatenate([np.zeros((2, width - 3)), basis]).T
    return Subspaces(
        rogue,
        axes[0],
        axes[1 : n + 1],
        axes[n + 1 : 2 * n + 1],
        axes[2 * n + 1 : 3 * n + 1],
        axes[3 * n + 1 :],
    )


def planted_heads(spec: PlantedSpec) -> Mapping[str, int]:
    """The head of `head_layer` that carries each emotion. Half of the layer's heads share the
    emotions in turn.
    """
    chosen = spec.rng(1).permutation(spec.n_heads)[: spec.n_heads // 2]
    return {
        emotion: int(chosen[place % len(chosen)]) for place, emotion in enumerate(spec.emotions)
    }


def planted_neurons(spec: PlantedSpec) -> Mapping[str, tuple[int, ...]]:
    """The neurons of `neuron_layer` that carry each emotion, the one with the largest share
    first.
    """
    chosen = (
        spec.rng(2)
        .permutation(spec.d_mlp)[: len(spec.emotions) * spec.neurons]
        .reshape(len(spec.emotions), -1)
    )
    return {
        emotion: tuple(int(n) for n in row)
        for emotion, row in zip(spec.emotions, chosen, strict=True)
    }


def shares(spec: PlantedSpec) -> Float[np.ndarray, " neuron"]:
    """What each planted neuron of an emotion gives of the whole: 4 : 3 : 2 : 1 for four; their sum
    is 1.
    """
    weights = np.arange(spec.neurons, 0, -1, dtype=float)
    return weights / weights.sum()
