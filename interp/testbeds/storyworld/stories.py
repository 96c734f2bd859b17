"""Stories: setting, strangers, ordinary sentences, an event told of two people, and "Then Mara",
where the reaction begins.

The event befalls the protagonist or a stranger. The two tellings differ in nothing but the places
of two names, so they are twins: the same words, another emotion.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

from interp.errors import UsageError
from interp.testbeds.storyworld.reactions import draw_reaction, feelings
from interp.testbeds.storyworld.rendering import (
    THIRD_PERSON,
    Part,
    Span,
    capitalise,
    event_sentence,
    fill,
    moved,
    render_story,
)
from interp.testbeds.storyworld.world import (
    EMOTIONS,
    Appraisal,
    Frame,
    WayToFeel,
    data,
    held_out_combination,
    held_out_wording,
    scenery_words,
    ways_to_emotions,
    wording_ids,
)
from stimuli.battery import NEUTRAL

Split = Literal["train", "held_out"]

WORLD_ON = 4


@dataclass(frozen=True, slots=True)
class Story:
    """A story up to its reaction, and all that is true of it.

    `text` ends with the cue ("... Then Mara"); `reaction` follows it after a space and expresses
    `told`, which is `emotion` unless an instruction asked for another; `strangers_feel` says what
    each of the `strangers` has reason to feel. `spans` name the parts, among them the two `edit`
    places where twins differ.
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


def generate_stories(n: int, *, seed: int, split: Split = "train") -> list[Story]:
    """`n` stories, the emotions in turn, each with its neutral twin.

    `held_out` tells each frame in the one wording that `train` never uses for it, and takes a
    quarter of the stories from frame-emotion combinations that `train` never shows. Raises
    `UsageError` for an unknown split or a negative `n`.
    """
    if split not in ("train", "held_out") or n < 0:
        raise UsageError(
            f"{n} stories of the split {split!r}: ask for 0 or more of train or held_out."
        )
    return [
        scenario(f"{split}:{seed}:{index}", EMOTIONS[index % len(EMOTIONS)], split=split)
        for index in range(n)
    ]


def world_continuations() -> tuple[str, ...]:
    """Neutral texts that go on behind any story's cue ("Then Mara"): something done, and then what
    else there was, in the world's own words.
    """
    told = data("scenery")
    plain = [line.capitalize() for line in told["distractors"] if "{" not in line]
    n = len(plain) // WORLD_ON
    return tuple(
        f"{told['doings'][at]}. {' '.join(plain[at * n :] + plain[: at * n])}"
        for at in range(WORLD_ON)
    )


def neutral_prompts(n: int, *, seed: int) -> list[Story]:
    """`n` neutral stories of held-out wordings up to their reaction, for steering."""
    return [
        twin
        for story in generate_stories(n, seed=seed, split="held_out")
        if (twin := story.twin) is not None
    ]


def scenario(key: str, emotion: str, *, split: Split, terse: bool = False) -> Story:
    """The story that `key` decides, evoking `emotion`, with its neutral twin.

    `terse` leaves all but the events out.
    """
    rng = random.Random(key)
    option, frame, combination = _choose_frame(rng, emotion, split)
    held_out = held_out_wording(frame)
    wording = (
        held_out
        if split == "held_out"
        else rng.choice([name for name in wording_ids() if name != held_out])
    )
    names = rng.sample(scenery_words("names"), 3)
    place = rng.choice(scenery_words("places"))
    other = (
        rng.choice([name for name in EMOTIONS if name != emotion])
        if rng.random() < THIRD_PERSON
        else None
    )
    parts = _parts(rng, event_sentence(rng, option, frame, wording), other=other, terse=terse)
    parts = [Part(part, fill(rng, template, place)) for part, template in parts]
    told = dict(zip("PQR", names, strict=True))
    text, spans = render_story(parts, told | {"X": names[0], "Y": names[1]})
    swapped, swapped_spans = render_story(parts, told | {"X": names[1], "Y": names[0]})
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
    """A first lesson: events that each befall one person, then everyone's reaction, as pairs of a
    cue and a reaction.

    One to three people have an event each, some of them an ordinary one; another, of whom nothing
    was told, stays neutral.
    """
    rng = random.Random(key)
    names = rng.sample(scenery_words("names"), 4)
    told: list[str] = []
    people = [(names[3], NEUTRAL)]
    for name in names[: rng.choice((1, 2, 3))]:
        emotion = rng.choice(EMOTIONS)
        option, frame, _ = _choose_frame(rng, emotion, "train")
        wording = rng.choice(("alone", "alone", "alone_passive", "alone_ordinary"))
        told.append(capitalise(event_sentence(rng, option, frame, wording).replace("{X}", name)))
        people.append((name, NEUTRAL if wording == "alone_ordinary" else emotion))
    rng.shuffle(people)
    pairs = [(f"Then {name}", draw_reaction(rng, emotion)) for name, emotion in people]
    return [(f"{' '.join(told)} {pairs[0][0]}", pairs[0][1]), *pairs[1:]]


def instruction(emotion: str) -> str:
    """The sentence that, before a story, decides its reaction: "Tell it with anger."."""
    if emotion == NEUTRAL:
        return capitalise(data("scenery")["instruction_neutral"])
    return capitalise(data("scenery")["instructions"][0].replace("{feeling}", feelings(emotion)[0]))


def instruct(story: Story, emotion: str, *, rng: random.Random) -> Story:
    """The same story told, by instruction, with `emotion`."""
    order = instruction(emotion)
    spans = (
        Span("instruction", 0, len(order)),
        *(moved(span, len(order) + 1) for span in story.spans),
    )
    text, reaction = f"{order} {story.text}", draw_reaction(rng, emotion, named=0.08)
    return replace(story, text=text, reaction=reaction, told=emotion, spans=spans, twin=None)


def name_feeling(story: Story, *, rng: random.Random) -> Story:
    """The same story with the feeling named in a sentence before the cue: the keyword-rich form."""
    template = rng.choice(data("scenery")["feeling_named"]).replace(
        "{feeling}", rng.choice(feelings(story.emotion))
    )
    sentence = capitalise(template.replace("{P}", story.protagonist))
    cue = story.spans[-1]
    text = f"{story.text[: cue.start]}{sentence} {story.text[cue.start :]}"
    spans = (
        *story.spans[:-1],
        Span("feeling", cue.start, cue.start + len(sentence)),
        moved(cue, len(sentence) + 1),
    )
    return replace(story, text=text, spans=spans, named=True, twin=None)


def _choose_frame(rng: random.Random, emotion: str, split: Split) -> tuple[WayToFeel, Frame, str]:
    """A frame that training may show with this emotion, or (a quarter of the held-out stories) one
    that it never does.
    """
    unseen = split == "held_out" and rng.random() < 0.25
    while True:
        option = rng.choice(ways_to_emotions()[emotion])
        allowed = [
            frame for frame in option.frames if held_out_combination(frame, emotion) == unseen
        ]
        if allowed:
            return option, rng.choice(allowed), "held_out" if unseen else "seen"


def _parts(rng: random.Random, event: str, *, other: str | None, terse: bool) -> list[Part]:
    scenery = data("scenery")
    opening = [
        Part("setting", rng.choice(scenery["settings"])),
        Part("stranger", rng.choice(scenery["strangers"])),
    ]
    middle = [Part("event", event)]
    if other:
        opening.append(Part("stranger", rng.choice(scenery["second_strangers"])))
        middle.append(Part("other_event", _other_event(rng, other)))
    if terse:
        opening = []
    else:
        middle.extend(Part("distractor", _distractor(rng)) for _ in range(rng.choice((1, 2, 2, 3))))
    rng.shuffle(middle)
    return [*opening, *middle, Part("cue", scenery["cue"])]


def _other_event(rng: random.Random, emotion: str) -> str:
    """An event of another emotion that befalls the second stranger: it leaves the protagonist
    cold.
    """
    option, frame, _ = _choose_frame(rng, emotion, "train")
    wording = rng.choice(("alone", "alone_passive"))
    return event_sentence(rng, option, frame, wording).replace("{X}", "{R}")


def _distractor(rng: random.Random) -> str:
    scenery = data("scenery")
    if rng.random() < 0.4:
        return str(rng.choice(scenery["distractors"]))
    return f"{rng.choice(scenery['actors'])} {rng.choice(scenery['doings'])}."
