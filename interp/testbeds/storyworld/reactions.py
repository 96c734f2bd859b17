"""Reactions, and the oracle that reads them back.

A reaction is what the protagonist does after the event: one or two verb phrases, or a feeling
named. The oracle knows the grammar and nothing else: a continuation is a sentence of the world if
the grammar produces it to the letter, and expresses an emotion if all its verb phrases do.
"""

import itertools
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from interp.errors import UsageError
from interp.testbeds.records import MIXED
from interp.testbeds.storyworld.world import EMOTIONS, data, scenery_words
from stimuli.battery import NEUTRAL

_FELT = re.compile(r"felt (.+)")
_CUE = re.compile(r"(?:then )?([A-Z]\w+) (.+)")


class OracleReading(NamedTuple):
    """What the oracle says: `emotion` is one of the eight, `neutral`, or None (mixed, or
    unreadable); `sentence_of_world` tells whether the grammar of reactions produces the sentence.
    """

    emotion: str | None
    sentence_of_world: bool


def read_reaction(continuation: str, *, protagonist: str | None = None) -> OracleReading:
    """Read the first sentence of `continuation`, which may begin with the cue ("Then Mara wept.")
    or after it ("wept.").

    With `protagonist`, the reaction of anybody else is a sentence without an emotion of theirs:
    `Reading(None, True)`. An unfinished sentence is no sentence of the world.
    """
    sentence, stop, _ = continuation.strip().partition(".")
    if not stop:
        return OracleReading(None, False)
    somebody, predicate = _split_cue(sentence.strip())
    found = [_phrase_emotion(phrase) for phrase in predicate.split(" and ")]
    if None in found or len(found) > 2:
        return OracleReading(None, False)
    if len(set(found)) > 1 or somebody not in (None, protagonist or somebody):
        return OracleReading(None, True)
    return OracleReading(found[0], True)


def storyworld_oracle(continuations: Sequence[str]) -> list[str | None]:
    """The emotion of each continuation's first sentence, as the grammar of the story world reads
    it.
    """
    readings = [read_reaction(continuation) for continuation in continuations]
    return [
        reading.emotion or (MIXED if reading.sentence_of_world else None) for reading in readings
    ]


def reactions(emotion: str, *, n: int = 18) -> tuple[str, ...]:
    """`n` reactions of one verb phrase that express `emotion` (or `neutral`) without naming it:
    "slammed the door.".

    They are spread evenly over the emotion's list, the same `n` for each, so that sums of their
    probabilities compare. Raises `UsageError` for an unknown emotion or more reactions than there
    are.
    """
    phrases = phrases_of(emotion)
    if not 1 <= n <= len(phrases):
        raise UsageError(f"{n} reactions of {emotion}: ask for 1 to {len(phrases)}.")
    return tuple(f"{phrases[index * len(phrases) // n]}." for index in range(n))


def draw_reaction(rng: random.Random, emotion: str, *, named: float = 0.0) -> str:
    """A random reaction that expresses `emotion`; with probability `named` the feeling is named."""
    first, second = rng.sample(data("reactions")[emotion]["says"], 2)
    parts = [_draw_phrase(rng, first)]
    if rng.random() < named:
        parts.insert(0, f"felt {rng.choice(feelings(emotion))}")
        parts = parts[: rng.choice((1, 2))]
    elif rng.random() < 0.4:
        parts.append(_draw_phrase(rng, second))
    return " and ".join(parts) + "."


def feelings(emotion: str) -> tuple[str, ...]:
    """The words that name the feeling; the first is the emotion's own."""
    _check(emotion)
    return tuple(data("reactions")[emotion]["feelings"])


@cache
def phrases_of(emotion: str) -> tuple[str, ...]:
    """Every verb phrase that expresses `emotion` without naming it."""
    _check(emotion)
    return tuple(
        phrase for pattern in data("reactions")[emotion]["says"] for phrase in _expand(pattern)
    )


def _check(emotion: str) -> None:
    if emotion not in (*EMOTIONS, NEUTRAL):
        raise UsageError(
            f"unknown emotion {emotion!r}: expected one of {', '.join((*EMOTIONS, NEUTRAL))}."
        )


def _expand(pattern: str) -> list[str]:
    """All phrases of a pattern: spaces part slots, | parts choices, _ stands for a space within a
    choice.
    """
    chosen = itertools.product(*(slot.split("|") for slot in pattern.split()))
    return [" ".join(choice).replace("_", " ") for choice in chosen]


def _draw_phrase(rng: random.Random, pattern: str) -> str:
    return " ".join(rng.choice(slot.split("|")) for slot in pattern.split()).replace("_", " ")


def _split_cue(sentence: str) -> tuple[str | None, str]:
    """The name before the reaction, if one stands there, and the reaction."""
    match = _CUE.fullmatch(
        sentence[:1].lower() + sentence[1:] if sentence.startswith("Then ") else sentence
    )
    if match and match[1] in scenery_words("names"):
        return match[1], match[2]
    return None, sentence


@cache
def _emotion_of_phrase() -> dict[str, str]:
    return {phrase: emotion for emotion in (*EMOTIONS, NEUTRAL) for phrase in phrases_of(emotion)}


@cache
def _emotion_of_feeling() -> dict[str, str]:
    return {word: emotion for emotion in (*EMOTIONS, NEUTRAL) for word in feelings(emotion)}


def _phrase_emotion(phrase: str) -> str | None:
    felt = _FELT.fullmatch(phrase)
    return _emotion_of_feeling().get(felt[1]) if felt else _emotion_of_phrase().get(phrase)
