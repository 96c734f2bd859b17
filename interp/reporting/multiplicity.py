"""One report makes many claims: each must be sure beside all the others.

Where nothing is there, one report in twenty may claim something, and not each of its sentences in
twenty. So p are corrected over the report by Holm's steps with weights, over its families of
claims. The two questions that a study asks first count one each and all others together
`OTHERS_COUNT`, so that a further stage takes nothing from these two.

A family of several claims (both ways of patching at both places) has the p of the test that opened
it, or else the least of theirs, times their number (Bonferroni); in a family that is sure, its
claims are corrected for each other. A claim that another one opened (the layer at which a probe
first succeeds) is made only where that one is; it takes nothing from the others. An effect in the
wrong direction needs the same sureness, by the p of the opposite claim.

Source: Holm (1979), with weights as there in section 3; families first: Benjamini & Bogomolov
(2014); a fixed order within a family: Maurer, Hothorn & Lehmacher (1995).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from interp.reporting.decisions import LEVEL, Verdict
from interp.reporting.finding import Finding
from interp.reporting.formatting import p_value

FIRST_FAMILIES = ("probes: reception", "probes: categorisation")
"""The families of the questions that a study asks first."""

OTHERS_COUNT = 3.0
"""What all other families count together, where each of the `FIRST_FAMILIES` counts one."""


def corrected(found: Sequence[Finding]) -> list[Finding]:
    """The findings, each with its p corrected over all; a claim which that leaves unsure is not
    made, and neither are those that it opened.
    """
    families: dict[str, list[Finding]] = {}
    for one in found:
        if _tested(one):
            families.setdefault(_family(one), []).append(one)
    weights = _weights(families)
    adjusted = _holm({name: _p_of_family(own) for name, own in families.items()}, weights)
    told = [
        _beside(one, adjusted[_family(one)], families) if _tested(one) else one for one in found
    ]
    alone = [_withdrawn(one, _ALONE) if _unsure(one, weights) else one for one in told]
    lost = {one.name for one in alone if one.verdict is not Verdict.FOUND}
    return [_withdrawn(one, _RESTS) if one.after in lost else one for one in alone]


_ALONE = "By itself this is sure; among all claims of this report it is not."
_RESTS = "What this rests on is not found."


def _tested(one: Finding) -> bool:
    return one.p is not None and not one.after


def _family(one: Finding) -> str:
    return f"{one.stage}: {one.family or one.about}"


def _p(one: Finding) -> float:
    """The p of a claim by all tests that it has to pass."""
    return max(one.p or 0.0, one.gate)


def _p_of_family(own: Sequence[Finding]) -> float:
    opened = [one.opened for one in own if one.opened is not None]
    return max(opened) if opened else min(1.0, len(own) * min(map(_p, own)))


def _weights(families: Mapping[str, Sequence[Finding]]) -> dict[str, float]:
    """What each family counts."""
    others = len(families.keys() - set(FIRST_FAMILIES))
    return {name: 1.0 if name in FIRST_FAMILIES else OTHERS_COUNT / others for name in families}


def _holm(p: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """The adjusted p of each family: the least level at which the steps would reject it."""
    left, reached, adjusted = sum(weights.values()), 0.0, {}
    for name in sorted(p, key=lambda one: p[one] / weights[one]):
        reached = max(reached, min(1.0, round(p[name] * left / weights[name], 12)))
        adjusted[name] = reached
        left -= weights[name]
    return adjusted


def _beside(one: Finding, family_p: float, families: Mapping[str, Sequence[Finding]]) -> Finding:
    """The finding with its corrected p, told beside its number."""
    p = max(family_p, min(1.0, len(families[_family(one)]) * _p(one)))
    n = sum(map(len, families.values()))
    if n == 1:
        return replace(one, p_report=p)
    told = (f"among the {n} claims of this report (Holm)", p_value(p))
    return replace(one, p_report=p, beside=(*one.beside, told))


def _unsure(one: Finding, weights: Mapping[str, float]) -> bool:
    """Whether a claim is made that the report as a whole does not allow."""
    if one.verdict is Verdict.INVERTED:
        counts = weights.get(_family(one), 0.0)
        share = counts / sum(weights.values()) if counts else 0.0
        return one.p_below is not None and share > 0 and one.p_below / share > LEVEL
    made = one.verdict in (Verdict.FOUND, Verdict.NOT_TOLD_APART)
    return made and one.p_report is not None and one.p_report > LEVEL


def _withdrawn(one: Finding, why: str) -> Finding:
    """The finding, not found, and why a claim that was made is taken back; where nothing could be
    said, or nothing was claimed, that stays.
    """
    if one.verdict in (Verdict.CANNOT_SAY, Verdict.NOT_FOUND):
        return one
    return replace(one, verdict=Verdict.NOT_FOUND, sentence=f"{one.otherwise} {why}")
