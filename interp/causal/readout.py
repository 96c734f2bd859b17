"""Readout: which emotion's words the model expects next, after a text and a suffix that asks for a feeling.

The score of an emotion is the log-probability that one of its words comes next, word for word:
score_e = logsumexp over its words of sum_i log p(token_i | text + suffix, token_1 ... token_i-1).
A word that begins with another word of its emotion is part of that one already and is not counted
twice. `bind` finds the words' tokens; `interp.causal.words` reads on where a word has several.
"""

import re
import warnings
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

Word = tuple[int, ...]
"""The tokens of a word behind the suffix."""


@dataclass(frozen=True, slots=True)
class Readout:
    """Words of each emotion, and the `suffix` put behind a text before the words are read.

    The suffix may name fields of the stimulus: `" {protagonist} felt"`. Raises `UsageError` for no words at all, and for a
    suffix that ends in white space: a word brings the blank before it along.
    """

    words: Mapping[str, Sequence[str]]
    suffix: str

    def __post_init__(self) -> None:
        empty = [emotion for emotion, words in self.words.items() if not words]
        if empty or not self.words:
            raise UsageError(f"the readout has no words for {', '.join(empty) or 'any emotion'}: list at least one each.")
        if self.suffix != self.suffix.rstrip():
            raise UsageError(
                f"the readout's suffix {self.suffix!r} ends in white space, and the word behind it would come without the "
                f"blank that belongs to its token: write {self.suffix.rstrip()!r}."
            )

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that have words."""
        return tuple(self.words)

    def suffix_for(self, stimulus: Stimulus) -> str:
        """The suffix with the stimulus's fields filled in; raises `DataError` naming the field that it lacks, or that ends the
        suffix in white space.
        """

        def fill(match: re.Match[str]) -> str:
            if match[1] not in stimulus.fields:
                raise DataError(
                    f"stimulus {stimulus.id!r} has no field {match[1]!r}, which the readout's suffix {self.suffix!r} asks for: "
                    "add it to the row, or choose another readout."
                )
            return str(stimulus.fields[match[1]])

        filled = _FIELD.sub(fill, self.suffix)
        if filled != filled.rstrip():
            raise DataError(
                f"stimulus {stimulus.id!r}: its fields end the readout's suffix in white space ({filled!r}): take it out of the field."
            )
        return filled

    def bind(self, model: LanguageModel) -> "TokenReadout":
        """This readout in `model`'s tokens.

        A word that the vocabulary lacks, or that merges into the suffix, is left out; so is one that two emotions share. An
        emotion that is left with no word is left out, with a warning. Warns of words of which one begins with another
        emotion's: where the longer one comes next, so does the shorter one. Raises `UsageError` where no emotion is left.
        """
        found = {
            emotion: {word: tokens for word in words if (tokens := _continuation(model, self.suffix, word))}
            for emotion, words in self.words.items()
        }
        taken = [tokens for words in found.values() for tokens in set(words.values())]
        shared = {tokens for tokens in taken if taken.count(tokens) > 1}
        own = {
            emotion: {word: tokens for word, tokens in words.items() if tokens not in shared} for emotion, words in found.items()
        }
        missing = [emotion for emotion, words in own.items() if not words]
        if missing:
            told = (
                f"the readout's words for {', '.join(missing)} have no tokens of their own in the vocabulary of {model.name} "
                f"(words: {', '.join(self.words[missing[0]])})"
            )
            if len(missing) == len(own):
                raise UsageError(f"{told}: give other words.")
            warnings.warn(f"{told}: left out where the model is asked by words.", stacklevel=2)
        bound = TokenReadout({emotion: words for emotion, words in own.items() if words}, self.suffix)
        _warn_of_collisions(found, shared, bound)
        return bound


@dataclass(frozen=True, slots=True)
class TokenReadout:
    """Each emotion's words in one model's vocabulary: the tokens of each word, and the suffix they stand behind."""

    words: Mapping[str, Mapping[str, Word]]
    suffix: str = ""

    @property
    def emotions(self) -> tuple[str, ...]:
        """The order of the columns of `scores`."""
        return tuple(self.words)

    @property
    def tokens(self) -> dict[str, tuple[int, ...]]:
        """The first token of each word that is scored."""
        return {emotion: tuple(word[0] for word in words) for emotion, words in self.scored.items()}

    @property
    def scored(self) -> dict[str, tuple[Word, ...]]:
        """The words that are scored, as tokens, shortest first: none begins with another one of its emotion."""
        return {emotion: _apart(words.values()) for emotion, words in self.words.items()}

    @property
    def readout(self) -> Readout:
        """The readout of the words that are left."""
        return Readout({emotion: list(words) for emotion, words in self.words.items()}, self.suffix)

    def beginnings(self, emotion: str) -> tuple[Word, ...]:
        """What must be read behind the suffix to know the probability of the emotion's words of several tokens, shortest first."""
        found = {word[:n] for word in self.scored[emotion] for n in range(1, len(word))}
        return tuple(sorted(found, key=lambda beginning: (len(beginning), beginning)))

    @property
    def whole(self) -> bool:
        """Whether every word is one token, so that one pass says everything."""
        return not any(self.beginnings(emotion) for emotion in self.words)

    def scores(
        self,
        logits: Float[Tensor, "batch d_vocab"],
        behind: Mapping[str, Float[Tensor, "batch longer"]] | None = None,
    ) -> Float[Tensor, "batch emotion"]:
        """log p(one of the emotion's words comes next), in nats, out of the logits at the last token.

        `behind` has for each emotion the log-probability of what its words of several tokens have behind their first one, in the
        order of `scored`. Raises `UsageError` where it is needed and not given.
        """
        log_probs = logits.float().log_softmax(-1)
        columns = []
        for emotion, words in self.scored.items():
            found = log_probs[:, [word[0] for word in words]]
            longer = [place for place, word in enumerate(words) if len(word) > 1]
            if longer and (behind is None or emotion not in behind):
                raise UsageError(f"the words for {emotion} have several tokens: score them by `interp.causal.words`.")
            if longer and behind is not None:
                found[:, longer] += behind[emotion]
            columns.append(found.logsumexp(-1))
        return torch.stack(columns, dim=-1)

    def column(self, emotion: str) -> int:
        """The column of `emotion` in `scores`; raises `UsageError` for one that the readout has no words for."""
        if emotion not in self.words:
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

    def described(self, model: LanguageModel) -> dict[str, Any]:
        """The suffix and each word's tokens as the vocabulary writes them, for a run's record."""
        spelled = {
            emotion: {word: " ".join(map(str, model.tokenizer.convert_ids_to_tokens(list(ids)))) for word, ids in words.items()}
            for emotion, words in self.words.items()
        }
        return {"suffix": self.suffix, "words": spelled}


def _apart(words: Any) -> tuple[Word, ...]:
    """Words of which none begins with another one: what begins with a shorter one is part of it."""
    kept: list[Word] = []
    for word in sorted(set(words), key=lambda one: (len(one), one)):
        if not any(word[: len(shorter)] == shorter for shorter in kept):
            kept.append(word)
    return tuple(kept)


def _warn_of_collisions(found: Mapping[str, Mapping[str, Word]], shared: set[Word], bound: TokenReadout) -> None:
    """Warn of words that are the same tokens for two emotions, and of those that begin with another emotion's word."""
    lost = dict.fromkeys(word for words in found.values() for word, tokens in words.items() if tokens in shared)
    if lost:
        warnings.warn(f"the words {', '.join(lost)} are the same tokens for two emotions: they count for neither.", stacklevel=3)
    named = [(emotion, word, tokens) for emotion, words in bound.words.items() for word, tokens in words.items()]
    begin = [
        f"{word} ({emotion}) begins with {shorter} ({other})"
        for emotion, word, tokens in named
        for other, shorter, start in named
        if emotion != other and len(start) < len(tokens) and tokens[: len(start)] == start
    ]
    if begin:
        warnings.warn(
            f"in the tokens of this model {'; '.join(begin)}: where the longer word comes next, the shorter one counts, too.",
            stacklevel=3,
        )


def _continuation(model: LanguageModel, suffix: str, word: str) -> Word:
    """The tokens that `word` adds behind the suffix; none where it merges into it or the vocabulary lacks it."""
    stem = _FIELD.sub("it", suffix) or "."

    def ids(text: str) -> list[int]:
        with panics_told(f"the tokenizer, given the word {word!r},"):
            encoded: Any = model.tokenizer(text, add_special_tokens=False)
        return list(encoded["input_ids"])

    before, after = ids(stem), ids(f"{stem} {word}")
    if after[: len(before)] != before:
        return ()
    added = after[len(before) :]
    unknown = model.tokenizer.unk_token_id
    return () if unknown in added else tuple(added)
