"""Transfer between the values of a field: a probe fitted on the texts of all domains but one (or
persons, or tenses) and tested on those of that one.

    fitted on    tested on             what it says
    others       the value left out    does what reads the others read a value it never saw?
    any          the same texts        the ceiling: a probe of all values, in grouped folds
    others       every value           all of them, each left out in turn, compared inside each

Scenarios stay whole: one that has a text of the value left out trains nothing there. Of a field
with two values the others are half of the texts, so the ceiling has as many folds as there are
values, where these are fewer than the folds asked for: else it would be fitted on more.

Beside both stand the text baselines on the same splits, and p is of relabellings, as in
`interp.analysis.transfer`, whose `carry` does the work: values are its arms.

Source of the question: *Whether, Not Which* (cross-topic transfer); of leaving out whole domains
one by one: Gulrajani & Lopez-Paz (2021), *In search of lost domain generalization*.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from interp.analysis.design import Design
from interp.analysis.folds import Folds, fold_of, grouped_folds, value_folds
from interp.analysis.predictions import Predictions
from interp.analysis.transfer import CARRIED_REFITS, ArmRows, ArmTask
from interp.errors import StatisticsError
from interp.stats import codes, numbered

OTHER_VALUES, ALL_VALUES = "others", "any"
"""What a probe is fitted on: all values but the one that is left out, or all of them."""

EVERY_VALUE = ""
"""What stands for all values, each left out in turn."""


@dataclass(frozen=True, slots=True)
class ValueTask(ArmTask):
    """A question asked of the texts of each value of a field; make it with `prepare_values`.

    The `arms` are the values, `labelled` those that are left out, and `dealt` the folds of
    `OTHER_VALUES` and of `ALL_VALUES`.
    """

    dealt: Mapping[str, Folds]

    @property
    def tested(self) -> tuple[str, ...]:
        """All values together, then each that is left out."""
        return (EVERY_VALUE, *self.labelled)

    def folds(self, fit: str, test: str | None = None) -> Folds:
        """The folds of `OTHER_VALUES` or `ALL_VALUES`; with `test`, on the texts of that value.

        Raises `KeyError` for another name.
        """
        folds = self.dealt[fit]
        if test is None:
            return folds
        own = [replace(one, test=one.test[self.arms[one.test] == test]) for one in folds]
        return [one for one in own if len(one.test)]

    def part(self, told: Predictions, fit: str, test: str) -> Predictions:
        """What was predicted of the texts of a value, or of all; texts of two values are never
        compared.
        """
        values = self.arms[told.rows]
        inside = numbered(
            [f"{fold} {value}" for fold, value in zip(told.fold, values, strict=True)]
        )
        own = replace(told, fold=inside, drawn=fit == OTHER_VALUES)
        return own if test == EVERY_VALUE else own.of_part(test, values == test)

    def is_relabelled(self, fit: str, test: str) -> bool:
        """Whether relabellings of this cell give a p: the ceiling has none."""
        return fit == OTHER_VALUES


class Prepared(NamedTuple):
    """The task, and what is to be told of values that cannot be left out."""

    task: ValueTask
    told: tuple[str, ...]


def prepare_values(name: str, rows: ArmRows, *, n_splits: int = 5, seed: int = 0) -> Prepared:
    """The question `name` of these rows, whose `arms` are the values of a field.

    A value is left out in turn where it has `n_splits` scenarios and two labels, and every label
    has `n_splits` scenarios without it; the others only train. Raises `StatisticsError` where that
    holds for none, or all rows have one value; else as `grouped_folds` and `Design.relabel`.
    """
    y, values = (np.asarray(column).astype(str) for column in (rows.y, rows.arms))
    groups, true = numbered(rows.groups).astype(str), codes(y)
    known = sorted(set(values.tolist()))
    if len(known) < 2:
        raise StatisticsError(f"{name}: all texts have the same value ({', '.join(known)}).")
    lacking = {one: _lacks(y, groups, values == one, n_splits) for one in known}
    told = tuple(f"{name}: {one!r} was not left out: {why}." for one, why in lacking.items() if why)
    kept = tuple(one for one, why in lacking.items() if not why)
    if not kept:
        raise StatisticsError(f"no value can be left out. {' '.join(told)}")
    whole = grouped_folds(y, groups, n_splits=min(n_splits, len(known)), seed=seed)
    tested = np.isin(values, kept)
    dealt = {
        OTHER_VALUES: value_folds(y, groups, values, left_out=kept, seed=seed),
        ALL_VALUES: [replace(fold, test=fold.test[tested[fold.test]]) for fold in whole],
    }
    labellings = np.repeat(true[None], CARRIED_REFITS + 1, axis=0)
    labellings[1:] = Design.infer(y, groups).relabel(
        n_perm=CARRIED_REFITS, seed=seed, folds=fold_of(dealt[OTHER_VALUES], len(y))
    )
    task = ValueTask(
        name, y, groups, values, (OTHER_VALUES, ALL_VALUES), kept, labellings, n_splits, seed, dealt
    )
    return Prepared(task, told)


def _lacks(y: np.ndarray, groups: np.ndarray, own: np.ndarray, least: int) -> str:
    """Why the value of the rows `own` cannot be left out; empty where it can."""
    if (n := len(np.unique(groups[own]))) < least:
        return f"it has {n} scenarios, and {least} are needed"
    if len(np.unique(y[own])) < 2:
        return f"all its texts are labelled {y[own][0]!r}"
    rest = ~np.isin(groups, groups[own])
    counts = {str(one): len(np.unique(groups[rest & (y == one)])) for one in np.unique(y)}
    rarest = min(counts, key=lambda one: counts[one])
    if counts[rarest] < least:
        return f"{rarest!r} has {counts[rarest]} scenarios without it, and {least} are needed"
    return ""
