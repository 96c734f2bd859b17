"""Faithfulness: does the circuit alone do what the whole model does?

    f(C) = (m(C) - m(empty)) / (m(all) - m(empty))

Everything outside C is knocked out of the affective text, by default put to what it is in the
neutral twin: at every token that may differ (reach `all`), or at the text's last token alone
(`last`), which is where circuits are found: then what the model made of earlier tokens stays, and
the question is what takes it up. The outcome m is the log-probability of the emotion's words
(nats), as in the stage ablation; beside it stands the projection on the reference direction, which
chose the parts and so proves nothing by itself. C grows over shares k of all heads and of all
neurons (at least one each):

    CPR = integral of f(C_k) dk from 0 to 1,  CMD = integral of |1 - f(C_k)| dk

by the trapezoid rule, with f(nothing) = 0 and f(all) = 1. Source: Mueller et al. 2025 (MIB), on
nodes instead of edges. Beside the circuit's own order of parts stand random orders of the same
layers, and other ways to choose as many (`rivals`): by exact ablation of single parts, and where it
is asked by gradient and greedily (`interp.causal.rival_orders`). What is left without the circuit
(`left_without`) and what a random half of its parts does (`incompleteness`) say whether it is
complete, and `needed` whether it is minimal: the share of its parts without which f surely falls
(after Wang et al. 2022). For a random half K of the parts of a circuit C of the model M

    incompleteness = mean over K of |f(C - K) - f(M - K)|

which is 0 where nothing outside the circuit does what K does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.causal.bench import Bench, Kept, Knockout
from interp.causal.circuit import Circuit
from interp.causal.circuit_search import Order, like
from interp.causal.contributions import KINDS, Component
from interp.causal.knockout import measure
from interp.causal.matching import width
from interp.causal.plan_runs import REACHES
from interp.defaults import STAND_IN
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.sites import Site

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of MIB."""

ORDERS = 20
"""Random orders beside a circuit, over all emotions together, at least."""

OUTCOMES = {"words": "score", "projection": "projection"}
"""What is measured, and where `Effects` has it."""


class KeptParts(NamedTuple):
    """A circuit, the order of all parts that begins with its own, and by name their orders by other
    choices (`single`: by single ablation).
    """

    circuit: Circuit
    order: Order
    rivals: Mapping[str, Order] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessTrial:
    """How faithfulness is measured: the `shares` of parts, the random orders (`draws`), the parts
    of each kind whose removal from the circuit is `tried`, the random `halves` of a circuit, what
    stands in for what is outside (`mode`) and where (`reach`), and the seed; and whether `optimal`
    circuits stand beside it.

    Raises `UsageError` for a share outside (0, 1], fewer than one random order, or another reach.
    """

    shares: Sequence[float] = SHARES
    draws: int = ORDERS
    tried: int = 8
    halves: int = 4
    mode: str = STAND_IN
    reach: str = "all"
    seed: int = 0
    optimal: bool = False

    def __post_init__(self) -> None:
        odd = [share for share in self.shares if not 0 < share <= 1]
        if odd or self.draws < 1 or self.tried < 0 or self.halves < 0:
            raise UsageError(
                f"shares {tuple(self.shares)}, {self.draws} random orders, {self.tried} parts "
                f"tried, {self.halves} halves: shares lie above 0 and up to 1, there is at least "
                "one random order, and no number is below 0."
            )
        if self.reach not in REACHES:
            raise UsageError(f"unknown reach {self.reach!r}: choose one of {', '.join(REACHES)}.")


class Sized(NamedTuple):
    """How many parts of each kind are kept, and the share of all that this is."""

    share: float
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One outcome of one emotion, in each of its pairs: what it is of the whole model less that of
    nothing (`effect`), and of what is kept less that of nothing.

    `circuit` is that of the circuit itself, `without` that of all but the circuit (and
    `random_without` of all but random ones), `lacking` that of the circuit without one of its
    parts; `halved` and `whole_halved` those of the circuit and of the whole model without the same
    random halves of the circuit; `own`, `rivals` and `random` are those of the first parts of each
    order, over the levels of `sizes`, of which the first is the circuit's own size.
    """

    effect: Float[np.ndarray, " pair"]
    without: Float[np.ndarray, " pair"]
    random_without: Float[np.ndarray, "draw pair"]
    lacking: Float[np.ndarray, "part pair"]
    halved: Float[np.ndarray, "half pair"]
    whole_halved: Float[np.ndarray, "half pair"]
    own: Float[np.ndarray, "level pair"]
    rivals: Mapping[str, Float[np.ndarray, "level pair"]]
    random: Float[np.ndarray, "draw level pair"]
    sizes: tuple[Sized, ...]

    @property
    def circuit(self) -> Float[np.ndarray, " pair"]:
        """The circuit's own."""
        return self.own[0]


def measure_circuits(
    bench: Bench, candidates: Sequence[KeptParts], trial: FaithfulnessTrial
) -> dict[str, dict[str, Measured]]:
    """Every outcome of each circuit in the bench's pairs of its emotion: by emotion, and by the
    names of `OUTCOMES`.

    Raises `UsageError` for an emotion that the readout has no words for or the bench no pair of,
    and as `measure`.
    """
    bound = bench.readout.bind(bench.model)
    found: dict[str, dict[str, Measured]] = {}
    waiting: list[_Plans] = []
    for candidate in candidates:
        bound.column(candidate.circuit.emotion)
        waiting.append(_planned(bench, candidate, trial))
        units = sum(map(len, candidate.order.values()))
        if units * sum(len(one.listed) for one in waiting) > MASK_BYTES:
            found |= _run(bench, waiting, trial)
            waiting = []
    return found | (_run(bench, waiting, trial) if waiting else {})


MASK_BYTES = 256 << 20
"""Bytes of what plans keep, at which those that wait are run."""


_RIVAL = "rival "


class _Plans(NamedTuple):
    """What is kept of a circuit's model, plan by plan, in the parts that `Measured` has."""

    emotion: str
    pairs: tuple[int, ...]
    sizes: tuple[Sized, ...]
    parts: Mapping[str, Sequence[Kept | None]]

    @property
    def listed(self) -> list[Knockout]:
        """The plans, one part behind the other."""
        return [Knockout((), self.pairs, one) for part in self.parts.values() for one in part]


def _planned(bench: Bench, candidate: KeptParts, trial: FaithfulnessTrial) -> _Plans:
    emotion = candidate.circuit.emotion
    own = tuple(i for i, one in enumerate(bench.emotions) if one == emotion)
    if not own:
        raise UsageError(f"no pair of the bench evokes {emotion!r}: faithfulness needs some.")
    draw = np.random.default_rng(trial.seed)
    random = [like(candidate.order, draw) for _ in range(trial.draws)]
    sizes = sized(candidate, trial.shares)

    def kept(order: Order, level: int = 0) -> Kept:
        return kept_of(bench.model, order, sizes[level].parts)

    inner = kept(candidate.order)
    halves = [half_of(inner, trial.seed, number) for number in range(trial.halves)]
    parts: dict[str, Sequence[Kept | None]] = {
        "whole": [None],
        "empty": [{site: np.zeros_like(units) for site, units in inner.items()}],
        "without": [_all_but(inner), *(_all_but(kept(order)) for order in random)],
        "lacking": [_lacking(inner, one) for one in tried_parts(candidate.circuit, trial.tried)],
        "halved": [{site: inner[site] & ~half[site] for site in inner} for half in halves],
        "whole_halved": [_all_but(half) for half in halves],
    }
    parts |= {
        name: [kept(order, level) for order in orders for level in range(len(sizes))]
        for name, orders in (
            ("own", [candidate.order]),
            ("random", random),
            *((_RIVAL + name, [order]) for name, order in candidate.rivals.items()),
        )
    }
    return _Plans(emotion, own, sizes, parts)


def _run(
    bench: Bench, planned: Sequence[_Plans], trial: FaithfulnessTrial
) -> dict[str, dict[str, Measured]]:
    """All these plans in one go, and what each circuit's came to."""
    listed = [plan for one in planned for plan in one.listed]
    effects = measure(bench, listed, mode=trial.mode, reach=trial.reach)
    found: dict[str, dict[str, Measured]] = {}
    first = 0
    for one in planned:
        rows = slice(first, first + len(one.listed))
        first = rows.stop
        found[one.emotion] = {
            name: _measured(getattr(effects, column)[rows, list(one.pairs)], one)
            for name, column in OUTCOMES.items()
        }
    return found


def _measured(values: Float[np.ndarray, "plan pair"], planned: _Plans) -> Measured:
    """An outcome under each plan, less that of nothing kept."""
    ends = np.cumsum([len(part) for part in planned.parts.values()])[:-1]
    of = dict(zip(planned.parts, np.split(values, ends), strict=True))
    gains = {name: part - of["empty"][0] for name, part in of.items()}
    n, levels = len(planned.pairs), len(planned.sizes)
    return Measured(
        effect=gains["whole"][0],
        without=gains["without"][0],
        random_without=gains["without"][1:],
        lacking=gains["lacking"],
        halved=gains["halved"],
        whole_halved=gains["whole_halved"],
        own=gains["own"],
        rivals={
            name.removeprefix(_RIVAL): part
            for name, part in gains.items()
            if name.startswith(_RIVAL)
        },
        random=gains["random"].reshape(-1, levels, n),
        sizes=planned.sizes,
    )


def sized(candidate: KeptParts, shares: Sequence[float]) -> tuple[Sized, ...]:
    """The circuit's own size, and those of the shares below 1 that differ, in rising order."""
    whole = {kind: len(parts) for kind, parts in candidate.order.items()}
    own = {kind: len(candidate.circuit.nodes[kind]) for kind in whole}
    found = [Sized(sum(own.values()) / sum(whole.values()), own)]
    for share in sorted(set(shares)):
        parts = {kind: int(np.ceil(round(share * n, 9))) for kind, n in whole.items()}
        if share < 1 and parts != whole and parts not in [one.parts for one in found[1:]]:
            found.append(Sized(share, parts))
    return tuple(found)


def kept_of(model: LanguageModel, order: Order, parts: Mapping[str, int]) -> Kept:
    """The first so many heads and neurons of an order, as what a knock-out keeps."""
    found: dict[Site, np.ndarray] = {}
    for kind, places in order.items():
        name = KINDS[kind]
        masks = np.zeros((model.dims.n_layers, width(name, model)), dtype=bool)
        chosen = places[: parts[kind]]
        masks[chosen[:, 0], chosen[:, 1]] = True
        found |= {Site(name, layer): masks[layer] for layer in np.unique(places[:, 0]).tolist()}
    return found


def tried_parts(circuit: Circuit, n: int) -> list[Component]:
    """The heaviest `n` heads and `n` neurons of a circuit."""
    return [
        Component(KINDS[kind], node.layer, node.index)
        for kind, nodes in circuit.nodes.items()
        for node in nodes[:n]
    ]


def half_of(kept: Kept, seed: int, number: int) -> Kept:
    """The `number`-th random half of what is kept, each part of it or not by the throw of a coin,
    and at least one.
    """
    draw = np.random.default_rng((seed, number))
    places = [(site, unit) for site, units in kept.items() for unit in np.flatnonzero(units)]
    taken = draw.random(len(places)) < 0.5
    taken[draw.integers(len(places))] = True
    found = {site: np.zeros_like(units) for site, units in kept.items()}
    for (site, unit), is_taken in zip(places, taken, strict=True):
        found[site][unit] = is_taken
    return found


def _all_but(kept: Kept) -> Kept:
    return {site: ~units for site, units in kept.items()}


def _lacking(kept: Kept, part: Component) -> Kept:
    site = Site(part.name, part.layer)
    mask = kept[site].copy()
    mask[part.index] = False
    return {**kept, site: mask}
