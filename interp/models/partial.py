"""A forward pass that begins in the middle: blocks below a layer are skipped.

An edit at layer l changes nothing below l. A pass that repeats a known one up to there needs only
the residual stream that block l reads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


class Begin(NamedTuple):
    """Where a pass begins: at block `layer`, which reads `residual`.

    `in_tuple` says whether the blocks of this model give their output in a tuple.
    """

    layer: int
    residual: Float[Tensor, "batch pos d_model"]
    in_tuple: bool


@contextmanager
def begun_at(bridge: TransformerBridge, begin: Begin) -> Iterator[None]:
    """While open, blocks below `begin.layer` do not run.

    Hooks on skipped blocks do not fire, and those blocks leave their part of a key-value cache as
    it is.
    """
    skipped = list(bridge.blocks[: begin.layer])
    kept = [block.__dict__.get("forward") for block in skipped]

    def give(value: Tensor) -> Any:
        return (value,) if begin.in_tuple else value

    def skip(*inputs: Any, **named: Any) -> Any:
        return give(inputs[0] if inputs else named["hidden_states"])

    for block in skipped:
        _put(block, skip)
    if skipped:
        _put(skipped[-1], lambda *inputs, **named: give(begin.residual))
    try:
        yield
    finally:
        for block, forward in zip(skipped, kept, strict=True):
            _restore(block, forward)


def _put(block: Any, forward: Callable[..., Any]) -> None:
    """Give a block another `forward`; plainly, since a bridge hands what is set on to what it
    wraps.
    """
    object.__setattr__(block, "forward", forward)


def _restore(block: Any, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        object.__delattr__(block, "forward")
    else:
        _put(block, forward)


def gives_tuples(bridge: TransformerBridge) -> bool:
    """Whether the blocks of this model give their output in a tuple; found by running two
    tokens.
    """
    found: list[bool] = []
    watch = bridge.blocks[0].register_forward_hook(
        lambda module, inputs, output: found.append(isinstance(output, tuple))
    )
    try:
        with torch.no_grad():
            bridge(torch.zeros(1, 2, dtype=torch.long, device=bridge.cfg.device))
    finally:
        watch.remove()
    return found[0]
