"""A small battery as a user would write it: id, text, emotion, and pair for the twins, in words
that the tiny models know.
"""

import json
from collections.abc import Iterable
from pathlib import Path

EMOTIONS = ("joy", "sadness", "anger", "fear")
WHO = (
    "mother",
    "father",
    "sister",
    "brother",
    "friend",
    "teacher",
    "doctor",
    "neighbour",
    "child",
    "driver",
)
WHERE = ("in the garden", "at the school", "by the river", "near the station")
TURNS = {
    "joy": ("won the big gift", "saw the big gift"),
    "sadness": ("lost the old dog", "kept the old dog"),
    "anger": ("was hurt by a friend", "was called by a friend"),
    "fear": ("heard a scream at night", "heard a bird at night"),
}


def rows(n: int = 40) -> list[dict[str, str]]:
    """`n` pairs, the emotions in turn, as rows of a JSONL file."""
    found = []
    for index in range(n):
        emotion = EMOTIONS[index % len(EMOTIONS)]
        who, where = WHO[index % len(WHO)], WHERE[index // len(WHO) % len(WHERE)]
        for arm, turn, label in zip(("a", "b"), TURNS[emotion], (emotion, "neutral"), strict=True):
            text = (
                f"It was a cold morning. The {who} {turn} {where} and then went back to the house."
            )
            found.append(
                {"id": f"{index}-{arm}", "text": text, "emotion": label, "pair": f"p{index}"}
            )
    return found


def write(path: Path, content: list[dict[str, str]] | None = None) -> Path:
    """The rows (40 pairs by default) as a JSONL file at `path`."""
    lines = [json.dumps(row) for row in (rows() if content is None else content)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def not_run(warnings: Iterable[str]) -> list[str]:
    """The warnings of stages that were not run, but for transfer and geometry: these pairs are of
    one arm, and of too few emotions.
    """
    told = (warning for warning in warnings if "was not run" in warning)
    known = ("transfer was not run: ", "geometry was not run: ")
    return [warning for warning in told if not warning.startswith(known)]
