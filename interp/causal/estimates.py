"""ESTIMATES: the gradient by which the effect of patching a node is estimated.

`attribution` takes it in the target's own run (Nanda 2023). `integrated` takes the mean of it along
a straight path of the *inputs*, from the target's at the edit to the source's (EAP-IG; Hanna,
Pezzelle & Belinkov 2024); the path ends where the patch of `resid_pre` of layer 0 does. Of that one
activation alone it approaches the exact effect with more steps; of the others it stays an estimate.
Steps lie in the middles of equal parts of the path, not at their ends as in the paper: the error
then falls with the square of their number.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.edits import blend
from interp.causal.forward import Pass, run_forward
from interp.causal.gradients import Edits, Score, Slopes, read_slopes
from interp.causal.interventions import Intervention
from interp.causal.readout import TokenReadout
from interp.causal.transplants import Case, Held, goal_of, padded_positions, read_sources
from interp.causal.words import word_scores
from interp.models import LanguageModel
from interp.sites import Site

INPUTS = Site("resid_pre", 0)
"""The stream that the first block reads."""


class SlopesAsked(NamedTuple):
    """What is asked of the targets: the `sites`, at the `positions` at which they are patched, the
    `score`, and the `steps` of a path.
    """

    sites: Sequence[Site]
    positions: Sequence[str]
    score: Score
    steps: int


SlopeReader = Callable[[LanguageModel, Sequence[Case], SlopesAsked], Slopes]
"""From a model, cases and what is asked to what the targets hold there, and the gradient."""


def slopes_at_target(model: LanguageModel, cases: Sequence[Case], asked: SlopesAsked) -> Slopes:
    """The gradient in the target's own run; `steps` plays no part."""
    positions = patched(cases, asked.positions)
    return read_slopes(model, [case.target for case in cases], asked.sites, asked.score, positions)


def slopes_along_inputs(model: LanguageModel, cases: Sequence[Case], asked: SlopesAsked) -> Slopes:
    """The mean gradient of `steps` runs between the target's inputs and the source's; the values
    are those of the target's own run.
    """
    texts, positions = [case.target for case in cases], patched(cases, asked.positions)
    starts = graph_starts(cases, asked.positions, "integrated")
    start = run_forward(model, texts, read=asked.sites, at=padded_positions(positions))
    values = {site: x.float() for site, x in start.sites.items()}
    towards = _path(model, cases)
    total: dict[Site, Tensor] = {}
    for step in range(asked.steps):
        edits = towards((step + 0.5) / asked.steps)
        found = read_slopes(
            model, texts, asked.sites, asked.score, positions, edits=edits, starts=starts
        )
        for site, gradient in found.gradient.sites.items():
            total[site] = gradient / asked.steps + total.get(site, 0.0)
    return Slopes(Held(values, positions), Held(total, positions))


ESTIMATES: dict[str, SlopeReader] = {
    "attribution": slopes_at_target,
    "integrated": slopes_along_inputs,
}
"""The ways to take the gradient, by name."""


MOVE_INPUTS = frozenset({"integrated"})
"""Those that edit the inputs, and so read the texts from the edit on."""


def graph_starts(cases: Sequence[Case], positions: Sequence[str], method: str) -> list[int]:
    """The first token of each target that is in the graph of this method's passes."""
    read = (*positions, "edit") if method in MOVE_INPUTS else positions
    return [int(own[0]) for own in patched(cases, read)]


def _path(model: LanguageModel, cases: Sequence[Case]) -> Callable[[float], Edits]:
    """From a share of the way to the edits that move the targets' inputs so far."""
    moves = [case.moves["edit", ""] for case in cases]
    source = read_sources(model, cases, list(range(len(cases))), "", [INPUTS])
    ends = source.held.taken(INPUTS, [taken for taken, _ in moves])
    place = goal_of(moves, [len(case.target.tokens) for case in cases])

    def towards(share: float) -> Edits:
        def edits(rows: Int[Tensor, " row"]) -> Sequence[Intervention]:
            own = place[rows]
            return [Intervention(INPUTS, blend(ends, own, share=share), own >= 0)]

        return edits

    return towards


def patched(cases: Sequence[Case], positions: Sequence[str]) -> list[Int[np.ndarray, " _"]]:
    """The tokens of each target that are patched at any of these positions, sorted."""
    return [
        np.unique(
            np.concatenate([put for (at, _), (_, put) in case.moves.items() if at in positions])
        )
        for case in cases
    ]


def contrast_score(bound: TokenReadout, emotions: Sequence[str]) -> Score:
    """`TokenReadout.contrast` of the rows' emotions as a score that can be differentiated: it is
    linear, so its weights are what it makes of each emotion's score alone.
    """
    one_each = np.eye(len(bound.emotions))
    made = {one: bound.contrast(one_each, [one] * len(one_each)) for one in dict.fromkeys(emotions)}
    weights = torch.tensor(np.stack([made[one] for one in emotions]), dtype=torch.float32)

    def score(found: Pass) -> Float[Tensor, " row"]:
        scores = word_scores(found, bound)
        return (scores * weights.to(scores.device)).sum(-1)

    return score
