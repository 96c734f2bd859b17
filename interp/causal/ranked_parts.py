"""What the top k parts of a ranking do, beside random parts, and beside the bottom k: what ablation
and enhancement share.

1. Components come ranked (contributions.py) from *one* half of the pairs; a `Bench` holds the other
   half.
2. The top k are changed together, at every token of the bench's text that may differ from its
   twin's.
3. Measured: how far the projection on the emotion's direction moves at the text's last token, and
   the readout's log-probability of its words, for every target emotion (`interp.causal.compared`).
4. Control: k random components of the same layers, several draws. None of the chosen ones is ever
   among them, and no two draws are the same: where a layer has too few others, the rest comes from
   the other layers that write to the direction (column `matched`), and where these are too few
   there is no control and no p. `bottom`: the k that stand last in the ranking.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from interp.causal.bench import Bench, Knockout
from interp.causal.compared import Aim, ChosenPlan, Drawn, compared_rows, outcomes_of
from interp.causal.contributions import KINDS, Component, is_unit
from interp.causal.knockout import measure
from interp.causal.losses import loss_mode, loss_outcomes, neutral_losses
from interp.causal.matching import matched_draws
from interp.causal.stand_ins import STAND_INS
from interp.errors import UsageError
from interp.results import TableRows


class Counts(NamedTuple):
    """How many parts are changed together (`ks`), how many random choices stand beside them, their
    seed, and whether the bottom k do, too.
    """

    ks: Sequence[int] = (1, 2, 4, 8)
    n_draws: int = 20
    seed: int = 0
    bottom: bool = False


Orders = Mapping[str, Sequence[Component]]
"""By emotion the parts of one kind, all heads or all neurons, the first in the ranking first."""


def ranked_rows(bench: Bench, orders: Sequence[Orders], aim: Aim, counts: Counts) -> TableRows:
    """The rows of changing the top k of each of the `orders`, for each emotion; as
    `interp.causal.ablation.ablate` has them. All are measured together: a text is read once.
    """
    _check(aim, counts)
    warn_without_length(bench)
    plans, chosen = ranked_plans(bench, orders, aim, counts)
    if not chosen:
        return []
    effects = measure(bench, plans, mode=aim.mode)
    return list(compared_rows(outcomes_of(bench, effects, aim), chosen, aim.common))


def ranked_loss_rows(bench: Bench, orders: Sequence[Orders], aim: Aim, counts: Counts) -> TableRows:
    """Rows of `neutral_loss_rise` (nats per token) in the neutral texts, under the very plans of
    `ranked_rows`: what the change costs a text that has no emotion to lose.
    """
    _check(aim, counts)
    plans, chosen = ranked_plans(bench, orders, aim, counts)
    losses = neutral_losses(bench, plans, mode=aim.mode)
    common = {"method": aim.method, "mode": aim.told or loss_mode(aim.mode)}
    return list(compared_rows(loss_outcomes(bench, losses), chosen, common))


def ranked_plans(
    bench: Bench, orders: Sequence[Orders], aim: Aim, counts: Counts
) -> tuple[list[Knockout], list[ChosenPlan]]:
    """All plans, the first of which changes nothing, and where each top k has its own."""
    everywhere = tuple(range(len(bench.pairs)))
    plans, chosen = [Knockout((), everywhere)], []
    for emotion, order, rng in _each(orders, counts.seed):
        own = tuple(i for i in everywhere if bench.emotions[i] == emotion)
        for k in _available(counts.ks, len(order), emotion):
            top, site = tuple(order[:k]), bench.directions[emotion].site
            draws: list[tuple[Component, ...]] = []
            matched, first = "", len(plans)
            if own:
                draws, matched = matched_draws(
                    top, bench.model, site, n_draws=counts.n_draws, rng=rng
                )
            sets = [(top, everywhere), *((draw, own) for draw in draws)]
            last = _bottom(order, k, emotion) if counts.bottom and own else ()
            sets += [(last, own)] if last else []
            plans += [Knockout(parts, pairs, instead=aim.instead) for parts, pairs in sets]
            drawn = Drawn(slice(first + 1, first + 1 + len(draws)), matched)
            chosen.append(
                ChosenPlan(
                    emotion,
                    first,
                    {"random": drawn} if draws else {},
                    {"bottom": drawn.plans.stop} if last else {},
                    {"component": kind_of_parts(order), "k": k},
                )
            )
    return plans, chosen


def _each(
    orders: Sequence[Orders], seed: int
) -> Iterator[tuple[str, Sequence[Component], np.random.Generator]]:
    """Each emotion's order, and what draws the random parts beside it: a generator for each kind,
    so that a kind draws the same with others as alone.
    """
    for order in orders:
        rng = np.random.default_rng(seed)
        yield from ((emotion, parts, rng) for emotion, parts in order.items())


def kind_of_parts(parts: Sequence[Component]) -> str:
    """head or neuron, as the first of them is."""
    return "head" if parts[0].name == KINDS["head"] else "neuron"


def _check(aim: Aim, counts: Counts) -> None:
    if aim.mode not in STAND_INS or min(counts.ks, default=0) < 1 or counts.n_draws < 1:
        raise UsageError(
            f"{aim.method} mode {aim.mode!r}, ks {tuple(counts.ks)}, n_draws {counts.n_draws}: "
            f"modes are {', '.join(STAND_INS)}; counts start at 1."
        )


def _available(ks: Sequence[int], n: int, emotion: str) -> list[int]:
    if not n:
        raise UsageError(f"no components are given for {emotion}: there is nothing to ablate.")
    return [k for k in sorted(set(ks)) if k <= n] or [n]


def _bottom(order: Sequence[Component], k: int, emotion: str) -> tuple[Component, ...]:
    """The last k of a ranking; none, with a warning, where they would be among the top k."""
    if 2 * k > len(order):
        warnings.warn(
            f"{emotion}: of {len(order)} ranked components the bottom {k} would be among the top "
            f"{k}, so they do not stand beside. Give all components, or choose fewer.",
            stacklevel=5,
        )
        return ()
    return tuple(order[-k:])


def warn_without_length(bench: Bench) -> None:
    """Warn of the bench's directions whose length is no unit."""
    lost = sorted({emotion for emotion in bench.emotions if not is_unit(bench.directions[emotion])})
    if lost:
        warnings.warn(
            f"the direction of {', '.join(lost)} has no held-out length that is surely above "
            "zero, so that a change of the projection on it has no unit: it is left out.",
            stacklevel=4,
        )
