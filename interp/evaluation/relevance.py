"""Relevance: whether a continuation belongs to its own prompt, told by the unsteered model.

A steered text may be fluent and full of the emotion and yet have left its prompt behind. Here a
text is relevant as far as it is likelier behind its own prompt than behind prompts of other
scenarios. No judge is asked.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.forward import Encoded
from interp.evaluation.costs import losses
from interp.models import LanguageModel
from interp.stats import Labels

PROMPTS_BESIDE = 4
"""Prompts of other scenarios that each text is held against."""

_EQUAL = 1e-5
"""Nats per token within which a text is as likely behind two prompts: what is below is rounding."""


class Relevance(NamedTuple):
    """Of one continuation: the share of other prompts behind which it is less likely than behind
    its own (`relevance`; ties count half, chance is .5), and the same with one of the others in the
    place of its own (`relevance_shuffled`, the control). NaN for a text without tokens, or without
    enough other prompts.
    """

    relevance: float
    relevance_shuffled: float


def relevances(
    model: LanguageModel,
    rows: Sequence[Encoded],
    written: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]],
) -> list[Relevance]:
    """The relevance of each continuation (its tokens) of the prompts `rows`, held against the rows
    at the places `others`, of which every text has equally many.
    """
    behind = [[own, *more] for own, more in enumerate(others)]
    texts = [[*rows[at].tokens, *written[text]] for text, each in enumerate(behind) for at in each]
    starts = [len(rows[at].tokens) for each in behind for at in each]
    found = np.array(losses(model, texts, starts)).reshape(len(behind), -1)
    relevance = less_likely(found[:, 0], found[:, 1:]).tolist()
    # the last of the others, as though it were the text's own
    shuffled = less_likely(found[:, -1], found[:, 1:-1]).tolist()
    return [Relevance(*each) for each in zip(relevance, shuffled, strict=True)]


def less_likely(
    own: Float[np.ndarray, " text"], others: Float[np.ndarray, "text other"]
) -> Float[np.ndarray, " text"]:
    """The share of the losses `others` that are above `own`, ties counted half; NaN where there is
    none, or no loss.
    """
    if not others.shape[1]:
        return np.full(len(own), np.nan)
    further = others - own[:, None]
    share = np.mean((further > _EQUAL) + 0.5 * (np.abs(further) <= _EQUAL), axis=1)
    return np.where(np.isnan(further).any(axis=1), np.nan, share)


def other_prompts(groups: Labels, *, seed: int) -> list[list[int]]:
    """For each prompt the places of up to `PROMPTS_BESIDE` prompts of other scenarios, drawn at
    random; equally many for all.
    """
    rng, of = np.random.default_rng(seed), np.asarray(groups)
    found = [rng.permutation(np.flatnonzero(of != group)).tolist() for group in of]
    n = min([PROMPTS_BESIDE, *map(len, found)])
    return [each[:n] for each in found]


def above_chance(relevance: float) -> float:
    """A relevance as a score between 0 and 1: 0 at chance (.5) and below."""
    return math.nan if math.isnan(relevance) else max(0.0, 2 * relevance - 1)
