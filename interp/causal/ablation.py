"""Ablation: knock out the heads or neurons that write an emotion, and see what is lost, of it and of the others.

1. Components come ranked (attribution.py) from *one* half of the pairs; a `Bench` holds the other half.
2. The top k are knocked out at every token of the affective text: set to zero, to their mean, or to what they are in the
   neutral twin (`resample`, the default: the value that this very story has without its emotion).
3. Measured: the drop of the projection on the emotion's direction at the text's last token, and the change of the readout's
   log-probability of its words, for every target emotion (the E x E specificity matrix).
4. Control: k random components of the same layers, several draws, with p = (1 + draws at least as large) / (1 + draws).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.attribution import KINDS, Component, DirectionLike
from interp.causal.edits import exchange, replace
from interp.causal.intervals import Estimate, bootstrap_weights, mean_interval, place
from interp.causal.interventions import Intervention
from interp.causal.passes import Encoded, batches, encode, run
from interp.causal.prefix import TOKENS_AT_ONCE, Prefix
from interp.causal.readout import Readout
from interp.causal.twins import align
from interp.errors import ArtefactError, InternalError, StatisticsError, UsageError
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site
from stimuli.battery import Pair

METHOD = "ablation"
MODES = ("resample", "mean", "zero")
METRICS = ("projection_drop", "label_logprob_change")
PREFIX_TOKENS = 1024
"""Tokens of the texts whose plans share a prefix and their twins' activations."""


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

    Metrics: `projection_drop`, the fall of the projection in units of the direction's natural step (`scale`; 1 = the whole mean
    difference between twins), and `label_logprob_change` in nats. Rows with control `random` give the mean of `n_draws` random
    choices in the same layers, with the draws' 2.5 and 97.5 percentiles, on the emotion's own texts. `p` stands on its own row.
    A k beyond the components there are is left out; if all are, all components are knocked out.
    Raises `UsageError` for an unknown mode, no components, k or n_draws below 1; `InternalError` for a component ablated twice.
    """
    if mode not in MODES or min(ks, default=0) < 1 or n_draws < 1:
        raise UsageError(
            f"ablation mode {mode!r}, ks {tuple(ks)}, n_draws {n_draws}: modes are {', '.join(MODES)}; counts start at 1."
        )
    rng = np.random.default_rng(seed)
    everywhere = tuple(range(len(bench.pairs)))
    plans = [Plan((), everywhere)]
    arms: list[tuple[str, int, str, int]] = []
    for emotion, order in components.items():
        own = tuple(i for i in everywhere if bench.emotions[i] == emotion)
        for k in _available(ks, len(order), emotion):
            top = tuple(order[:k])
            draws = [_same_layers(top, bench.model, rng) for _ in range(n_draws)] if own else []
            arms += [(emotion, k, "", len(plans)), (emotion, k, "random", len(plans) + 1)]
            plans += [Plan(top, everywhere), *(Plan(draw, own) for draw in draws)]
    effects = measure(bench, plans, mode=mode)
    rows = []
    for emotion, k, control, first in arms:
        kind = "head" if components[emotion][0].name == KINDS["head"] else "neuron"
        common = {"method": METHOD, "emotion": emotion, "component": kind, "k": k, "control": control, "mode": mode}
        if control:
            rows += _random_rows(bench, effects, slice(first, first + n_draws), emotion, common)
        else:
            rows += _top_rows(bench, effects, first, n_draws, common, seed)
    return rows


def measure(bench: Bench, plans: Sequence[Plan], *, mode: str = "resample") -> Effects:
    """The effects of each plan on each of its pairs, many plans per forward pass.

    Raises `InternalError` for a plan that names a component twice, `UsageError` for one that the model lacks.
    """
    for plan in plans:
        _check(plan, bench.model)
    texts = _encode(bench, mode)
    bound = bench.readout.bind(bench.model)
    columns = torch.tensor([bound.column(emotion) for emotion in bench.emotions])
    sites = tuple({bench.directions[emotion].site for emotion in bench.emotions})
    means = _means(bench.model, [*texts.own, *texts.twins], plans) if mode == "mean" else {}
    shape = (len(plans), len(texts.own))
    effects = Effects(np.full(shape, np.nan), np.full(shape, np.nan))
    ready: _Ready | None = None
    for chunk, jobs in track(_work(texts, plans), f"ablating ({mode})", unit="pass"):
        if ready is None or ready.chunk is not chunk:
            ready = _make_ready(bench.model, texts, chunk, plans if mode == "resample" else ())
        pair, of_plan = [i for i, _ in jobs], [p for _, p in jobs]
        edits = _edits(bench.model, ready, pair, [plans[p] for p in of_plan], means)
        result = ready.prefix.run(edits, read=sites, rows=[ready.row_of[i] for i in pair])
        scores = bound.scores(result.logits).cpu()
        streams = {site: result.at(site, [texts.own[i].end for i in pair]).double().cpu().numpy() for site in sites}
        effects.score[of_plan, pair] = scores[torch.arange(len(pair)), columns[pair]].numpy()
        effects.projection[of_plan, pair] = [
            float(streams[direction.site][row] @ np.asarray(direction.vector, dtype=np.float64))
            for row, direction in enumerate(bench.directions[bench.emotions[i]] for i in pair)
        ]
    return effects


class _Texts(NamedTuple):
    """The affective texts and their twins as tokens, and the first position of each that a plan may change."""

    own: list[Encoded]
    twins: list[Encoded]
    starts: list[int]


def _encode(bench: Bench, mode: str) -> _Texts:
    """Before the edit a text and its twin are the same: resampling changes nothing there."""
    own = encode(bench.model, [pair.affective for pair in bench.pairs], bench.readout)
    twins = encode(bench.model, [pair.neutral for pair in bench.pairs], bench.readout)
    if mode != "resample":
        return _Texts(own, twins, [0] * len(own))
    edits = [align(twin.tokens, text.tokens).target_edit[0] for text, twin in zip(own, twins, strict=True)]
    return _Texts(own, twins, [min(edit, text.end) for edit, text in zip(edits, own, strict=True)])


Chunk = tuple[int, ...]
"""Indices of texts that share a prefix pass."""

Jobs = list[tuple[int, int]]
"""(text, plan): the rows of one forward pass."""


def _work(texts: _Texts, plans: Sequence[Plan]) -> list[tuple[Chunk, Jobs]]:
    """All passes: texts in chunks, and of each chunk its plans, those that begin at a higher layer last."""
    behind = [len(text.tokens) - start for text, start in zip(texts.own, texts.starts, strict=True)]
    lowest = [min((one.layer for one in plan.components), default=0) for plan in plans]
    work: list[tuple[Chunk, Jobs]] = []
    for indices in batches(texts.own, budget=PREFIX_TOKENS, sizes=behind):
        chunk = tuple(int(i) for i in indices)
        jobs = [(i, p) for i in chunk for p, plan in enumerate(plans) if i in plan.pairs]
        jobs.sort(key=lambda job: lowest[job[1]])
        most = max(1, TOKENS_AT_ONCE // max(behind[i] for i in chunk))
        work += [(chunk, jobs[first : first + most]) for first in range(0, len(jobs), most)]
    return work


class _Ready(NamedTuple):
    """A chunk's prefix, and what the twins hold at each site: `values`, of which `place` tells the
    number that belongs at a text's position.
    """

    chunk: Chunk
    prefix: Prefix
    row_of: dict[int, int]
    values: dict[Site, Float[Tensor, " value *site"]]
    place: Int[Tensor, "text pos"]


def _make_ready(model: LanguageModel, texts: _Texts, chunk: Chunk, plans: Sequence[Plan]) -> _Ready:
    """The prefix of the chunk's texts, and what its twins hold at the sites that `plans` touch."""
    own = [texts.own[i] for i in chunk]
    twins = [texts.twins[i] for i in chunk]
    prefix = Prefix(model, own, [texts.starts[i] for i in chunk])
    captured = run(model, twins, read=tuple(_units(plans, model))).sites if plans else {}
    width = max(len(twin.tokens) for twin in twins)
    place_of = torch.zeros(len(chunk), max(len(text.tokens) for text in own), dtype=torch.long)
    for row, (text, twin) in enumerate(zip(own, twins, strict=True)):
        source = align(twin.tokens, text.tokens).source_of
        place_of[row, : len(source)] = torch.from_numpy(source) + row * width
    values = {site: x.flatten(0, 1) for site, x in captured.items()}
    return _Ready(chunk, prefix, {i: row for row, i in enumerate(chunk)}, values, place_of)


def _edits(
    model: LanguageModel,
    ready: _Ready,
    pair: Sequence[int],
    plans: Sequence[Plan],
    means: Mapping[Site, Tensor],
) -> list[Intervention]:
    """The knock-outs of one pass, whose row r is text `pair[r]` under `plans[r]`."""
    place_of = ready.place[[ready.row_of[i] for i in pair]]
    return [
        Intervention(
            site,
            exchange(ready.values[site], place_of, units=units)
            if site in ready.values
            else replace(means.get(site, _zeros(site, model)), units=units),
        )
        for site, units in _units(plans, model).items()
    ]


def _units(plans: Sequence[Plan], model: LanguageModel) -> dict[Site, Tensor]:
    """For each site that any plan touches, which units are knocked out in which row."""
    chosen: dict[Site, Tensor] = {}
    for row, plan in enumerate(plans):
        for component in plan.components:
            site = Site(component.name, component.layer)
            if site not in chosen:
                chosen[site] = torch.zeros(len(plans), _width(component.name, model), dtype=torch.bool)
            chosen[site][row, component.index] = True
    return chosen


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


def _width(name: str, model: LanguageModel) -> int:
    return model.dims.n_heads if name == KINDS["head"] else model.dims.d_mlp


def _check(plan: Plan, model: LanguageModel) -> None:
    twice = [component for component, times in Counter(plan.components).items() if times > 1]
    if twice:
        raise InternalError(f"{twice[0]} is ablated twice in one plan: list each component once.")
    for component in plan.components:
        if component.name not in KINDS.values() or not (
            0 <= component.layer < model.dims.n_layers and 0 <= component.index < _width(component.name, model)
        ):
            raise UsageError(f"{model.name} has no {component}: layers and indices count from 0, names are z and post.")


def _available(ks: Sequence[int], n: int, emotion: str) -> list[int]:
    if not n:
        raise UsageError(f"no components are given for {emotion}: there is nothing to ablate.")
    return [k for k in sorted(set(ks)) if k <= n] or [n]


def _same_layers(top: Sequence[Component], model: LanguageModel, rng: np.random.Generator) -> tuple[Component, ...]:
    """As many random components a layer as `top` has there, others than these where the layer has enough."""
    drawn: list[Component] = []
    for (name, layer), n in Counter((component.name, component.layer) for component in top).items():
        pool = [i for i in range(_width(name, model)) if Component(name, layer, i) not in top]
        pool = pool if len(pool) >= n else list(range(_width(name, model)))
        drawn += [Component(name, layer, int(i)) for i in rng.choice(pool, size=n, replace=False)]
    return tuple(drawn)


def _changes(bench: Bench, effects: Effects, plan: int | slice, target: str) -> dict[str, Float[np.ndarray, "*plan pair"]]:
    """Both metrics of each pair of the target emotion."""
    mine = np.array([emotion == target for emotion in bench.emotions])
    scale = bench.directions[target].scale
    fall = (effects.projection[0] - effects.projection[plan]) / scale
    change = effects.score[plan] - effects.score[0]
    return {"projection_drop": fall[..., mine], "label_logprob_change": change[..., mine]}


def _top_rows(
    bench: Bench, effects: Effects, plan: int, n_draws: int, common: Mapping[str, Any], seed: int
) -> list[dict[str, Any]]:
    rows = []
    for target in dict.fromkeys(bench.emotions):
        groups = [pair.affective.group for pair in bench.pairs if pair.affective.emotion == target]
        weights = bootstrap_weights(groups, seed=seed)
        random = _changes(bench, effects, slice(plan + 1, plan + 1 + n_draws), target) if target == common["emotion"] else None
        for metric, values in _changes(bench, effects, plan, target).items():
            row = {**place(None), **common, "target": target, "metric": metric, **mean_interval(values, weights)._asdict()}
            if random is not None:
                row["p"] = _p_value(float(values.mean()), random[metric].mean(axis=1), metric)
            rows.append(row)
    return rows


def _p_value(observed: float, draws: Float[np.ndarray, " draw"], metric: str) -> float:
    """The share of random draws that do at least as much as the components chosen (a fall of the label's log-probability)."""
    sign = 1 if metric == "projection_drop" else -1
    return float((1 + (sign * draws >= sign * observed).sum()) / (1 + len(draws)))


def _random_rows(bench: Bench, effects: Effects, plans: slice, emotion: str, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    if emotion not in bench.emotions:
        return []
    rows = []
    for metric, values in _changes(bench, effects, plans, emotion).items():
        draws = values.mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        value = float(draws.mean())
        spread = Estimate(value, min(float(low), value), max(float(high), value), len(draws))
        rows.append({**place(None), **common, "target": emotion, "metric": metric, **spread._asdict()})
    return rows
