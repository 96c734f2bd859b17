"""Stories: setting, strangers, ordinary sentences, an event told of two people, and "Then Mara", where the reaction begins.

The event befalls the protagonist or a stranger. The two tellings differ in nothing but the places of two names, so they are
twins: the same words, another emotion.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from interp.errors import UsageError
from interp.testbeds.storyworld.reactions import draw_reaction, feelings
from interp.testbeds.storyworld.wordings import Event, word_event
from interp.testbeds.storyworld.world import (
    EMOTIONS,
    Appraisal,
    Frame,
    Option,
    data,
    held_out_combination,
    held_out_wording,
    scenery_words,
    ways_to_emotions,
    wording_ids,
)
from stimuli.battery import NEUTRAL

Split = Literal["train", "held_out"]

_SLOT = re.compile(r"\{(an adjective|a trade|\w+)\}")
_THIRD_PERSON = 0.35


class Span(NamedTuple):
    """Characters `start` to `end` (excluded) of a story's text; `part` says what stands there."""

    part: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Story:
    """A story up to its reaction, and all that is true of it.

    `text` ends with the cue ("... Then Mara"); `reaction` follows it after a space and expresses `told`, which is `emotion`
    unless an instruction asked for another; `strangers_feel` says what each of the `strangers` has reason to feel.
    `spans` name the parts, among them the two `edit` places where twins differ.
    """

    text: str
    reaction: str
    emotion: str
    told: str
    appraisal: Appraisal
    spans: tuple[Span, ...]
    protagonist: str
    strangers: tuple[str, ...]
    strangers_feel: tuple[str, ...]
    place: str
    frame: Frame
    wording: str
    combination: str
    named: bool = False
    twin: "Story | None" = None


class _Part(NamedTuple):
    part: str
    template: str


def generate_stories(n: int, *, seed: int, split: Split = "train") -> list[Story]:
    """`n` stories, the emotions in turn, each with its neutral twin.

    `held_out` tells each frame in the one wording that `train` never uses for it, and takes a quarter of the stories from
    frame-emotion combinations that `train` never shows. Raises `UsageError` for an unknown split or a negative `n`.
    """
    if split not in ("train", "held_out") or n < 0:
        raise UsageError(f"{n} stories of the split {split!r}: ask for 0 or more of train or held_out.")
    return [scenario(f"{split}:{seed}:{index}", EMOTIONS[index % len(EMOTIONS)], split=split) for index in range(n)]


def neutral_prompts(n: int, *, seed: int) -> list[Story]:
    """`n` neutral stories of held-out wordings up to their reaction, for steering."""
    return [twin for story in generate_stories(n, seed=seed, split="held_out") if (twin := story.twin) is not None]


def scenario(key: str, emotion: str, *, split: Split, terse: bool = False) -> Story:
    """The story that `key` decides, evoking `emotion`, with its neutral twin.

    `terse` leaves all but the events out.
    """
    rng = random.Random(key)
    option, frame, combination = _choose_frame(rng, emotion, split)
    held_out = held_out_wording(frame)
    wording = held_out if split == "held_out" else rng.choice([name for name in wording_ids() if name != held_out])
    names = rng.sample(scenery_words("names"), 3)
    place = rng.choice(scenery_words("places"))
    other = rng.choice([name for name in EMOTIONS if name != emotion]) if rng.random() < _THIRD_PERSON else None
    parts = _parts(rng, _event_sentence(rng, option, frame, wording), other=other, terse=terse)
    parts = [_Part(part, _fill(rng, template, place)) for part, template in parts]
    told = dict(zip("PQR", names, strict=True))
    text, spans = _render(parts, told | {"X": names[0], "Y": names[1]})
    swapped, swapped_spans = _render(parts, told | {"X": names[1], "Y": names[0]})
    story = Story(
        text=text,
        reaction=draw_reaction(rng, emotion, named=0.08),
        emotion=emotion,
        told=emotion,
        appraisal=option.appraisal,
        spans=spans,
        protagonist=names[0],
        strangers=tuple(names[1 : 3 if other else 2]),
        strangers_feel=(NEUTRAL, other) if other else (NEUTRAL,),
        place=place,
        frame=frame,
        wording=wording,
        combination=combination,
    )
    twin = replace(
        story,
        text=swapped,
        reaction=draw_reaction(rng, NEUTRAL, named=0.08),
        emotion=NEUTRAL,
        told=NEUTRAL,
        strangers_feel=(emotion, *story.strangers_feel[1:]),
        appraisal=replace(option.appraisal, concerns="other"),
        spans=swapped_spans,
    )
    return replace(story, twin=twin)


def crowd(key: str) -> list[tuple[str, str]]:
    """A first lesson: events that each befall one person, then everyone's reaction, as pairs of a cue and a reaction.

    One to three people have an event each, some of them an ordinary one; another, of whom nothing was told, stays neutral.
    """
    rng = random.Random(key)
    names = rng.sample(scenery_words("names"), 4)
    told: list[str] = []
    people = [(names[3], NEUTRAL)]
    for name in names[: rng.choice((1, 2, 3))]:
        emotion = rng.choice(EMOTIONS)
        option, frame, _ = _choose_frame(rng, emotion, "train")
        wording = rng.choice(("alone", "alone", "alone_passive", "alone_ordinary"))
        told.append(_capitalise(_event_sentence(rng, option, frame, wording).replace("{X}", name)))
        people.append((name, NEUTRAL if wording == "alone_ordinary" else emotion))
    rng.shuffle(people)
    pairs = [(f"Then {name}", draw_reaction(rng, emotion)) for name, emotion in people]
    return [(f"{' '.join(told)} {pairs[0][0]}", pairs[0][1]), *pairs[1:]]


def instruction(emotion: str) -> str:
    """The sentence that, before a story, decides its reaction: "Tell it with anger."."""
    if emotion == NEUTRAL:
        return _capitalise(data("scenery")["instruction_neutral"])
    return _capitalise(data("scenery")["instructions"][0].replace("{feeling}", feelings(emotion)[0]))


def instruct(story: Story, emotion: str, *, rng: random.Random) -> Story:
    """The same story told, by instruction, with `emotion`."""
    order = instruction(emotion)
    spans = (Span("instruction", 0, len(order)), *(_moved(span, len(order) + 1) for span in story.spans))
    text, reaction = f"{order} {story.text}", draw_reaction(rng, emotion, named=0.08)
    return replace(story, text=text, reaction=reaction, told=emotion, spans=spans, twin=None)


def name_feeling(story: Story, *, rng: random.Random) -> Story:
    """The same story with the feeling named in a sentence before the cue: the keyword-rich form."""
    template = rng.choice(data("scenery")["feeling_named"]).replace("{feeling}", rng.choice(feelings(story.emotion)))
    sentence = _capitalise(template.replace("{P}", story.protagonist))
    cue = story.spans[-1]
    text = f"{story.text[: cue.start]}{sentence} {story.text[cue.start :]}"
    spans = (*story.spans[:-1], Span("feeling", cue.start, cue.start + len(sentence)), _moved(cue, len(sentence) + 1))
    return replace(story, text=text, spans=spans, named=True, twin=None)


def _choose_frame(rng: random.Random, emotion: str, split: Split) -> tuple[Option, Frame, str]:
    """A frame that training may show with this emotion, or (a quarter of the held-out stories) one that it never does."""
    unseen = split == "held_out" and rng.random() < 0.25
    while True:
        option = rng.choice(ways_to_emotions()[emotion])
        allowed = [frame for frame in option.frames if held_out_combination(frame, emotion) == unseen]
        if allowed:
            return option, rng.choice(allowed), "held_out" if unseen else "seen"


def _event_sentence(rng: random.Random, option: Option, frame: Frame, wording: str) -> str:
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


def _circumstances(appraisal: Appraisal) -> Sequence[str]:
    """The markers that say whether the event was expected, or whether a promise was kept; for what may happen, none."""
    markers = data("markers")
    if appraisal.status == "may":
        return ("",)
    if appraisal.expected == "no" and appraisal.contaminating == "no":
        return list(markers["unexpected"])
    if appraisal.agent == "other":
        return list(markers["reliable" if appraisal.reliable == "yes" else "unreliable"])
    return list(markers["expected"]) if appraisal.contaminating == "no" else ("",)


def _parts(rng: random.Random, event: str, *, other: str | None, terse: bool) -> list[_Part]:
    scenery = data("scenery")
    opening = [_Part("setting", rng.choice(scenery["settings"])), _Part("stranger", rng.choice(scenery["strangers"]))]
    middle = [_Part("event", event)]
    if other:
        opening.append(_Part("stranger", rng.choice(scenery["second_strangers"])))
        middle.append(_Part("other_event", _other_event(rng, other)))
    if terse:
        opening = []
    else:
        middle.extend(_Part("distractor", _distractor(rng)) for _ in range(rng.choice((1, 2, 2, 3))))
    rng.shuffle(middle)
    return [*opening, *middle, _Part("cue", scenery["cue"])]


def _other_event(rng: random.Random, emotion: str) -> str:
    """An event of another emotion that befalls the second stranger: it leaves the protagonist cold."""
    option, frame, _ = _choose_frame(rng, emotion, "train")
    wording = rng.choice(("alone", "alone_passive"))
    return _event_sentence(rng, option, frame, wording).replace("{X}", "{R}")


def _distractor(rng: random.Random) -> str:
    scenery = data("scenery")
    if rng.random() < 0.4:
        return str(rng.choice(scenery["distractors"]))
    return f"{rng.choice(scenery['actors'])} {rng.choice(scenery['doings'])}."


def _fill(rng: random.Random, template: str, place: str) -> str:
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


def _render(parts: list[_Part], people: dict[str, str]) -> tuple[str, tuple[Span, ...]]:
    """The text with the people's names in their slots, and the spans of its parts and of the two edit places."""
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
        sentence = _capitalise(sentence)
        text = f"{text} {sentence}" if text else sentence
        spans.append(Span(part, start, len(text)))
    return text, tuple(spans)


def _capitalise(sentence: str) -> str:
    """Capitals at the start of each of its sentences."""
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda match: match[0].upper(), sentence)


def _moved(span: Span, by: int) -> Span:
    return Span(span.part, span.start + by, span.end + by)
