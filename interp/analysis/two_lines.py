"""Two lines: does a score rise with a dose and then fall? (Simonsohn 2018, *Two lines: a valid
alternative to the invalid testing of U-shaped relationships with quadratic regressions*.)

A quadratic term is significant for any curve that bends. So two straight lines are fitted, one on
either side of a break, free to start anew there:

    y = a + b1 min(x - c, 0) + b2 max(x - c, 0) + d [x > c]

An inverted U is found where b1 is surely above zero *and* b2 surely below. The break c is chosen on
one half of the items, where it serves the inverted U best, and the lines are told of the other half
(Simonsohn's "Robin Hood" chooses it on the same ones). Standard errors allow for unequal spread
(HC3: MacKinnon & White 1985).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from interp.chance import permutation_p
from interp.errors import StatisticsError
from interp.stats import CONFIDENCE, Estimate

LEAST_OF_LINES = 6
"""Fewest items of a half: two lines have four numbers."""

LEAST_DOSES = 2
"""Fewest different doses on either side of a break: one has no slope."""


class TwoLines(NamedTuple):
    """The `slopes` below and above the `turn` (a dose: those up to it lie below), each with its
    interval; their two-sided `p_of`; `both`, the weaker of the two claims (the lesser of b1 and
    -b2, with the lesser bounds) and its `p`, the larger one; and `p_order`, how often the doses in
    another order do as much.
    """

    turn: float
    slopes: tuple[Estimate, Estimate]
    p_of: tuple[float, float]
    both: Estimate
    p: float
    p_order: float


def two_lines(
    dose: Float[np.ndarray, " item"],
    score: Float[np.ndarray, " item"],
    choosing: Bool[np.ndarray, " item"],
    *,
    draws: int = 999,
    seed: int = 0,
) -> TwoLines:
    """The two lines of `score` against `dose`: the break is chosen on the items `choosing`, and all
    that is told is of the others.

    Raises `StatisticsError` where a half has fewer than `LEAST_OF_LINES` items, or no dose has
    `LEAST_DOSES` of them on either side.
    """
    for name, half in (("choose", choosing), ("report", ~choosing)):
        if half.sum() < LEAST_OF_LINES:
            raise StatisticsError(
                f"two lines need {LEAST_OF_LINES} items to {name} on, and there are {half.sum()}."
            )
    turn = best_turn(dose[choosing], score[choosing], possible=turns(dose[~choosing]))
    x, y = _design(dose[~choosing], turn), score[~choosing]
    slope, error = _fit(x, y[None])
    dof = len(y) - x.shape[1]
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, dof)) * error[0]
    told = tuple(
        Estimate(b, b - r, b + r, len(y))
        for b, r in zip(slope[0].tolist(), reach.tolist(), strict=True)
    )
    t = slope[0] / np.maximum(error[0], np.finfo(float).tiny)
    p_of = (2 * student.sf(np.abs(t), dof)).tolist()
    rises, falls = told[0], Estimate(-told[1].value, -told[1].ci_high, -told[1].ci_low, len(y))
    value, low, high = (
        min(getattr(rises, name), getattr(falls, name)) for name in ("value", "ci_low", "ci_high")
    )
    both = Estimate(value, low, high, len(y))
    p = max(p_of) if t[0] > 0 > t[1] else 1.0
    order = np.random.default_rng(seed)
    others = np.stack([order.permutation(y) for _ in range(draws)])
    p_order = permutation_p(float(_evidence(x, y[None])[0]), _evidence(x, others))
    return TwoLines(turn, (told[0], told[1]), (p_of[0], p_of[1]), both, p, p_order)


def turns(dose: Float[np.ndarray, " item"]) -> list[float]:
    """The doses that can be a break: those with `LEAST_DOSES` doses on either side. Raises
    `StatisticsError` where there is none.
    """
    there = np.unique(dose).tolist()
    if len(there) < 2 * LEAST_DOSES:
        raise StatisticsError(
            f"two lines need {2 * LEAST_DOSES} different doses, and there are {len(there)}."
        )
    return there[LEAST_DOSES - 1 : len(there) - LEAST_DOSES]


def best_turn(
    dose: Float[np.ndarray, " item"],
    score: Float[np.ndarray, " item"],
    *,
    possible: Sequence[float],
) -> float:
    """The break that gives the inverted U most evidence; of equals the first."""
    mine = [one for one in possible if one in turns(dose)]
    if not mine:
        raise StatisticsError("the halves share no dose at which a line could turn.")
    found = [float(_evidence(_design(dose, one), score[None])[0]) for one in mine]
    return mine[int(np.argmax(found))]


def _design(dose: Float[np.ndarray, " item"], turn: float) -> Float[np.ndarray, "item number"]:
    """The columns b1, b2, a, d."""
    from_turn = dose - turn
    above = dose > turn
    return np.stack(
        [np.minimum(from_turn, 0), np.maximum(from_turn, 0), np.ones(len(dose)), above], axis=1
    )


def _fit(
    x: Float[np.ndarray, "item number"], y: Float[np.ndarray, "draw item"]
) -> tuple[Float[np.ndarray, "draw slope"], Float[np.ndarray, "draw slope"]]:
    """Both slopes of each draw, and their HC3 standard errors."""
    inverse = np.linalg.pinv(x)
    found = y @ inverse.T
    rest = (y - found @ x.T) / np.maximum(1 - np.einsum("in,ni->i", x, inverse), 1e-12)
    return found[:, :2], np.sqrt((rest**2) @ (inverse[:2] ** 2).T)


def _evidence(
    x: Float[np.ndarray, "item number"], y: Float[np.ndarray, "draw item"]
) -> Float[np.ndarray, " draw"]:
    """The lesser t of the two claims: that the first line rises, and that the second falls."""
    slope, error = _fit(x, y)
    t = slope / np.maximum(error, np.finfo(float).tiny)
    return np.minimum(t[:, 0], -t[:, 1])
