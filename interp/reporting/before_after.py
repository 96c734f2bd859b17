"""Steered texts beside the same prompts unsteered, for a reader to see what a share means."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from interp.reporting.select import column, holds, numbers, select

PAIRS_SHOWN = 6
"""Pairs that are shown."""

MOST_SHOWN = 240
"""Characters of a prompt or a text that are shown: of a prompt the last ones."""


class BeforeAfter(NamedTuple):
    """A prompt as the model continues it and as it does steered to `emotion`, and what each judge
    says of the two texts, by the judge's name.
    """

    emotion: str
    scale: float
    prompt: str
    before: str
    after: str
    verdicts: Mapping[str, tuple[str, str]]


def before_and_after(table: pd.DataFrame, *, n: int = PAIRS_SHOWN) -> list[BeforeAfter]:
    """At most `n` texts of a table of steered texts and their unsteered ones, of the prompts that
    had no part in choosing where to steer.

    Nothing is picked by what it says: the emotions take turns in the order of their names, and
    each turn takes the next prompt in the order of the table.
    """
    rows = select(table, half="report") if holds(table, half="report") else table
    steered, unsteered = select(rows, control=""), select(rows, control="unsteered")
    emotions = sorted(set(column(steered, "emotion")))
    items = list(dict.fromkeys(column(steered, "item")))
    turns = [(emotions[turn % len(emotions)], items[turn % len(items)]) for turn in range(n)]
    return [
        _pair(
            select(steered, emotion=emotion, item=item),
            select(unsteered, emotion=_unsteered_for(unsteered, emotion), item=item),
        )
        for emotion, item in dict.fromkeys(turns)
    ]


def _unsteered_for(unsteered: pd.DataFrame, emotion: str) -> str:
    """What the unsteered text beside `emotion` is filed under: that emotion, or all."""
    return emotion if holds(unsteered, emotion=emotion) else "all"


def _pair(after: pd.DataFrame, before: pd.DataFrame) -> BeforeAfter:
    judges = list(column(after, "judge"))
    said = [
        dict(zip(column(one, "judge"), column(one, "verdict"), strict=True))
        for one in (before, after)
    ]
    first = after.iloc[0]
    return BeforeAfter(
        emotion=str(column(after, "emotion").iloc[0]),
        scale=float(numbers(after, "scale").iloc[0]),
        prompt=_end(str(first["prompt"])),
        before=_start(str(before.iloc[0]["text"])),
        after=_start(str(first["text"])),
        verdicts={name: (said[0][name] or "none", said[1][name] or "none") for name in judges},
    )


def _start(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _end(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"…{text[-MOST_SHOWN:]}"
