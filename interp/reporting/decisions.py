"""From numbers to what may be said of them: one rule, which findings and warnings speak through.

A claim is decided by its estimate, its 95 % interval and, where many places were tried, the p that
allows for it; and where words alone could do the same, by whether it is told apart from them.
"""

import math
from enum import StrEnum
from typing import NamedTuple

LEVEL = 0.05
"""A p above this decides for nothing."""


class Verdict(StrEnum):
    """What may be said of a number."""

    FOUND = "found"
    NOT_FOUND = "not found"
    NOT_TOLD_APART = "not told apart from the words"
    INVERTED = "found inverted"
    CANNOT_SAY = "cannot be said"


class Number(NamedTuple):
    """An estimate and the bounds of its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


def decide(found: Number, *, nothing: float, p: float | None = None, words: Number | None = None) -> Verdict:
    """The verdict on `found`, where `nothing` is its value when there is nothing to find.

    1. Without an interval nothing can be said.
    2. An interval wholly below `nothing` is an effect in the wrong direction.
    3. An interval that reaches down to `nothing`, or a `p` above `LEVEL`, is no finding.
    4. Where the interval of the best text baseline (`words`) reaches that of `found`, the two are
       not told apart. Intervals that overlap may still differ: this errs on the careful side.
    """
    if math.isnan(found.value) or math.isnan(found.low) or math.isnan(found.high):
        return Verdict.CANNOT_SAY
    if found.high < nothing:
        return Verdict.INVERTED
    if found.low <= nothing or (p is not None and p > LEVEL):
        return Verdict.NOT_FOUND
    if words is not None and not words.high < found.low:
        return Verdict.NOT_TOLD_APART
    return Verdict.FOUND
