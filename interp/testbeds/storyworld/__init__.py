"""storyworld: a story world generated from appraisals, a small language model trained on it, and an
oracle that reads it.

The truth is known by construction: the generator knows which emotion a story evokes and why, and
each story has a twin of the same words that evokes none. Nothing here imports torch; training and
scoring do, in their own modules.
"""

from pathlib import Path

from interp.testbeds.records import Testbed
from interp.testbeds.storyworld.reactions import (
    OracleReading,
    feelings,
    reactions,
    read_reaction,
    storyworld_oracle,
)
from interp.testbeds.storyworld.rendering import Span
from interp.testbeds.storyworld.stories import (
    Story,
    generate_stories,
    instruct,
    instruction,
    name_feeling,
    neutral_prompts,
    world_continuations,
)
from interp.testbeds.storyworld.trials import battery
from interp.testbeds.storyworld.world import EMOTIONS, Appraisal, Frame, appraisal_table, frames
from stimuli.battery import NEUTRAL, Battery

__all__ = [
    "EMOTIONS",
    "NEUTRAL",
    "RECORDS",
    "Appraisal",
    "Frame",
    "OracleReading",
    "Span",
    "Story",
    "appraisal_table",
    "battery",
    "continuations",
    "feelings",
    "folder",
    "frames",
    "generate_stories",
    "instruct",
    "instruction",
    "name_feeling",
    "neutral_prompts",
    "reactions",
    "read_reaction",
    "storyworld_oracle",
]


def folder() -> Path:
    """The Hugging Face folder with the trained weights, inside the package."""
    return Path(__file__).parent.parent / "storyworld_model"


RECORDS = {
    "storyworld": Testbed(
        source=folder(),
        words={emotion: list(feelings(emotion)) for emotion in EMOTIONS},
        suffix=" felt",
        battery=lambda seed: Battery("storyworld", tuple(battery(seed=seed))),
        judge=storyworld_oracle,
        continuations=world_continuations(),
    )
}
"""What `interp.testbeds.records` asks for. A story is asked behind its cue: "Then Mara" + "
felt".
"""
