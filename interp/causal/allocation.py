"""Allocation: how many heads or neurons of each layer a circuit gets, by exact whole numbers.

With K parts for n layers, weights w_l >= 0, a floor f, a cap c and layers of size s_l:

1. Every layer has f; rem = K - n f is shared out: raw_l = rem w_l / sum(w).
2. k_l = min(floor(raw_l), c), and f + k_l is at most s_l.
3. What is left goes, one each, to the layers in the order of the fractional parts of raw_l, the
   largest first (of equals the heavier, then the lower layer); those at their cap are skipped. The
   round begins again until all is given.

Source: "Do LLMs Feel?" (Emotion Circuits): ten parts per sublayer, MLP : attention = .7 : .3,
floors of 4 neurons and 2 heads, c = floor(.4 K). A model too small for these has a smaller budget
and smaller floors (`usual_budget`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isfinite

from interp.errors import UsageError

PER_LAYER = {"head": 6, "neuron": 14}
"""Ten parts for each of a layer's two sublayers, .3 heads and .7 neurons."""

FLOORS = {"head": 2, "neuron": 4}

CAP = Fraction(2, 5)
"""The share of all parts that one layer may have above its floor."""

SPLIT = {"head": Fraction(3, 10), "neuron": Fraction(7, 10)}

MOST_OF_BUDGET = 4
"""Of a layer's parts the usual budget takes at most one in so many."""


@dataclass(frozen=True, slots=True)
class Budget:
    """K parts in all; `floor` for every layer, and at most `cap` more for one layer."""

    parts: int
    floor: int
    cap: int


def usual_budget(kind: str, *, n_layers: int, width: int, parts: int | None = None) -> Budget:
    """The budget of a `kind` (head, neuron) in a model of `n_layers` layers of `width` such parts.

    Unless `parts` says how many: `PER_LAYER` for each layer, but no more than a quarter of a
    layer's parts (at least one). The floor is that of `FLOORS`, or lower, so that all floors
    together take at most half of the budget. The cap is floor(.4 K), or higher where the layers are
    too few for that.
    Raises `UsageError` for fewer than one part, or for more than the model has.
    """
    if parts is None:
        parts = n_layers * min(PER_LAYER[kind], max(1, width // MOST_OF_BUDGET))
    if not 1 <= parts <= n_layers * width:
        raise UsageError(
            f"a circuit of {parts} {kind}s: this model has {n_layers} layers of {width}, so give "
            f"1 to {n_layers * width}."
        )
    least = min(FLOORS[kind], parts // (2 * n_layers))
    fits = ceil(Fraction(parts - n_layers * least, n_layers))
    return Budget(parts, least, max(floor(CAP * parts), fits))


def split_budget(total: int) -> dict[str, int]:
    """How many heads and how many neurons a budget of `total` parts has, .3 : .7.

    Raises `UsageError` for fewer than two.
    """
    if total < 2:
        raise UsageError(f"a budget of {total} parts: give at least 2, a head and a neuron.")
    heads = max(1, round(SPLIT["head"] * total))
    return {"head": heads, "neuron": total - heads}


def allocate(weights: Sequence[float], budget: Budget, *, sizes: Sequence[int]) -> tuple[int, ...]:
    """The quota of each layer; they sum to `budget.parts`. All weights zero: all layers alike.

    Raises `UsageError` for a weight below zero or not finite, a layer without a size, floors that
    are more than the budget or than a layer, and a budget that caps and sizes leave no room for.
    """
    _check(weights, budget, sizes)
    left = budget.parts - len(sizes) * budget.floor
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    raw = [left * one / total if total else Fraction(left, len(sizes)) for one in exact]
    room = [min(budget.cap, size - budget.floor) for size in sizes]
    if sum(room) < left:
        raise UsageError(
            f"{budget.parts} parts do not fit into {len(sizes)} layers with a cap of "
            f"{budget.cap} above the floor of {budget.floor}: give a smaller budget."
        )
    more = [min(floor(share), space) for share, space in zip(raw, room, strict=True)]
    rest = left - sum(more)
    order = sorted(range(len(raw)), key=lambda at: (-(raw[at] % 1), -exact[at], at))
    while rest:
        for at in order:
            if rest and more[at] < room[at]:
                more[at] += 1
                rest -= 1
    return tuple(budget.floor + one for one in more)


def _check(weights: Sequence[float], budget: Budget, sizes: Sequence[int]) -> None:
    if len(weights) != len(sizes) or not sizes:
        raise UsageError(f"{len(weights)} weights and {len(sizes)} layers: give one each.")
    odd = [weight for weight in weights if not (isfinite(weight) and weight >= 0)]
    if odd:
        raise UsageError(f"a layer's weight is {odd[0]}: give finite numbers of at least 0.")
    lacking = min(sizes) < budget.floor or budget.floor < 0
    if lacking or budget.floor * len(sizes) > budget.parts:
        raise UsageError(
            f"a floor of {budget.floor} in {len(sizes)} layers (the smallest of {min(sizes)}) does "
            f"not go with {budget.parts} parts in all: lower the floor."
        )
