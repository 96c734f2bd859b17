"""A finding: a claim, its verdict and its number, and the sentence that says no more than that."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.reporting.decisions import Number, Verdict
from interp.reporting.formatting import number, p_value
from interp.reporting.select import measured, numbers, numeral

LEAST_TOLD = 0.01
"""Where no result could give a p as small as this, that is said beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One headline of a stage.

    `what` is the claim, `verdict` what may be said of it, `sentence` the same in words. `value` is
    its number as text (empty where none may be given), `estimate`, `interval` and `p` the same as
    numbers, None where there is none; `n` what the number is of, `beside` what to hold it against.
    """

    stage: str
    what: str
    verdict: Verdict
    sentence: str
    value: str = ""
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    n: int = 0
    beside: tuple[tuple[str, str], ...] = ()

    def record(self) -> dict[str, Any]:
        """The verdict with its number, for machines to read."""
        names = ("stage", "what", "verdict", "estimate", "interval", "p", "n")
        return {name: _plain(getattr(self, name)) for name in names}


Compared = list[tuple[str, str]]
"""What a number is held against: a name and a number as text."""


def claim(
    stage: str,
    what: str,
    verdict: Verdict,
    row: pd.DataFrame,
    sentences: Mapping[Verdict, str],
    **told: Any,
) -> Finding:
    """The finding of the first row, in the sentence of its verdict.

    `told` fills the sentence, but for `p` and `compared`, which stand beside the number.
    """
    p, compared = told.pop("p", None), told.pop("compared", [])
    number = number_of(row)
    bare = math.isnan(number.value)
    bounded = not (math.isnan(number.low) or math.isnan(number.high))
    return Finding(
        stage=stage,
        what=what,
        verdict=verdict,
        sentence=sentences[verdict].format(**told),
        value="" if bare else measured(row),
        estimate=None if bare else number.value,
        interval=(number.low, number.high) if bounded else None,
        p=p,
        n=int(numeral(row, "n")),
        beside=tuple(compared),
    )


def number_of(row: pd.DataFrame) -> Number:
    """The first row's value and interval."""
    return Number(numeral(row, "value"), numeral(row, "ci_low"), numeral(row, "ci_high"))


def p_of(row: pd.DataFrame, *names: str) -> float | None:
    """The first row's p in the first of these columns that holds one; None where none does."""
    for name in names:
        if name in row and not numbers(row, name).isna().all():
            return numeral(row, name)
    return None


def told_p(row: pd.DataFrame, p: float) -> str:
    """`p` as text, and where that cannot reach `LEAST_TOLD`, how small it could be."""
    least = p_of(row, "least_p")
    return (
        p_value(p)
        if least is None or least <= LEAST_TOLD
        else f"{p_value(p)} (never below {number(least)})"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Verdict):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
