"""The rows of an evaluation of steering: success, specificity, agreement and cost of its arms.

Every interval is over the prompts' scenarios. Random directions are of no emotion: their success
for one is the mean over all of them, and `p` counts those that reach it as often as its own
direction does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.openings import openings_shared
from interp.causal.pooled import ALL
from interp.causal.steered_texts import SHARED_OPENING
from interp.chance import FEWEST_DEALT, assignment_p, least_assignment_p
from interp.evaluation.agreement import Verdicts, agreement_rows
from interp.evaluation.costs import Cost, fluency, harmonic, is_broken
from interp.evaluation.relevance import Relevance, above_chance
from interp.results import TableRow, TableRows
from interp.shares import Share, share_difference
from interp.stats import Labels, mean_interval, mean_of

Reached = Mapping[str, Float[np.ndarray, "emotion prompt"]]
"""Of each arm: how often it reaches each emotion from each prompt, 0 to 1."""


class Spoken(NamedTuple):
    """The continuations of all prompts under one arm: what was added (`control` and `scale`),
    meant for `emotion` ("all": for none), by random direction number `draw`; and, once they are
    written, each judge's verdicts, the prices, how relevant they are to their prompts, and the
    texts.
    """

    control: str
    emotion: str
    scale: float
    draw: int | None = None
    verdicts: Mapping[str, Verdicts] = {}
    costs: Sequence[Cost] = ()
    relevance: Sequence[Relevance] = ()
    texts: Sequence[str] = ()


def measured_rows(spoken: Sequence[Spoken], groups: Labels, emotions: Sequence[str]) -> TableRows:
    """By each judge `success` and `success_above` of the arms, `valid` (the share of texts with a
    verdict), `effect` of each direction on each emotion, `harmonic` (of success and fluency),
    `overall` (of success, relevance and fluency), and `kappa` with the others; and of each arm, by
    no judge, `perplexity_ratio` (the geometric mean), `distinct_2`, `repeated`, `broken`,
    `relevance` and `relevance_shuffled`, and `shared_opening`. `spoken` begins with the unsteered
    texts.
    """
    rows: TableRows = []
    for judge in spoken[0].verdicts:
        mine = success_rows_of(reached(spoken, emotions, judge), groups, emotions)
        mine += _valid(spoken, groups, judge)
        mine += _tested(spoken, emotions, judge)
        mine += _effects(spoken, groups, emotions, judge)
        mine += _harmonics(spoken, groups, judge)
        rows += [{"judge": judge, **row} for row in mine]
    said = {
        judge: [verdict for one in spoken for verdict in one.verdicts[judge]]
        for judge in spoken[0].verdicts
    }
    agreed = agreement_rows(said, np.tile(np.asarray(groups), len(spoken)))
    rows += [{"emotion": ALL, "control": "", **row} for row in agreed]
    return rows + _price_rows(spoken, groups) + _opening_rows(spoken, groups)


def reached(spoken: Sequence[Spoken], emotions: Sequence[str], judge: str) -> Reached:
    """How often each arm reaches each emotion: by texts meant for it, and of arms without an
    emotion by all of their texts. `shuffled` are the directions' texts, meant for the others.
    """
    own = [one for one in spoken if one.control == ""]
    kinds = {one.control: [two for two in spoken if two.control == one.control] for one in spoken}
    found = {
        control: np.stack(
            [
                hits_of([one for one in kind if one.emotion in (emotion, ALL)], emotion, judge)
                for emotion in emotions
            ]
        )
        for control, kind in kinds.items()
    }
    if len(emotions) > 1:
        others = [[one for one in own if one.emotion != emotion] for emotion in emotions]
        hits = [hits_of(kind, one, judge) for kind, one in zip(others, emotions, strict=True)]
        found["shuffled"] = np.stack(hits)
    return found


def success_rows_of(found: Reached, groups: Labels, emotions: Sequence[str]) -> TableRows:
    """Rows of `success` of each arm, for each emotion and for all; and of how much more often the
    directions reach their emotion than each other arm (`success_above`, all emotions).
    """
    rows: TableRows = []
    for control, hits in found.items():
        told = {**dict(zip(emotions, hits, strict=True)), ALL: hits.mean(axis=0)}
        rows += [
            {
                "metric": "success",
                "control": control,
                "emotion": emotion,
                **Share(mean_of(one)).estimate(groups)._asdict(),
            }
            for emotion, one in told.items()
        ]
    own = Share(mean_of(found[""].mean(axis=0)))
    for control, hits in found.items():
        if control:
            above = share_difference(own, Share(mean_of(hits.mean(axis=0))), groups)
            row = {"metric": "success_above", "control": "", "emotion": ALL, "target": control}
            rows.append({**row, **above._asdict()})
    return rows


def scored(spoken: Sequence[Spoken], usual: Spoken, groups: Labels) -> TableRow:
    """The row of one arm's harmonic score by the first judge, all emotions together."""
    mine = [harmonic_of(one, usual) for one in spoken]
    about = {"metric": "harmonic", "judge": next(iter(usual.verdicts)), "emotion": ALL}
    score = known_mean(np.array(mine).mean(axis=0), groups)
    return {**about, "control": spoken[0].control, **score}


def harmonic_of(one: Spoken, usual: Spoken, judge: str = "") -> Float[np.ndarray, " prompt"]:
    """Of each text the harmonic mean of success (1 or 0, by `judge`, else by the first) and
    fluency beside the `usual` text; NaN where that is a breakdown.
    """
    hits, fluent = _scored(one, usual, judge)
    return np.array([_joined(*each) for each in zip(hits, fluent, strict=True)])


def overall_of(one: Spoken, usual: Spoken, judge: str = "") -> Float[np.ndarray, " prompt"]:
    """Of each text the harmonic mean of success, relevance above chance (2 share - 1) and fluency:
    the three scores of AxBench (Wu et al. 2025), whose concept, instruction and fluency a language
    model rates 0, 1 or 2. NaN where fluency or relevance is not known.
    """
    hits, fluent = _scored(one, usual, judge)
    fits = [above_chance(each.relevance) for each in one.relevance]
    return np.array([_joined(*each) for each in zip(hits, fluent, fits, strict=True)])


def _scored(one: Spoken, usual: Spoken, judge: str) -> tuple[list[float], list[float]]:
    """Success and fluency of each text."""
    verdicts = one.verdicts[judge or next(iter(one.verdicts))]
    fluent = [fluency(cost, before) for cost, before in zip(one.costs, usual.costs, strict=True)]
    return [float(verdict == one.emotion) for verdict in verdicts], fluent


def _joined(hit: float, fluent: float, *fits: float) -> float:
    """The harmonic mean of what is known of a text: 0 for a breakdown, NaN where something is not
    known.
    """
    scores = (hit, fluent, *fits)
    if fluent == 0:
        return 0.0
    return np.nan if np.isnan(scores).any() else harmonic(*scores)


def _harmonics(spoken: Sequence[Spoken], groups: Labels, judge: str) -> TableRows:
    """Rows of `harmonic`, and of `overall` where relevance was measured."""
    rows: TableRows = []
    kinds = {"harmonic": harmonic_of}
    if spoken[0].relevance:
        kinds["overall"] = overall_of
    for control in dict.fromkeys(one.control for one in spoken if one.emotion != ALL):
        mine = [one for one in spoken if one.control == control]
        for metric, score in kinds.items():
            scores = {one.emotion: score(one, spoken[0], judge) for one in mine}
            scores[ALL] = np.mean(list(scores.values()), axis=0)
            shared = {"metric": metric, "control": control}
            rows += [
                {**shared, "emotion": name, **known_mean(each, groups)}
                for name, each in scores.items()
            ]
    return rows


def _valid(spoken: Sequence[Spoken], groups: Labels, judge: str) -> TableRows:
    """Rows of `valid`, how many of an arm's texts have a verdict, all its emotions together."""
    rows: TableRows = []
    for control in dict.fromkeys(one.control for one in spoken):
        told = [
            [float(said is not None) for said in one.verdicts[judge]]
            for one in spoken
            if one.control == control
        ]
        found = Share(mean_of(np.mean(told, axis=0))).estimate(groups)
        rows.append({"metric": "valid", "control": control, "emotion": ALL, **found._asdict()})
    return rows


def _tested(spoken: Sequence[Spoken], emotions: Sequence[str], judge: str) -> TableRows:
    """Rows of `as_good_at_random`: of each emotion the p that a random direction reaches it as
    often as its own; from 4 emotions on, of all together the p that the emotions are dealt to the
    directions at random (`interp.chance.assignment_p`).
    """
    own = {one.emotion: list(one.verdicts[judge]) for one in spoken if one.control == ""}
    drawn = [list(one.verdicts[judge]) for one in spoken if one.control == "random"]
    n = len(drawn)
    rows: TableRows = []
    for emotion in emotions:
        as_good = sum(one.count(emotion) >= own[emotion].count(emotion) for one in drawn)
        p = (1 + as_good) / (1 + n)
        told = {"p": p, "least_p": 1 / (1 + n), "p_of": "random directions of the same length"}
        rows.append({"emotion": emotion, "value": as_good / n, "n": n, **told})
    if len(emotions) >= FEWEST_DEALT:
        counts = [[float(own[one].count(other)) for other in emotions] for one in emotions]
        told = {"p": assignment_p(np.array(counts)), "least_p": least_assignment_p(len(emotions))}
        told |= {"p_of": "emotions dealt to the directions at random"}
        rows.append({"emotion": ALL, "value": np.nan, "n": len(emotions), **told})
    return [{"metric": "as_good_at_random", "control": "random", **row} for row in rows]


def _effects(
    spoken: Sequence[Spoken], groups: Labels, emotions: Sequence[str], judge: str
) -> TableRows:
    """Rows of `effect`: how much more often the emotion `target` is found under the direction of
    `emotion` than in the unsteered texts.
    """
    before = spoken[0]
    return [
        {
            "metric": "effect",
            "control": "",
            "emotion": one.emotion,
            "target": target,
            **mean_interval(
                hits_of([one], target, judge) - hits_of([before], target, judge), groups
            )._asdict(),
        }
        for one in spoken
        if one.control == ""
        for target in emotions
    ]


def _price_rows(spoken: Sequence[Spoken], groups: Labels) -> TableRows:
    """What each arm costs, for each emotion it is meant for, and all together."""
    rows: TableRows = []
    for control in dict.fromkeys(one.control for one in spoken):
        mine = [one for one in spoken if one.control == control]
        kinds = {one.emotion: [one] for one in mine if one.emotion != ALL} | {ALL: mine}
        for emotion, kind in kinds.items():
            for metric, values in _prices(kind, spoken[0]).items():
                row = {"metric": metric, "control": control, "emotion": emotion}
                rows.append({**row, **known_mean(values, groups, log=metric == RATIO)})
    return rows


def _opening_rows(spoken: Sequence[Spoken], groups: Labels) -> TableRows:
    """How alike the texts of each arm begin, all its emotions together, where they are kept and of
    more than one scenario.
    """
    rows: TableRows = []
    if len(np.unique(np.asarray(groups))) < 2:
        return rows
    for control in dict.fromkeys(one.control for one in spoken if one.texts):
        mine = [one.texts for one in spoken if one.control == control]
        found = openings_shared(mine, groups).estimate(groups)._asdict()
        rows.append({"metric": SHARED_OPENING, "control": control, "emotion": ALL, **found})
    return rows


RATIO = "perplexity_ratio"


def log_ratio(one: Spoken, usual: Spoken) -> Float[np.ndarray, " prompt"]:
    """The logarithm of each text's perplexity over that of the `usual` text."""
    with np.errstate(invalid="ignore"):
        mine, before = (np.log([cost.perplexity for cost in each.costs]) for each in (one, usual))
    return mine - before


def _prices(kind: Sequence[Spoken], usual: Spoken) -> dict[str, Any]:
    """Each price of each prompt, the mean over `kind`; of the ratio its logarithm."""
    ratio = [log_ratio(one, usual) for one in kind]
    each = {
        RATIO: ratio,
        "distinct_2": [[cost.distinct_2 for cost in one.costs] for one in kind],
        "repeated": [[cost.repeated for cost in one.costs] for one in kind],
        "broken": [[float(is_broken(cost)) for cost in one.costs] for one in kind],
    }
    if kind[0].relevance:
        for metric in Relevance._fields:
            each[metric] = [[getattr(fit, metric) for fit in one.relevance] for one in kind]
    return {metric: np.array(values).mean(axis=0) for metric, values in each.items()}


def known_mean(
    values: Float[np.ndarray, " prompt"], groups: Labels, *, log: bool = False
) -> TableRow:
    """The mean of what is known; of logarithms the geometric mean. `n` counts what is known."""
    known = ~np.isnan(values)
    if not known.any():
        return {"value": np.nan, "n": 0}
    found = mean_interval(values[known], np.asarray(groups)[known])._asdict()
    if log:
        found |= {name: float(np.exp(found[name])) for name in ("value", "ci_low", "ci_high")}
    return found


def hits_of(spoken: Sequence[Spoken], emotion: str, judge: str) -> Float[np.ndarray, " prompt"]:
    """How often the judge finds the emotion behind each prompt, over several arms."""
    hits = [[float(said == emotion) for said in one.verdicts[judge]] for one in spoken]
    return np.array(hits).mean(axis=0)
