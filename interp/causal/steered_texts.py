"""What was written under one arm of a steering experiment, what judges say of it, and the rows of
both: shares over prompts, and the texts themselves, one row per text and judge.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from interp.causal.interventions import Where
from interp.causal.openings import openings_shared
from interp.causal.pooled import ALL, Arm, success_rows
from interp.models.texts.conversations import Prompt, prompt_of, text_of
from interp.results import TableRow, TableRows
from interp.shares import Share
from interp.sites import LAST, Site, site_columns
from interp.stats import Labels, mean_of
from stimuli.battery import Stimulus

STEERING = "steering"
"""What the rows of these tables call their method."""

SHARED_OPENING = "shared_opening"

Judge = Callable[[Sequence[str]], list[str | None]]
"""Continuations in, one emotion each out; None for one that it cannot judge (no sentence, no
emotion).
"""

Judges = Mapping[str, Judge]
"""Judges by the names that tables give them. Where something is chosen, the first one chooses."""


class Written(NamedTuple):
    """The continuations of all prompts under one arm, meant to express `emotion`.

    `arm` is (control, scale), and `verdicts` holds what each judge said, text by text.
    """

    arm: Arm
    emotion: str
    site: Site | None
    where: Where
    texts: Sequence[str]
    verdicts: Mapping[str, Sequence[str | None]]

    @property
    def columns(self) -> TableRow:
        """What all rows of these texts have in common."""
        control, scale = self.arm
        told = {
            "method": STEERING,
            "where": told_where(self.where),
            "position": acts_at(self.where),
        }
        return {
            **site_columns(self.site),
            **told,
            "emotion": self.emotion,
            "scale": scale,
            "control": control,
        }


def share_rows(written: Sequence[Written], groups: Labels) -> TableRows:
    """Rows of `success` (judged as the emotion that was meant) and `valid` (judged at all) of each
    arm, emotion and judge, and of all emotions together (`pooled.success_rows`); and, by no judge,
    of `shared_opening` (`openings.openings_shared`), where there are two scenarios. Intervals are
    over the prompts' `groups`.
    """
    rows: TableRows = []
    for judge in written[0].verdicts:
        told: dict[Arm, dict[str, Sequence[str | None]]] = {}
        for one in written:
            verdicts = list(one.verdicts[judge])
            told.setdefault(one.arm, {})[one.emotion] = verdicts
            hits = {
                "success": [said == one.emotion for said in verdicts],
                "valid": [said is not None for said in verdicts],
            }
            for metric, each in hits.items():
                found = Share(mean_of(np.array(each, dtype=float))).estimate(groups)
                rows.append({**one.columns, "judge": judge, "metric": metric, **found._asdict()})
        shared = {**written[0].columns, "judge": judge}
        rows += [{**shared, **row} for row in success_rows(told, groups)]
    return rows + (_opening_rows(written, groups) if len(set(groups)) > 1 else [])


def _opening_rows(written: Sequence[Written], groups: Labels) -> TableRows:
    shared = {"judge": "", "metric": SHARED_OPENING}
    rows: TableRows = []
    for arm in dict.fromkeys(one.arm for one in written):
        mine = [one for one in written if one.arm == arm]
        kinds = [(one.columns, [one.texts]) for one in mine]
        kinds.append(({**mine[0].columns, "emotion": ALL}, [one.texts for one in mine]))
        for columns, texts in kinds:
            found = openings_shared(texts, groups).estimate(groups)._asdict()
            rows.append({**columns, **shared, **found})
    return rows


def written_rows(
    written: Sequence[Written], prompts: Sequence[str], names: Sequence[str]
) -> TableRows:
    """One row of `reached` per text and judge: 1 where the verdict is the emotion that was meant,
    else 0; NaN where none was ("all"). Beside it stand the `text`, the `verdict` (empty: none), the
    `prompt` and its name (`item`).
    """
    return [
        {
            **one.columns,
            "judge": judge,
            "metric": "reached",
            "value": math.nan if one.emotion == ALL else float(verdict == one.emotion),
            "n": 1,
            "item": names[place],
            "verdict": verdict or "",
            "prompt": prompts[place],
            "text": one.texts[place],
        }
        for one in written
        for judge, verdicts in one.verdicts.items()
        for place, verdict in enumerate(verdicts)
    ]


def prompt_text(prompt: Prompt | Stimulus) -> str:
    """A prompt as tables show it; of a conversation what is said last."""
    if isinstance(prompt, Stimulus):
        return text_of(prompt_of(prompt.text, prompt.fields, name=prompt.id))
    return text_of(prompt)


def judged(judges: Judges, texts: Sequence[str]) -> dict[str, list[str | None]]:
    """What each judge says of the texts."""
    return {name: judge(texts) for name, judge in judges.items()}


def told_where(where: Where) -> str:
    """Where a direction is added, as tables say it: `last+generated`."""
    return "+".join(map(str, where)) if isinstance(where, tuple) else str(where)


def acts_at(where: Where) -> str:
    """The position of a table's rows: the first place where a direction is added."""
    words = where if isinstance(where, tuple) else (where,)
    return LAST if "last" in words else str(words[0]) if isinstance(words[0], str) else "mask"
