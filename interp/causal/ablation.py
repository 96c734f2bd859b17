"""Ablation and enhancement: knock out the heads or neurons that write an emotion, or give them to a
neutral text, and see what becomes of it and of the others.

`ablate` reads the affective texts and sets the top k to zero, to their mean, or to what they are in
the neutral twin (`resample`, the default: the value that this very story has without its emotion).
`enhance` reads the neutral texts and sets the top k to what they are in the emotional twin, or
multiplies what they give. Both after *Do LLMs "Feel"?* (Emotion Circuits), which adds the mean
difference instead (`interp.causal.modulation`). Controls and p stand in
`interp.causal.ranked_parts`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from interp.causal.bench import Bench, Scaled
from interp.causal.compared import Aim
from interp.causal.ranked_parts import Counts, Orders, ranked_rows
from interp.defaults import ENHANCE_BY, FACTOR, STAND_IN
from interp.errors import UsageError
from interp.results import TableRows

ABLATION, ENHANCEMENT = "ablation", "enhancement"

WAYS_UP: dict[str, str] = {"twin": "resample", "scale": "zero"}
"""How parts are enhanced: set to what they are in the emotional twin, or multiplied (where the
stand-in, of which nothing is then used, is the cheapest).
"""


def ablate(
    bench: Bench,
    *orders: Orders,
    ks: Sequence[int] = (1, 2, 4, 8),
    mode: str = STAND_IN,
    n_draws: int = 20,
    seed: int = 0,
) -> TableRows:
    """Rows of knocking out the top k of each of the `orders` (of heads, of neurons), for each
    emotion of the bench. All are measured together.

    Metrics: `projection_drop`, the fall of the projection in units of the direction's natural
    length (`length`; 1 = as far as held-out twins differ), and `label_logprob_change` in nats.
    Where that is not surely above zero, the fall has no unit and has no row, with a warning. Rows
    with control `random` give the mean of `n_draws` random choices on the emotion's own texts; it
    has no interval, `draw_low` and `draw_high` are the draws' 2.5 and 97.5 percentiles; `matched`
    says whether they are of the same layers ("layer") or of others too ("layers"). `p` stands on
    the emotion's own row and on that of all together; NaN where nothing could be drawn. A k beyond
    the components there are is left out; if all are, all components are knocked out. Raises
    `UsageError` for an unknown mode, no components, k or n_draws below 1; `InternalError` for a
    component ablated twice.

    `ranked_rows(bench, orders, ablating(mode), Counts(bottom=True))` has the bottom k beside.
    """
    return ranked_rows(bench, orders, ablating(mode), Counts(ks, n_draws, seed))


def enhance(
    bench: Bench,
    *orders: Orders,
    way: str = ENHANCE_BY,
    factor: float = FACTOR,
    counts: Counts | None = None,
) -> TableRows:
    """Rows of enhancing the top k of each of the `orders` in the neutral text of each pair: those
    of `ablate`, with `projection_rise` in the place of `projection_drop`, and of the last k of each
    order (control `bottom`), which has to hold all parts for that.

    `way` is one of `WAYS_UP`, in column `mode`; `factor` is that of `scale`. Raises as `ablate`,
    and `UsageError` for another way, and a factor that is 1 or not finite.
    """
    told = counts or Counts(bottom=True)
    return ranked_rows(replace(bench, side="neutral"), orders, enhancing(way, factor), told)


def ablating(mode: str = STAND_IN) -> Aim:
    """What ablation does; `mode` is a key of `STAND_INS`."""
    return Aim(ABLATION, "projection_drop", -1, mode)


def enhancing(way: str = ENHANCE_BY, factor: float = FACTOR) -> Aim:
    """What enhancement does. Raises as `enhance`."""
    if way not in WAYS_UP:
        raise UsageError(f"unknown way {way!r} of enhancing: choose one of {', '.join(WAYS_UP)}.")
    instead = None if way == "twin" else Scaled(factor)
    if instead and (not math.isfinite(factor) or factor == 1):
        raise UsageError(f"the factor is {factor}: give a finite number; 1 would change nothing.")
    return Aim(ENHANCEMENT, "projection_rise", 1, WAYS_UP[way], instead, way)
