"""Rivals of a circuit: other ways to put all parts in an order, so that a circuit is held against
as many parts that are chosen otherwise. All are chosen on the pairs that chose the circuit.

    single      by what each takes from the emotion's words when it is knocked out alone
    integrated  by integrated gradients of these words (EAP-IG; Hanna, Pezzelle & Belinkov 2024)
    greedy      of the circuit's own parts and those that `integrated` ranks first, as many of
                each: again and again those go without which the words fall least

The last two are the optimal circuits: the best that is cheaply found. The greedy way takes parts
out, and does not put them in one by one: where a head writes what a neuron reads, neither gains
anything while the other is missing.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import floor

import numpy as np
from jaxtyping import Int

from interp.causal.alignment import align
from interp.causal.attribution import Attribution, encode_cases, estimate_effects, towards_emotion
from interp.causal.bench import Bench, Knockout
from interp.causal.circuit_search import Order, parts_sites
from interp.causal.contributions import KINDS, Component
from interp.causal.faithfulness import FaithfulnessTrial, KeptParts, kept_of
from interp.causal.knockout import measure
from interp.causal.node_ranking import rank_nodes
from interp.causal.pooled import ALL
from interp.causal.readout import TokenReadout
from interp.causal.transplants import Case
from interp.models.checks.reliance import require

SINGLE_ABLATION, INTEGRATED, GREEDY = "single", "integrated", "greedy"

LEFT_EACH_ROUND = 0.75
"""The share of the parts that a round of the greedy choice leaves."""


def by_single_ablation(
    bench: Bench, candidates: Sequence[KeptParts], *, n: int, trial: FaithfulnessTrial
) -> list[KeptParts]:
    """The candidates with their order by single ablation: the first `n` heads and neurons of each
    order, put in the order of what each takes from the emotion's words when it is knocked out
    alone, in the bench's pairs (which are to be those that chose the circuit).
    """
    plans: list[Knockout] = []
    for candidate in candidates:
        own = _pairs_of(bench, candidate)
        plans.append(Knockout((), own))
        first = {kind: places[:n] for kind, places in candidate.order.items()}
        plans += [Knockout((part,), own) for part in _components(first)]
    scores = _mean_scores(bench, plans, trial)
    found, first_plan = [], 0
    for candidate in candidates:
        single, whole = {}, scores[first_plan]
        first_plan += 1
        for kind, places in candidate.order.items():
            drops = whole - scores[first_plan : first_plan + len(places[:n])]
            first_plan += len(drops)
            ranked = places[:n][np.argsort(-drops, kind="stable")]
            single[kind] = np.concatenate([ranked, places[n:]])
        found.append(candidate._replace(rivals={**candidate.rivals, SINGLE_ABLATION: single}))
    return found


def beside_optimal(
    bench: Bench, candidates: Sequence[KeptParts], *, trial: FaithfulnessTrial
) -> list[KeptParts]:
    """The candidates with their orders by integrated gradients and by greedy choice, in the bench's
    pairs (which are to be those that chose the circuit).

    Raises `UsageError` where a part cannot be patched, and as `measure`.
    """
    bound = bench.readout.bind(bench.model)
    ranked = [
        candidate._replace(
            rivals={**candidate.rivals, INTEGRATED: _by_gradient(bench, candidate, bound, trial)}
        )
        for candidate in candidates
    ]
    races = [_Race.of(bench, candidate) for candidate in ranked]
    while running := [race for race in races if race.goes_on]:
        _run_round(bench, running, trial)
    return [
        candidate._replace(rivals={**candidate.rivals, GREEDY: race.order})
        for candidate, race in zip(ranked, races, strict=True)
    ]


def _by_gradient(
    bench: Bench, candidate: KeptParts, bound: TokenReadout, trial: FaithfulnessTrial
) -> Order:
    """All parts in the order of what exchanging them is estimated to do to the emotion's words,
    half of both directions.
    """
    emotion, position = candidate.circuit.emotion, _POSITION[trial.reach]
    sites = parts_sites(candidate.order)
    require(bench.model, "patching", sites)
    pairs = [bench.pairs[i] for i in _pairs_of(bench, candidate)]
    alone = replace(bound, words={emotion: bound.words[emotion]})
    asked = Attribution(positions=(position,), method="integrated")
    given = encode_cases(bench.model, pairs, bench.readout, seed=trial.seed)
    if trial.reach == "all":
        own = {way: [_moved_behind(case) for case in cases] for way, cases in given.own.items()}
        given = given._replace(own=own)
    estimates = estimate_effects(bench.model, given, alone, sites, asked, seed=trial.seed)
    towards = {site: towards_emotion(estimates, site, position) for site in sites}
    ranked = rank_nodes(towards, np.array([emotion] * len(pairs)))
    order = {}
    for kind in candidate.order:
        ranking = ranked[kind, ALL]
        layers = np.array([site.layer for site in ranking.sites])
        site, unit = np.divmod(ranking.order, ranking.n_units)
        order[kind] = np.stack([layers[site], unit], axis=1)
    return order


_POSITION = {"last": "last", "all": "edit"}
"""Where parts are exchanged, by where they are knocked out."""


def _moved_behind(case: Case) -> Case:
    """The case whose exchange at the edit goes on to the end of the row, as a knock-out does."""
    _, edit = case.moves["edit", ""]
    put = np.arange(int(edit[0]), len(case.target.tokens))
    taken = align(case.source.tokens, case.target.tokens).source_of[put]
    return replace(case, moves={**case.moves, ("edit", ""): (taken, put)})


class _Race:
    """The greedy choice of one circuit's parts: those that are `left`, and those that went, the
    first one last.
    """

    def __init__(self, pairs: tuple[int, ...], ranked: Order, left: Order) -> None:
        self.pairs, self.left, self._start = pairs, dict(left), left
        self._round = 0
        self._behind = {kind: _others(places, left[kind]) for kind, places in ranked.items()}

    @classmethod
    def of(cls, bench: Bench, candidate: KeptParts) -> "_Race":
        """The start: the circuit's own parts, and as many that the gradient ranks first."""
        ranked, left = candidate.rivals[INTEGRATED], {}
        for kind, places in candidate.order.items():
            n = len(candidate.circuit.nodes[kind])
            own = places[:n]
            left[kind] = np.concatenate([own, _others(ranked[kind][:n], own)])
        return cls(_pairs_of(bench, candidate), ranked, left)

    @property
    def goes_on(self) -> bool:
        """Whether more than one part of a kind is left."""
        return any(len(places) > 1 for places in self.left.values())

    @property
    def order(self) -> Order:
        """All parts: those that are left, those that went, and those that never ran."""
        return {
            kind: np.concatenate([places, self._behind[kind]]) for kind, places in self.left.items()
        }

    def drop(self, scores: Sequence[float]) -> None:
        """Let go without what the words fall least; `scores` are what is left of the words without
        each part, heads first.
        """
        self._round += 1
        first = 0
        for kind, places in self.left.items():
            own = np.array(scores[first : first + len(places)])
            first += len(places)
            n = floor(len(self._start[kind]) * LEFT_EACH_ROUND**self._round)
            n = min(len(places), max(1, n))
            needed = places[np.argsort(own, kind="stable")]
            self.left[kind] = needed[:n]
            self._behind[kind] = np.concatenate([needed[n:], self._behind[kind]])


def _run_round(bench: Bench, races: Sequence[_Race], trial: FaithfulnessTrial) -> None:
    """One round of all races: each part that is left is taken out alone."""
    plans: list[Knockout] = []
    ends = []
    for race in races:
        sizes = {kind: len(places) for kind, places in race.left.items()}
        kept = kept_of(bench.model, race.order, sizes)
        plans += [Knockout((part,), race.pairs, kept) for part in _components(race.left)]
        ends.append(len(plans))
    scores = np.split(_mean_scores(bench, plans, trial), ends[:-1])
    for race, own in zip(races, scores, strict=True):
        race.drop(own.tolist())


def _mean_scores(bench: Bench, plans: Sequence[Knockout], trial: FaithfulnessTrial) -> np.ndarray:
    """What each plan leaves of the emotion's words, on average over its pairs (nats)."""
    effects = measure(bench, plans, mode=trial.mode, reach=trial.reach)
    return np.array(
        [row[list(plan.pairs)].mean() for row, plan in zip(effects.score, plans, strict=True)]
    )


def _pairs_of(bench: Bench, candidate: KeptParts) -> tuple[int, ...]:
    emotion = candidate.circuit.emotion
    return tuple(i for i, one in enumerate(bench.emotions) if one == emotion)


def _components(places: Order) -> list[Component]:
    """The parts of an order, heads first."""
    return [Component(KINDS[kind], *place) for kind in places for place in places[kind].tolist()]


def _others(
    places: Int[np.ndarray, "part 2"], without: Int[np.ndarray, "other 2"]
) -> Int[np.ndarray, "rest 2"]:
    """The places that are not among `without`, in their order."""
    known = set(map(tuple, without.tolist()))
    return places[np.array([tuple(place) not in known for place in places.tolist()], dtype=bool)]
