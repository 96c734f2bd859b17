"""Registered findings: whether what was claimed before the run was met, missed, or not answered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from interp.reporting.decisions import Verdict
from interp.reporting.finding import Finding
from interp.reporting.marks import MET_BY, PassMark, Registered

MET, MISSED, UNANSWERED = "met", "missed", "not answered"
"""What becomes of a registered claim."""

_NOTHING = "This run measured nothing that speaks to this claim, which was registered."


def held_to(found: Sequence[Finding], marks: Sequence[PassMark]) -> list[Finding]:
    """The findings, each that was registered with what became of it, and behind them one for each
    registered claim that has none.
    """
    of_claim = {mark.claim: mark for mark in marks}
    told = [_marked(one, of_claim[one.name]) if one.name in of_claim else one for one in found]
    names = {one.name for one in found}
    return [*told, *(_unmeasured(mark) for mark in marks if mark.claim not in names)]


def outcome(one: Finding, mark: PassMark) -> str:
    """What becomes of a claim: `MET`, `MISSED` or `UNANSWERED`.

    It is missed where the verdict is another one, whatever its number; not answered where nothing
    can be said, or a bound asks for a number or an interval that there is not.
    """
    if one.verdict is Verdict.CANNOT_SAY:
        return UNANSWERED
    if one.verdict not in MET_BY[mark.verdict]:
        return MISSED
    low, high = one.interval or (None, None)
    asked = (
        (mark.at_least, one.estimate, 1),
        (mark.at_most, one.estimate, -1),
        (mark.surely_at_least, low, 1),
        (mark.surely_at_most, high, -1),
    )
    held = True
    for bound, value, sign in asked:
        if bound is not None and value is None:
            return UNANSWERED
        held = held and (bound is None or value is None or sign * value >= sign * bound)
    return MET if held else MISSED


def counted_outcomes(found: Sequence[Finding]) -> dict[str, int]:
    """How many registered claims were met, missed and not answered.

    A claim that several findings make (one for each judge) is met where all of them are, and missed
    where one of them is.
    """
    of_claim: dict[str, set[str]] = {}
    for one in found:
        if one.registered is not None:
            of_claim.setdefault(one.name, set()).add(one.registered)
    worst = [
        next(name for name in (MISSED, UNANSWERED, MET) if name in own) for own in of_claim.values()
    ]
    counts = Counter(worst)
    return {name: counts[name] for name in (MET, MISSED, UNANSWERED)}


def summed(registered: Registered, found: Sequence[Finding]) -> dict[str, Any]:
    """The registration of a run and what became of its claims, for machines."""
    counts = counted_outcomes(found)
    return {"time": registered.time, "sha256": registered.sha256, "claims": counts}


def told_outcomes(counts: Mapping[str, int]) -> str:
    """The counts as a sentence."""
    parts = ", ".join(f"{n} {name}" for name, n in counts.items())
    whole = sum(counts.values())
    return f"Of {whole} registered claim{'' if whole == 1 else 's'}: {parts}."


def _marked(one: Finding, mark: PassMark) -> Finding:
    return replace(one, registered=outcome(one, mark), wanted=mark.told)


def _unmeasured(mark: PassMark) -> Finding:
    stage, _, what = mark.claim.partition(": ")
    return Finding(
        stage=stage,
        what=what,
        verdict=Verdict.CANNOT_SAY,
        sentence=_NOTHING,
        registered=UNANSWERED,
        wanted=mark.told,
    )
