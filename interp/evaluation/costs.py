"""What steering costs: how odd the continuation is to the unsteered model, and how much it repeats
itself.

These are of the new tokens alone. None says whether the text is good; each says one way in which it
breaks. `losses` says what an edit costs texts that are there already.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from interp.causal.forward import Encoded
from interp.causal.interventions import Intervention, applied
from interp.causal.losses import PRICED_AT_ONCE, mean_loss
from interp.models import LanguageModel

BROKEN_BELOW = 0.5
"""A text with a smaller share of different bigrams goes round in circles."""


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


def is_broken(cost: Cost) -> bool:
    """Whether a continuation is a breakdown: nothing at all, or more than half of its pairs of
    neighbouring tokens come again (`BROKEN_BELOW`).
    """
    return math.isnan(cost.perplexity) or cost.distinct_2 < BROKEN_BELOW


def fluency(cost: Cost, usual: Cost) -> float:
    """How likely the unsteered model finds a continuation, beside the one that it writes itself:
    the inverse ratio of perplexities, at most 1; 0 for a breakdown, and NaN where the usual text is
    one.
    """
    if is_broken(cost):
        return 0.0
    return min(1.0, usual.perplexity / cost.perplexity) if usual.perplexity > 0 else math.nan


def harmonic(*scores: float) -> float:
    """The harmonic mean of scores between 0 and 1, 0 where one is 0: what is gained by giving one
    up for another is nothing. AxBench (Wu et al. 2025) joins concept, instruction and fluency so
    (`steering_rows.overall_of`).
    """
    return len(scores) / sum(1 / one for one in scores) if all(scores) else 0.0


def perplexities(
    model: LanguageModel, rows: Sequence[Encoded], written: Sequence[Sequence[int]]
) -> list[float]:
    """exp(-mean of log p(token | prompt, tokens before)) of each continuation; NaN for an empty
    one.
    """
    whole = [[*row.tokens, *new] for row, new in zip(rows, written, strict=True)]
    found = losses(model, whole, [len(row.tokens) for row in rows])
    return [math.exp(loss) for loss in found]


def losses(
    model: LanguageModel,
    texts: Sequence[Sequence[int]],
    starts: Sequence[int],
    interventions: Sequence[Intervention] = (),
) -> list[float]:
    """-mean of log p(token | tokens before), in nats, of each text's tokens from its start on,
    under `interventions`; NaN where there is none. What steering costs a text that has nothing to
    do with it is its loss under the intervention less its loss.
    """
    found = [math.nan] * len(texts)
    asked = [at for at, start in enumerate(starts) if start < len(texts[at])]
    longest = max((len(texts[at]) for at in asked), default=1)
    at_once = max(PRICED_AT_ONCE // longest, 1)
    for first in range(0, len(asked), at_once):
        part = asked[first : first + at_once]
        batch = model.pad([texts[at] for at in part])
        with torch.inference_mode(), applied(model, interventions, lengths=batch.lengths):
            logits = model.forward(batch)
        for place, at in enumerate(part):
            found[at] = mean_loss(logits[place], texts[at], starts[at])
    return found
