"""Transplants: which activations of a source go to which tokens of a target, by which edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.alignment import align, map_positions
from interp.causal.edits import exchange
from interp.causal.forward import Encoded, run_forward
from interp.causal.interventions import Intervention
from interp.causal.nodes import Node
from interp.causal.restoration import CONTROL
from interp.errors import InternalError
from interp.models import LanguageModel
from interp.sites import Site
from stimuli.battery import Pair

Moves = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Source positions and the target positions that they go to."""


@dataclass(frozen=True, slots=True)
class Case:
    """A target, its twin as source, and a stranger as the control's source (None: the emotion has
    no other group).
    """

    pair: Pair
    target: Encoded
    source: Encoded
    stranger: Encoded | None
    moves: dict[tuple[str, str], Moves]


def make_case(
    pair: Pair, i: int, source: Sequence[Encoded], target: Sequence[Encoded], other: int
) -> Case:
    """Pair `i` as a case, with the moves of its twin and of the stranger `other` (-1: none)."""
    twins = align(source[i].story, target[i].story)
    edit = np.arange(*twins.target_edit)
    moves = {
        ("last", ""): (np.array([source[i].end]), np.array([target[i].end])),
        ("edit", ""): (twins.source_of[edit], edit),
    }
    if other >= 0:
        foreign = align(source[other].story, target[other].story).source_edit
        mapped = map_positions(
            len(target[i].story), foreign, twins.target_edit, len(source[other].story)
        )
        moves["last", CONTROL] = (np.array([source[other].end]), np.array([target[i].end]))
        moves["edit", CONTROL] = (mapped[edit], edit)
    return Case(pair, target[i], source[i], source[other] if other >= 0 else None, moves)


class Held(NamedTuple):
    """What some texts hold at sites, at `positions`: each row's own, sorted."""

    sites: Mapping[Site, Float[Tensor, "_ _ ..."]]
    positions: Sequence[Int[np.ndarray, " _"]]

    def taken(
        self, site: Site, positions: Sequence[Int[np.ndarray, " _"]]
    ) -> Float[Tensor, " token *site"]:
        """What stands at these positions of each row, one after the other."""
        held = self.sites[site]
        rows = np.repeat(np.arange(len(positions)), [len(own) for own in positions])
        found = [np.searchsorted(*both) for both in zip(self.positions, positions, strict=True)]
        at = torch.from_numpy(rows), torch.from_numpy(np.concatenate(found))
        return held[at[0].to(held.device), at[1].to(held.device)]


class Donor(NamedTuple):
    """What a batch's sources hold at the positions that are moved, and the logits behind them."""

    logits: Float[Tensor, "row d_vocab"]
    held: Held


def read_sources(
    model: LanguageModel,
    cases: Sequence[Case],
    rows: Sequence[int],
    control: str,
    sites: Sequence[Site],
) -> Donor:
    """The sources of `rows`, run once; only what is moved somewhere is kept."""
    texts = [cases[row].source if control == "" else _present(cases[row].stranger) for row in rows]
    moved = [
        [taken for (_, arm), (taken, _) in cases[row].moves.items() if arm == control]
        for row in rows
    ]
    positions = [np.unique(np.concatenate(taken)) for taken in moved]
    found = run_forward(model, texts, read=sites, at=padded_positions(positions))
    return Donor(found.logits, Held(found.sites, positions))


def padded_positions(positions: Sequence[Int[np.ndarray, " _"]]) -> Int[Tensor, "row most"]:
    """Each row's positions, with zeros behind those of the shorter ones."""
    at = torch.zeros(len(positions), max(map(len, positions)), dtype=torch.long)
    for row, own in enumerate(positions):
        at[row, : len(own)] = torch.from_numpy(own)
    return at


def _present(stranger: Encoded | None) -> Encoded:
    if stranger is None:
        raise InternalError("a case without a stranger was given to the control's capture.")
    return stranger


def goal_of(
    moves: Sequence[Moves], lengths: Sequence[int], first: int = 0
) -> Int[Tensor, "row pos"]:
    """At each target position of a move its number, one after the other, and -1 elsewhere; the
    moves are those of the rows from `first` on of a pass whose rows have these lengths.
    """
    rows = np.repeat(np.arange(len(moves)), [len(put) for _, put in moves])
    number_of = torch.full((len(lengths), max(lengths)), -1)
    goes_to = torch.from_numpy(np.concatenate([put for _, put in moves]))
    number_of[torch.from_numpy(first + rows), goes_to] = torch.arange(len(rows))
    return number_of


def transplant(
    node: Node, source: Donor, moves: Sequence[Moves], lengths: Sequence[int], first: int
) -> Intervention:
    """The intervention that puts the source's activations at the moves' target positions, in the
    rows from `first` on of a pass whose rows have these lengths.
    """
    values = source.held.taken(node.site, [taken for taken, _ in moves])
    place_of = goal_of(moves, lengths, first)
    units = None
    if node.unit is not None:
        own = torch.arange(values.shape[-1]) == node.unit
        units = own.expand(len(lengths), -1)
    return Intervention(node.site, exchange(values, place_of, units=units), place_of >= 0)
