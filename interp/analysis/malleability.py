"""Malleability: how far a system prompt shifts what is read at the end of the same text.

    shift          reading of a text under a system prompt - its reading under a neutral one
    matched        the same of a system prompt of like length that asks for nothing
    shift_above    shift - matched, paired by text

A reading is a projection on an emotion's direction, in its natural lengths. Any words before a text
move the stream at its end: a shift means something only beside that of the matched prompt (compare
*Decoding Emotion in the Deep*, which has the neutral prompt alone).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.chance import assignment_p, least_assignment_p
from interp.results import TableRow, TableRows
from interp.stats import Labels, mean_interval

MATCHED = "matched"
OWN_TEXT, OWN_PROMPT = "own_text", "own_prompt"
"""Whose direction is read where `target` names no emotion: that of the text's own emotion, or that
of the emotion which the system prompt asks for.
"""

EMOTIONAL = "emotional"
"""What `system` says of all prompts that ask for an emotion, together."""

Readings = Float[np.ndarray, "text emotion"]


class SystemPrompt(NamedTuple):
    """A system prompt: its kind (calm, ..., or the emotion that it asks for), its wording, the
    `matched` wording of like length, and the tokens of both.
    """

    kind: str
    text: str
    matched: str
    tokens: int
    matched_tokens: int


def malleability_rows(
    read: Mapping[str, Readings],
    neutral: Sequence[str],
    prompts: Sequence[SystemPrompt],
    emotions: Sequence[str],
    *,
    labels: Sequence[str],
    groups: Labels,
) -> TableRows:
    """Rows of `shift`, of the matched prompt (`control`), and of `shift_above`, by the kind of
    `system` prompt and the `target` direction; means over a kind's wordings, intervals over
    scenarios.

    `read` has the readings of all texts by the system prompt's wording, `neutral` names the neutral
    ones. `labels` are the texts' own emotions, one of `emotions` each. Where prompts ask for these
    emotions, all together are the rows of `EMOTIONAL`: the shift along the direction that each asks
    for (`OWN_PROMPT`), and `specific`, by how much that exceeds the shift along the others; its `p`
    is that of dealing the emotions to the prompts anew.
    """
    usual = np.mean([read[one] for one in neutral], axis=0)
    own_text = np.array([emotions.index(label) for label in labels])
    at = np.arange(len(labels))
    rows: TableRows = []
    shifts: dict[str, tuple[Readings, Readings]] = {}
    for kind in dict.fromkeys(one.kind for one in prompts):
        mine = [one for one in prompts if one.kind == kind]
        moved = np.mean([read[one.text] for one in mine], axis=0) - usual
        control = np.mean([read[one.matched] for one in mine], axis=0) - usual
        shifts[kind] = moved, control
        told = {
            "system": kind,
            "tokens": float(np.mean([one.tokens for one in mine])),
            "matched_tokens": float(np.mean([one.matched_tokens for one in mine])),
        }
        for place, target in enumerate(emotions):
            rows += _shifts(moved[:, place], control[:, place], groups, {**told, "target": target})
        own = {**told, "target": OWN_TEXT}
        rows += _shifts(moved[at, own_text], control[at, own_text], groups, own)
    if all(emotion in shifts for emotion in emotions) and len(emotions) > 1:
        rows += _together(shifts, emotions, groups)
    return rows


def _shifts(
    moved: Float[np.ndarray, " text"],
    control: Float[np.ndarray, " text"],
    groups: Labels,
    told: TableRow,
) -> TableRows:
    found = (
        ("shift", "", moved),
        ("shift", MATCHED, control),
        ("shift_above", "", moved - control),
    )
    return [
        {
            "method": "malleability",
            **told,
            "metric": metric,
            "control": name,
            **mean_interval(values, groups)._asdict(),
        }
        for metric, name, values in found
    ]


def _together(
    shifts: Mapping[str, tuple[Readings, Readings]], emotions: Sequence[str], groups: Labels
) -> TableRows:
    """The rows of all prompts that ask for an emotion."""
    moved, control = (np.stack([shifts[one][side] for one in emotions]) for side in (0, 1))
    own = np.arange(len(emotions))
    told: TableRow = {"system": EMOTIONAL, "target": OWN_PROMPT}
    rows = _shifts(moved[own, :, own].mean(0), control[own, :, own].mean(0), groups, told)
    above = moved - control
    others = (above.sum(axis=2) - above[own, :, own]) / (len(emotions) - 1)
    specific = mean_interval((above[own, :, own] - others).mean(0), groups)
    rows.append(
        {
            "method": "malleability",
            **told,
            "metric": "specific",
            "control": "",
            **specific._asdict(),
            "p": assignment_p(above.mean(axis=1)),
            "least_p": least_assignment_p(len(emotions)),
        }
    )
    return rows
