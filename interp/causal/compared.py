"""Rows of chosen plans beside random ones: what both ablation and enhancement, of parts and of
directions, report.

A chosen plan is run on all pairs, so that its effect on every target emotion is known (the E x E
specificity matrix); its controls on the emotion's own. p = (1 + draws at least as large) / (1 +
draws); where there are several kinds of draws, the largest of their p. All emotions together
(`all`): each one's own plan and texts, in one mean. Its p takes, in every emotion, one of the
chosen and the drawn plans at random, so that a few draws per emotion suffice for a small one
(`interp.chance.strata_p`); `least_p` is the smallest that so many can give.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.bench import Bench, Effects, Scaled
from interp.causal.contributions import is_unit
from interp.causal.pooled import ALL
from interp.chance import least_strata_p, permutation_p, strata_p, sums_of_strata
from interp.results import TableRow
from interp.sites import site_columns
from interp.stats import Estimate, mean_interval

WORDS_CHANGE = "label_logprob_change"

Values = dict[str, Float[np.ndarray, "*plan pair"]]
"""Each metric's values in some pairs."""


class Aim(NamedTuple):
    """What is done: `method` is its name in the table, `mode` what stands in for the parts (or
    `instead`, the other change). `along` names the metric of the projection, which moves by `sign`
    (-1: it falls) where what is changed carries the emotion. `told` is the mode's name in the
    table, where that is another.
    """

    method: str
    along: str
    sign: int
    mode: str
    instead: Scaled | None = None
    told: str = ""

    @property
    def common(self) -> TableRow:
        """The columns that say what was done."""
        return {"method": self.method, "mode": self.told or self.mode}


class Drawn(NamedTuple):
    """Random plans beside a chosen one: their numbers, and how they are `matched` to it."""

    plans: slice
    matched: str = ""


class ChosenPlan(NamedTuple):
    """A plan that was chosen for an emotion: its number, its random plans by the name of the
    control, further single plans by theirs, and the columns that its rows have.
    """

    emotion: str
    plan: int
    drawn: Mapping[str, Drawn]
    single: Mapping[str, int]
    columns: Mapping[str, Any]


class Outcomes(NamedTuple):
    """What was measured: `of(plan, target)` gives each metric's values in the target emotion's
    pairs, or of several plans (a slice), one row each; `signs` says of each metric whether larger
    (1) or smaller (-1) values speak for what was chosen; `groups` are the scenarios of each target
    emotion's pairs.
    """

    of: Callable[[int | slice, str], Values]
    signs: Mapping[str, int]
    groups: Mapping[str, Sequence[str]]


def outcomes_of(bench: Bench, effects: Effects, aim: Aim) -> Outcomes:
    """The projection's move the way that `aim` looks (natural lengths), only where a direction has
    a length and `aim` names that metric, and the words' change (nats). The plan number 0 changes
    nothing.
    """
    labels = np.array(bench.emotions)

    def of(plan: int | slice, target: str) -> Values:
        mine = labels == target
        found = {WORDS_CHANGE: (effects.score[plan] - effects.score[0])[..., mine]}
        if aim.along and is_unit(direction := bench.directions[target]):
            moved = aim.sign * (effects.projection[plan] - effects.projection[0])
            found = {aim.along: moved[..., mine] / direction.length, **found}
        return found

    return Outcomes(of, {aim.along: 1, WORDS_CHANGE: aim.sign}, groups_of(bench))


def groups_of(bench: Bench) -> dict[str, list[str]]:
    """The scenarios of each emotion's pairs."""
    found: dict[str, list[str]] = {}
    for pair in bench.pairs:
        found.setdefault(pair.affective.emotion, []).append(pair.affective.group)
    return found


def compared_rows(
    outcomes: Outcomes, chosen: Sequence[ChosenPlan], common: Mapping[str, Any]
) -> Iterator[TableRow]:
    """The rows of each plan and its controls; then, of the plans that have the same columns and are
    of all the emotions, those of all together.
    """
    for one in chosen:
        yield from _own_rows(outcomes, one, common)
    emotions = {one.emotion for one in chosen}
    for key in dict.fromkeys(map(_key, chosen)):
        together = [one for one in chosen if _key(one) == key]
        if {one.emotion for one in together} == emotions:
            yield from _pooled_rows(outcomes, together, common)


def _key(one: ChosenPlan) -> str:
    return repr(dict(one.columns))


def _own_rows(outcomes: Outcomes, one: ChosenPlan, common: Mapping[str, Any]) -> Iterator[TableRow]:
    """The plan on every target; each control on the emotion's own pairs."""
    place = {**site_columns(None), **common, **one.columns, "emotion": one.emotion}
    mine = outcomes.groups.get(one.emotion, [])
    drawn = {name: outcomes.of(kind.plans, one.emotion) for name, kind in one.drawn.items()}
    for target, groups in outcomes.groups.items():
        for metric, values in outcomes.of(one.plan, target).items():
            row = {**place, "target": target, "metric": metric, "control": "", "matched": ""}
            row |= mean_interval(values, groups)._asdict()
            if target == one.emotion:
                means = [kind[metric].mean(axis=1) for kind in drawn.values()]
                row["p"] = _p_value(float(values.mean()), means, outcomes.signs[metric])
            yield row
    place |= {"target": one.emotion}
    for name, plan in one.single.items():
        for metric, values in outcomes.of(plan, one.emotion).items():
            found = mean_interval(values, mine)._asdict()
            yield {**place, "metric": metric, "control": name, "matched": "", **found}
    for name, kind in drawn.items():
        for metric, values in kind.items():
            about = {"metric": metric, "control": name, "matched": one.drawn[name].matched}
            yield {**place, **about, **_spread(values.mean(axis=1))}


def _p_value(observed: float, draws: Sequence[Float[np.ndarray, " _"]], sign: int) -> float:
    """The share of random draws that do at least as much, the largest of several kinds; NaN where
    there is none.
    """
    return max((permutation_p(sign * observed, sign * one) for one in draws), default=np.nan)


def _spread(draws: Float[np.ndarray, " draw"]) -> dict[str, Any]:
    """The mean of random draws and their range, which is no interval of it."""
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    mean = Estimate(float(draws.mean()), np.nan, np.nan, len(draws))
    return {**mean._asdict(), "draw_low": low, "draw_high": high}


def _spread_of_strata(sums: Sequence[Float[np.ndarray, " _"]], n_pairs: int) -> dict[str, Any]:
    """The mean over pairs, of the random draws of every emotion (their sums over pairs are given),
    and its range where one draw of each is taken at random. `n` counts the draws of all emotions.
    """
    taken = _spread(sums_of_strata(sums) / n_pairs)
    mean = float(sum(one.mean() for one in sums)) / n_pairs
    return {**taken, "value": mean, "n": sum(map(len, sums))}


def _pooled_rows(
    outcomes: Outcomes, chosen: Sequence[ChosenPlan], common: Mapping[str, Any]
) -> Iterator[TableRow]:
    """Each emotion's own plan, on its own texts, all emotions in one mean."""
    mine = [one for one in chosen if one.emotion in outcomes.groups]
    own = {one.emotion: outcomes.of(one.plan, one.emotion) for one in mine}
    for metric in outcomes.signs:
        told = [one for one in mine if metric in own[one.emotion]]
        if not told:
            continue
        groups = [group for one in told for group in outcomes.groups[one.emotion]]
        here = {**site_columns(None), **common, **told[0].columns, "emotion": ALL}
        here |= {"target": ALL, "metric": metric, "matched": ""}
        sums = {
            name: [outcomes.of(one.drawn[name].plans, one.emotion)[metric].sum(1) for one in told]
            for name in told[0].drawn
            if all(name in one.drawn for one in told)
        }
        values = [own[one.emotion][metric] for one in told]
        row: TableRow = {**here, "control": "", "p": np.nan, "least_p": np.nan}
        row |= mean_interval(np.concatenate(values), groups)._asdict()
        if sums:
            sign = outcomes.signs[metric]
            total = sign * np.array([each.sum() for each in values])
            found = [strata_p(total, [sign * x for x in one]) for one in sums.values()]
            row |= {"p": max(found), "least_p": max(_least_p(one) for one in sums.values())}
        yield row
        for name in told[0].single:
            if all(name in one.single for one in told):
                each = [outcomes.of(one.single[name], one.emotion)[metric] for one in told]
                taken = mean_interval(np.concatenate(each), groups)._asdict()
                yield {**here, "control": name, **taken}
        for name, drawn in sums.items():
            yield {**here, "control": name, **_spread_of_strata(drawn, len(groups))}


def _least_p(draws: Sequence[Float[np.ndarray, " _"]]) -> float:
    return least_strata_p([len(one) for one in draws])
