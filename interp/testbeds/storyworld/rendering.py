"""Rendering: the sentences of a scenario as text, with the place of each event in it."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from interp.testbeds.storyworld.wordings import Event, word_event
from interp.testbeds.storyworld.world import (
    Appraisal,
    Frame,
    WayToFeel,
    data,
    scenery_words,
)

_SLOT = re.compile(r"\{(an adjective|a trade|\w+)\}")


THIRD_PERSON = 0.35


class Span(NamedTuple):
    """Characters `start` to `end` (excluded) of a story's text; `part` says what stands there."""

    part: str
    start: int
    end: int


class Part(NamedTuple):
    """A part of a story: what it is, and its template, whose slots are still to be filled."""

    part: str
    template: str


def event_sentence(rng: random.Random, option: WayToFeel, frame: Frame, wording: str) -> str:
    """The sentence that tells an event, with the markers of its appraisal."""
    appraisal, markers = option.appraisal, data("markers")
    cause = rng.choice(option.causes)
    modal = tuple(rng.choice(markers["modals"])) if appraisal.status == "may" else None
    article = "a" if frame.family == "odd" else "the"
    event = Event(
        frame=frame,
        cause=f"{article} {cause}".replace("a elephant", "an elephant"),
        ordinary=rng.choice(option.ordinary),
        modal=modal,
        of=rng.random() < 0.25,
    )
    openers = [rng.choice(markers[appraisal.status]), rng.choice(_circumstances(appraisal))]
    return " ".join(part for part in (*openers, word_event(event, wording)) if part) + "."


def fill(rng: random.Random, template: str, place: str) -> str:
    """Put words into all slots but the people's."""

    def word(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in ("adjective", "time", "role"):
            return rng.choice(scenery_words(slot + "s"))
        if slot in ("a trade", "an adjective"):
            chosen = rng.choice(scenery_words(slot.split()[1] + "s"))
            return f"{'an' if chosen[0] in 'aeiou' else 'a'} {chosen}"
        return place if slot == "place" else match[0]

    return _SLOT.sub(word, template)


def render_story(parts: list[Part], people: dict[str, str]) -> tuple[str, tuple[Span, ...]]:
    """The text with the people's names in their slots, and the spans of its parts and of the two
    edit places.
    """
    text, spans = "", []
    for part, template in parts:
        start = len(text) + bool(text)
        pieces = re.split(r"\{([PQRXY])\}", template)
        sentence = ""
        for index, piece in enumerate(pieces):
            if index % 2 == 0:
                sentence += piece
                continue
            name = people[piece]
            if part == "event":
                spans.append(Span("edit", start + len(sentence), start + len(sentence) + len(name)))
            sentence += name
        sentence = capitalise(sentence)
        text = f"{text} {sentence}" if text else sentence
        spans.append(Span(part, start, len(text)))
    return text, tuple(spans)


def capitalise(sentence: str) -> str:
    """Capitals at the start of each of its sentences."""
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda match: match[0].upper(), sentence)


def moved(span: Span, by: int) -> Span:
    """The span of the same characters behind `by` further ones."""
    return Span(span.part, span.start + by, span.end + by)


def _circumstances(appraisal: Appraisal) -> Sequence[str]:
    """The markers that say whether the event was expected, or whether a promise was kept; for what
    may happen, none.
    """
    markers = data("markers")
    if appraisal.status == "may":
        return ("",)
    if appraisal.expected == "no" and appraisal.contaminating == "no":
        return list(markers["unexpected"])
    if appraisal.agent == "other":
        return list(markers["reliable" if appraisal.reliable == "yes" else "unreliable"])
    return list(markers["expected"]) if appraisal.contaminating == "no" else ("",)
