"""What the unembedding is given, laid out as it multiplies fastest.

A model that keeps the logits of a text's last column hands its unembedding a view: one column of
each row, with all others between them in memory. torch multiplies such rows one by one, at a
twentieth of the speed.
"""

from typing import Any

from torch import Tensor, nn


def unembed_together(hf_model: nn.Module) -> None:
    """Let the unembedding of `hf_model` read its rows from one piece of memory."""
    model: Any = hf_model
    head = model.get_output_embeddings()
    if head is not None:  # else it is slow, and the same
        head.register_forward_pre_hook(_in_one_piece)


def _in_one_piece(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.contiguous() if isinstance(one, Tensor) else one for one in given)
