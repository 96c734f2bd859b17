"""Readout: which emotion's words the model expects next, after a text and a suffix.

The score of an emotion is the log-probability that one of its words comes next, word for word:
score_e = logsumexp over its words of sum_i log p(token_i | text + suffix, token_1 ... token_i-1).
A word that begins with another word of its emotion is part of that one already and is not counted
twice. `bind` finds the words' tokens; `interp.causal.words` reads on where a word has several.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import DataError, UsageError
from interp.models import LanguageModel
from interp.models.texts.tokens import panics_told
from stimuli.battery import NEUTRAL, Stimulus

_FIELD = re.compile(r"\{(\w+)\}")

Word = tuple[int, ...]
"""The tokens of a word behind the suffix."""

Words = Mapping[str, Mapping[str, Word]]
"""Each emotion's words with their tokens."""


@dataclass(frozen=True, slots=True)
class Readout:
    """Words of each emotion, and the `suffix` put behind a text before the words are read.

    The suffix may name fields of the stimulus: `" {protagonist} felt"`. Raises `UsageError` for no
    words at all, and for a suffix that ends in white space: a word brings the blank before it
    along.
    """

    words: Mapping[str, Sequence[str]]
    suffix: str

    def __post_init__(self) -> None:
        empty = [emotion for emotion, words in self.words.items() if not words]
        if empty or not self.words:
            lacking = ", ".join(empty) or "any emotion"
            raise UsageError(f"the readout has no words for {lacking}: list at least one each.")
        bare = self.suffix.rstrip()
        if self.suffix != bare:
            raise UsageError(
                f"the readout's suffix {self.suffix!r} ends in white space, and the word behind it "
                f"would come without the blank that belongs to its token: write {bare!r}."
            )

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that have words."""
        return tuple(self.words)

    def suffix_for(self, stimulus: Stimulus) -> str:
        """The suffix with the stimulus's fields filled in.

        Raises `DataError` naming the field that it lacks, and where a field ends the suffix in
        white space.
        """

        def fill(match: re.Match[str]) -> str:
            if match[1] not in stimulus.fields:
                raise DataError(
                    f"stimulus {stimulus.id!r} has no field {match[1]!r}, which the readout's "
                    f"suffix {self.suffix!r} asks for: add it to the row, or choose another "
                    "readout."
                )
            return str(stimulus.fields[match[1]])

        filled = _FIELD.sub(fill, self.suffix)
        if filled != filled.rstrip():
            raise DataError(
                f"stimulus {stimulus.id!r}: a field of it ends the readout's suffix in white space "
                f"({filled!r}): take the white space out of the field."
            )
        return filled

    def bind(self, model: LanguageModel) -> "TokenReadout":
        """This readout in `model`'s tokens.

        A word that the vocabulary lacks, or that merges into the suffix, is left out; so is one
        that is the same tokens for two emotions, and, where an emotion has words of one token, one
        of several: it says little beside them, and must be read on for, behind each pass. An
        emotion that is left with no word is left out. Warns of colliding words and of emotions left
        out, and of a word that begins with another emotion's: where the longer one comes next, so
        does the shorter one. Raises `UsageError` where no emotion is left.
        """
        found = {emotion: self._found(model, emotion) for emotion in self.words}
        taken = [tokens for words in found.values() for tokens in set(words.values())]
        shared = {tokens for tokens in taken if taken.count(tokens) > 1}
        own = {
            emotion: {word: tokens for word, tokens in words.items() if tokens not in shared}
            for emotion, words in found.items()
        }
        missing = [emotion for emotion, words in own.items() if not words]
        if missing:
            told = (
                f"the readout's words for {', '.join(missing)} have no tokens of their own in the "
                f"vocabulary of {model.name} (words: {', '.join(self.words[missing[0]])})"
            )
            if len(missing) == len(own):
                raise UsageError(f"{told}: give other words.")
            warnings.warn(f"{told}: left out where the model is asked by words.", stacklevel=2)
        bound = TokenReadout(
            {one: _whole(words) for one, words in own.items() if words}, self.suffix
        )
        _warn_of_shared(found, shared)
        _warn_of_beginnings(bound)
        return bound

    def _found(self, model: LanguageModel, emotion: str) -> dict[str, Word]:
        """The emotion's words that the vocabulary has, each with its tokens."""
        tokens = {word: _continuation(model, self.suffix, word) for word in self.words[emotion]}
        return {word: found for word, found in tokens.items() if found}


@dataclass(frozen=True, slots=True)
class TokenReadout:
    """Each emotion's words in one model's vocabulary, each with its tokens behind `suffix`."""

    words: Words
    suffix: str = ""

    @property
    def emotions(self) -> tuple[str, ...]:
        """The order of the columns of `scores`."""
        return tuple(self.words)

    @property
    def scored(self) -> dict[str, tuple[Word, ...]]:
        """The words that are scored, shortest first: none begins with another of its emotion."""
        return {emotion: _apart(words.values()) for emotion, words in self.words.items()}

    @property
    def tokens(self) -> dict[str, tuple[int, ...]]:
        """The first token of each word that is scored."""
        return {emotion: tuple(word[0] for word in words) for emotion, words in self.scored.items()}

    @property
    def readout(self) -> Readout:
        """The readout of the words that are left."""
        return Readout({emotion: list(words) for emotion, words in self.words.items()}, self.suffix)

    def beginnings(self, emotion: str) -> tuple[Word, ...]:
        """What must be read behind the suffix to know the emotion's words of several tokens,
        shortest first: all but the last token of each, and what that begins with.
        """
        found = {word[:n] for word in self.scored[emotion] for n in range(1, len(word))}
        return tuple(sorted(found, key=_by_length))

    @property
    def whole(self) -> bool:
        """Whether every word is one token, so that one pass says everything."""
        return all(len(word) == 1 for words in self.scored.values() for word in words)

    def scores(
        self,
        logits: Float[Tensor, "batch d_vocab"],
        behind: Mapping[str, Float[Tensor, "batch longer"]] | None = None,
    ) -> Float[Tensor, "batch emotion"]:
        """log p(one of the emotion's words comes next), in nats, from the logits at the last token.

        `behind` has, for each emotion with words of several tokens, the log-probability of what
        these words have behind their first token, in the order of `scored`. Raises `UsageError`
        where it is needed and not given.
        """
        log_probs = logits.float().log_softmax(-1)
        columns = []
        for emotion, words in self.scored.items():
            found = log_probs[:, [word[0] for word in words]]
            longer = [place for place, word in enumerate(words) if len(word) > 1]
            if longer:
                if behind is None or emotion not in behind:
                    raise UsageError(
                        f"words for {emotion} have several tokens: score them by "
                        "`interp.causal.words`."
                    )
                found[:, longer] += behind[emotion]
            columns.append(found.logsumexp(-1))
        return torch.stack(columns, dim=-1)

    def column(self, emotion: str) -> int:
        """The column of `emotion` in `scores`; raises `UsageError` for one without words."""
        if emotion not in self.words:
            known = ", ".join(self.emotions)
            raise UsageError(f"the readout has no words for {emotion!r}; it knows {known}.")
        return self.emotions.index(emotion)

    def contrast(
        self, scores: Float[np.ndarray, "item emotion"], emotions: Sequence[str]
    ) -> Float[np.ndarray, " item"]:
        """The logit difference of each item's emotion: its score minus that of the words for
        neutral, or, where the readout has none, minus the mean score of the other emotions. Raises
        as `column` does.
        """
        columns = np.array([self.column(emotion) for emotion in emotions])
        own = np.take_along_axis(scores, columns[:, None], axis=1)[:, 0]
        if NEUTRAL in self.emotions:
            return own - scores[:, self.emotions.index(NEUTRAL)]
        others = max(len(self.emotions) - 1, 1)
        return own - (scores.sum(axis=1) - own) / others

    def described(self, model: LanguageModel) -> dict[str, Any]:
        """The suffix and each word's tokens as the vocabulary writes them, for a run's record."""

        def spelled(word: Word) -> str:
            return " ".join(map(str, model.tokenizer.convert_ids_to_tokens(list(word))))

        told = {
            emotion: {word: spelled(tokens) for word, tokens in words.items()}
            for emotion, words in self.words.items()
        }
        return {"suffix": self.suffix, "words": told}


def _whole(words: Mapping[str, Word]) -> Mapping[str, Word]:
    """The words of one token; all words where there are none."""
    return {word: tokens for word, tokens in words.items() if len(tokens) == 1} or words


def _by_length(word: Word) -> tuple[int, Word]:
    return len(word), word


def _apart(words: Iterable[Word]) -> tuple[Word, ...]:
    """Words of which none begins with another: what begins with a shorter one is part of it."""
    kept: list[Word] = []
    for word in sorted(set(words), key=_by_length):
        if not any(word[: len(shorter)] == shorter for shorter in kept):
            kept.append(word)
    return tuple(kept)


def _warn_of_shared(found: Words, shared: set[Word]) -> None:
    named = [item for words in found.values() for item in words.items()]
    lost = dict.fromkeys(word for word, tokens in named if tokens in shared)
    if lost:
        warnings.warn(
            f"the words {', '.join(lost)} are the same tokens for two emotions: they count for "
            "neither.",
            stacklevel=3,
        )


def _warn_of_beginnings(bound: TokenReadout) -> None:
    named = [(one, *item) for one, words in bound.words.items() for item in words.items()]
    begin = [
        f"{word} ({emotion}) begins with {shorter} ({other})"
        for emotion, word, tokens in named
        for other, shorter, start in named
        if emotion != other and len(start) < len(tokens) and tokens[: len(start)] == start
    ]
    if begin:
        warnings.warn(
            f"in the tokens of this model {'; '.join(begin)}: where the longer word comes next, "
            "the shorter one counts, too.",
            stacklevel=3,
        )


def _continuation(model: LanguageModel, suffix: str, word: str) -> Word:
    """The tokens that `word` adds behind the suffix; none where it merges into it or the vocabulary
    lacks it.
    """
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
