"""Readout: which emotion's words the model expects next, after a text and a suffix that asks for a feeling.

The score of an emotion is the log-probability that the next token is one of its words:
score_e = logsumexp over the words' tokens of log p(token | text + suffix).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import DataError, UsageError
from interp.models import LanguageModel
from interp.models.tokens import panics_told
from stimuli.battery import NEUTRAL, Stimulus

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Readout:
    """Words of each emotion, and the `suffix` put behind a text before the next token is read.

    The suffix may name fields of the stimulus: `" {protagonist} felt"`. Raises `UsageError` for no words at all.
    """

    words: Mapping[str, Sequence[str]]
    suffix: str

    def __post_init__(self) -> None:
        empty = [emotion for emotion, words in self.words.items() if not words]
        if empty or not self.words:
            raise UsageError(f"the readout has no words for {', '.join(empty) or 'any emotion'}: list at least one each.")

    @property
    def emotions(self) -> tuple[str, ...]:
        """The order of the columns of `scores`."""
        return tuple(self.words)

    def suffix_for(self, stimulus: Stimulus) -> str:
        """The suffix with the stimulus's fields filled in; raises `DataError` naming the field that it lacks."""

        def fill(match: re.Match[str]) -> str:
            if match[1] not in stimulus.fields:
                raise DataError(
                    f"stimulus {stimulus.id!r} has no field {match[1]!r}, which the readout's suffix {self.suffix!r} asks for: "
                    "add it to the row, or choose another readout."
                )
            return str(stimulus.fields[match[1]])

        return _FIELD.sub(fill, self.suffix)

    def bind(self, model: LanguageModel) -> "TokenReadout":
        """This readout in `model`'s tokens.

        A word counts when it is one token behind the suffix. An emotion without such a word is read by the first tokens of its
        words. A token that serves two emotions serves neither. Raises `UsageError` for an emotion that is left with none.
        """
        pieces = {e: [p for word in words if (p := _continuation(model, self.suffix, word))] for e, words in self.words.items()}
        tokens = {e: {p[0] for p in found if len(p) == 1} or {p[0] for p in found} for e, found in pieces.items()}
        owners = [token for owned in tokens.values() for token in owned]
        own = {e: tuple(sorted(token for token in owned if owners.count(token) == 1)) for e, owned in tokens.items()}
        missing = [emotion for emotion, owned in own.items() if not owned]
        if missing:
            raise UsageError(
                f"the readout's words for {', '.join(missing)} have no token of their own in the vocabulary of {model.name} "
                f"(words: {', '.join(self.words[missing[0]])}): give other words, or leave the emotion out."
            )
        return TokenReadout(own)


@dataclass(frozen=True, slots=True)
class TokenReadout:
    """Each emotion's token ids in one model's vocabulary."""

    tokens: Mapping[str, tuple[int, ...]]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The order of the columns of `scores`."""
        return tuple(self.tokens)

    def scores(self, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch emotion"]:
        """log p(next token is one of the emotion's), in nats, out of the logits at the last token."""
        log_probs = logits.float().log_softmax(-1)
        return torch.stack([log_probs[:, list(ids)].logsumexp(-1) for ids in self.tokens.values()], dim=-1)

    def column(self, emotion: str) -> int:
        """The column of `emotion` in `scores`; raises `UsageError` for one that the readout has no words for."""
        if emotion not in self.tokens:
            raise UsageError(f"the readout has no words for {emotion!r}; it knows {', '.join(self.emotions)}.")
        return self.emotions.index(emotion)

    def contrast(self, scores: Float[np.ndarray, "item emotion"], emotions: Sequence[str]) -> Float[np.ndarray, " item"]:
        """The logit difference of each item's emotion: its score minus that of the words for neutral, or, where the readout has
        none, minus the mean score of the other emotions. Raises as `column` does.
        """
        columns = np.array([self.column(emotion) for emotion in emotions])
        own = np.take_along_axis(scores, columns[:, None], axis=1)[:, 0]
        if NEUTRAL in self.emotions:
            return own - scores[:, self.emotions.index(NEUTRAL)]
        others = max(len(self.emotions) - 1, 1)
        return own - (scores.sum(axis=1) - own) / others


def _continuation(model: LanguageModel, suffix: str, word: str) -> list[int]:
    """The tokens that `word` adds behind the suffix; empty where it merges into it or the vocabulary lacks it."""
    stem = _FIELD.sub("it", suffix).rstrip() or "."

    def ids(text: str) -> list[int]:
        with panics_told(f"the tokenizer, given the word {word!r},"):
            encoded: Any = model.tokenizer(text, add_special_tokens=False)
        return list(encoded["input_ids"])

    before, after = ids(stem), ids(f"{stem} {word}")
    if after[: len(before)] != before:
        return []
    added = after[len(before) :]
    unknown = model.tokenizer.unk_token_id
    return [] if unknown in added else added
