"""What a plain Hugging Face network writes, its forward run again for every token."""

from collections.abc import Sequence

import torch


def write_greedily(network: torch.nn.Module, tokens: Sequence[int], *, n: int) -> list[int]:
    """The `n` likeliest tokens behind `tokens`, one after the other."""
    found = list(tokens)
    with torch.no_grad():
        for _ in range(n):
            found.append(int(network(torch.tensor([found])).logits[0, -1].argmax()))
    return found[len(tokens) :]
