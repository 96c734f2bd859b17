"""The `storyworld` battery: held-out wordings in the arms keyword_free, neutral and
keyword_rich.
"""

import json
import random
from dataclasses import asdict

from interp.errors import UsageError
from interp.testbeds.storyworld.stories import Story, name_feeling, scenario
from interp.testbeds.storyworld.world import EMOTIONS
from stimuli.battery import Stimulus

SCENARIOS_PER_EMOTION = 60
"""How many scenarios per emotion the committed battery `stimuli/storyworld.jsonl` has."""


def battery(*, seed: int = 0, scenarios_per_emotion: int = SCENARIOS_PER_EMOTION) -> list[Stimulus]:
    """Stimuli of held-out wordings: for each scenario its keyword_free text, the neutral twin, and
    the keyword_rich text.

    The twins share `pair`; all three share `group`. `fields` carry what the generator knows:
    appraisal, spans, protagonist, strangers, frame, wording, and whether training has seen the
    frame with this emotion. Raises `UsageError` for less than one scenario.
    """
    if scenarios_per_emotion < 1:
        raise UsageError(f"{scenarios_per_emotion} scenarios per emotion: ask for 1 or more.")
    return [
        item
        for emotion in EMOTIONS
        for index in range(scenarios_per_emotion)
        for item in _scenario(seed, emotion, index)
    ]


def battery_lines(*, seed: int = 0, scenarios_per_emotion: int = SCENARIOS_PER_EMOTION) -> str:
    """The battery as JSON lines, a stimulus per line, its fields beside the others: the content of
    the committed file.
    """
    rows = []
    for item in battery(seed=seed, scenarios_per_emotion=scenarios_per_emotion):
        row = {
            "id": item.id,
            "text": item.text,
            "emotion": item.emotion,
            "arm": item.arm,
            "pair": item.pair,
        }
        rows.append(
            json.dumps({**row, "group": item.group, "domain": item.domain, **item.fields}) + "\n"
        )
    return "".join(rows)


def _scenario(seed: int, emotion: str, index: int) -> list[Stimulus]:
    group = f"{emotion}-{index:03d}"
    story = scenario(f"battery:{seed}:{group}", emotion, split="held_out")
    assert story.twin is not None
    rich = name_feeling(story, rng=random.Random(f"rich:{seed}:{group}"))
    return [
        _stimulus(story, arm="keyword_free", group=group, paired=True),
        _stimulus(story.twin, arm="neutral", group=group, paired=True),
        _stimulus(rich, arm="keyword_rich", group=group, paired=False),
    ]


def _stimulus(story: Story, *, arm: str, group: str, paired: bool) -> Stimulus:
    return Stimulus(
        id=f"{group}-{arm}",
        text=story.text,
        emotion=story.emotion,
        arm=arm,
        pair=group if paired else None,
        group=group,
        domain=story.frame.family,
        fields={
            "protagonist": story.protagonist,
            "strangers": list(story.strangers),
            "appraisal": asdict(story.appraisal),
            "frame": story.frame.id,
            "wording": story.wording,
            "combination": story.combination,
            "spans": [[span.part, span.start, span.end] for span in story.spans],
        },
    )
