"""A finding: a claim, its verdict and its number, and the sentence that says no more than that."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import pandas as pd

from interp.reporting.decisions import NONE, Number, Verdict, opposite
from interp.reporting.formatting import interval, number, p_value
from interp.reporting.select import measured, numbers, numeral

LEAST_TOLD = 0.01
"""Where no result could give a p as small as this, that is said beside it."""


class Question(StrEnum):
    """The questions that a run answers first: the badges of its report."""

    REPRESENTED = "represented beyond the words"
    LAYER = "from which layer"
    CAUSAL = "causal"
    STEERABLE = "steerable"


JUDGED, OWN_WORDS = "judged", "words"
"""What a finding of steering is about: continuations that a judge has read, or the readout's words
alone.
"""


@dataclass(frozen=True, slots=True)
class Rival:
    """What a number is held against: its `name`, and its `estimate` with the bounds of its
    interval (None: it has none).

    `kind` says what sort of comparison it is (words, random, other, ...), for rules to read.
    """

    kind: str
    name: str
    estimate: float
    interval: tuple[float, float] | None = None

    @property
    def number(self) -> Number:
        """The same as a number."""
        return Number(self.estimate, *(self.interval or (math.nan, math.nan)))

    @property
    def value(self) -> str:
        """The same as text."""
        return number(self.estimate) if self.interval is None else interval(*self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One headline of a stage.

    `what` is the claim, `verdict` what may be said of it, `sentence` the same in words. `value` is
    its number as text (empty where none may be given), `estimate`, `interval` and `p` the same as
    numbers, None where there is none; `n` what the number is of, `beside` what to hold it against.

    For the answer of the run: `answers` is the question that it speaks to (empty: none), `about`
    the part of the stage that it speaks of, `rivals` what its number is held against, and `told`
    the words that its sentence was filled with.

    For the correction over all that a report claims (`interp.reporting.multiplicity`): `family`
    names the claims of a stage that are one question (empty: those of its `about`), `after` the
    claim that opened it (its `name`), `gate` the p of a test that it has to pass besides, `opened`
    the p of the one that opened its whole family, `p_below` the p of the opposite claim, and
    `otherwise` the sentence that stands where the claim is not made. `p_report` is the p so
    corrected.

    Of a claim that was registered before the run (`interp.reporting.registered`), `registered` says
    whether it was met, and `wanted` what was asked of it; None and empty for any other.
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
    answers: str = ""
    about: str = ""
    rivals: tuple[Rival, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    after: str = ""
    gate: float = 0.0
    opened: float | None = None
    p_below: float | None = None
    otherwise: str = ""
    p_report: float | None = None
    registered: str | None = None
    wanted: str = ""

    def record(self) -> dict[str, Any]:
        """The verdict with its number, for machines to read."""
        names = "stage what verdict registered estimate interval p p_report n"
        return {name: json_values(getattr(self, name)) for name in names.split()}

    @property
    def name(self) -> str:
        """The claim with its stage."""
        return f"{self.stage}: {self.what}"

    @property
    def number(self) -> Number:
        """Its number; `NONE` where none may be given."""
        if self.estimate is None:
            return NONE
        return Number(self.estimate, *(self.interval or (math.nan, math.nan)))

    def rival(self, kind: str) -> Rival | None:
        """The first rival of this kind; None where nothing of it was measured."""
        return next((rival for rival in self.rivals if rival.kind == kind), None)


class Caution(NamedTuple):
    """A reason to doubt a number of `stage` (empty: the whole run), at its part `about` (empty: all
    of it).
    """

    stage: str
    text: str
    about: str = ""


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

    `told` fills the sentence, but for `p`, `compared` and the other fields of a `Finding`, which
    stand beside the number.
    """
    compared, rivals = told.pop("compared", []), told.pop("rivals", ())
    beside = {name: told.pop(name) for name in _BESIDE if name in told}
    beside.setdefault("p_below", opposite(beside.get("p"), p_of(row, "least_p")))
    of = number_of(row)
    bare = math.isnan(of.value)
    return Finding(
        stage=stage,
        what=what,
        verdict=verdict,
        sentence=sentences[verdict].format(**told),
        value="" if bare else measured(row),
        estimate=None if bare else of.value,
        interval=_bounds(of),
        n=int(numeral(row, "n")),
        beside=tuple(compared),
        rivals=tuple(rivals),
        told=told,
        otherwise=sentences[Verdict.NOT_FOUND].format(**told),
        **beside,
    )


_BESIDE = ("p", "p_below", "answers", "about", "family", "after", "gate", "opened")
"""The fields of a finding that are said of a claim besides the words of its sentence."""


def rivals_of(*given: tuple[str, str, pd.DataFrame | None]) -> tuple[Rival, ...]:
    """The rivals of (kind, name, row): those of a row with a value; a range of random draws stands
    for the interval that a row lacks.
    """
    found = []
    for kind, name, row in given:
        of = NONE if row is None else number_of(row)
        if row is None or math.isnan(of.value):
            continue
        bounds = _bounds(of)
        if bounds is None and "draw_low" in row:
            bounds = _bounds(Number(of.value, numeral(row, "draw_low"), numeral(row, "draw_high")))
        found.append(Rival(kind, name, of.value, bounds))
    return tuple(found)


def _bounds(of: Number) -> tuple[float, float] | None:
    return None if math.isnan(of.low) or math.isnan(of.high) else (of.low, of.high)


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


def json_values(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Verdict):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
