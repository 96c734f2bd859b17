"""Attribution as a table: every node's estimate beside its controls, and the exact patch of some.

The scenarios are split in halves. One half ranks the nodes; all numbers are of the other half, so
that none was chosen by what it is told of. There the sublayers, the top heads and neurons, and as
many random ones are patched exactly. From this come the error of the estimates, and what the chosen
heads and neurons really do.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from interp.causal.attribution import (
    BOTH_WAYS,
    OTHER_EMOTION,
    SAME_NORM,
    Attribution,
    Estimates,
    Given,
    encode_cases,
    estimate_effects,
    estimate_sources,
    towards_emotion,
)
from interp.causal.estimate_errors import error_rows
from interp.causal.node_ranking import RANDOM, TOP, Ranked, pick_nodes, rank_nodes
from interp.causal.nodes import SUBLAYER, Node, component_of, node_sites
from interp.causal.paired import tested_mean
from interp.causal.patched_runs import NodesAt, patch_sources, patched_cells
from interp.causal.patching import PATCHING
from interp.causal.pooled import ALL
from interp.causal.readout import Readout, TokenReadout
from interp.causal.sources import Sources
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.quantised import warn_of_rounding
from interp.results import TableRow, TableRows
from interp.sites import Site, site_columns
from interp.stats import mean_interval
from stimuli.battery import Pair

LISTED_NEURONS = 20
"""Neurons that the table lists, the highest first."""

BY_EMOTION = 5
"""Heads that the table lists for each emotion alone."""

BOTH = "both"
"""The mode of what is half of denoising less noising."""


def attribute_pairs(
    model: LanguageModel,
    halves: tuple[Sequence[Pair], Sequence[Pair]],
    readout: Readout,
    asked: Attribution | None = None,
    *,
    seed: int = 0,
) -> TableRows:
    """Rows of attribution, in nats of the readout's logit difference. Of the `halves`, which share
    no scenario (`Pairs.split`), the first ranks the nodes; all rows are of the second.

    - `estimated_effect`: of each sublayer and head, and of the highest neurons, for all emotions
      together, with the controls `OTHER_EMOTION` and `SAME_NORM` (but for neurons); for each
      emotion alone of its highest heads. `rank` counts from 1, by the other half.
    - `exact_effect`: of what was patched exactly; column `chosen` says why (all, top, random),
      and `estimated` is the estimate on the same pairs.
    - `rank_correlation`, `mean_absolute_error`, `relative_error`, `sign_agreement`: the estimates
      against these (`interp.causal.estimate_errors`), by component, position and direction.
    - `chosen_effect`: what the exact patches of the top heads (or neurons) do on average, towards
      the emotion, both directions together (mode `both`: half of denoise less noise, which is as
      often above zero as below where the twins do not differ); control `RANDOM`, and
      `above_random` is their difference, paired, with its p by sign flips of scenarios.
    - `total_effect`: the logit difference of the emotional text less that of its twin.

    Raises `StatisticsError` where a half has no pair, `UsageError` for an emotion without words or
    a site that holds no node, `DataError` for twins of the same tokens.
    """
    if not all(halves):
        raise StatisticsError(
            "attribution ranks the nodes on one half of the scenarios and tells of the other: each "
            f"needs a pair of twins, and they have {len(halves[0])} and {len(halves[1])}."
        )
    if model.quantised:
        warn_of_rounding(model.provenance, "attribution")
    asked = asked or Attribution()
    pairs = [pair for half in halves for pair in half]
    choosing = list(range(len(halves[0])))
    reported = list(range(len(halves[0]), len(pairs)))
    sites = node_sites(model, asked.sites)
    bound = readout.bind(model)
    for emotion in {pair.affective.emotion for pair in pairs}:
        bound.column(emotion)
    given = encode_cases(model, pairs, readout, seed=seed)
    sources = estimate_sources(model, given, bound, sites, asked)
    estimates = estimate_effects(model, given, bound, sites, asked, sources, seed=seed)
    told = _Told(pairs, choosing, reported, estimates, asked.method)
    ranked: dict[str, Ranked] = {}
    for position in asked.positions:
        towards = {site: towards_emotion(estimates, site, position)[choosing] for site in sites}
        ranked[position] = rank_nodes(towards, told.emotions(choosing))
    picked = {at: pick_nodes(own, sites, asked.top, seed=seed) for at, own in ranked.items()}
    nodes = {position: list(own) for position, own in picked.items()}
    exact = exact_effects(model, given.of(reported), bound, nodes, sources)
    rows: TableRows = []
    for position, own in picked.items():
        rows += _estimate_rows(told, sites, position, ranked[position])
        rows += _exact_rows(told, own, exact, position)
        rows += _error_rows(told, own, exact, position)
        rows += _chosen_rows(told, own, exact, position)
    return [*rows, _total(told, exact)]


class _Told(NamedTuple):
    """The pairs, the indices of those that rank and of those that are told of, and the
    estimates.
    """

    pairs: Sequence[Pair]
    choosing: list[int]
    reported: list[int]
    estimates: Estimates
    method: str

    @property
    def groups(self) -> Shaped[np.ndarray, " case"]:
        """The scenario of each pair that is told of."""
        return np.array([self.pairs[i].affective.group for i in self.reported])

    def emotions(self, rows: Sequence[int]) -> Shaped[np.ndarray, " case"]:
        """The emotion of each of these pairs."""
        return np.array([self.pairs[i].affective.emotion for i in rows])

    def of(
        self, node: Node, way: str, position: str, control: str = ""
    ) -> Float[np.ndarray, " case"]:
        """The node's estimates in the pairs that are told of."""
        unit = 0 if node.component == SUBLAYER else int(node.columns["index"])
        held = self.estimates[way, _whole(node.site), position, control]
        return held[self.reported, unit].astype(np.float64)


ExactEffects = dict[tuple[Node | None, str, str], Float[np.ndarray, " case"]]
"""By node, position and direction the exact effect in each case that is told of; without a node the
unpatched logit differences, of the "source" and the "target".
"""


def exact_effects(
    model: LanguageModel,
    given: Given,
    bound: TokenReadout,
    nodes: NodesAt,
    sources: Sources | None = None,
) -> ExactEffects:
    """Every node patched, in both directions, by the one mechanism of patching. `sources` are those
    of the estimates, where there are any.
    """
    found: ExactEffects = {}
    if sources is None:
        every = [case for cases in given.own.values() for case in cases]
        sources = patch_sources(model, every, bound, nodes)
    for way, cases in given.own.items():
        labels = [case.pair.affective.emotion for case in cases]
        cells = patched_cells(model, cases, bound, nodes, sources=sources)
        contrast = {key: bound.contrast(cell["scores"], labels) for key, cell in cells.items()}
        start = contrast[None, "target", ""]
        for (node, at, _), value in contrast.items():
            found[node, at, way] = value if node is None else value - start
    return found


def _estimate_rows(
    told: _Told, sites: Sequence[Site], position: str, ranked: Ranked
) -> Iterator[TableRow]:
    nodes: list[tuple[Node, str, float]] = [
        (Node(site), ALL, np.nan) for site in sites if component_of(site) == SUBLAYER
    ]
    for (component, emotion), ranking in ranked.items():
        most = {("head", True): None, ("head", False): BY_EMOTION, ("neuron", True): LISTED_NEURONS}
        listed = most.get((component, emotion == ALL), 0)
        own = enumerate(ranking.nodes(listed), start=1)
        nodes += [(node, emotion, float(rank)) for rank, node in own]
    labels = told.emotions(told.reported)
    for way in BOTH_WAYS:
        for node, emotion, rank in nodes:
            mine = (labels == emotion) | (emotion == ALL)
            place = {**node.columns, "position": position, "mode": way, "emotion": emotion}
            for control in _controls(node, emotion):
                if (way, _whole(node.site), position, control) not in told.estimates:
                    continue
                effects = told.of(node, way, position, control)
                used = mine & np.isfinite(effects)
                if used.any():
                    found = mean_interval(effects[used], told.groups[used])._asdict()
                    row = {"method": told.method, "metric": "estimated_effect", **found}
                    yield {**place, "control": control, "rank": rank, **row}


def _controls(node: Node, emotion: str) -> tuple[str, ...]:
    if node.component == "neuron" or emotion != ALL:
        return ("",)
    return ("", OTHER_EMOTION, SAME_NORM)


def _whole(site: Site) -> Site:
    """The site with all its heads, as estimates hold it."""
    return Site(site.name, site.layer)


def _exact_rows(
    told: _Told, picked: Mapping[Node, str], exact: ExactEffects, position: str
) -> Iterator[TableRow]:
    for way in BOTH_WAYS:
        for node, chosen in picked.items():
            found = mean_interval(exact[node, position, way], told.groups)._asdict()
            place = {**node.columns, "position": position, "mode": way, "emotion": ALL}
            estimated = float(told.of(node, way, position).mean())
            found |= {"chosen": chosen, "estimated": estimated}
            row = {"method": PATCHING, "metric": "exact_effect", **found}
            yield {**place, "control": "", **row}


def _error_rows(
    told: _Told, picked: Mapping[Node, str], exact: ExactEffects, position: str
) -> Iterator[TableRow]:
    """By component how far the estimates are from the exact effects of what was patched."""
    for way in BOTH_WAYS:
        for component in (SUBLAYER, "head", "neuron"):
            nodes = [node for node in picked if node.component == component]
            if not nodes:
                continue
            estimated = np.stack([told.of(node, way, position) for node in nodes], axis=1)
            true = np.stack([exact[node, position, way] for node in nodes], axis=1)
            place = {**site_columns(None), "component": component, "position": position}
            for row in error_rows(estimated, true, told.groups):
                named = {"mode": way, "emotion": ALL, "control": "", "method": told.method}
                yield {**place, **named, **row}


def _chosen_rows(
    told: _Told, picked: Mapping[Node, str], exact: ExactEffects, position: str
) -> Iterator[TableRow]:
    """What the top heads and neurons do, exactly and towards the emotion, beside random ones."""
    for component in ("head", "neuron"):
        effect = {}
        for chosen in (TOP, RANDOM):
            own = [n for n, why in picked.items() if (n.component, why) == (component, chosen)]
            added, removed = (
                np.array([exact[node, position, way] for node in own])
                for way in ("denoise", "noise")
            )
            if own:
                effect[chosen] = (added - removed).mean(axis=0) / 2
        place = {**site_columns(None), "component": component, "position": position, "mode": BOTH}
        common = {**place, "emotion": ALL, "method": PATCHING}
        for chosen, values in effect.items():
            control = "" if chosen == TOP else RANDOM
            found = {"control": control, "metric": "chosen_effect"}
            yield {**common, **found, **tested_mean(values, told.groups)}
        if len(effect) == 2:
            above = tested_mean(effect[TOP] - effect[RANDOM], told.groups)
            yield {**common, "control": "", "metric": "above_random", **above}


def _total(told: _Told, exact: ExactEffects) -> TableRow:
    difference = exact[None, "source", "denoise"] - exact[None, "target", "denoise"]
    place = {**site_columns(None), "position": "", "mode": "", "emotion": ALL, "control": ""}
    found = {"method": PATCHING, "metric": "total_effect"}
    return {**place, **found, **tested_mean(difference, told.groups)}
