"""Edge attribution: the effect of many paths at once, estimated.

What a receiver computes where the sender's change alone reaches it is taken exactly (steps 1 and 2
of `interp.causal.paths`: one pass per sender and kind of input, for all receivers). What that does
to the words is taken to first order: (z_changed - z_target) . d LD / d z at the receiver, with the
gradient of one backward pass for all. Edge attribution patching (Syed, Rager & Conmy 2023) is to
first order in the receiver's norm and attention, too; here these are exact.

Its error against path patching, on a sample of edges, stands beside it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.attribution import encode_cases
from interp.causal.estimate_errors import error_rows
from interp.causal.estimates import contrast_score
from interp.causal.forward import batches
from interp.causal.gradients import read_slopes
from interp.causal.nodes import Node
from interp.causal.paths import (
    INPUTS_OF_A_HEAD,
    Edge,
    PathBatch,
    Receiver,
    by_run,
    check_edges,
    path_effects,
    path_place,
)
from interp.causal.pooled import ALL
from interp.causal.prefix import prefix_tokens
from interp.causal.readout import Readout, TokenReadout
from interp.causal.transplants import Case
from interp.models import LanguageModel
from interp.progress import track
from interp.results import TableRows
from interp.sites import site_columns
from interp.stats import mean_interval
from stimuli.battery import Pair

EDGE_ATTRIBUTION = "edge_attribution"

EDGES_TRIED = 16
"""Edges whose exact effect stands beside the estimates: half the largest, half others at random."""

EdgeEffects = dict[Edge, Float[np.ndarray, " case"]]
"""What each edge does in each case (nats)."""


def attribute_edges(
    model: LanguageModel,
    pairs: Sequence[Pair],
    readout: Readout,
    edges: Sequence[Edge],
    *,
    position: str = "last",
    seed: int = 0,
) -> TableRows:
    """Rows of `estimated_path_effect` (nats) for each edge, of `path_effect` for `EDGES_TRIED` of
    them (column `chosen`: top or random), and of the estimates' error over these; in both
    directions, all emotions together.

    The top edges are chosen on the pairs that are told of: they are a sample for the error, and
    their size flatters. Raises as `interp.causal.paths.patch_paths`.
    """
    check_edges(model, pairs, edges, position)
    bound = readout.bind(model)
    for emotion in {pair.affective.emotion for pair in pairs}:
        bound.column(emotion)
    groups = np.array([pair.affective.group for pair in pairs])
    random = np.random.default_rng(seed)
    rows: TableRows = []
    for way, cases in encode_cases(model, pairs, readout, seed=seed).own.items():
        estimated = edge_estimates(model, cases, bound, edges, position)
        picked = _picked(estimated, random)
        exact = path_effects(model, cases, bound, list(picked), position)
        for edge, values in estimated.items():
            place = path_place(edge, position, way, ALL)
            named = {"metric": "estimated_path_effect", "method": EDGE_ATTRIBUTION}
            rows.append({**place, **named, **mean_interval(values, groups)._asdict()})
        for edge, chosen in picked.items():
            found = mean_interval(exact[edge], groups)._asdict()
            rows.append({**path_place(edge, position, way, ALL), **found, "chosen": chosen})
        one, other = (np.stack([of[edge] for edge in picked], axis=1) for of in (estimated, exact))
        where = {**site_columns(None), "position": position, "mode": way, "emotion": ALL}
        named = {"method": EDGE_ATTRIBUTION, "control": ""}
        rows += [{**where, **named, **row} for row in error_rows(one, other, groups)]
    return rows


def _picked(estimated: EdgeEffects, random: np.random.Generator) -> dict[Edge, str]:
    order = sorted(estimated, key=lambda edge: -abs(float(estimated[edge].mean())))
    top, others = order[: EDGES_TRIED // 2], order[EDGES_TRIED // 2 :]
    drawn = random.permutation(len(others))[: EDGES_TRIED - len(top)]
    return dict.fromkeys(top, "top") | {others[i]: "random" for i in sorted(drawn.tolist())}


def edges_from(model: LanguageModel, senders: Sequence[Node]) -> list[Edge]:
    """Every edge from the senders: to q, k and v of each later head, to each later MLP, and to the
    logits.
    """
    found = []
    for sender in senders:
        above = range(sender.site.layer + 1, model.dims.n_layers)
        found += [
            Edge(sender, Receiver(name, layer, head))
            for layer in above
            for name in INPUTS_OF_A_HEAD
            for head in range(model.dims.n_heads)
        ]
        own = [] if sender.site.name in ("mlp_out", "post") else [sender.site.layer]
        found += [Edge(sender, Receiver("mlp", layer)) for layer in (*own, *above)]
        found.append(Edge(sender, Receiver("logits")))
    return found


def edge_estimates(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    edges: Sequence[Edge],
    position: str,
) -> EdgeEffects:
    """The estimated effect of each edge in each case; exact where the receiver is the logits."""
    found = {edge: np.full(len(cases), np.nan) for edge in edges}
    chunks = batches([case.target for case in cases], budget=prefix_tokens(model))
    for index in track(chunks, "edges", unit="batch"):
        for edge, effect in _of_batch(model, [cases[i] for i in index], bound, edges, position):
            found[edge][index] = effect
    return found


def _of_batch(
    model: LanguageModel,
    cases: Sequence[Case],
    bound: TokenReadout,
    edges: Sequence[Edge],
    position: str,
) -> Iterator[tuple[Edge, Float[np.ndarray, " case"]]]:
    batch = PathBatch(model, cases, bound, edges, position)
    starts = [int(put[0]) for _, put in batch.moves]
    reached = [np.arange(*ends) for ends in zip(starts, batch.lengths, strict=True)]
    score = contrast_score(bound, [case.pair.affective.emotion for case in cases])
    sites = {edge.receiver.whole for edge in edges if edge.receiver.name != "logits"}
    slopes = read_slopes(model, [case.target for case in cases], sorted(sites), score, reached)
    row = torch.from_numpy(np.repeat(np.arange(len(cases)), [len(own) for own in reached]))
    column = torch.from_numpy(np.concatenate(reached))
    for sender, receivers in by_run(edges):
        computed, direct = batch.computed(sender, receivers)
        for one in receivers:
            if one.name == "logits":
                yield Edge(sender, one), direct - batch.clean
                continue
            start, gradient = (held.taken(one.whole, reached) for held in slopes)
            if one.head is not None:
                start, gradient = start[:, one.head], gradient[:, one.head]
            change = computed[one.site][row, column].float() - start
            along = (change * gradient).sum(-1).double().cpu()
            effect = torch.zeros(len(cases), dtype=torch.double).index_add_(0, row, along)
            yield Edge(sender, one), effect.numpy()
