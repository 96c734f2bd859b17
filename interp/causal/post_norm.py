"""The RMS norm through which some models (Gemma 2 and 3, OLMo 2) pass what a sublayer writes.

norm(a) = weight * a / rms(a), with rms(a) = sqrt(mean(a^2) + epsilon) at each token. What one part
of `a` does can be said in two ways:

- *frozen*: the part is multiplied by weight / rms(a) as it is. Such shares sum to the whole, and
  none of them is what the model would lose.
- *removed*: v . (norm(a) - norm(a - part)), what is lost when the part is set to zero. The rms
  changes with the part, so these do not sum to the whole.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import UsageError

_LARGE, _SMALL = 1e3, 1e-8
"""Inputs at which epsilon does not matter, and at which nothing else does."""


@dataclass(frozen=True, eq=False)
class RMSNorm:
    """The norm's weight, and the epsilon that it adds to the mean square."""

    weight: Float[Tensor, " d_model"]
    epsilon: float

    def gain(self, output: Float[Tensor, "item d_model"]) -> Float[Tensor, "item d_model"]:
        """The factors g with norm(output) = g * output, per item."""
        return self.weight / self._rms(output.square().mean(-1, keepdim=True))

    def removed(
        self,
        output: Float[Tensor, "item d_model"],
        v: Float[Tensor, " d_model"],
        *,
        along: Float[Tensor, "item part"],
        inner: Float[Tensor, "item part"],
        square: Float[Tensor, "item part"],
    ) -> Float[Tensor, "item part"]:
        """v . (norm(output) - norm(output - part)) of every part p of the output, given
        `along` = (weight * v) . p, `inner` = output . p and `square` = p . p.
        """
        whole = output @ (self.weight * v)
        mean_square = output.square().mean(-1)
        # |a - p|^2 = |a|^2 - 2 a.p + |p|^2
        left = mean_square[:, None] + (square - 2 * inner) / output.shape[-1]
        without = (whole[:, None] - along) / self._rms(left.clamp(min=0.0))
        return (whole / self._rms(mean_square))[:, None] - without

    def _rms(self, mean_square: Tensor) -> Tensor:
        return (mean_square + self.epsilon).sqrt()


def read_norm(norm: Callable[[Tensor], Tensor], output: Float[Tensor, "item d_model"]) -> RMSNorm:
    """The weight and epsilon of `norm`, found by its answers to constant inputs, on the CPU.

    Raises `UsageError` when it is no RMS norm without bias (it does not act on `output` as one).
    """
    with torch.no_grad():
        large, small = (norm(torch.full_like(output[:1], x))[0].cpu() for x in (_LARGE, _SMALL))
        normed = norm(output).float().cpu()
    weight = large.float()
    # norm(x 1) = weight * x / sqrt(x^2 + epsilon)
    ratio = (small.float() * weight).sum() / (weight * weight).sum()
    found = RMSNorm(
        weight, float((_SMALL / ratio) ** 2 - _SMALL**2) if ratio != 0 else float("inf")
    )
    shaped = found.gain(output.float().cpu()) * output.float().cpu()
    if not torch.allclose(shaped, normed, rtol=1e-3, atol=1e-4 * float(normed.abs().max())):
        raise UsageError(
            "contributions need the norm after a sublayer to be an RMS norm without bias, and "
            "this one is not."
        )
    return found
