"""One report makes many claims: each must be sure beside all the others.

Where nothing is there, one report in twenty may claim something, and not each of its sentences in
twenty. So p are corrected over the report by Holm's steps with weights: a claim counts as its
family does, and the claims of one family share what it counts. The two questions that a study asks
first count one each and all others together `REST`, so that a further stage takes nothing from
these two.

A claim that another one opened (the layer at which a probe first succeeds) is made only where that
one is; it takes nothing from the others. An effect in the wrong direction needs the same sureness,
by the p of the opposite claim.

Source: Holm (1979), with weights as there in section 3; a fixed order within a family: Maurer,
Hothorn & Lehmacher (1995).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from interp.reporting.decisions import LEVEL, Verdict
from interp.reporting.finding import Finding
from interp.reporting.formatting import p_value

FIRST = ("probes: reception", "probes: categorisation")
"""The families of the questions that a study asks first."""

REST = 3.0
"""What all other families count together, where each of the `FIRST` counts one."""


def corrected(found: Sequence[Finding]) -> list[Finding]:
    """The findings, each with its p corrected over all; a claim which that leaves unsure is not
    made, and neither are those that it opened.
    """
    weights = _weights([one for one in found if _tested(one)])
    adjusted = _holm(
        {at: _p(one) for at, one in enumerate(found) if _tested(one)},
        {at: weights[_family(one)] for at, one in enumerate(found) if _tested(one)},
    )
    beside = [
        _beside(one, adjusted[at], n=len(adjusted)) if at in adjusted else one
        for at, one in enumerate(found)
    ]
    alone = [_withdrawn(one) if _unsure(one, weights) else one for one in beside]
    lost = {one.name for one in alone if one.verdict is not Verdict.FOUND}
    return [_withdrawn(one) if one.after in lost else one for one in alone]


def _withdrawn(one: Finding) -> Finding:
    """The finding, not found; where nothing could be said, that stays."""
    if one.verdict is Verdict.CANNOT_SAY:
        return one
    return replace(one, verdict=Verdict.NOT_FOUND, sentence=one.otherwise)


def _tested(one: Finding) -> bool:
    return one.p is not None and not one.after


def _family(one: Finding) -> str:
    return f"{one.stage}: {one.family or one.about}"


def _p(one: Finding) -> float:
    """The p of a claim, which is no smaller than that of what it stands on."""
    return max(one.p or 0.0, one.gate)


def _weights(found: Sequence[Finding]) -> dict[str, float]:
    """What one claim of each family counts."""
    size = Counter(map(_family, found))
    others = len(set(size) - set(FIRST))
    return {name: (1.0 if name in FIRST else REST / others) / n for name, n in size.items()}


def _holm(p: Mapping[int, float], weights: Mapping[int, float]) -> dict[int, float]:
    """The adjusted p of each claim: the least level at which the steps would reject it."""
    left, reached, adjusted = sum(weights.values()), 0.0, {}
    for at in sorted(p, key=lambda one: p[one] / weights[one]):
        reached = max(reached, min(1.0, round(p[at] * left / weights[at], 12)))
        adjusted[at] = reached
        left -= weights[at]
    return adjusted


def _beside(one: Finding, p: float, *, n: int) -> Finding:
    """The finding with its corrected p, told beside its number."""
    if n == 1:
        return replace(one, p_report=p)
    told = (f"the same, among the {n} claims of this report", p_value(p))
    return replace(one, p_report=p, beside=(*one.beside, told))


def _unsure(one: Finding, weights: Mapping[str, float]) -> bool:
    """Whether a claim is made that the report as a whole does not allow."""
    if one.verdict is Verdict.INVERTED:
        share = weights.get(_family(one), 0.0) / sum(weights.values()) if weights else 0.0
        return one.p_below is not None and bool(share) and one.p_below / share > LEVEL
    made = one.verdict in (Verdict.FOUND, Verdict.NOT_TOLD_APART)
    return made and one.p_report is not None and one.p_report > LEVEL
