"""Choosing the next token: greedy or sampled from a generator of its own, so that a seed means the
same text again.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How prompts are continued: by how many tokens at most, at which temperature (0 is greedy),
    and from which seed what is sampled is drawn.

    Raises `UsageError` for settings that generate nothing or have no meaning.
    """

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(
                f"max_new_tokens is {self.max_new_tokens}: nothing would be generated; ask for at "
                "least 1."
            )
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise UsageError(
                f"temperature {self.temperature}: expected 0 (greedy) or a finite number above 0."
            )


def choose(
    logits: Float[Tensor, "batch d_vocab"], *, temperature: float, draw: torch.Generator
) -> Int[Tensor, " batch"]:
    """The next token of each row: the most likely one (temperature 0), or one drawn from
    softmax(logits / temperature).

    The draw inverts the cumulative distribution at one uniform number a row, in float64 on the CPU,
    so that it does not depend on the device.
    """
    if temperature == 0:
        return logits.argmax(dim=-1).cpu()
    below = (logits - logits.amax(dim=-1, keepdim=True)).double().cpu()
    cumulative = torch.softmax(below / temperature, dim=-1).cumsum(dim=-1)
    level = torch.rand(len(logits), 1, generator=draw, dtype=torch.float64) * cumulative[:, -1:]
    return (
        torch.searchsorted(cumulative, level, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
    )


def undecided(logits: Float[Tensor, "batch d_vocab"]) -> list[int]:
    """The rows with no largest logit, since some are no numbers or infinite: what `choose` took
    there would be an arbitrary token. Tokens that cannot come (minus infinity) are no fault.
    """
    found: list[int] = (~logits.amax(dim=-1).isfinite()).nonzero().flatten().tolist()
    return found


def until(ends: Collection[int], row: Sequence[int]) -> list[int]:
    """`row` up to, and without, its first token in `ends`."""
    stop = next((place for place, token in enumerate(row) if token in ends), len(row))
    return list(row[:stop])
