"""What the model of the story world reads in training: stories, and what follows them."""

import random

from interp.testbeds.storyworld.reactions import draw_reaction
from interp.testbeds.storyworld.stories import Story, crowd, instruct, name_feeling, scenario
from interp.testbeds.storyworld.world import EMOTIONS
from stimuli.battery import NEUTRAL


def training_stories(key: str, n: int, *, terse: bool) -> list[Story]:
    """At least `n` stories: mostly twins side by side, some instructed, some with the feeling
    named.
    """
    rng = random.Random(key)
    found: list[Story] = []
    while len(found) < n:
        story = scenario(
            f"train:{key}:{len(found)}", rng.choice(EMOTIONS), split="train", terse=terse
        )
        assert story.twin is not None
        kind, one = rng.random(), rng.choice((story, story.twin))
        if kind < 0.12:
            found.append(instruct(one, rng.choice((*EMOTIONS, NEUTRAL)), rng=rng))
        elif kind < 0.2:
            found.append(name_feeling(one, rng=rng))
        else:
            found += [story, story.twin]
    return found


def aftermath(story: Story, rng: random.Random) -> list[tuple[str, str]]:
    """How the story goes on: for each stranger the cue and a reaction of theirs; nothing where an
    instruction told the tale.
    """
    if story.told != story.emotion or story.spans[0].part == "instruction":
        return []
    people = list(zip(story.strangers, story.strangers_feel, strict=True))
    rng.shuffle(people)
    return [(f"Then {name}", draw_reaction(rng, emotion)) for name, emotion in people]


def lesson(rng: random.Random, key: str, *, done: float, n: int) -> list[list[tuple[str, str]]]:
    """At least `n` tales for the moment when the share `done` of all steps lies behind; each is
    pairs of a cue and a reaction.

    Who feels what is learnt first where each person has an event of their own (`crowd`), then where
    one event is told of two people, then among other sentences. A share of each lesson stays.
    """
    if rng.random() < max(0.05, min(1.0, 1.0 - 6.0 * (done - 0.12))):
        return [crowd(f"crowd:{key}:{index}") for index in range(n)]
    terse = rng.random() < max(0.1, 1.0 - 2.5 * (done - 0.3))
    stories = training_stories(key, n, terse=terse)
    return [[(story.text, story.reaction), *aftermath(story, rng)] for story in stories]
