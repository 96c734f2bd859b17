"""Wordings: one event told of two people in many ways, such that only *who* decides.

Each wording is a template over clause forms: `{A x passive}` is the affective event befalling X in
the passive, `{B y tail}` the ordinary one befalling Y as the second half of a coordination.
Swapping X and Y swaps the people and leaves every other word where it was: that is the smallest
edit between a story and its neutral twin.
"""

import re
from dataclasses import dataclass

from interp.testbeds.storyworld.world import Frame, Verb, data

_GLUE = (
    "the",
    "it",
    "although",
    "was",
    "were",
    "be",
    "by",
    "of",
    "who",
    "that",
    "did",
    "not",
    "and",
    "but",
    "while",
    "whereas",
)

_MACRO = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to X (`frame.verb`) and what, ordinary, to Y (`ordinary`), by the same `cause`.

    `modal` is None for what has happened, or the words for may and may not. `of` writes "the boat
    of X" for "X's boat".
    """

    frame: Frame
    cause: str
    ordinary: Verb
    modal: tuple[str, str] | None
    of: bool


def word_event(event: Event, wording: str) -> str:
    """The event as a clause or two sentences, uncapitalised, without the final full stop, `{X}` and
    `{Y}` for the people.
    """
    template = next(row["template"] for row in data("wordings") if row["id"] == wording)
    return _MACRO.sub(lambda match: _clause(event, match[1].split()), template)


def wording_words() -> tuple[str, ...]:
    """The words that wordings add to those of the event: for the tokenizer's vocabulary."""
    return _GLUE


def _clause(event: Event, macro: list[str]) -> str:
    if macro[0] in ("x", "y"):
        return _person(event, macro[0])
    verb = event.frame.verb if macro[0] == "A" else event.ordinary
    if macro[1] == "relative":
        return _relative(event, verb)
    form = macro[2] if len(macro) > 2 else "active"
    if form == "passive":
        return _passive(event, verb, macro[1])
    if form == "cleft":
        return f"it was {_person(event, macro[1])} {_relative(event, verb)}"
    return _active(event, verb, macro[1], form)


def _person(event: Event, who: str) -> str:
    name = "{" + who.upper() + "}"
    if event.frame.schema != "possession":
        return name
    return f"the {event.frame.thing} of {name}" if event.of else f"{name}'s {event.frame.thing}"


def _finite(event: Event, verb: Verb, form: str) -> str:
    positive, negative = event.modal or ("did", "did not")
    if form.startswith("didnot"):
        return f"{negative} {verb.base}"
    if event.modal and form == "tail" and event.frame.schema != "agent":
        return verb.base
    return f"{positive} {verb.base}" if event.modal or form.startswith("did") else verb.past


def _active(event: Event, verb: Verb, who: str, form: str) -> str:
    finite = _finite(event, verb, form)
    if event.frame.schema == "agent":
        return f"{_person(event, who)} {finite} the {event.frame.thing}"
    predicate = f"{finite} {_person(event, who)}"
    return predicate if form.endswith("tail") else f"{event.cause} {predicate}"


def _passive(event: Event, verb: Verb, who: str) -> str:
    be = f"{event.modal[0]} be" if event.modal else ("were" if event.frame.plural else "was")
    if event.frame.schema == "agent":
        return f"the {event.frame.thing} {be} {verb.participle} by {_person(event, who)}"
    by = f" by {event.cause}" if verb is event.frame.verb else ""
    return f"{_person(event, who)} {be} {verb.participle}{by}"


def _relative(event: Event, verb: Verb) -> str:
    finite = _finite(event, verb, "active")
    if event.frame.schema == "agent":
        return f"who {finite} the {event.frame.thing}"
    return f"that {event.cause} {finite}"
