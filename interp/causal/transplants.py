"""Transplants: which activations of a source go to which tokens of a target, by which edit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.alignment import Alignment, align, map_positions
from interp.causal.edits import exchange
from interp.causal.forward import Encoded, run_forward
from interp.causal.interventions import Intervention
from interp.causal.nodes import Node
from interp.causal.restoration import COPY, SAME_NORM
from interp.errors import DataError
from interp.models import LanguageModel
from interp.sites import Site
from stimuli.battery import Pair

Moves = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Source positions and the target positions that they go to."""


class PairTexts(NamedTuple):
    """Pairs, and their texts with the readout's suffix as tokens."""

    pairs: Sequence[Pair]
    affective: Sequence[Encoded]
    neutral: Sequence[Encoded]


class Stranger(NamedTuple):
    """A control's source: a text of another scenario or emotion, and the text beside which its own
    edit shows.
    """

    text: Encoded
    beside: Encoded


@dataclass(frozen=True, slots=True)
class Case:
    """A target, its source, and by control the source of that (none where there is no such text).

    `moves` are by position and control.
    """

    pair: Pair
    target: Encoded
    source: Encoded
    strangers: Mapping[str, Encoded]
    moves: dict[tuple[str, str], Moves]

    def moved(self, position: str, control: str) -> Moves:
        """What goes where; random vectors go where the source's activations go."""
        return self.moves[position, "" if control in (SAME_NORM, COPY) else control]


def make_case(
    pair: Pair,
    source: Encoded,
    target: Encoded,
    strangers: Mapping[str, Stranger],
    places: Mapping[str, Int[np.ndarray, " _"]] = MappingProxyType({}),
) -> Case:
    """A case of `pair`, with the moves of its source and its strangers: at the last token, at the
    edit, and at the target's tokens in `places`.

    Last goes to last and first to first; other tokens go by the alignment of the two texts. A
    stranger's text is aligned as if its own edit were the source's; where that names a token that
    it lacks, its nearest one is taken. Raises `DataError` naming the pair where source and target
    are the same tokens.
    """
    between = _aligned(pair, source, target)
    edit = np.arange(*between.target_edit)
    put = {"last": np.array([target.end]), "edit": edit, **places}
    moves = {
        (name, ""): (_taken(name, source, between.source_of, at), at) for name, at in put.items()
    }
    for control, (text, beside) in strangers.items():
        own = _aligned(pair, text, beside).source_edit
        mapped = map_positions(len(target.story), own, between.target_edit, len(text.story))
        inside = mapped.clip(text.first, text.end)
        moves |= {(name, control): (_taken(name, text, inside, at), at) for name, at in put.items()}
    return Case(pair, target, source, {one: each.text for one, each in strangers.items()}, moves)


def _taken(
    place: str,
    source: Encoded,
    source_of: Int[np.ndarray, " target_pos"],
    at: Int[np.ndarray, " _"],
) -> Int[np.ndarray, " _"]:
    """The source's positions that go to the target's positions `at`, its tokens at `place`."""
    ends = {"last": source.end, "first": source.first}
    return np.array([ends[place]]) if place in ends else source_of[at]


def _aligned(pair: Pair, source: Encoded, target: Encoded) -> Alignment:
    try:
        return align(source.story, target.story)
    except DataError as error:
        raise DataError(f"pair {pair.affective.pair or pair.affective.id!r}: {error}") from error


class Held(NamedTuple):
    """What some texts hold at sites, at `positions`: each row's own, sorted."""

    sites: Mapping[Site, Float[Tensor, "_ _ ..."]]
    positions: Sequence[Int[np.ndarray, " _"]]

    def taken(
        self, site: Site, positions: Sequence[Int[np.ndarray, " _"]]
    ) -> Float[Tensor, " token *site"]:
        """What stands at these positions of each row, one after the other; of a head, where all
        heads are held, its own.
        """
        held = self.sites.get(site)
        if held is None:
            held = self.sites[Site(site.name, site.layer)][:, :, site.head]
        rows = np.repeat(np.arange(len(positions)), [len(own) for own in positions])
        found = [np.searchsorted(*both) for both in zip(self.positions, positions, strict=True)]
        at = torch.from_numpy(rows), torch.from_numpy(np.concatenate(found))
        return held[at[0].to(held.device), at[1].to(held.device)]


class Donor(NamedTuple):
    """What a batch's sources hold at the positions that are moved, and the logits behind them."""

    logits: Float[Tensor, "row d_vocab"]
    held: Held

    def of_same_norm(self, sites: Iterable[Site], draw: torch.Generator) -> "Donor":
        """Random vectors in the place of what is held at `sites`, each as long as its own."""
        held = {site: random_of_same_norm(self.held.sites[site], draw) for site in sites}
        return Donor(self.logits, Held(held, self.held.positions))


def random_of_same_norm(
    values: Float[Tensor, "*_ width"], draw: torch.Generator
) -> Float[Tensor, "*_ width"]:
    """Random vectors, each (over the last axis) as long as its own."""
    noise = torch.randn(values.shape, generator=draw).to(values.device)
    own = values.float().norm(dim=-1, keepdim=True)
    return (noise * (own / noise.norm(dim=-1, keepdim=True))).to(values.dtype)


def read_sources(
    model: LanguageModel,
    cases: Sequence[Case],
    rows: Sequence[int],
    control: str,
    sites: Sequence[Site],
) -> Donor:
    """The sources of `rows`, run once; only what is moved somewhere is kept."""
    texts = [cases[row].source if control == "" else cases[row].strangers[control] for row in rows]
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
