"""The recipe of a training run, and which weights its optimisers take."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights. `batch` is stories per step, `warmup` and `decay` are shares of
    the steps.
    """

    seed: int = 0
    steps: int = 4500
    batch: int = 32
    d_model: int = 128
    layers: int = 6
    heads: int = 4
    d_mlp: int = 384
    rate: float = 8e-3
    embedding_rate: float = 2e-3
    warmup: float = 0.03
    decay: float = 0.4
    weight_decay: float = 0.01


def by_muon(name: str, parameter: Tensor) -> bool:
    """Whether Muon moves it: the matrices inside the blocks. AdamW moves embeddings, unembedding
    and gains.
    """
    return parameter.ndim == 2 and name.startswith("model.layers.")
