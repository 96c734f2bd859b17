"""What steering costs: how odd the continuation is to the unsteered model, and how much it repeats
itself.

All three are of the new tokens alone. None says whether the text is good; each says one way in
which it breaks.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from interp.causal.forward import Encoded
from interp.models import LanguageModel

PRICED_AT_ONCE = 1024
"""Tokens whose logits over the whole vocabulary are held at once, padding counted."""


class Cost(NamedTuple):
    """Of one continuation: its `perplexity` under the unsteered model, given the prompt; the share
    of its pairs of neighbouring tokens that are different ones (`distinct_2`); and the share of its
    tokens that stood in it before (`repeated`). NaN where it is too short to have one.
    """

    perplexity: float
    distinct_2: float
    repeated: float


def costs(
    model: LanguageModel, rows: Sequence[Encoded], written: Sequence[Sequence[int]]
) -> list[Cost]:
    """The cost of each continuation (its tokens) of the prompts `rows`; nothing is edited."""
    odd = perplexities(model, rows, written)
    return [
        Cost(value, distinct_2(new), repeated(new)) for value, new in zip(odd, written, strict=True)
    ]


def distinct_2(tokens: Sequence[int]) -> float:
    """Different bigrams over all bigrams (Li et al. 2016); 1: none comes twice."""
    pairs = list(pairwise(tokens))
    return len(set(pairs)) / len(pairs) if pairs else math.nan


def repeated(tokens: Sequence[int]) -> float:
    """The share of tokens that occurred before, 1 - distinct / all (`seq-rep-1`, Welleck et al.
    2020).
    """
    return 1 - len(set(tokens)) / len(tokens) if tokens else math.nan


def perplexities(
    model: LanguageModel, rows: Sequence[Encoded], written: Sequence[Sequence[int]]
) -> list[float]:
    """exp(-mean of log p(token | prompt, tokens before)) of each continuation; NaN for an empty
    one.
    """
    whole = [[*row.tokens, *new] for row, new in zip(rows, written, strict=True)]
    found = [math.nan] * len(rows)
    asked = [at for at, new in enumerate(written) if new]
    longest = max((len(whole[at]) for at in asked), default=1)
    at_once = max(PRICED_AT_ONCE // longest, 1)
    for first in range(0, len(asked), at_once):
        part = asked[first : first + at_once]
        batch = model.pad([whole[at] for at in part])
        with torch.inference_mode():
            logits = model.forward(batch)
        for place, at in enumerate(part):
            start = len(rows[at].tokens)
            mine = logits[place, start - 1 : len(whole[at]) - 1].double().log_softmax(-1).cpu()
            told = mine.gather(-1, torch.tensor(written[at])[:, None])
            found[at] = math.exp(-float(told.mean()))
    return found
