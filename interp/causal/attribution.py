"""Attribution patching: what patching a node would do, estimated for all nodes at once.

To first order, exchanging an activation a of the target's run for the source's changes the score by
(a_source - a_target) . d score / d a (Nanda 2023; Syed, Rager & Conmy 2023). One pass of each text
and one backward pass do for every node. The score, the positions and the two directions are those
of `interp.causal.patching`; `interp.causal.estimates` has the ways to take the gradient.

An estimate is only that: `attribute_pairs` (`interp.causal.attribution_rows`) puts the exact patch
beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.estimates import ESTIMATES, SlopesAsked, contrast_score, graph_starts
from interp.causal.forward import batches, encode_stimuli
from interp.causal.gradients import Slopes
from interp.causal.nodes import NODE_SITES, PARTS
from interp.causal.prefix import prefix_tokens
from interp.causal.readout import Readout, TokenReadout
from interp.causal.restoration import OTHER_EMOTION, SAME_NORM
from interp.causal.sources import Sources
from interp.causal.transplants import (
    Case,
    Held,
    Moves,
    Stranger,
    make_case,
    random_of_same_norm,
)
from interp.defaults import ATTRIBUTE_WITH, PATH_STEPS
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site
from stimuli.battery import Pair
from stimuli.splits import of_other_emotions

GRADIENT_TOKENS = 256
"""Tokens of one backward pass: all that passes the model then is in memory."""

BOTH_WAYS = {"denoise": "noise", "noise": "denoise"}
"""Both directions of patching: the targets of one are the sources of the other."""

EstimateKey = tuple[str, Site, str, str]
"""Direction of patching, site, position and control."""

Estimates = dict[EstimateKey, Float[np.ndarray, "case _"]]
"""By direction, site, position and control the estimated effect (nats) in each case: of the site as
a whole (one unit), of each query head of z, of each neuron of post. NaN where a case has no such
source.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What is estimated: the nodes at `sites` and `positions`, by the `method` (a key of
    `ESTIMATES`), along a path of `steps` where it has one; and of how many heads and neurons, the
    `top` ones and as many random ones, the exact effect stands beside it.

    Raises `UsageError` for an unknown position or method, and for fewer than one step or head.
    """

    sites: Sequence[str] = NODE_SITES
    positions: Sequence[str] = ("last", "edit")
    method: str = ATTRIBUTE_WITH
    steps: int = PATH_STEPS
    top: int = 8

    def __post_init__(self) -> None:
        wrong = [one for one in self.positions if one not in ("last", "edit")]
        if wrong or not self.positions:
            raise UsageError(f"positions are {list(self.positions)}: expected last, edit or both.")
        if self.method not in ESTIMATES:
            raise UsageError(
                f"unknown method of attribution {self.method!r}: choose from "
                f"{', '.join(ESTIMATES)}."
            )
        for name, number in (("steps", self.steps), ("top", self.top)):
            if number < 1:
                raise UsageError(f"{name} is {number}: give at least 1.")


class Given(NamedTuple):
    """Pairs as cases of both directions: with their twins as sources (`own`), and once more with
    strangers of another emotion (`foreign`).
    """

    own: Mapping[str, Sequence[Case]]
    foreign: Mapping[str, Sequence[Case]]

    def of(self, rows: Sequence[int]) -> "Given":
        """Only these pairs."""
        return Given(*({way: [it[i] for i in rows] for way, it in one.items()} for one in self))


def encode_cases(
    model: LanguageModel, pairs: Sequence[Pair], readout: Readout, *, seed: int = 0
) -> Given:
    """The pairs as cases; the stranger of each is drawn from the pairs of other emotions. Raises
    `DataError` for twins of the same tokens.
    """
    affective = encode_stimuli(model, [pair.affective for pair in pairs], readout)
    neutral = encode_stimuli(model, [pair.neutral for pair in pairs], readout)
    ways = {"denoise": (affective, neutral), "noise": (neutral, affective)}

    def cases(others: Int[np.ndarray, " pair"]) -> dict[str, list[Case]]:
        return {
            way: [
                make_case(
                    one,
                    source[i],
                    target[i],
                    {OTHER_EMOTION: Stranger(source[k], target[k])}
                    if (k := others[i]) >= 0
                    else {},
                )
                for i, one in enumerate(pairs)
            ]
            for way, (source, target) in ways.items()
        }

    return Given(cases(np.full(len(pairs), -1)), cases(of_other_emotions(pairs, seed=seed)))


def estimate_sources(
    model: LanguageModel,
    given: Given,
    bound: TokenReadout,
    sites: Sequence[Site],
    asked: Attribution,
) -> Sources:
    """What twins and strangers hold at `sites`, at the positions that are asked for."""
    every = [case for ways in given for cases in ways.values() for case in cases]
    return Sources(model, every, bound, sites, positions=asked.positions)


def estimate_effects(
    model: LanguageModel,
    given: Given,
    bound: TokenReadout,
    sites: Sequence[Site],
    asked: Attribution,
    sources: Sources | None = None,
    *,
    seed: int = 0,
) -> Estimates:
    """The estimated effect of patching each node at `sites`, in every case and both directions.
    `sources` are those of `estimate_sources`, where they serve further work.

    Controls: "" (the twin), and but for neurons `OTHER_EMOTION` and `SAME_NORM`.
    """
    found: Estimates = {}
    sources = sources or estimate_sources(model, given, bound, sites, asked)
    draw, n_cases = torch.Generator().manual_seed(seed), len(given.own["denoise"])
    for index in track(_chunks(model, given.own, asked), "attribution", unit="batch"):
        for key, effects in _estimate_batch(
            model, given.of(index.tolist()), bound, sites, asked, sources, draw
        ):
            shape = (n_cases, effects.shape[1])
            whole = found.setdefault(key, np.full(shape, np.nan, dtype=np.float32))
            whole[index] = effects.cpu().numpy()
    return found


def towards_emotion(
    estimates: Estimates, site: Site, position: str
) -> Float[np.ndarray, "case unit"]:
    """Half of what denoising adds less what noising does: above zero towards the emotion."""
    both = [estimates[way, site, position, ""] for way in ("denoise", "noise")]
    return (both[0] - both[1]) / 2


def _chunks(
    model: LanguageModel, ways: Mapping[str, Sequence[Case]], asked: Attribution
) -> list[Int[np.ndarray, " case"]]:
    """The cases in batches of few tokens, at most `GRADIENT_TOKENS` of which are in the graph; or
    of one case.
    """
    targets = list(zip(*([case.target for case in cases] for cases in ways.values()), strict=True))
    longest = [max(both, key=lambda text: len(text.tokens)) for both in targets]
    behind = np.zeros(len(targets), dtype=int)
    for cases in ways.values():
        starts = graph_starts(cases, asked.positions, asked.method)
        own = [len(case.target.tokens) - start for case, start in zip(cases, starts, strict=True)]
        behind = np.maximum(behind, own)
    found = []
    for index in batches(longest, budget=prefix_tokens(model), sizes=behind.tolist()):
        most = max(1, GRADIENT_TOKENS // int(behind[index].max()))
        found += np.split(index, range(most, len(index), most))
    return found


def _estimate_batch(
    model: LanguageModel,
    given: Given,
    bound: TokenReadout,
    sites: Sequence[Site],
    asked: Attribution,
    sources: Sources,
    draw: torch.Generator,
) -> Iterator[tuple[EstimateKey, Float[Tensor, "case unit"]]]:
    """The estimates of one batch. What the targets of one direction hold is what the sources of the
    other give.
    """
    score = contrast_score(bound, [case.pair.affective.emotion for case in given.own["denoise"]])
    wanted = SlopesAsked(sites, asked.positions, score, asked.steps)
    slopes = {
        way: ESTIMATES[asked.method](model, cases, wanted) for way, cases in given.own.items()
    }
    controlled = [site for site in sites if PARTS.get(site.name) != "neuron"]
    for way, other in BOTH_WAYS.items():
        for position in asked.positions:
            moves = [case.moves[position, ""] for case in given.own[way]]
            everyone = list(range(len(moves)))
            for site in sites:
                step = _Step(slopes[way], site, moves, everyone)
                change = step.towards(slopes[other].values)
                yield (way, site, position, ""), step.effects(change)
                if site in controlled:
                    noise = random_of_same_norm(change, draw)
                    yield (way, site, position, SAME_NORM), step.effects(noise)
        foreign = given.foreign[way]
        met = [i for i, case in enumerate(foreign) if case.strangers]
        if not met:
            continue
        strangers = sources.donor([foreign[i].strangers[OTHER_EMOTION] for i in met]).held
        for position in asked.positions:
            away = [foreign[i].moves[position, OTHER_EMOTION] for i in met]
            for site in controlled:
                step = _Step(slopes[way], site, away, met)
                yield (way, site, position, OTHER_EMOTION), step.effects(step.towards(strangers))


class _Step(NamedTuple):
    """The exchange at a site that `moves` make in the targets `rows`, whose `slopes` are known."""

    slopes: Slopes
    site: Site
    moves: Sequence[Moves]
    rows: Sequence[int]

    def towards(self, source: Held) -> Float[Tensor, " token *site"]:
        """By how much what stands there changes, token by token of all rows."""
        taken, put = ([move[side] for move in self.moves] for side in (0, 1))
        return source.taken(self.site, taken).float() - self._of(self.slopes.values, put)

    def effects(self, change: Float[Tensor, " token *site"]) -> Float[Tensor, "case unit"]:
        """To first order what `change` does to each case's score, by unit of the site."""
        put = [move[1] for move in self.moves]
        along = change * self._of(self.slopes.gradient, put)
        of_unit = along if self.site.name == "post" else along.sum(-1)
        of_unit = of_unit.reshape(len(of_unit), -1)
        n = len(self.slopes.gradient.positions)
        case = np.repeat(self.rows, [len(one) for one in put])
        whole = of_unit.new_full((n, of_unit.shape[1]), torch.nan)
        whole[torch.tensor(self.rows)] = 0.0
        return whole.index_add_(0, torch.from_numpy(case).to(whole.device), of_unit)

    def _of(
        self, held: Held, put: Sequence[Int[np.ndarray, " _"]]
    ) -> Float[Tensor, " token *site"]:
        of_rows = Held(
            {self.site: held.sites[self.site][list(self.rows)]},
            [held.positions[i] for i in self.rows],
        )
        return of_rows.taken(self.site, put)
