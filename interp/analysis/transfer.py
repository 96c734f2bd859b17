"""Transfer: a probe fitted on the texts of one arm and tested on those of another, of scenarios
that it has not seen.

    fitted on      tested on           what it says
    keyword_rich   keyword_free        does what reads a named feeling read an unnamed one?
    keyword_free   keyword_rich        and the other way round
    an arm         itself              the ceiling: what can be read of these texts at all
    an arm         texts that only     how many of them are called emotional
                   sound emotional

Beside each stands the lexical floor: the text-only baselines, fitted and tested on the same texts.
What passes from arm to arm beyond that is not carried by words that the arms share.

All arms share one deal of scenarios into folds. Each fold chooses its place, and the probe its
penalty, on the fitted arm's training scenarios alone. p is of relabellings under which a scenario
changes its label in all arms at once: that labels mean nothing in any arm. Where they mean
something in both and the arms share nothing, a probe may still read the other arm by accident of
the scenarios that it was fitted on; the intervals allow for that, and p does not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.analysis.baselines import Lexicons, predict_texts
from interp.analysis.controls import Null, inner_correlations
from interp.analysis.design import Design
from interp.analysis.folds import Folds, fold_of, transfer_folds
from interp.analysis.nested import PlaceColumns, choose_places, joined
from interp.analysis.predictions import Predictions
from interp.analysis.probes import cross_validate
from interp.analysis.refits import SiteRows, Sites, null_of, refitted
from interp.analysis.spread import share_out
from interp.defaults import PROBE
from interp.errors import DataError, StatisticsError
from interp.progress import track
from interp.stats import Labels, codes, numbered

CARRIED_REFITS = 99
"""Relabellings that are refitted: p reaches .01. Every arm is fitted anew under each of them."""


@dataclass(frozen=True, slots=True)
class ArmTask:
    """A question asked of the texts of several arms; make it with `prepare_arms`.

    `y`, `groups` (scenarios) and `arms` are of every row; a neutral twin has a row in each arm
    whose twin it is. `fitted` are the arms that probes are fitted on, `labelled` those with two
    labels or more; the rest is only asked what it is called.
    """

    name: str
    y: Shaped[np.ndarray, " row"]
    groups: Shaped[np.ndarray, " row"]
    arms: Shaped[np.ndarray, " row"]
    fitted: tuple[str, ...]
    labelled: tuple[str, ...]
    labellings: Int[np.ndarray, "draw row"]
    n_splits: int
    seed: int

    @property
    def tested(self) -> tuple[str, ...]:
        """All arms, in the order of their rows."""
        return tuple(dict.fromkeys(self.arms.tolist()))

    @property
    def tested_only(self) -> tuple[str, ...]:
        """The arms with one label, whose texts are only asked what they are called."""
        return tuple(arm for arm in self.tested if arm not in self.labelled)

    def folds(self, fit: str, test: str | None = None) -> Folds:
        """Folds that train on the arm `fit` and test on the arm `test`, or on all rows."""
        every = np.ones(len(self.y), dtype=bool)
        return transfer_folds(
            self.y,
            self.groups,
            source=self.arms == fit,
            target=every if test is None else self.arms == test,
            n_splits=self.n_splits,
            seed=self.seed,
        )

    def part(self, told: Predictions, fit: str, test: str) -> Predictions:
        """What the probe of the arm `fit` predicted of the texts of the arm `test`."""
        own = told.of_part(test, self.arms[told.rows] == test)
        return replace(own, drawn=test != fit)

    def is_relabelled(self, fit: str, test: str) -> bool:
        """Whether relabellings of this cell give a p: of arms with one label none does."""
        return test in self.labelled


class ArmCell(NamedTuple):
    """A probe of one arm on the texts of another: what it predicts, what each text baseline
    predicts, the AUROC of each relabelling (None where the tested arm has one label), and where
    most folds read it.
    """

    told: Predictions
    texts: Mapping[str, Predictions]
    null: Null | None
    place: PlaceColumns
    chosen_by: str


ArmCells = Mapping[tuple[str, str], ArmCell]
"""The cell of each arm that is fitted and each that is tested."""


class ArmRows(NamedTuple):
    """The label, the scenario and the arm of every row."""

    y: Labels
    groups: Labels
    arms: Labels


def prepare_arms(
    name: str,
    rows: ArmRows,
    *,
    fit: Sequence[str] = (),
    n_splits: int = 5,
    seed: int = 0,
) -> ArmTask:
    """The question `name` of these rows, with probes of the arms `fit` (all that have two labels
    where it names none).

    Raises `StatisticsError` where such an arm has one label, or too few scenarios for so many
    folds, `DataError` where a label occurs only in arms of one label; else as `Design.infer` and
    `Design.relabel`.
    """
    y, arms = (np.asarray(column).astype(str) for column in (rows.y, rows.arms))
    known = dict.fromkeys(arms.tolist())
    labelled = tuple(arm for arm in known if len(np.unique(y[arms == arm])) > 1)
    fitted = tuple(fit) or labelled
    if not fitted or not set(fitted) <= set(labelled):
        raise StatisticsError(f"{name}: a probe needs texts of two labels in every arm it is of.")
    of_two = np.isin(arms, labelled)
    if strange := set(y.tolist()) - set(y[of_two].tolist()):
        raise DataError(f"{name}: no arm that has two labels has texts labelled {sorted(strange)}.")
    groups, true = numbered(rows.groups).astype(str), codes(y)
    task = ArmTask(name, y, groups, arms, fitted, labelled, true[None], n_splits, seed)
    number = fold_of(task.folds(fitted[0]), len(y))
    labellings = np.repeat(true[None], CARRIED_REFITS + 1, axis=0)
    labellings[1:, of_two] = Design.infer(y[of_two], groups[of_two]).relabel(
        n_perm=CARRIED_REFITS, seed=seed, folds=number[of_two]
    )
    return replace(task, labellings=labellings)


def carry(
    sites: Sites, task: ArmTask, *, texts: Sequence[str], lexicons: Lexicons, probe: str = PROBE
) -> ArmCells:
    """Every arm's probe on every arm's texts. `sites()` gives what to write in a place's rows and
    the activations of all rows, place after place; it is called several times.

    An arm whose training scenarios are too few to choose a place on is not fitted. Raises
    `StatisticsError` where none is left.
    """
    places = [where for where, _ in sites()]
    chosen = {arm: choose_places(inner) for arm, inner in _inner(sites, task).items()}
    enough = {arm: own for arm, own in chosen.items() if own is not None}
    if not enough:
        raise StatisticsError(
            f"{task.name}: every arm has too few scenarios to choose a place on some and score it "
            "on others."
        )
    read = {place for own in enough.values() for place in own[:, 0].tolist()}
    kept = {place: x for place, (_, x) in enumerate(sites()) if place in read}
    cells: dict[tuple[str, str], ArmCell] = {}
    for arm, own in track(list(enough.items()), f"transfer ({task.name})", unit="arm"):
        every = task.folds(arm)
        told = _probed(kept, own[:, 0], task, arm, probe)
        words = predict_texts(
            texts, task.y, task.groups, folds=every, lexicons=lexicons, parts=task.arms
        )
        draws = None
        if any(task.is_relabelled(arm, other) for other in task.tested):
            draws = refitted(sites, told, own, task.labellings, folds=every, probe=probe)
        most, times = Counter(own[:, 0].tolist()).most_common(1)[0]
        for other in task.tested:
            here = task.part(told, arm, other)
            null = None
            if draws is not None and task.is_relabelled(arm, other):
                null = null_of(here, draws, task.labellings)
            by_words = {name: task.part(one, arm, other) for name, one in words.items()}
            chosen_by = f"{times} of {len(own)} folds"
            cells[arm, other] = ArmCell(here, by_words, null, places[most], chosen_by)
    return cells


def _inner(sites: Sites, task: ArmTask) -> dict[str, Float[np.ndarray, "place fold draw"]]:
    """For each arm that is fitted: how well each place tells its labels on the inner folds."""
    folds = {arm: task.folds(arm) for arm in task.fitted}
    found: dict[str, list[np.ndarray]] = {arm: [] for arm in task.fitted}
    for place in share_out(partial(_inner_at, labellings=task.labellings, folds=folds), sites()):
        for arm, correlations in place.items():
            found[arm].append(correlations)
    return {arm: np.array(own) for arm, own in found.items()}


def _inner_at(
    place: SiteRows, *, labellings: Int[np.ndarray, "draw row"], folds: Mapping[str, Folds]
) -> dict[str, Float[np.ndarray, "fold draw"]]:
    """The same of one place, by arm."""
    _, x = place
    return {arm: inner_correlations(x, labellings, folds=own) for arm, own in folds.items()}


def _probed(
    kept: Mapping[int, Float[np.ndarray, "row feature"]],
    chosen: Int[np.ndarray, " fold"],
    task: ArmTask,
    fit: str,
    probe: str,
) -> Predictions:
    """What the probe of the arm `fit` predicts of all rows, each fold at the place it chose."""
    places, at = np.unique(chosen, return_inverse=True)
    found = [
        cross_validate(
            kept[place], task.y, task.groups, folds=task.folds(fit), probe=probe, parts=task.arms
        )
        for place in places.tolist()
    ]
    told = {text for one in found for text in one.warnings}
    return replace(joined(found, at), warnings=tuple(sorted(told)))
