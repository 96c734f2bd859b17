"""What the battery alone forbids, known before a model is loaded or anything is captured.

Reception, transfer and everything about directions compare twins. Categorisation asks which emotion
a text evokes, and needs no twins. What cannot be asked is said with its reason, and what still can.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interp.errors import StatisticsError
from interp.evaluation.readouts import Named, find_testbed, readout_for, without_words
from interp.stages import STAGES
from interp.study.arms import too_few_arms
from stimuli.battery import NEUTRAL, Battery, Stimulus, in_content_order

FEWEST = 4
"""Scenarios that an emotion needs: two to choose on and two to report on."""

FEWEST_COMPARED = 4
"""Emotions whose geometry is asked for: three points always lie in a plane, and can change places
in six ways only.
"""

_OF_TWINS = ("reception", "directions", "readout", "transfer", "geometry")

_ASKS: Mapping[str, tuple[str, ...]] = {stage.name: stage.asks for stage in STAGES}
"""The questions of each stage, of which one must be open; capture asks none."""

ASKED_BY_WORDS = tuple(stage for stage, asked in _ASKS.items() if "readout" in asked)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The questions that a battery cannot answer (`closed`), each with its reason; whether it has
    `twins` enough to ask about; and what is to be told of the words by which a model is asked
    (`doubts`).
    """

    closed: Mapping[str, str]
    twins: bool
    doubts: tuple[str, ...] = ()

    def forbids(self, stage: str) -> str | None:
        """Why `stage` cannot be run; None where it can."""
        needed = _ASKS[stage]
        if not needed or any(question not in self.closed for question in needed):
            return None
        return " ".join(dict.fromkeys(self.closed[question] for question in needed))

    def forbidden(self, stages: Iterable[str], *, asked: bool) -> dict[str, str]:
        """Those of `stages` that cannot be run, with their reasons.

        Raises `StatisticsError` for one that was asked for by name, and where no question of all
        the stages is open; it says what can be asked instead.
        """
        questions = [stage for stage in stages if _ASKS[stage]]
        found = {stage: why for stage in questions if (why := self.forbids(stage))}
        if not found or not (asked or len(found) == len(questions)):
            return found
        still = [stage for stage in _ASKS if _ASKS[stage] and not self.forbids(stage)]
        told = f"What can be asked: {', '.join(still)}." if still else "Nothing else can be asked."
        reasons = " ".join(dict.fromkeys(found.values()))
        raise StatisticsError(f"{', '.join(found)} cannot be asked: {reasons} {told}")

    def partly(self) -> dict[str, str]:
        """The probes' question that is closed where the other one is open."""
        if self.forbids("probes"):
            return {}
        return {one: self.closed[one] for one in _ASKS["probes"] if one in self.closed}


def conditions(
    battery: Battery, *, folds: int, model: str, across: Sequence[str] = ()
) -> Conditions:
    """What the labels, pairs and scenarios of `battery` allow with so many folds, and what the
    words allow by which the model of this name is asked. Transfer needs two arms, unless it is
    asked of values of fields (`across`).
    """
    scenarios = scenarios_of(pair.affective for pair in battery.pairs())
    usable = {e: groups for e, groups in scenarios.items() if len(groups) >= FEWEST}
    if not usable:
        return Conditions(_without_twins(battery, scenarios, folds), twins=False)
    closed: dict[str, str] = {}
    groups = set().union(*usable.values())
    if len(groups) < folds:
        closed["reception"] = (
            f"{folds} folds need {folds} scenarios, there are {len(groups)}: "
            f"{_largest(len(groups))}"
        )
    lost = unreadable(model, tuple(usable))
    if len(lost) == len(usable):
        closed["readout"] = " ".join(dict.fromkeys(lost.values()))
    if few := _too_few(usable, scenarios):
        closed["categorisation"] = few
    elif rare := {e: groups for e, groups in usable.items() if len(groups) < folds}:
        told = f"{folds} folds need {folds} scenarios of every emotion ({_counted(rare)}): "
        told += _largest(min(map(len, rare.values())))
        closed["categorisation"] = told
    if len(usable) < FEWEST_COMPARED:
        closed["geometry"] = (
            f"a geometry needs {FEWEST_COMPARED} emotions or more, and there are {len(usable)} "
            f"with {FEWEST} scenarios or more ({', '.join(map(repr, usable))})."
        )
    few = None if across else too_few_arms(battery, tuple(usable), folds=folds)
    if few:
        closed["transfer"] = few
    doubts = (
        []
        if "readout" in closed
        else [f"{one!r} is not asked by words: {why}" for one, why in lost.items()]
    )
    if "readout" not in closed and (
        doubt := asked_by_name(model, [one for one in usable if one not in lost])
    ):
        doubts.append(doubt)
    return Conditions(closed, twins=True, doubts=tuple(doubts))


def _without_twins(battery: Battery, paired: Mapping[str, set[str]], folds: int) -> dict[str, str]:
    """What is closed where no emotion has enough twins: of single texts only categorisation is
    asked.
    """
    reason = "no text has a neutral twin (texts of one `pair`, one of them labelled neutral)."
    if paired:
        reason = f"every emotion has fewer than {FEWEST} scenarios with twins ({_counted(paired)})."
    closed = dict.fromkeys(_OF_TWINS, reason)
    scenarios = scenarios_of(evoking(battery))
    fewest = max(FEWEST, folds)
    enough = {e: groups for e, groups in scenarios.items() if len(groups) >= fewest}
    if few := _too_few(enough, scenarios):
        closed["categorisation"] = few
    return closed


def _too_few(enough: Mapping[str, set[str]], scenarios: Mapping[str, set[str]]) -> str | None:
    """Why there are no two emotions to tell apart; None where there are."""
    if len(enough) >= 2:
        return None
    short = {e: groups for e, groups in scenarios.items() if e not in enough}
    few = f" with enough scenarios (too few: {_counted(short)})" if short else ""
    return f"only {', '.join(map(repr, enough)) or 'nothing'} present{few}; need >= 2 classes."


def evoking(battery: Battery) -> list[Stimulus]:
    """The texts that evoke an emotion, for a battery without twins, in the order of their
    content.
    """
    return in_content_order(i for i in battery.where(arm="keyword_free") if i.emotion != NEUTRAL)


def scenarios_of(items: Iterable[Stimulus]) -> dict[str, set[str]]:
    """The scenarios (groups) of each emotion."""
    found: dict[str, set[str]] = defaultdict(set)
    for item in items:
        found[item.emotion].add(item.group)
    return dict(sorted(found.items()))


def unreadable(model: Named, emotions: Sequence[str]) -> dict[str, str]:
    """Those of `emotions` for which a model (or that of a name, which is not loaded) cannot be
    asked by words, each with the reason: a testbed lacks words for it, or all its words are words
    of others too. These emotions are left out where words are asked for; the others stay.
    """
    lacking = without_words(model, emotions) if find_testbed(model) else []
    name = model if isinstance(model, str) else model.name
    found = dict.fromkeys(lacking, f"{name} has no words for it.")
    listed = readout_for(model, emotions).words
    plain = {
        one: {word.casefold() for word in words}
        for one, words in listed.items()
        if one not in found
    }
    for emotion, own in plain.items():
        if own <= set().union(*(others for name, others in plain.items() if name != emotion)):
            found[emotion] = "its words are all words of other emotions, too."
    return found


def asked_by_name(model: str, emotions: Sequence[str]) -> str | None:
    """The warning that the readout knows some emotions by their names only; None where it does
    not.
    """
    lacking = without_words(model, emotions)
    names = ", ".join(map(repr, lacking))
    return f"the readout has no words for {names}: asked for by name alone." if lacking else None


def _largest(count: int) -> str:
    return f"the largest valid number is {count} (--folds {count})."


def _counted(scenarios: Mapping[str, set[str]]) -> str:
    return ", ".join(f"{emotion!r} {len(groups)}" for emotion, groups in scenarios.items())
