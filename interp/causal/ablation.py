"""Ablation: knock out the heads or neurons that write an emotion, and see what is lost, of it and of the others.

1. Components come ranked (attribution.py) from *one* half of the pairs; a `Bench` holds the other half.
2. The top k are knocked out at every token of the affective text: set to zero, to their mean, or to what they are in the
   neutral twin (`resample`, the default: the value that this very story has without its emotion).
3. Measured: the drop of the projection on the emotion's direction at the text's last token, and the change of the readout's
   log-probability of its words, for every target emotion (the E x E specificity matrix).
4. Control: k random components of the same layers, several draws, with p = (1 + draws at least as large) / (1 + draws). None
   of the chosen ones is ever among them: where a layer has too few others, the rest comes from the other layers that write to
   the direction (column `matched`), and where these are too few there is no control and no p.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.attribution import KINDS, Component, DirectionLike, is_unit
from interp.causal.edits import replace
from interp.causal.interventions import Intervention
from interp.causal.matching import matched_draws, width
from interp.causal.passes import Encoded, batches, encode, run
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.twins import align
from interp.errors import ArtefactError, InternalError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site, place
from interp.stats import Estimate, mean_interval, permutation_p
from stimuli.battery import Pair

METHOD = "ablation"
MODES = ("resample", "mean", "zero")
METRICS = ("projection_drop", "label_logprob_change")


@dataclass(frozen=True, eq=False)
class Bench:
    """What ablations are measured on: pairs that did not choose the components, a direction an emotion, and a readout.

    Raises `StatisticsError` for no pairs, `UsageError` for an emotion without direction, `ArtefactError` for a direction of
    another width.
    """

    model: LanguageModel
    pairs: Sequence[Pair]
    directions: Mapping[str, DirectionLike]
    readout: Readout

    def __post_init__(self) -> None:
        if not self.pairs:
            raise StatisticsError("an ablation needs at least one pair to be measured on, and none was given.")
        missing = sorted(set(self.emotions) - set(self.directions))
        if missing:
            raise UsageError(f"no direction is given for {', '.join(missing)}: fit one, or leave these pairs out.")
        for emotion, direction in self.directions.items():
            if len(direction.vector) != self.model.dims.d_model:
                raise ArtefactError(
                    f"the direction for {emotion} is {len(direction.vector)} wide and {self.model.name} is "
                    f"{self.model.dims.d_model} wide: fit it on this model."
                )

    @property
    def emotions(self) -> list[str]:
        """The emotion of each pair."""
        return [pair.affective.emotion for pair in self.pairs]


class Plan(NamedTuple):
    """Components to knock out together, and the indices of the pairs whose affective text they are knocked out of."""

    components: tuple[Component, ...]
    pairs: tuple[int, ...]


class _Arm(NamedTuple):
    """The top k of an emotion: the number of its plan, and those of its random draws, matched by "layer" or "layers"."""

    emotion: str
    k: int
    matched: str
    plan: int
    draws: slice


class Effects(NamedTuple):
    """The projection on the pair's own emotion's unit direction, and the readout's score of it in nats; NaN where not run."""

    projection: Float[np.ndarray, "plan pair"]
    score: Float[np.ndarray, "plan pair"]


def ablate(
    bench: Bench,
    components: Mapping[str, Sequence[Component]],
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    mode: str = "resample",
    n_draws: int = 20,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of knocking out the top k of `components[emotion]` (all heads, or all neurons), for each emotion of the bench.

    Metrics: `projection_drop`, the fall of the projection in units of the direction's natural length (`scale`; 1 = as far as
    held-out twins differ), and `label_logprob_change` in nats. Where that is not surely above zero, the fall has no unit
    and has no row, with a warning. Rows with control `random` give the mean of `n_draws` random choices, with the
    draws' 2.5 and 97.5 percentiles, on the emotion's own texts; `matched` says whether they are of the same layers ("layer") or
    of others too ("layers"). `p` stands on the emotion's own row; NaN where nothing could be drawn.
    A k beyond the components there are is left out; if all are, all components are knocked out.
    Raises `UsageError` for an unknown mode, no components, k or n_draws below 1; `InternalError` for a component ablated twice.
    """
    if mode not in MODES or min(ks, default=0) < 1 or n_draws < 1:
        raise UsageError(
            f"ablation mode {mode!r}, ks {tuple(ks)}, n_draws {n_draws}: modes are {', '.join(MODES)}; counts start at 1."
        )
    rng = np.random.default_rng(seed)
    _warn_without_length(bench)
    everywhere = tuple(range(len(bench.pairs)))
    plans = [Plan((), everywhere)]
    arms: list[_Arm] = []
    for emotion, order in components.items():
        own = tuple(i for i in everywhere if bench.emotions[i] == emotion)
        for k in _available(ks, len(order), emotion):
            top = tuple(order[:k])
            draws, matched = (
                matched_draws(top, bench.model, bench.directions[emotion].site, n_draws=n_draws, rng=rng) if own else ([], "")
            )
            arms.append(_Arm(emotion, k, matched, len(plans), slice(len(plans) + 1, len(plans) + 1 + len(draws))))
            plans += [Plan(top, everywhere), *(Plan(draw, own) for draw in draws)]
    effects = measure(bench, plans, mode=mode)
    rows = []
    for arm in arms:
        kind = "head" if components[arm.emotion][0].name == KINDS["head"] else "neuron"
        common = {"method": METHOD, "emotion": arm.emotion, "component": kind, "k": arm.k, "mode": mode}
        rows += _top_rows(bench, effects, arm, {**common, "control": "", "matched": ""})
        rows += _random_rows(bench, effects, arm, {**common, "control": "random", "matched": arm.matched})
    return rows


def measure(bench: Bench, plans: Sequence[Plan], *, mode: str = "resample") -> Effects:
    """The effects of each plan on each of its pairs, many plans a forward pass.

    Raises `InternalError` for a plan that names a component twice, `UsageError` for one that the model lacks.
    """
    for plan in plans:
        _check(plan, bench.model)
    texts = encode(bench.model, [pair.affective for pair in bench.pairs], bench.readout)
    twins = encode(bench.model, [pair.neutral for pair in bench.pairs], bench.readout)
    bound = bench.readout.bind(bench.model)
    columns = torch.tensor([bound.column(emotion) for emotion in bench.emotions])
    sites = tuple({bench.directions[emotion].site for emotion in bench.emotions})
    means = _means(bench.model, [*texts, *twins], plans) if mode == "mean" else {}
    # before the edit a text and its twin are the same: resampling changes nothing there, and one prefix serves all plans
    starts = [align(b.tokens, a.tokens).target_edit[0] if mode == "resample" else 0 for a, b in zip(texts, twins, strict=True)]
    jobs = [(i, p) for i in range(len(texts)) for p, plan in enumerate(plans) if i in plan.pairs]
    shape = (len(plans), len(texts))
    effects = Effects(np.full(shape, np.nan), np.full(shape, np.nan))
    behind = [len(texts[i].tokens) - starts[i] for i, _ in jobs]
    for batch in track(batches([texts[i] for i, _ in jobs], sizes=behind), f"ablating ({mode})", unit="batch"):
        pair, of_plan = [jobs[j][0] for j in batch], [jobs[j][1] for j in batch]
        chosen = _units([plans[p] for p in of_plan], bench.model)
        values = _twin_values(bench.model, texts, twins, pair, tuple(chosen)) if mode == "resample" else means
        edits = [Intervention(s, replace(values.get(s, _zeros(s, bench.model)), units=units)) for s, units in chosen.items()]
        distinct = sorted(set(pair))
        prefix = Prefix(bench.model, [texts[i] for i in distinct], [min(starts[i], texts[i].end) for i in distinct])
        result = prefix.run(edits, read=sites, rows=[distinct.index(i) for i in pair])
        scores = bound.scores(result.logits).cpu()
        streams = {site: result.at(site, [texts[i].end for i in pair]).double().cpu().numpy() for site in sites}
        effects.score[of_plan, pair] = scores[torch.arange(len(pair)), columns[pair]].numpy()
        effects.projection[of_plan, pair] = [
            float(streams[direction.site][row] @ np.asarray(direction.vector, dtype=np.float64))
            for row, direction in enumerate(bench.directions[bench.emotions[i]] for i in pair)
        ]
    return effects


def _units(plans: Sequence[Plan], model: LanguageModel) -> dict[Site, Tensor]:
    """For each site that any plan touches, which units are knocked out in which row."""
    chosen: dict[Site, Tensor] = {}
    for row, plan in enumerate(plans):
        for component in plan.components:
            site = Site(component.name, component.layer)
            if site not in chosen:
                chosen[site] = torch.zeros(len(plans), width(component.name, model), dtype=torch.bool)
            chosen[site][row, component.index] = True
    return chosen


def _twin_values(
    model: LanguageModel, texts: Sequence[Encoded], twins: Sequence[Encoded], pair: Sequence[int], sites: tuple[Site, ...]
) -> dict[Site, Tensor]:
    """What the sites hold in each row's neutral twin, moved to the positions of the row's own text (twins.align)."""
    if not sites:
        return {}
    distinct = sorted(set(pair))
    captured = run(model, [twins[i] for i in distinct], read=sites).sites
    width = max(len(texts[i].tokens) for i in pair)
    taken = torch.zeros(len(distinct), width, dtype=torch.long)
    for place_, i in enumerate(distinct):
        source = align(twins[i].tokens, texts[i].tokens).source_of
        taken[place_, : len(source)] = torch.from_numpy(source)
    rows = torch.tensor([distinct.index(i) for i in pair])
    return {site: x[torch.arange(len(distinct))[:, None], taken.to(x.device)][rows] for site, x in captured.items()}


def _means(model: LanguageModel, rows: Sequence[Encoded], plans: Sequence[Plan]) -> dict[Site, Tensor]:
    """The mean activation over all tokens of all texts, at each site that a plan touches."""
    sites = tuple(_units(plans, model))
    sums: dict[Site, Tensor] = {}
    for batch in batches(rows):
        mine = [rows[i] for i in batch]
        for site, x in run(model, mine, read=sites).sites.items():
            parts = torch.stack([x[row, : len(one.tokens)].float().sum(0) for row, one in enumerate(mine)])
            sums[site] = parts.sum(0) + sums.get(site, torch.zeros_like(parts[0]))
    return {site: total / sum(len(row.tokens) for row in rows) for site, total in sums.items()}


def _zeros(site: Site, model: LanguageModel) -> Tensor:
    dims = model.dims
    return torch.zeros(dims.n_heads, dims.d_head) if site.name == KINDS["head"] else torch.zeros(dims.d_mlp)


def _check(plan: Plan, model: LanguageModel) -> None:
    twice = [component for component, times in Counter(plan.components).items() if times > 1]
    if twice:
        raise InternalError(f"{twice[0]} is ablated twice in one plan: list each component once.")
    for component in plan.components:
        if component.name not in KINDS.values() or not (
            0 <= component.layer < model.dims.n_layers and 0 <= component.index < width(component.name, model)
        ):
            raise UsageError(f"{model.name} has no {component}: layers and indices count from 0, names are z and post.")


def _available(ks: Sequence[int], n: int, emotion: str) -> list[int]:
    if not n:
        raise UsageError(f"no components are given for {emotion}: there is nothing to ablate.")
    return [k for k in sorted(set(ks)) if k <= n] or [n]


def _warn_without_length(bench: Bench) -> None:
    lost = sorted({emotion for emotion in bench.emotions if not is_unit(bench.directions[emotion])})
    if lost:
        warnings.warn(
            f"the direction of {', '.join(lost)} has no held-out length that is surely above zero, so that "
            "a fall of the projection on it has no unit: it is left out.",
            stacklevel=3,
        )


def _changes(bench: Bench, effects: Effects, plan: int | slice, target: str) -> dict[str, Float[np.ndarray, "*plan pair"]]:
    """Both metrics of each pair of the target emotion; the first only where its direction has a length."""
    mine = np.array([emotion == target for emotion in bench.emotions])
    found = {"label_logprob_change": (effects.score[plan] - effects.score[0])[..., mine]}
    if is_unit(direction := bench.directions[target]):
        fall = effects.projection[0] - effects.projection[plan]
        found = {"projection_drop": fall[..., mine] / direction.scale, **found}
    return found


def _top_rows(bench: Bench, effects: Effects, arm: _Arm, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for target in dict.fromkeys(bench.emotions):
        groups = [pair.affective.group for pair in bench.pairs if pair.affective.emotion == target]
        random = _changes(bench, effects, arm.draws, target) if target == arm.emotion else None
        for metric, values in _changes(bench, effects, arm.plan, target).items():
            row = {**place(None), **common, "target": target, "metric": metric, **mean_interval(values, groups)._asdict()}
            if random is not None:
                row["p"] = _p_value(float(values.mean()), random[metric].mean(axis=1), metric)
            rows.append(row)
    return rows


def _p_value(observed: float, draws: Float[np.ndarray, " draw"], metric: str) -> float:
    """The share of random draws that do at least as much (here a label's log-probability falls); NaN where there is none."""
    sign = 1 if metric == "projection_drop" else -1
    return permutation_p(sign * observed, sign * draws) if len(draws) else np.nan


def _random_rows(bench: Bench, effects: Effects, arm: _Arm, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    if arm.draws.start == arm.draws.stop:
        return []
    rows = []
    for metric, values in _changes(bench, effects, arm.draws, arm.emotion).items():
        draws = values.mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        value = float(draws.mean())
        spread = Estimate(value, min(float(low), value), max(float(high), value), len(draws))
        rows.append({**place(None), **common, "target": arm.emotion, "metric": metric, **spread._asdict()})
    return rows
