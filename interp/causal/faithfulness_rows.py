"""Rows of faithfulness: ratios with Fieller's intervals over scenarios, beside random circuits.

Metrics, each of an `outcome` (words, projection) and a `control` ("" is the circuit; `single`,
`integrated` and `greedy` are as many parts chosen otherwise, `interp.causal.rival_orders`; `random`
is the mean of random orders of the same layers, with the range of its draws in `draw_low` and
`draw_high`):

    effect                m(all) - m(empty), in units of the outcome; without it there is no ratio
    faithfulness          f at a share of all parts (column `share`)
    circuit_faithfulness  f of the circuit itself
    above_random          f of the circuit less the mean f of random circuits of its quotas
    below_greedy          f of the parts of the greedy choice less f of the circuit
    cpr, cmd              the integrals of f and of |1 - f|
    left_without          f of everything but the circuit: 0 where the circuit is complete
    less_without          the mean f of everything but a random circuit, less `left_without`
    needed                the share of its heaviest parts without which f surely falls
    halved_circuit        the mean f of the circuit without a random half of its parts
    halved_model          the mean f of the whole model without the same
    incompleteness        the mean distance of the two: 0 where the circuit is complete

Emotion `all` sums what is above and what is below the line over all emotions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.causal.faithfulness import Measured
from interp.causal.paired import tested_mean
from interp.causal.pooled import ALL
from interp.causal.rival_orders import GREEDY
from interp.chance import least_strata_p, permutation_p, sign_flip, strata_p, sums_of_strata
from interp.sites import site_columns
from interp.stats import Estimate, Labels, group_sums, jackknife, mean_interval, ratio_interval

KEPT_BY = "circuit"

FaithfulRows = list[dict[str, Any]]

Gains = Float[np.ndarray, "level pair"]


def faithfulness_rows(
    measured: Mapping[str, Mapping[str, Measured]], groups: Mapping[str, Labels]
) -> tuple[FaithfulRows, list[str]]:
    """The rows of all emotions, alone and together, from `measured[emotion][outcome]` and the
    scenarios of each emotion's pairs; and the emotions that have no ratio, since what the whole
    model does is not surely more than what nothing does.
    """
    rows: FaithfulRows = []
    without: list[str] = []
    for emotion, outcomes in measured.items():
        for outcome, found in outcomes.items():
            about = {"emotion": emotion, "outcome": outcome}
            rows += _effect(found.effect, groups[emotion], about)
            if _sure(found.effect, groups[emotion]):
                rows += _of_emotion(found, groups[emotion], about)
            elif outcome == "words":
                without.append(emotion)
    for outcome in next(iter(measured.values())) if len(measured) > 1 else ():
        rows += _pooled([one[outcome] for one in measured.values()], list(groups.values()), outcome)
    return [{**site_columns(None), "method": KEPT_BY, **row} for row in rows], without


def curve_area(gains: Gains, found: Measured) -> Float[np.ndarray, " pair"]:
    """The integral over the share of what is kept, of each pair: the numerator of CPR."""
    return np.trapezoid(_closed(gains, found), _places(found), axis=0)


def _places(found: Measured) -> Float[np.ndarray, " point"]:
    return np.array([0.0, *(one.share for one in found.sizes[1:]), 1.0])


def _closed(gains: Gains, found: Measured) -> Float[np.ndarray, "point pair"]:
    """The curve over the shares, from nothing to all; its first level, the circuit's own size, is
    no point of it.
    """
    return np.concatenate([np.zeros((1, gains.shape[1])), gains[1:], found.effect[None]])


def _sure(effect: Float[np.ndarray, " pair"], groups: Labels) -> bool:
    """Whether there is something to be a share of. Without an interval nobody can say."""
    return mean_interval(effect, groups).ci_low > 0


def _effect(
    effect: Float[np.ndarray, " pair"], groups: Labels, about: dict[str, Any]
) -> FaithfulRows:
    p = sign_flip(group_sums(effect, groups), side="above")
    return [{**about, "metric": "effect", **mean_interval(effect, groups)._asdict(), "p": p}]


def _of_emotion(found: Measured, groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    """All rows of one emotion and outcome."""
    rows = [*_curves(found, groups, about), *_circuit(found, groups, about)]
    rows += _areas(found, groups, about)
    rows += _without(found, groups, about)
    rows += _halved(found, groups, about)
    if len(found.lacking):
        falls = [mean_interval(found.circuit - one, groups).ci_low > 0 for one in found.lacking]
        share = Estimate(float(np.mean(falls)), np.nan, np.nan, len(falls))
        rows.append({**about, "metric": "needed", "control": "", **share._asdict()})
    return rows


def _without(found: Measured, groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    drawn = found.random_without.sum(axis=1)
    left = ratio_interval(found.without, found.effect, groups)
    less = ratio_interval(found.random_without.mean(axis=0) - found.without, found.effect, groups)
    p = permutation_p(-float(found.without.sum()), -drawn)
    here = {**about, "metric": "left_without"}
    return [
        {**here, "control": "", **left._asdict()},
        {**here, "control": "random", **_spread(drawn / found.effect.sum())},
        {**about, "metric": "less_without", "control": "", **less._asdict(), "p": p},
    ]


def _halved(found: Measured, groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    """What is left without random halves of the circuit, of the circuit and of the whole model."""
    if not len(found.halved):
        return []

    def apart(weights: Float[np.ndarray, "draw pair"]) -> Float[np.ndarray, " draw"]:
        off = weights @ (found.halved - found.whole_halved).T
        return np.abs(off / (weights @ found.effect)[:, None]).mean(axis=1)

    told = {
        "halved_circuit": ratio_interval(found.halved.mean(axis=0), found.effect, groups),
        "halved_model": ratio_interval(found.whole_halved.mean(axis=0), found.effect, groups),
        "incompleteness": jackknife(apart, groups),
    }
    return [
        {**about, "metric": metric, "control": "", **one._asdict()} for metric, one in told.items()
    ]


def _arms(found: Measured) -> dict[str, Gains]:
    return {"": found.own, **found.rivals}


def _curves(found: Measured, groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    rows: FaithfulRows = []
    for level, size in enumerate(found.sizes[1:], start=1):
        here = {**about, "metric": "faithfulness", "share": size.share, **_counts(size.parts)}
        for control, gains in _arms(found).items():
            own = ratio_interval(gains[level], found.effect, groups)
            rows.append({**here, "control": control, **own._asdict()})
        drawn = found.random[:, level].sum(axis=1) / found.effect.sum()
        rows.append({**here, "control": "random", **_spread(drawn)})
    return rows


def _circuit(found: Measured, groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    size = found.sizes[0]
    here = {**about, "share": size.share, **_counts(size.parts)}
    rows: FaithfulRows = []
    drawn = found.random[:, 0].sum(axis=1)
    for control, gains in _arms(found).items():
        own = ratio_interval(gains[0], found.effect, groups)._asdict()
        tested = {} if control else {"p": permutation_p(float(gains[0].sum()), drawn)}
        row = {"metric": "circuit_faithfulness", "control": control}
        rows.append({**here, **row, **own, **tested})
    random = _spread(drawn / found.effect.sum())
    rows.append({**here, "metric": "circuit_faithfulness", "control": "random", **random})
    further = ratio_interval(found.circuit - found.random[:, 0].mean(axis=0), found.effect, groups)
    p = permutation_p(float(found.circuit.sum()), drawn)
    rows.append({**here, "metric": "above_random", "control": "", **further._asdict(), "p": p})
    return [*rows, *_below_greedy([found], groups, about)]


def _below_greedy(found: Sequence[Measured], groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    """What the greedy choice holds more than the circuits do; its p flips the signs of scenarios.
    None where it was not asked for.
    """
    if not all(GREEDY in one.rivals for one in found):
        return []
    effect = np.concatenate([one.effect for one in found])
    more = np.concatenate([one.rivals[GREEDY][0] - one.circuit for one in found])
    tested = {**tested_mean(more, groups), **ratio_interval(more, effect, groups)._asdict()}
    return [{**about, "metric": "below_greedy", "control": "", **tested}]


def _areas(found: Measured, groups: Labels, about: dict[str, Any]) -> FaithfulRows:
    rows: FaithfulRows = []
    drawn = np.array([curve_area(one, found).sum() for one in found.random])
    total = float(found.effect.sum())
    for control, gains in _arms(found).items():
        area = curve_area(gains, found)
        tested = {} if control else {"p": permutation_p(float(area.sum()), drawn)}
        cpr = ratio_interval(area, found.effect, groups)._asdict()
        rows.append({**about, "metric": "cpr", "control": control, **cpr, **tested})
        cmd = _distance(gains, found, groups)._asdict()
        rows.append({**about, "metric": "cmd", "control": control, **cmd})
    rows.append({**about, "metric": "cpr", "control": "random", **_spread(drawn / total)})
    every = np.ones((1, len(found.effect)))
    apart = [_off(one, found, every)[0] for one in found.random]
    rows.append({**about, "metric": "cmd", "control": "random", **_spread(np.array(apart))})
    return rows


def _distance(gains: Gains, found: Measured, groups: Labels) -> Estimate:
    """CMD with an interval from leaving out each scenario; none with fewer than two of them."""
    return jackknife(lambda weights: _off(gains, found, weights), groups)


def _off(
    gains: Gains, found: Measured, weights: Float[np.ndarray, "draw pair"]
) -> Float[np.ndarray, " draw"]:
    """The integral of |1 - f|, for each draw of pairs."""
    f = (weights @ _closed(gains, found).T) / (weights @ found.effect)[:, None]
    return np.trapezoid(np.abs(1 - f), _places(found), axis=1)


def _spread(drawn: Float[np.ndarray, " draw"]) -> dict[str, Any]:
    """The mean of random orders, and their range, which is no interval of it."""
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    mean = Estimate(float(drawn.mean()), np.nan, np.nan, len(drawn))
    return {**mean._asdict(), "draw_low": low, "draw_high": high}


def _counts(parts: Mapping[str, int]) -> dict[str, int]:
    return {"k": sum(parts.values()), **{f"{kind}s": n for kind, n in parts.items()}}


def _pooled(found: Sequence[Measured], groups: Sequence[Labels], outcome: str) -> FaithfulRows:
    """All emotions together: each one's own circuit in its own pairs."""
    about = {"emotion": ALL, "outcome": outcome}
    effect = np.concatenate([one.effect for one in found])
    labels = [str(group) for mine in groups for group in mine]
    rows = _effect(effect, labels, about)
    if not _sure(effect, labels):
        return rows
    rows += _above_the_line(found, labels, outcome, "circuit_faithfulness", _at(0))
    rows += _above_the_line(found, labels, outcome, "cpr", curve_area)
    for level, size in enumerate(found[0].sizes[1:], start=1):
        mine = _above_the_line(found, labels, outcome, "faithfulness", _at(level))
        rows += [{**row, "share": size.share, **_counts(size.parts)} for row in mine]
    further = np.concatenate([one.circuit - one.random[:, 0].mean(axis=0) for one in found])
    tested = next(row for row in rows if row["metric"] == "circuit_faithfulness")
    p = {name: tested[name] for name in ("p", "least_p")}
    row = {**about, "metric": "above_random", "control": "", **p}
    rows.append({**row, **ratio_interval(further, effect, labels)._asdict()})
    rows += _below_greedy(found, labels, about)
    return [*rows, *_pooled_without(found, labels, effect, about)]


def _pooled_without(
    found: Sequence[Measured],
    labels: Labels,
    effect: Float[np.ndarray, " pair"],
    about: dict[str, Any],
) -> FaithfulRows:
    without = np.concatenate([one.without for one in found])
    random = np.concatenate([one.random_without.mean(axis=0) for one in found])
    drawn = [one.random_without.sum(axis=1) for one in found]
    tested = {
        "p": strata_p(-np.array([one.without.sum() for one in found]), [-one for one in drawn]),
        "least_p": least_strata_p([len(one) for one in drawn]),
    }
    here = {**about, "metric": "left_without"}
    spread = {**_spread(sums_of_strata(drawn) / effect.sum()), "n": sum(map(len, drawn))}
    less = ratio_interval(random - without, effect, labels)._asdict()
    return [
        {**here, "control": "", **ratio_interval(without, effect, labels)._asdict()},
        {**here, "control": "random", **spread},
        {**about, "metric": "less_without", "control": "", **less, **tested},
    ]


Above = Callable[[Gains, Measured], Float[np.ndarray, " pair"]]
"""What stands above the line of a ratio, in each pair, from an order's gains at all levels."""


def _at(level: int) -> Above:
    """What is kept at one level."""
    return lambda gains, _: gains[level]


def _above_the_line(
    found: Sequence[Measured], labels: Labels, outcome: str, metric: str, above: Above
) -> FaithfulRows:
    """The rows of one ratio over all emotions: of the circuits, and beside them of their rivals and
    of random orders. Its p takes, in every emotion, one of the circuit and the
    random orders at random (`strata_p`).
    """
    about = {"emotion": ALL, "outcome": outcome, "metric": metric}
    effect = np.concatenate([one.effect for one in found])
    drawn = [np.array([above(one, mine).sum() for one in mine.random]) for mine in found]
    own = [above(mine.own, mine) for mine in found]
    tested = {
        "p": strata_p(np.array([one.sum() for one in own]), drawn),
        "least_p": least_strata_p([len(one) for one in drawn]),
    }
    estimate = ratio_interval(np.concatenate(own), effect, labels)._asdict()
    rows: FaithfulRows = [{**about, "control": "", **estimate, **tested}]
    for control in found[0].rivals:
        if all(control in mine.rivals for mine in found):
            rival = np.concatenate([above(mine.rivals[control], mine) for mine in found])
            estimate = ratio_interval(rival, effect, labels)._asdict()
            rows.append({**about, "control": control, **estimate})
    random = _spread(sums_of_strata(drawn) / effect.sum())
    n = sum(len(one) for one in drawn)
    return [*rows, {**about, "control": "random", **random, "n": n}]
