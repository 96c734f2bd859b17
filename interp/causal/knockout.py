"""Knock-outs: heads and neurons set to something else while the model reads, many sets of them per
pass.

What they are set to is what they are in the text's neutral twin (`resample`), or a constant of
`STAND_INS` for each class of positions. What stands before a text (BOS) is left alone: its
activations are like no other's.
Texts share a prefix pass, plans that begin at a high layer begin there, and the twins' activations
are taken once for all plans.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.alignment import align
from interp.causal.bench import Bench, Effects, Knockout
from interp.causal.contributions import KINDS
from interp.causal.edits import exchange
from interp.causal.forward import Encoded, batches, encode_stimuli, run_forward
from interp.causal.interventions import Intervention
from interp.causal.matching import width
from interp.causal.prefix import PREFIX_TOKENS, Prefix, rows_at_once
from interp.causal.stand_ins import LAST_TOKEN, STAND_INS, position_classes
from interp.causal.words import word_scores
from interp.defaults import STAND_IN
from interp.errors import InternalError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.progress import track
from interp.sites import Site

REACHES = ("all", "last")
"""Where parts are knocked out: at every token that may differ from the twin's, or at the text's
last one alone.
"""


def measure(
    bench: Bench, plans: Sequence[Knockout], *, mode: str = STAND_IN, reach: str = "all"
) -> Effects:
    """The effects of each plan on each of its pairs, many plans per forward pass; `mode` is a key
    of `STAND_INS`, `reach` one of `REACHES`.

    Raises `InternalError` for a plan that names a component twice, `UsageError` for one that
    the model lacks, or where an edit does not act.
    """
    for plan in plans:
        _check(plan, bench.model)
    touched = _touched(plans)
    require(bench.model, "ablation", touched)
    texts = _encode(bench, mode, reach)
    bound = bench.readout.bind(bench.model)
    columns = torch.tensor([bound.column(emotion) for emotion in bench.emotions])
    sites = tuple({bench.directions[emotion].site for emotion in bench.emotions})
    constants = STAND_INS[mode]
    every = (*texts.own, *texts.twins)
    fixed = constants and constants(bench.model, every, touched)
    shape = (len(plans), len(texts.own))
    effects = Effects(np.full(shape, np.nan), np.full(shape, np.nan))
    ready: _Ready | None = None
    for chunk, jobs in track(_work(bench.model, texts, plans), f"ablating ({mode})", unit="pass"):
        if ready is None or ready.chunk is not chunk:
            ready = None  # before the next is made, or memory would hold both
            ready = _make_ready(bench.model, texts, chunk, plans, fixed)
        pair, of_plan = [i for i, _ in jobs], [p for _, p in jobs]
        edits = _edits(bench.model, ready, pair, [plans[p] for p in of_plan])
        result = ready.prefix.run(
            edits, read=sites, rows=[ready.row_of[i] for i in pair], further=not bound.whole
        )
        own = columns[pair]
        scores = word_scores(
            result, bound, wanted=own[:, None] == torch.arange(len(bound.emotions))
        ).cpu()
        streams = {
            site: result.at(site, [texts.own[i].end for i in pair]).double().cpu().numpy()
            for site in sites
        }
        effects.score[of_plan, pair] = scores[torch.arange(len(pair)), own].numpy()
        effects.projection[of_plan, pair] = [
            float(streams[direction.site][row] @ np.asarray(direction.vector, dtype=np.float64))
            for row, direction in enumerate(bench.directions[bench.emotions[i]] for i in pair)
        ]
    return effects


class _Texts(NamedTuple):
    """The affective texts and their twins as tokens, and the first position of each that a plan may
    change.
    """

    own: list[Encoded]
    twins: list[Encoded]
    starts: list[int]
    reach: str


def _encode(bench: Bench, mode: str, reach: str) -> _Texts:
    """Before the edit a text and its twin are the same: resampling changes nothing there."""
    own = encode_stimuli(bench.model, [pair.affective for pair in bench.pairs], bench.readout)
    twins = encode_stimuli(bench.model, [pair.neutral for pair in bench.pairs], bench.readout)
    if reach == "last":
        return _Texts(own, twins, [text.end for text in own], reach)
    if STAND_INS[mode] is not None:
        return _Texts(own, twins, [text.first for text in own], reach)
    edits = [
        align(twin.tokens, text.tokens).target_edit[0]
        for text, twin in zip(own, twins, strict=True)
    ]
    starts = [min(edit, text.end) for edit, text in zip(edits, own, strict=True)]
    return _Texts(own, twins, starts, reach)


Chunk = tuple[int, ...]
"""Indices of texts that share a prefix pass."""

Jobs = list[tuple[int, int]]
"""(text, plan): the rows of one forward pass."""


def _work(
    model: LanguageModel, texts: _Texts, plans: Sequence[Knockout]
) -> list[tuple[Chunk, Jobs]]:
    """All passes: texts in chunks, and of each chunk its plans, those that begin at a higher layer
    last.
    """
    behind = [len(text.tokens) - start for text, start in zip(texts.own, texts.starts, strict=True)]
    lowest = [min((site.layer for site in _touched([plan])), default=0) for plan in plans]
    plans_of: dict[int, list[int]] = defaultdict(list)
    for p, plan in enumerate(plans):
        for i in plan.pairs:
            plans_of[i].append(p)
    work: list[tuple[Chunk, Jobs]] = []
    for indices in batches(texts.own, budget=PREFIX_TOKENS, sizes=behind):
        chunk = tuple(int(i) for i in indices)
        jobs = [(i, p) for i in chunk for p in plans_of[i]]
        jobs.sort(key=lambda job: lowest[job[1]])
        before = max(texts.starts[i] for i in chunk)
        most = rows_at_once(model, before=before, behind=max(behind[i] for i in chunk))
        work += [(chunk, jobs[first : first + most]) for first in range(0, len(jobs), most)]
    return work


class _Ready(NamedTuple):
    """A chunk's prefix, and what replaces the activations: `values` per site, of which `place`
    tells the number that belongs at a text's position; `may` is True where a plan may change a
    text.
    """

    chunk: Chunk
    prefix: Prefix
    row_of: dict[int, int]
    values: Mapping[Site, Float[Tensor, " value *site"]]
    place: Int[Tensor, "text pos"]
    may: Bool[Tensor, "text pos"]


def _make_ready(
    model: LanguageModel,
    texts: _Texts,
    chunk: Chunk,
    plans: Sequence[Knockout],
    fixed: Mapping[Site, Tensor] | None,
) -> _Ready:
    """The prefix of the chunk's texts; and the values `fixed` by class, or, without these, what the
    twins hold at the sites that `plans` touch.
    """
    own = [texts.own[i] for i in chunk]
    prefix = Prefix(model, own, [texts.starts[i] for i in chunk])
    rows = {i: row for row, i in enumerate(chunk)}
    classes = position_classes(own)
    starts = torch.tensor([texts.starts[i] for i in chunk])
    may = (classes >= 0) & (torch.arange(classes.shape[1]) >= starts[:, None])
    may &= (classes == LAST_TOKEN) | torch.tensor(texts.reach == "all")
    if fixed is not None:
        return _Ready(chunk, prefix, rows, fixed, classes.clamp(min=0), may)
    twins = [texts.twins[i] for i in chunk]
    captured = run_forward(model, twins, read=_touched(plans)).sites
    width = max(len(twin.tokens) for twin in twins)
    place = torch.zeros_like(classes)
    for row, (text, twin) in enumerate(zip(own, twins, strict=True)):
        source = align(twin.tokens, text.tokens).source_of
        place[row, : len(source)] = torch.from_numpy(source) + row * width
    values = {site: x.flatten(0, 1) for site, x in captured.items()}
    return _Ready(chunk, prefix, rows, values, place, may)


def _edits(
    model: LanguageModel, ready: _Ready, pair: Sequence[int], plans: Sequence[Knockout]
) -> list[Intervention]:
    """The knock-outs of one pass, whose row r is text `pair[r]` under `plans[r]`."""
    rows = [ready.row_of[i] for i in pair]
    place, may = ready.place[rows], ready.may[rows]
    return [
        Intervention(site, exchange(ready.values[site], place, units=units), may)
        for site, units in _units(plans, model).items()
    ]


def _touched(plans: Sequence[Knockout]) -> tuple[Site, ...]:
    """The sites at which any plan knocks something out."""
    found: dict[Site, None] = {}
    for plan in plans:
        found |= dict.fromkeys(Site(one.name, one.layer) for one in plan.components)
        kept = plan.kept or {}
        found |= dict.fromkeys(site for site, units in kept.items() if not units.all())
    return tuple(found)


def _units(plans: Sequence[Knockout], model: LanguageModel) -> dict[Site, Tensor]:
    """For each site that any plan touches, which units are knocked out in which row."""
    chosen = {
        site: torch.zeros(len(plans), width(site.name, model), dtype=torch.bool)
        for site in _touched(plans)
    }
    for row, plan in enumerate(plans):
        for site, units in (plan.kept or {}).items():
            if site in chosen:
                chosen[site][row] = torch.from_numpy(~units)
        for component in plan.components:
            chosen[Site(component.name, component.layer)][row, component.index] = True
    return chosen


def _check(plan: Knockout, model: LanguageModel) -> None:
    twice = [component for component, times in Counter(plan.components).items() if times > 1]
    if twice:
        raise InternalError(f"{twice[0]} is ablated twice in one plan: list each component once.")
    for component in plan.components:
        if not _has(model, component.name, component.layer, component.index + 1):
            raise UsageError(
                f"{model.name} has no {component}: layers and indices count from 0, names are z "
                "and post."
            )
    for site, units in (plan.kept or {}).items():
        if not _has(model, site.name, site.layer, len(units)):
            raise UsageError(
                f"{model.name} has no {len(units)} heads or neurons to keep at {site}."
            )


def _has(model: LanguageModel, name: str, layer: int, units: int) -> bool:
    """Whether the model has so many heads (`z`) or neurons (`post`) in this layer."""
    return (
        name in KINDS.values()
        and 0 <= layer < model.dims.n_layers
        and 0 < units <= width(name, model)
    )
