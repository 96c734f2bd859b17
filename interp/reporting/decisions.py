"""From numbers to what may be said of them: one rule, which findings and warnings speak through.

A claim is decided by its estimate, its 95 % interval and a p that allows for all that was tried;
and where words alone could do the same, by how far it lies above them, paired on the same texts.
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


NONE = Number(math.nan, math.nan, math.nan)
"""A number that was not measured."""


def decide(
    found: Number,
    *,
    nothing: float,
    p: float | None = None,
    p_below: float | None = None,
    least_p: float | None = None,
    above: Number | None = None,
) -> Verdict:
    """The verdict on `found`, where `nothing` is its value when there is nothing to find.

    1. Without an interval nothing can be said.
    2. An interval wholly below `nothing` is an effect in the wrong direction; where there is a
       one-sided `p`, only where `p_below`, that of the opposite claim (`opposite`, unless it is
       given, as where `p` was corrected for several), is at most `LEVEL`, else nothing.
    3. An interval that reaches down to `nothing`, or a `p` above `LEVEL`, is no finding. Where no
       p can be smaller than `least_p`, and that is above `LEVEL`, nothing can be said.
    4. `above` is the paired difference to the best text baseline. Where its interval reaches down
       to zero, or it has none, the finding is not told apart from the words.
    """
    if math.isnan(found.value) or math.isnan(found.low) or math.isnan(found.high):
        return Verdict.CANNOT_SAY
    below = opposite(p, least_p) if p_below is None else p_below
    blind = least_p is not None and least_p > LEVEL
    unsure = Verdict.CANNOT_SAY if blind else Verdict.NOT_FOUND
    if found.high < nothing:
        return Verdict.INVERTED if below is None or below <= LEVEL else unsure
    if found.low <= nothing:
        return Verdict.NOT_FOUND
    if p is not None and not p <= LEVEL:
        return unsure
    if above is not None and not above.low > 0:
        return Verdict.NOT_TOLD_APART
    return Verdict.FOUND


def opposite(p: float | None, least_p: float | None = None) -> float | None:
    """The one-sided p of the opposite claim. What was measured belongs to both sides, and is at
    least as likely as `least_p`, the smallest p there could be.
    """
    return None if p is None else min(1.0, round(1 - p + (least_p or 0.0), 12))
