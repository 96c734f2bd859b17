"""Ablation: knock out the heads or neurons that write an emotion, and see what is lost, of it and
of the others.

1. Components come ranked (contributions.py) from *one* half of the pairs; a `Bench` holds the other
   half.
2. The top k are knocked out at every token of the affective text: set to zero, to their mean, or to
   what they are in the neutral twin (`resample`, the default: the value that this very story has
   without its emotion).
3. Measured: the drop of the projection on the emotion's direction at the text's last token, and the
   change of the readout's log-probability of its words, for every target emotion (the E x E
   specificity matrix).
4. Control: k random components of the same layers, several draws, with p = (1 + draws at least as
   large) / (1 + draws). None of the chosen ones is ever among them, and no two draws are the same:
   where a layer has too few others, the rest comes from the other layers that write to the
   direction (column `matched`), and where these are too few there is no control and no p.
5. All emotions together (`all`): each one's own components and texts, in one mean. Its p takes, in
   every emotion, one of the chosen and the drawn sets at random, so that a few draws per emotion
   suffice for a small one (`interp.chance.strata_p`); `least_p` is the smallest that so many can
   give.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.bench import Bench, Effects, Knockout
from interp.causal.contributions import KINDS, Component, is_unit
from interp.causal.knockout import measure
from interp.causal.matching import matched_draws
from interp.causal.pooled import ALL
from interp.causal.stand_ins import STAND_INS
from interp.chance import least_strata_p, permutation_p, strata_p, sums_of_strata
from interp.defaults import STAND_IN
from interp.errors import UsageError
from interp.sites import site_columns
from interp.stats import Estimate, mean_interval

ABLATION = "ablation"
METRICS = ("projection_drop", "label_logprob_change")


class _Arm(NamedTuple):
    """The top k of an emotion: the number of its plan, and those of its random draws, matched by
    "layer" or "layers".
    """

    emotion: str
    k: int
    matched: str
    plan: int
    draws: slice


def ablate(
    bench: Bench,
    components: Mapping[str, Sequence[Component]],
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    mode: str = STAND_IN,
    n_draws: int = 20,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of knocking out the top k of `components[emotion]` (all heads, or all neurons), for each
    emotion of the bench.

    Metrics: `projection_drop`, the fall of the projection in units of the direction's natural
    length (`length`; 1 = as far as held-out twins differ), and `label_logprob_change` in nats.
    Where that is not surely above zero, the fall has no unit and has no row, with a warning. Rows
    with control `random` give the mean of `n_draws` random choices on the emotion's own texts; it
    has no interval, `draw_low` and `draw_high` are the draws' 2.5 and 97.5 percentiles; `matched`
    says whether they are of the same layers ("layer") or of others too ("layers"). `p` stands on
    the emotion's own row and on that of all together; NaN where nothing could be drawn. A k beyond
    the components there are is left out; if all are, all components are knocked out. Raises
    `UsageError` for an unknown mode, no components, k or n_draws below 1; `InternalError` for a
    component ablated twice.
    """
    if mode not in STAND_INS or min(ks, default=0) < 1 or n_draws < 1:
        raise UsageError(
            f"ablation mode {mode!r}, ks {tuple(ks)}, n_draws {n_draws}: modes are "
            f"{', '.join(STAND_INS)}; counts start at 1."
        )
    rng = np.random.default_rng(seed)
    _warn_without_length(bench)
    everywhere = tuple(range(len(bench.pairs)))
    plans = [Knockout((), everywhere)]
    arms: list[_Arm] = []
    for emotion, order in components.items():
        own = tuple(i for i in everywhere if bench.emotions[i] == emotion)
        for k in _available(ks, len(order), emotion):
            top = tuple(order[:k])
            draws, matched = (
                matched_draws(
                    top, bench.model, bench.directions[emotion].site, n_draws=n_draws, rng=rng
                )
                if own
                else ([], "")
            )
            arms.append(
                _Arm(
                    emotion,
                    k,
                    matched,
                    len(plans),
                    slice(len(plans) + 1, len(plans) + 1 + len(draws)),
                )
            )
            plans += [Knockout(top, everywhere), *(Knockout(draw, own) for draw in draws)]
    effects = measure(bench, plans, mode=mode)
    rows = []
    for arm in arms:
        kind = "head" if components[arm.emotion][0].name == KINDS["head"] else "neuron"
        common = {
            "method": ABLATION,
            "emotion": arm.emotion,
            "component": kind,
            "k": arm.k,
            "mode": mode,
        }
        rows += _top_rows(bench, effects, arm, {**common, "control": "", "matched": ""})
        rows += _random_rows(
            bench, effects, arm, {**common, "control": "random", "matched": arm.matched}
        )
    for k in dict.fromkeys(arm.k for arm in arms):
        together = [arm for arm in arms if arm.k == k]
        if {arm.emotion for arm in together} == set(components):
            kind = "head" if next(iter(components.values()))[0].name == KINDS["head"] else "neuron"
            common = {
                "method": ABLATION,
                "emotion": ALL,
                "target": ALL,
                "component": kind,
                "k": k,
                "mode": mode,
            }
            rows += _pooled_rows(bench, effects, together, common)
    return rows


def _available(ks: Sequence[int], n: int, emotion: str) -> list[int]:
    if not n:
        raise UsageError(f"no components are given for {emotion}: there is nothing to ablate.")
    return [k for k in sorted(set(ks)) if k <= n] or [n]


def _warn_without_length(bench: Bench) -> None:
    lost = sorted({emotion for emotion in bench.emotions if not is_unit(bench.directions[emotion])})
    if lost:
        warnings.warn(
            f"the direction of {', '.join(lost)} has no held-out length that is surely above "
            "zero, so that a fall of the projection on it has no unit: it is left out.",
            stacklevel=3,
        )


def _changes(
    bench: Bench, effects: Effects, plan: int | slice, target: str
) -> dict[str, Float[np.ndarray, "*plan pair"]]:
    """Both metrics of each pair of the target emotion; the first only where its direction has a
    length.
    """
    mine = np.array([emotion == target for emotion in bench.emotions])
    found = {"label_logprob_change": (effects.score[plan] - effects.score[0])[..., mine]}
    if is_unit(direction := bench.directions[target]):
        fall = effects.projection[0] - effects.projection[plan]
        found = {"projection_drop": fall[..., mine] / direction.length, **found}
    return found


def _top_rows(
    bench: Bench, effects: Effects, arm: _Arm, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    rows = []
    for target in dict.fromkeys(bench.emotions):
        groups = [pair.affective.group for pair in bench.pairs if pair.affective.emotion == target]
        random = _changes(bench, effects, arm.draws, target) if target == arm.emotion else None
        for metric, values in _changes(bench, effects, arm.plan, target).items():
            own = mean_interval(values, groups)._asdict()
            row = {**site_columns(None), **common, "target": target, "metric": metric, **own}
            if random is not None:
                row["p"] = _p_value(float(values.mean()), random[metric].mean(axis=1), metric)
            rows.append(row)
    return rows


def _p_value(observed: float, draws: Float[np.ndarray, " draw"], metric: str) -> float:
    """The share of random draws that do at least as much (here a label's log-probability falls);
    NaN where there is none.
    """
    sign = 1 if metric == "projection_drop" else -1
    return permutation_p(sign * observed, sign * draws) if len(draws) else np.nan


def _random_rows(
    bench: Bench, effects: Effects, arm: _Arm, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if arm.draws.start == arm.draws.stop:
        return []
    rows = []
    for metric, values in _changes(bench, effects, arm.draws, arm.emotion).items():
        rows.append(
            {
                **site_columns(None),
                **common,
                "target": arm.emotion,
                "metric": metric,
                **_spread(values.mean(axis=1)),
            }
        )
    return rows


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
    bench: Bench, effects: Effects, arms: Sequence[_Arm], common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Each emotion's own components, on its own texts, all emotions in one mean."""
    rows = []
    own = {arm.emotion: _changes(bench, effects, arm.plan, arm.emotion) for arm in arms}
    drawn = {
        arm.emotion: _changes(bench, effects, arm.draws, arm.emotion)
        for arm in arms
        if arm.draws.stop > arm.draws.start
    }
    for metric in METRICS:
        told = [emotion for emotion, found in own.items() if metric in found and len(found[metric])]
        if not told:
            continue
        here = {**site_columns(None), **common, "metric": metric}
        groups = [
            pair.affective.group
            for emotion in told
            for pair in bench.pairs
            if pair.affective.emotion == emotion
        ]
        row: dict[str, Any] = {**here, "control": "", "matched": "", "p": np.nan, "least_p": np.nan}
        random: list[dict[str, Any]] = []
        row |= mean_interval(
            np.concatenate([own[emotion][metric] for emotion in told]), groups
        )._asdict()
        if all(emotion in drawn for emotion in told):
            sign = 1 if metric == "projection_drop" else -1
            sums = {emotion: drawn[emotion][metric].sum(axis=1) for emotion in told}
            chosen = np.array([own[emotion][metric].sum() for emotion in told])
            row["p"] = strata_p(sign * chosen, [sign * sums[emotion] for emotion in told])
            row["least_p"] = least_strata_p([len(sums[emotion]) for emotion in told])
            spread = _spread_of_strata(list(sums.values()), len(groups))
            random = [{**here, "control": "random", "matched": "", **spread}]
        rows += [row, *random]
    return rows
