"""The answer of a run: four badges and the one sentence to quote, made from its findings by rule.

- *represented beyond the words*: the probe that tells emotional texts from their neutral twins
  (reception); where the battery has no twins, the probe that tells the emotions apart.
- *from which layer*: the first layer at which the stream by itself lies surely beyond the words,
  for the same question. It is asked only where the badge before says yes.
- *causal*: yes where a part of the model that was chosen on other scenarios is *needed*, or
  *carries* the emotion. Needed: without the heads (or neurons) that write each emotion most, its
  own words become less likely, more than without random ones of the same layers, and (from 4
  emotions on) more than without those of other emotions; of several kinds of parts that were tried,
  each has to pass at its share of the level (Bonferroni). Carried: the
  state at the last token brings the readout's difference back in the neutral twin, and takes it
  away in the emotional one; both have to hold. A patch at the edited tokens decides nothing: in an
  early layer it only writes the other twin's words. Where one way says yes and another is inverted,
  nothing can be said.
- *steerable*: judges read what the steered model writes; where there are several, all have to find
  it. Where there is no judge, the likelihood of the emotion's words decides, and the badge says so.

"No" means that this run did not find it, not that it is not there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from interp.reporting.decisions import LEVEL, Verdict
from interp.reporting.finding import JUDGED, Finding, Question, json_values
from interp.reporting.sentence import clause, number_told


class Says(StrEnum):
    """What a badge says."""

    YES = "yes"
    NO = "no"
    INVERTED = "inverted"
    CANNOT_SAY = "cannot be said"


_SAYS = {
    Verdict.FOUND: Says.YES,
    Verdict.NOT_FOUND: Says.NO,
    Verdict.NOT_TOLD_APART: Says.NO,
    Verdict.INVERTED: Says.INVERTED,
    Verdict.CANNOT_SAY: Says.CANNOT_SAY,
}
STAGE_OF = {
    Question.REPRESENTED: "probes",
    Question.LAYER: "probes",
    Question.CAUSAL: "ablation",
    Question.STEERABLE: "steering",
}
"""The section that a badge leads to where no finding decided it."""

FIRST_ASKED = "reception"
"""The task that decides what is represented, where it was asked."""

NOTHING = "nothing was measured that speaks to it"
NOT_ASKED = "asked only where the question before has a yes"
"""What a badge shows where no finding speaks to its question; the second, that of the layer."""


@dataclass(frozen=True, slots=True)
class Badge:
    """One question of the run and the verdict on it; `decided` are the findings that decided it,
    the one whose number is shown first.
    """

    question: Question
    verdict: Verdict = Verdict.CANNOT_SAY
    decided: tuple[Finding, ...] = ()

    @property
    def says(self) -> Says:
        """The verdict in the badge's words."""
        return _SAYS[self.verdict]

    @property
    def stage(self) -> str:
        """The section that tells more."""
        return self.decided[0].stage if self.decided else STAGE_OF[self.question]

    @property
    def layer(self) -> int | None:
        """The layer that a yes to *from which layer* names."""
        told = self.decided and self.question is Question.LAYER and self.says is Says.YES
        return int(self.decided[0].told["layer"]) if told else None

    @property
    def clause(self) -> str:
        """The badge as a part of the sentence."""
        return clause(self.question, self.verdict, self.decided)

    @property
    def held(self) -> str:
        """The number that decided and what it is held against, as text."""
        if self.decided:
            return number_told(self.decided[0])
        return NOT_ASKED if self.question is Question.LAYER else NOTHING

    def record(self) -> dict[str, Any]:
        """The badge for machines: numbers as numbers, None where there is none."""
        first = self.decided[0] if self.decided else None
        told: dict[str, Any] = {"question": str(self.question), "says": str(self.says)}
        for name in ("what", "estimate", "interval", "p", "n"):
            told[name] = None if first is None else json_values(getattr(first, name))
        rivals = () if first is None else first.rivals[:1]
        against = [{**asdict(rival), "interval": json_values(rival.interval)} for rival in rivals]
        return {
            **told,
            "stage": self.stage,
            "layer": self.layer,
            "against": against[0] if against else None,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run answers: one sentence to quote, and a badge for each question."""

    sentence: str
    badges: tuple[Badge, ...]

    def record(self) -> dict[str, Any]:
        """The answer for machines."""
        return {"sentence": self.sentence, "badges": [badge.record() for badge in self.badges]}


def sum_up(found: Sequence[Finding], *, model: str) -> Answer:
    """The answer that the findings of a run allow, by the rules above."""
    asked = {question: [one for one in found if one.answers == question] for question in Question}
    represented = _represented(asked[Question.REPRESENTED])
    badges = (
        represented,
        _layer(asked[Question.LAYER], represented),
        _causal(asked[Question.CAUSAL]),
        _steerable(asked[Question.STEERABLE]),
    )
    told = [badge.clause for badge in badges]
    told[:2] = [", ".join(filter(None, told[:2]))]  # the layer belongs to what is represented
    return Answer(f"In {model}, {'; '.join(told)}.", badges)


def _represented(found: Sequence[Finding]) -> Badge:
    """By the first question that a study asks; no other may stand in for it."""
    first = [one for one in found if one.about == FIRST_ASKED] or list(found)
    if not first:
        return Badge(Question.REPRESENTED)
    return Badge(Question.REPRESENTED, first[0].verdict, (first[0],))


def _layer(found: Sequence[Finding], represented: Badge) -> Badge:
    """Only the layer of what is represented is asked for."""
    mine = [
        one
        for one in found
        if represented.says is Says.YES and one.about == represented.decided[0].about
    ]
    return Badge(Question.LAYER, mine[0].verdict, (mine[0],)) if mine else Badge(Question.LAYER)


def _causal(found: Sequence[Finding]) -> Badge:
    """By what is needed and what is carried. A yes that another way contradicts is none."""
    parts = [one for one in found if one.stage == "ablation"]
    kinds = list(dict.fromkeys(one.told["kind"] for one in parts))
    ways = [
        _in_order(
            [one for one in parts if one.told["kind"] == kind],
            level=LEVEL / len(kinds),
        )
        for kind in kinds
    ]
    carried = [one for one in found if one.stage == "patching"]
    if carried:
        both = sorted(carried, key=lambda one: one.told["mode"] != "denoise")
        missing = {"denoise", "noise"} - {one.told["mode"] for one in carried}
        verdict, first = _in_every_way(both)
        ways.append((Verdict.CANNOT_SAY if missing else verdict, first))
    there = {verdict for verdict, _ in ways}
    against = {Verdict.FOUND, Verdict.INVERTED}
    if against <= there or not ways:
        told = tuple(one for verdict, one in ways if verdict in against)
        return Badge(Question.CAUSAL, Verdict.CANNOT_SAY, told)
    verdict = next(verdict for verdict in _BEST_FIRST if verdict in there)
    return Badge(Question.CAUSAL, verdict, tuple(one for own, one in ways if own is verdict))


_BEST_FIRST = (Verdict.FOUND, Verdict.INVERTED, Verdict.NOT_FOUND, Verdict.CANNOT_SAY)
"""Of several ways to answer, the first of these is the answer."""


def _in_order(found: Sequence[Finding], *, level: float) -> tuple[Verdict, Finding]:
    """The verdict on what is needed: each finding at `level`, the first that fails decides; and the
    finding that decided.
    """
    for one in found:
        missed = one.verdict is Verdict.FOUND and (one.p is None or one.p > level)
        if missed or one.verdict is not Verdict.FOUND:
            return (Verdict.NOT_FOUND if missed else one.verdict), one
    return Verdict.FOUND, found[0]


def _in_every_way(found: Sequence[Finding]) -> tuple[Verdict, Finding]:
    """The verdict on what has to hold in every finding; and the first that does not, or the
    first.
    """
    verdicts = {one.verdict for one in found}
    first = next((one for one in found if one.verdict is not Verdict.FOUND), found[0])
    if len(verdicts) == 1:
        return first.verdict, first
    open_ = verdicts <= {Verdict.FOUND, Verdict.CANNOT_SAY}
    return (Verdict.CANNOT_SAY if open_ else Verdict.NOT_FOUND), first


def _steerable(found: Sequence[Finding]) -> Badge:
    """By the judges where there are any, the least sure one first; else by the words."""
    mine = [one for one in found if one.about == JUDGED] or list(found)
    if not mine:
        return Badge(Question.STEERABLE)
    verdict, first = _in_every_way(mine)
    return Badge(Question.STEERABLE, verdict, (first,))
