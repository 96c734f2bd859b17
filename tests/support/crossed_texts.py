"""A battery whose scenes are each told under several emotions, in words that tiny models know."""

from pathlib import Path

from stimuli import save
from stimuli.battery import Battery, Stimulus

FEELING = {"joy": "was happy", "fear": "was afraid", "anger": "was angry"}
SCENES = tuple(
    f"The {who} went {where} ."
    for who in ("mother", "father", "friend", "teacher")
    for where in ("to the river", "home", "into the garden")
)


def battery() -> Battery:
    """12 scenes under three emotions, all of the arm keyword_rich."""
    items = [
        Stimulus(f"{place}-{emotion}", f"{scene} She {felt}", emotion, "keyword_rich", None, scene)
        for place, scene in enumerate(SCENES)
        for emotion, felt in FEELING.items()
    ]
    return Battery("crossed", tuple(items))


def write(path: Path) -> Path:
    """That battery as a file."""
    save(battery(), path)
    return path
