"""Paths as a table: which heads and MLPs the emotion comes from, and where each is read.

The scenarios are split in halves. One half chooses: the senders, by what patching them is estimated
to do (`interp.causal.attribution`), and among all their edges those that are estimated to carry
most (`interp.causal.edges`). The other half is told of: every edge's estimate, and the exact patch
(`interp.causal.paths`) of the edges that rank first and of as many random ones of the same senders.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from interp.causal.attribution import (
    Attribution,
    Given,
    encode_cases,
    estimate_effects,
    towards_emotion,
)
from interp.causal.attribution_rows import BOTH
from interp.causal.edges import EDGE_ATTRIBUTION, EdgeEffects, edge_estimates, edges_from
from interp.causal.estimate_errors import error_rows
from interp.causal.node_ranking import RANDOM, TOP
from interp.causal.nodes import Node, node_at, node_sites
from interp.causal.paired import tested_mean
from interp.causal.paths import Edge, check_edges, path_effects, path_place
from interp.causal.pooled import ALL
from interp.causal.readout import Readout, TokenReadout
from interp.causal.transplants import Case
from interp.errors import StatisticsError, UsageError
from interp.models import LanguageModel
from interp.results import TableRow, TableRows
from interp.sites import site_columns
from interp.stats import mean_interval
from stimuli.battery import Pair

SENDING = ("z", "mlp_out")
"""Sites of the senders: query heads, and what MLPs add."""

EDGE = "edge"
"""What column `component` says of rows about several edges."""


EffectsOf = Callable[
    [LanguageModel, Sequence[Case], TokenReadout, Sequence[Edge], str], EdgeEffects
]
"""What edges do in cases, at a position: estimated or exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSearch:
    """What is searched: the paths from so many `senders`, patched at `position` (last or edit); and
    how many edges are patched exactly, the `top` ones and as many random ones.

    Raises `UsageError` for an unknown position, and for fewer than one sender or edge.
    """

    senders: int = 6
    position: str = "last"
    top: int = 8

    def __post_init__(self) -> None:
        if self.position not in ("last", "edit"):
            raise UsageError(f"unknown position {self.position!r}: expected last or edit.")
        for name, number in (("senders", self.senders), ("top", self.top)):
            if number < 1:
                raise UsageError(f"{name} is {number}: give at least 1.")


def search_paths(
    model: LanguageModel,
    halves: tuple[Sequence[Pair], Sequence[Pair]],
    readout: Readout,
    asked: PathSearch | None = None,
    *,
    seed: int = 0,
) -> TableRows:
    """Rows of paths, in nats of the readout's logit difference towards the emotion (mode `both`:
    half of denoising less noising), all emotions together. Of the `halves`, which share no scenario
    (`Pairs.split`), the first chooses; all rows are of the second.

    - `estimated_path_effect`: of each edge from the senders; `rank` counts from 1, by the other
      half.
    - `path_effect`: the exact patch of the edges of column `chosen` (top, random), with `estimated`
      beside it.
    - `rank_correlation`, `mean_absolute_error`, `relative_error`, `sign_agreement`: the estimates
      against these.
    - `chosen_effect`: what the top edges do on average, exactly; control `RANDOM`, and
      `above_random` is their difference, paired; p by sign flips of scenarios.

    Raises `StatisticsError` where a half has no pair, `UsageError` for more senders than the model
    has or more edges than they have, and as `interp.causal.paths.patch_paths`.
    """
    if not all(halves):
        raise StatisticsError(
            "paths are chosen on one half of the scenarios and told of on the other: each needs a "
            f"pair of twins, and they have {len(halves[0])} and {len(halves[1])}."
        )
    asked = asked or PathSearch()
    bound = readout.bind(model)
    for emotion in {pair.affective.emotion for half in halves for pair in half}:
        bound.column(emotion)
    choosing, told = (encode_cases(model, half, readout, seed=seed) for half in halves)
    edges = edges_from(model, _senders(model, choosing, bound, asked, seed=seed))
    if asked.top > len(edges):
        raise UsageError(
            f"top is {asked.top}, and there are {len(edges)} edges from {asked.senders} senders: "
            "give a smaller number."
        )
    check_edges(model, halves[0], edges, asked.position)
    ranking = _both(edge_estimates, model, choosing, bound, edges, asked.position)
    order = sorted(edges, key=lambda edge: -float(ranking[edge].mean()))
    picked = _picked(order, asked.top, seed=seed)
    estimated = _both(edge_estimates, model, told, bound, edges, asked.position)
    exact = _both(path_effects, model, told, bound, list(picked), asked.position)
    groups = np.array([pair.affective.group for pair in halves[1]])
    return list(_Found(asked.position, order, picked, estimated, exact, groups).rows())


def _senders(
    model: LanguageModel, given: Given, bound: TokenReadout, asked: PathSearch, *, seed: int
) -> list[Node]:
    """The heads and MLPs that are estimated to do most towards the emotion."""
    sites = node_sites(model, SENDING)
    n = sum(model.dims.n_heads if site.name == "z" else 1 for site in sites)
    if asked.senders > n:
        raise UsageError(f"senders is {asked.senders}: {model.name} has {n} heads and MLPs.")
    how = Attribution(sites=SENDING, positions=(asked.position,))
    found = estimate_effects(model, given, bound, sites, how, seed=seed)
    effects = {
        node_at(site, unit): float(effect)
        for site in sites
        for unit, effect in enumerate(towards_emotion(found, site, asked.position).mean(axis=0))
    }
    return sorted(effects, key=lambda node: -effects[node])[: asked.senders]


def _both(
    effects: EffectsOf,
    model: LanguageModel,
    given: Given,
    bound: TokenReadout,
    edges: Sequence[Edge],
    position: str,
) -> EdgeEffects:
    """Half of what each edge does when it denoises less what it does when it noises."""
    ways = [effects(model, given.own[way], bound, edges, position) for way in ("denoise", "noise")]
    return {edge: (ways[0][edge] - ways[1][edge]) / 2 for edge in edges}


def _picked(order: Sequence[Edge], top: int, *, seed: int) -> dict[Edge, str]:
    """The edges that rank first, and as many others at random."""
    others = order[top:]
    drawn = np.random.default_rng(seed).permutation(len(others))[:top]
    return dict.fromkeys(order[:top], TOP) | {others[i]: RANDOM for i in sorted(drawn.tolist())}


class _Found(NamedTuple):
    """What was found: the edges by rank, those that were patched exactly and why, and what each
    does in each case that is told of, estimated and exactly.
    """

    position: str
    order: Sequence[Edge]
    picked: Mapping[Edge, str]
    estimated: EdgeEffects
    exact: EdgeEffects
    groups: Shaped[np.ndarray, " case"]

    def rows(self) -> Iterator[TableRow]:
        """All rows."""
        for rank, edge in enumerate(self.order, start=1):
            place = path_place(edge, self.position, BOTH, ALL)
            named = {"method": EDGE_ATTRIBUTION, "metric": "estimated_path_effect"}
            found = mean_interval(self.estimated[edge], self.groups)._asdict()
            yield {**place, **named, **found, "rank": rank}
        for edge, chosen in self.picked.items():
            found = mean_interval(self.exact[edge], self.groups)._asdict()
            found |= {"chosen": chosen, "estimated": float(self.estimated[edge].mean())}
            yield {**path_place(edge, self.position, BOTH, ALL), **found}
        yield from self._errors()
        yield from self._chosen()

    @property
    def _place(self) -> TableRow:
        where = {"position": self.position, "mode": BOTH, "emotion": ALL, "control": ""}
        return {**site_columns(None), "component": EDGE, **where}

    def _errors(self) -> Iterator[TableRow]:
        one, other = (
            np.stack([of[edge] for edge in self.picked], axis=1)
            for of in (self.estimated, self.exact)
        )
        for row in error_rows(one, other, self.groups):
            yield {**self._place, "method": EDGE_ATTRIBUTION, **row}

    def _chosen(self) -> Iterator[TableRow]:
        """What the top edges do, exactly, beside random ones."""
        effect = {}
        for chosen in (TOP, RANDOM):
            own = [self.exact[edge] for edge, why in self.picked.items() if why == chosen]
            if own:
                effect[chosen] = np.mean(own, axis=0)
        yield self._tested("chosen_effect", effect[TOP])
        if RANDOM in effect:
            yield {**self._tested("chosen_effect", effect[RANDOM]), "control": RANDOM}
            yield self._tested("above_random", effect[TOP] - effect[RANDOM])

    def _tested(self, metric: str, values: Float[np.ndarray, " case"]) -> TableRow:
        told = {**self._place, "method": "path_patching", "metric": metric}
        return {**told, **tested_mean(values, self.groups)}
