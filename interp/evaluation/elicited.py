"""Replies that a model gives under instructions, which of them a judge accepts, and what the model
holds while it gives them.

The same questions are asked under an instruction for each emotion, and under one that asks for
none. A reply is read in its conversation, by one forward pass, over its own tokens alone: those of
the instruction are not in the mean. After *Do LLMs "Feel"?* (Emotion Circuits) and *Persona
Vectors* (Chen et al. 2025).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.forward import Encoded, batches, open_prompts, require_finite
from interp.causal.generation import write_tokens
from interp.errors import UsageError
from interp.evaluation.release import Judged
from interp.evaluation.steering_arms import check_instruction, instructed
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.generation import Decoding
from interp.results import TableRows
from interp.sites import Site
from stimuli.battery import NEUTRAL

REPLY_MEAN, REPLY_LAST = "reply_mean", "reply_last"
"""Where a reply is read: the mean over its tokens, or the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elicitation:
    """How replies are elicited: `instruction` has `{emotion}` and `{text}`, the question; `neutral`
    has `{text}` alone.

    Raises `UsageError` for an instruction that lacks a field, or a neutral one that names an
    emotion.
    """

    instruction: str
    neutral: str
    decoding: Decoding

    def __post_init__(self) -> None:
        check_instruction(self.instruction)
        if "{text}" not in self.neutral or "{emotion}" in self.neutral:
            raise UsageError(
                f"the neutral instruction {self.neutral!r} must have {{text}} in it and no "
                "{emotion}, such as 'Answer this: {text}'."
            )

    def asked(self, text: str, emotion: str) -> str:
        """What the model is given: the question under the instruction for this emotion."""
        wording = self.neutral if emotion == NEUTRAL else self.instruction
        return instructed(wording, text, emotion)


class Reply(NamedTuple):
    """A reply to a question (its number), asked for in `emotion` (`neutral`: in none). `row` holds
    the conversation's tokens, the reply's own from position `row.end + 1` on; `kept` says whether
    the judge accepts it.
    """

    emotion: str
    question: int
    row: Encoded
    text: str
    verdict: str | None
    kept: bool


def elicit(
    model: LanguageModel,
    questions: Sequence[str],
    emotions: Sequence[str],
    judge: Judged,
    how: Elicitation,
) -> list[Reply]:
    """Every question's reply under the instruction for each emotion, then under the neutral one.

    A reply is kept where the judge hears the emotion that was asked for; a neutral one where the
    judge takes it for a sentence at all, since not every judge can hear none. A reply without a
    token is never kept. Raises as `interp.causal.generation.generate`.
    """
    require(model, "generation", [])
    meant = [(one, at) for one in (*emotions, NEUTRAL) for at in range(len(questions))]
    opened = open_prompts(model, [how.asked(questions[at], one) for one, at in meant])
    new = write_tokens(model, opened, [], how.decoding)
    texts = [model.decode(one) for one in new]
    found = []
    for (emotion, at), before, more, text, verdict in zip(
        meant, opened, new, texts, judge[1](texts), strict=True
    ):
        whole = replace(before, tokens=(*before.tokens, *more), end=len(before.tokens) - 1)
        heard = verdict is not None if emotion == NEUTRAL else verdict == emotion
        found.append(Reply(emotion, at, whole, text, verdict, bool(more) and heard))
    return found


class ReplyStates(NamedTuple):
    """What one site holds over replies: a row each (`x`), and the root mean square of the norm of
    their tokens (`norm`), which is longer than that of a mean over tokens.
    """

    x: Float[np.ndarray, "reply d_model"]
    norm: float


def reply_states(
    model: LanguageModel,
    replies: Sequence[Reply],
    sites: Sequence[Site],
    *,
    position: str = REPLY_MEAN,
) -> dict[Site, ReplyStates]:
    """What each of `sites` holds over each reply's own tokens: their mean, or the last one's. Each
    conversation is read once, for all sites.

    Raises `UsageError` for another position, and where the model does not offer a site.
    """
    if position not in (REPLY_MEAN, REPLY_LAST):
        raise UsageError(f"unknown position {position!r}: choose {REPLY_MEAN} or {REPLY_LAST}.")
    require(model, "capture", sites)
    rows = [one.row for one in replies]
    x = {site: np.empty((len(rows), model.dims.d_model)) for site in sites}
    squares = {site: np.empty(len(rows)) for site in sites}
    for at in batches(rows):
        mine = [rows[one] for one in at.tolist()]
        kept: dict[Site, tuple[Tensor, Tensor]] = {}
        batch = model.pad([row.tokens for row in mine], side="right")
        weights = _weights(mine, batch.ids.shape[1], position)
        logits = model.last_logits(batch, hooks=[_pooled(one, kept, weights) for one in sites])
        require_finite(model, logits, mine)
        for site, (states, norms) in kept.items():
            x[site][at], squares[site][at] = states.cpu().numpy(), norms.cpu().numpy()
    return {site: ReplyStates(x[site], float(np.sqrt(squares[site].mean()))) for site in sites}


def kept_counts(replies: Sequence[Reply]) -> dict[str, int]:
    """How many replies of each emotion are kept, in the order in which they were asked for. Each of
    them answers another question.
    """
    counts = Counter(one.emotion for one in replies if one.kept)
    return {emotion: counts[emotion] for emotion in dict.fromkeys(one.emotion for one in replies)}


def reply_rows(
    replies: Sequence[Reply], questions: Sequence[str], used: Sequence[str], *, judge: str
) -> TableRows:
    """A row of each reply: `kept`, the question and the text, what the judge hears, and whether
    directions are made of it (`used` are the emotions that have enough of them).
    """
    return [
        {
            "method": "elicited",
            "metric": "kept",
            "value": float(one.kept),
            "n": 1,
            "emotion": one.emotion,
            "question": one.question,
            "prompt": questions[one.question],
            "text": one.text,
            "tokens": len(one.row.tokens) - one.row.end - 1,
            "judge": judge,
            "verdict": one.verdict or "",
            "used": int(one.kept and one.emotion in used),
        }
        for one in replies
    ]


def _weights(rows: Sequence[Encoded], width: int, position: str) -> Float[Tensor, "row pos"]:
    """What each position counts for in a reply's state: they sum to one over its own tokens."""
    at = torch.arange(width)
    first = torch.tensor([row.end + 1 for row in rows])[:, None]
    stop = torch.tensor([len(row.tokens) for row in rows])[:, None]
    own = (at >= first) & (at < stop) if position == REPLY_MEAN else at == stop - 1
    return own / own.sum(dim=1, keepdim=True)


def _pooled(
    site: Site, kept: dict[Site, tuple[Tensor, Tensor]], weights: Float[Tensor, "row pos"]
) -> tuple[str, Callable[..., None]]:
    """A hook that keeps what passes at `site`, weighted over positions, and its squared norm."""

    def keep(x: Float[Tensor, "row pos d_model"], hook: Any = None) -> None:
        w = weights.to(x.device)[:, :, None]
        # what stands on padding means nothing, and may be no number
        own = torch.where(w > 0, x.float(), 0.0)
        kept[site] = (own * w).sum(dim=1), (own.square() * w).sum(dim=(1, 2))

    return site.hook, keep
