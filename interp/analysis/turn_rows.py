"""The rows of conversations that an outside state goes with: trajectories over turns, whether the
model follows the state, and what an adverse stretch of turns leaves behind.

The scenarios are conversations. The user says the same in all arms, and the model is told:

    first        the state of first order
    second       that of second order
    memoryless   the affect of the turn alone
    shuffled     the state of first order that the same turns leave in another order
    random       the first state along random directions, as far; in words, random numbers
    untold       nothing; in words, a state that stays in the middle: what the turns themselves do
    reread       what was written under `first`, read as if nothing were told: what the words carry

A shift is a reading less that of `untold` in the same turn of the same conversation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.analysis.persistence_rows import RETAINED, half_life_row
from interp.analysis.released import AT_RANDOM, REREAD
from interp.chance import least_flip_p, sign_flip
from interp.results import TableRow, TableRows
from interp.stats import Estimate, mean_interval, ratio_interval

FIRST_ORDER, SECOND_ORDER, MEMORYLESS, SHUFFLED_TURNS, UNTOLD = (
    "first", "second", "memoryless", "shuffled", "untold",
)  # fmt: skip

CARRIED_TURNS = 3
"""The calm turns behind the adverse stretch in which it is asked what it left; or all, if fewer."""

P_OF_TURNS = "signs of the conversations' differences changed"

OfTurns = Float[np.ndarray, "conversation turn axis"]


class Stretches(NamedTuple):
    """How many calm turns, adverse ones, and calm ones again a conversation has."""

    before: int
    adverse: int
    after: int

    def name(self, turn: int) -> str:
        """In which of the three a turn (from 0) lies."""
        if turn < self.before:
            return "before"
        return "adverse" if turn < self.end else "after"

    @property
    def end(self) -> int:
        """The first calm turn behind the adverse ones."""
        return self.before + self.adverse


@dataclass(frozen=True, slots=True)
class TurnReadings:
    """What conversations were: by arm the `states` that were told, what was read (`readings`) and
    `heard` in the replies (NaN: no sentence), all in points on the axes `names`.
    """

    names: tuple[str, ...]
    stretches: Stretches
    states: Mapping[str, OfTurns]
    readings: Mapping[str, OfTurns]
    heard: Mapping[str, OfTurns]


def turn_rows(found: TurnReadings) -> TableRows:
    """Rows by `axis` and `arm`. Points are those of the rating scale.

    metric          value
    state           the state at a `turn` (from 1), mean over conversations
    reading         what is read there, less the mean of `untold` over the calm turns before
    heard           the rating of the emotion that is heard in the reply
    follows         the slope of the shift on the state that was told, over a conversation's turns
    heard_follows   the same of what is heard in the replies
    *_above         that of `first` less that of `target` (random, reread), on the same states
    carried         readings in the calm turns right behind the adverse ones less those before them,
                    towards the adverse side: what the adverse stretch leaves (hysteresis)
    carried_above   that of `first` less that of `target`; of `second` less that of `first`
    retained        the shift (`target` reading) or state (`target` state) so many turns (`offset`)
                    behind the last adverse one, as a share of that one
    half_life       the turns until half of that is left
    overshoot       the shift away from the adverse side, in the turn where the second-order state
                    lies farthest beyond zero; no row where it never does
    overshoot_above that of `second` less that of `first`
    """
    rows: TableRows = []
    for axis, name in enumerate(found.names):
        one = _OnAxis(found, axis)
        for row in (*one.trajectories(), *one.follows(), *one.carries(), *one.returns()):
            rows.append({**_NOTHING, **row, "axis": name})
    return rows


_NOTHING: TableRow = {
    "method": "state_dynamics", "arm": "", "target": "", "turn": np.nan, "stretch": "",
    "offset": np.nan, "p": np.nan, "p_of": "", "least_p": np.nan,
    "half_low": np.nan, "half_high": np.nan,
}  # fmt: skip

_Turns = Float[np.ndarray, "conversation turn"]


class _OnAxis:
    """What is measured on one axis."""

    def __init__(self, found: TurnReadings, axis: int) -> None:
        self.stretches = found.stretches
        self.states, self.readings, self.heard = (
            {arm: x[:, :, axis] for arm, x in each.items()}
            for each in (found.states, found.readings, found.heard)
        )
        untold = self.readings[UNTOLD]
        self.zero = untold[:, : self.stretches.before].mean(axis=1, keepdims=True)
        self.shifts = {arm: x - untold for arm, x in self.readings.items() if arm != UNTOLD}
        stretch = self.states[FIRST_ORDER][:, self.stretches.before : self.stretches.end]
        self.adverse = float(np.sign(stretch.mean()))

    def trajectories(self) -> Iterator[TableRow]:
        read = {arm: x - self.zero for arm, x in self.readings.items()}
        for metric, by_arm in (("state", self.states), ("reading", read), ("heard", self.heard)):
            for arm, values in by_arm.items():
                for turn, column in enumerate(values.T, start=1):
                    there = np.isfinite(column)
                    if there.any():
                        mean = mean_interval(column[there], np.flatnonzero(there))
                        told = {"metric": metric, "arm": arm, "turn": turn}
                        stretch = self.stretches.name(turn - 1)
                        yield {**told, "stretch": stretch, **mean._asdict()}

    def follows(self) -> Iterator[TableRow]:
        untold = self.heard[UNTOLD]
        heard = {arm: x - untold for arm, x in self.heard.items()}
        for metric, shifts in (("follows", self.shifts), ("heard_follows", heard)):
            for arm, shift in shifts.items():
                if arm != UNTOLD:
                    slope = _slope(shift, self.states.get(arm, self.states[FIRST_ORDER]))
                    yield {"metric": metric, "arm": arm, **slope}
            for arm in (AT_RANDOM, REREAD):
                if arm in shifts:
                    above = _slope(shifts[FIRST_ORDER] - shifts[arm], self.states[FIRST_ORDER])
                    yield {"metric": f"{metric}_above", "arm": FIRST_ORDER, "target": arm, **above}

    def carries(self) -> Iterator[TableRow]:
        carried = {arm: self._carried(x) for arm, x in self.readings.items()}
        for arm, values in carried.items():
            yield {"metric": "carried", "arm": arm, **_mean(values)}
        for arm in (UNTOLD, MEMORYLESS, SHUFFLED_TURNS, AT_RANDOM, REREAD):
            above = _mean(carried[FIRST_ORDER] - carried[arm])
            yield {"metric": "carried_above", "arm": FIRST_ORDER, "target": arm, **above}
        more = _mean(carried[SECOND_ORDER] - carried[FIRST_ORDER])
        yield {"metric": "carried_above", "arm": SECOND_ORDER, "target": FIRST_ORDER, **more}

    def _carried(self, readings: _Turns) -> Float[np.ndarray, " conversation"]:
        behind = readings[:, self.stretches.end :][:, :CARRIED_TURNS]
        calm = readings[:, : self.stretches.before]
        return self.adverse * (behind.mean(axis=1) - calm.mean(axis=1))

    def returns(self) -> Iterator[TableRow]:
        for arm in (FIRST_ORDER, SECOND_ORDER):
            for target, by_arm in (("state", self.states), ("reading", self.shifts)):
                values = by_arm[arm][:, self.stretches.end - 1 :]
                for row in _retained(self.adverse * values):
                    yield {**row, "arm": arm, "target": target}
        behind = -self.adverse * self.states[SECOND_ORDER][:, self.stretches.end :].mean(axis=0)
        if behind.max() > 0:
            turn = self.stretches.end + int(behind.argmax())
            yield from self._overshoots(turn)

    def _overshoots(self, turn: int) -> Iterator[TableRow]:
        beyond = {
            arm: -self.adverse * self.shifts[arm][:, turn] for arm in (FIRST_ORDER, SECOND_ORDER)
        }
        for arm, values in beyond.items():
            yield {"metric": "overshoot", "arm": arm, "turn": turn + 1, **_mean(values)}
        above = _mean(beyond[SECOND_ORDER] - beyond[FIRST_ORDER])
        told = {
            "metric": "overshoot_above",
            "arm": SECOND_ORDER,
            "target": FIRST_ORDER,
            "turn": turn + 1,
        }
        yield {**told, **above}


def _mean(values: Float[np.ndarray, " conversation"]) -> TableRow:
    return {**mean_interval(values, np.arange(len(values)))._asdict(), **_chance(values)}


def _slope(shifts: _Turns, states: _Turns) -> TableRow:
    """The slope through zero of each conversation, over the turns in which there is a shift, and
    their mean; none where no state was told.
    """
    there = np.isfinite(shifts)
    squares = np.where(there, states**2, 0.0).sum(axis=1)
    products = np.where(there, shifts * states, 0.0).sum(axis=1)
    told = squares > 0
    if not told.any():
        return Estimate(np.nan, np.nan, np.nan, 0)._asdict()
    return _mean(products[told] / squares[told])


def _chance(differences: Float[np.ndarray, " conversation"]) -> TableRow:
    return {
        "p": sign_flip(differences, side="above"),
        "p_of": P_OF_TURNS,
        "least_p": least_flip_p(len(differences)),
    }


def _retained(values: _Turns) -> TableRows:
    """Shares of the first column, and the half-life; none where it is not surely above zero."""
    conversations: Sequence[int] = range(len(values))
    if not mean_interval(values[:, 0], conversations).ci_low > 0:
        return []
    kept: list[Estimate] = [ratio_interval(one, values[:, 0], conversations) for one in values.T]
    rows: TableRows = [
        {"metric": RETAINED, "offset": offset, **one._asdict()} for offset, one in enumerate(kept)
    ]
    return [*rows, half_life_row(tuple(range(len(kept))), tuple(kept))]
