"""One report makes many claims: each must be sure beside all the others.

Where nothing is there, one report in twenty may claim something, and not each of its sentences in
twenty. So p are corrected over the report by Holm's steps with weights, over its families of
claims. The two questions that a study asks first count one each and all others together
`OTHERS_COUNT`, so that a further stage takes nothing from these two.

A family of several claims (both ways of patching at both places) has the p of the test that opened
it, or else the least of theirs, times their number (Bonferroni); in a family that is sure, its
claims are corrected for each other. A claim that another one opened (the layer at which a probe
first succeeds) is made only where that one is; it takes nothing from the others. An effect in the
wrong direction is what nobody asked for: by the p of the opposite claim, corrected for all families
at once, it has to be twice as sure (`WRONG_WAY_LEVEL`).

Where claims were registered before the run, they come first: each family of registered claims
counts one, and all exploratory claims together count `EXPLORATORY_COUNT`, shared among them as
above. Claims of one question of which only some were registered are two families. It is one
procedure over the whole report: where nothing is there, at most one report in twenty claims an
effect, and at most one in forty an effect in the wrong direction, whatever was registered.

Source: Holm (1979), with weights as there in section 3; families first: Benjamini & Bogomolov
(2014); a fixed order within a family: Maurer, Hothorn & Lehmacher (1995).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from interp.reporting.decisions import LEVEL, Verdict
from interp.reporting.finding import Finding
from interp.reporting.formatting import p_value

FIRST_FAMILIES = ("probes: reception", "probes: categorisation")
"""The families of the questions that a study asks first."""

OTHERS_COUNT = 3.0
"""What all other families count together, where each of the `FIRST_FAMILIES` counts one."""


EXPLORATORY_COUNT = 1.0
"""What all exploratory claims count together, where each registered family counts one."""

WRONG_WAY_LEVEL = LEVEL / 2
"""The level of all claims of an effect in the wrong direction together."""


class ClaimFamily(NamedTuple):
    """Claims that are one question of the report; `registered` ones are a family of their own."""

    name: str
    registered: bool


ClaimFamilies = Mapping[ClaimFamily, Sequence[Finding]]
FamilyWeights = Mapping[ClaimFamily, float]


def corrected(found: Sequence[Finding], registered: Collection[str] = ()) -> list[Finding]:
    """The findings, each with its p corrected over all; a claim which that leaves unsure is not
    made, and neither are those that it opened. `registered` names the claims that come first.
    """
    families: dict[ClaimFamily, list[Finding]] = {}
    family_of = {at: _family(one, registered) for at, one in enumerate(found) if _tested(one)}
    for at, family in family_of.items():
        families.setdefault(family, []).append(found[at])
    weights = _weights(families)
    adjusted = _holm({family: _p_of_family(own) for family, own in families.items()}, weights)
    told = [
        _beside(one, adjusted[family_of[at]], family_of[at], families) if at in family_of else one
        for at, one in enumerate(found)
    ]
    shares = {family: weight / sum(weights.values()) for family, weight in weights.items()}
    alone = [
        _withdrawn(one, _ALONE) if _unsure(one, shares.get(_family(one, registered))) else one
        for one in told
    ]
    lost = {one.name for one in alone if one.verdict is not Verdict.FOUND}
    return [_withdrawn(one, _RESTS) if one.after in lost else one for one in alone]


_ALONE = "By itself this is sure; among all claims of this report it is not."
_RESTS = "What this rests on is not found."


def _tested(one: Finding) -> bool:
    return one.p is not None and not one.after


def _family(one: Finding, registered: Collection[str]) -> ClaimFamily:
    return ClaimFamily(f"{one.stage}: {one.family or one.about}", one.name in registered)


def _p(one: Finding) -> float:
    """The p of a claim by all tests that it has to pass."""
    return max(one.p or 0.0, one.gate)


def _p_of_family(own: Sequence[Finding]) -> float:
    opened = [one.opened for one in own if one.opened is not None]
    return max(opened) if opened else min(1.0, len(own) * min(map(_p, own)))


def _weights(families: ClaimFamilies) -> dict[ClaimFamily, float]:
    """What each family counts."""
    first = [family for family in families if family.registered]
    usual = [family for family in families if not family.registered]
    others = sum(family.name not in FIRST_FAMILIES for family in usual)
    weights = {
        family: 1.0 if family.name in FIRST_FAMILIES else OTHERS_COUNT / others for family in usual
    }
    if not first:
        return weights
    whole = sum(weights.values())
    shared = {family: EXPLORATORY_COUNT * weight / whole for family, weight in weights.items()}
    return dict.fromkeys(first, 1.0) | shared


def _holm(p: Mapping[ClaimFamily, float], weights: FamilyWeights) -> dict[ClaimFamily, float]:
    """The adjusted p of each family: the least level at which the steps would reject it."""
    left, reached, adjusted = sum(weights.values()), 0.0, {}
    for family in sorted(p, key=lambda one: p[one] / weights[one]):
        reached = max(reached, min(1.0, round(p[family] * left / weights[family], 12)))
        adjusted[family] = reached
        left -= weights[family]
    return adjusted


def _beside(one: Finding, family_p: float, family: ClaimFamily, families: ClaimFamilies) -> Finding:
    """The finding with its corrected p, told beside its number."""
    p = max(family_p, min(1.0, len(families[family]) * _p(one)))
    n = sum(map(len, families.values()))
    if n == 1:
        return replace(one, p_report=p)
    first = sum(len(own) for known, own in families.items() if known.registered)
    how = f", the {first} registered ones first" if first else ""
    told = (f"among the {n} claims of this report{how} (Holm)", p_value(p))
    return replace(one, p_report=p, beside=(*one.beside, told))


def _unsure(one: Finding, share: float | None) -> bool:
    """Whether a claim is made that the report as a whole does not allow; `share` is that of its
    family in all weights, None where no p was given.
    """
    if one.verdict is Verdict.INVERTED:
        if one.p_below is None or share is None:
            return False
        return one.p_below / share > WRONG_WAY_LEVEL
    made = one.verdict in (Verdict.FOUND, Verdict.NOT_TOLD_APART)
    return made and one.p_report is not None and one.p_report > LEVEL


def _withdrawn(one: Finding, why: str) -> Finding:
    """The finding, not found, and why a claim that was made is taken back; where nothing could be
    said, or nothing was claimed, that stays.
    """
    if one.verdict in (Verdict.CANNOT_SAY, Verdict.NOT_FOUND):
        return one
    return replace(one, verdict=Verdict.NOT_FOUND, sentence=f"{one.otherwise} {why}")
