"""Hooked: where a model's activations are read and edited, and the hooks that sit there."""

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import InternalError, UsageError
from interp.models.editable import Hook
from interp.models.sizes import sublayer_hooks
from interp.models.weights import Weights
from interp.sites import Site

_LAYER = re.compile(r"blocks\.(\d+)\.")
_GATED = (
    "hook_result",
    "hook_attn_in",
    "hook_q_input",
    "hook_k_input",
    "hook_v_input",
    "hook_mlp_in",
)
"""Names that the bridge computes only where a flag is set: else a hook there never fires."""


class Hooked(Weights):
    """A model whose sites can be hooked; `LanguageModel` is one.

    The hooks that are on the bridge when it is put on are its own, and stay.
    """

    _traced = False

    def __init__(self, bridge: TransformerBridge) -> None:
        self.bridge = bridge
        self._names = frozenset(bridge.hook_dict)
        self._hidden = sublayer_hooks(bridge)
        self._points = tuple(bridge.hook_points())
        self._own_hooks = self._hooks_now()

    @contextmanager
    def hooked(self, hooks: Sequence[Hook]) -> Iterator[None]:
        """Keep `hooks` on the model for a while; they are gone afterwards, after an exception too.

        Raises `UsageError` for a name the model lacks, `InternalError` when a hook is left behind.
        """
        for name, _ in hooks:
            self._check_hook(name)
        before = self.count_hooks()
        with torch.set_grad_enabled(self._traced), self.bridge.hooks(fwd_hooks=list(hooks)):
            yield
        if self.count_hooks() != before:
            counted = f"had {before}, has {self.count_hooks()}"
            raise InternalError(f"{self.name}: hooks were left on the model ({counted}).")

    @contextmanager
    def traced(self) -> Iterator[None]:
        """While open, passes keep what `slopes` needs to go back through them; else they do not."""
        before, self._traced = self._traced, True
        try:
            yield
        finally:
            self._traced = before

    def slopes(self, number: Float[Tensor, ""], by: Tensor) -> Tensor:
        """The derivative of a number, which traced passes gave, by each entry of `by`."""
        (found,) = torch.autograd.grad(number, by)
        return found

    def hooks_clean(self) -> bool:
        """Whether the hooks on the model are those that were there when it was loaded."""
        return not self.strange_hooks()

    def strange_hooks(self) -> list[str]:
        """Where hooks sit that were not there when the model was loaded, or have gone since."""
        return sorted({name for name, _ in self._hooks_now() ^ self._own_hooks})

    def _hooks_now(self) -> frozenset[tuple[str, int]]:
        """The place and the identity of each hook; some bridges come with their own (OPT)."""
        held = ((point, hook) for point in self._points for hook in _hooks_at(point))
        return frozenset((str(point.name), id(hook)) for point, hook in held)

    def offers(self, site: Site) -> bool:
        """Whether the model has this site."""
        return site.hook in self._names and site.hook not in self._hidden

    def hides(self, site: Site) -> bool:
        """Whether the bridge has this name, and what passes there is something else."""
        return site.hook in self._hidden

    def count_hooks(self) -> int:
        """How many hooks sit on the model."""
        return sum(len(_hooks_at(point)) for point in self._points)

    def _check_hook(self, name: str) -> None:
        if name in self._names and not name.endswith(_GATED):
            return
        if match := _LAYER.match(name):
            self.block(int(match[1]))
        near = ", ".join(difflib.get_close_matches(name, sorted(self._names), n=3, cutoff=0.3))
        raise UsageError(
            f"{self.name} has no site {name!r} to hook: did you mean {near}? `interp sites "
            f"{self.name}` lists them."
        )


def _hooks_at(point: Any) -> list[Any]:
    return [*point.fwd_hooks, *point.bwd_hooks]
