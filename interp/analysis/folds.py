"""Which items train a probe and which test it: grouped, stratified, nested folds.

Twins and retellings of one scenario never straddle a fold. On paired rows with random labels a
probe scores .93 under plain k-fold, because it has seen the twin; under grouped folds it scores
near chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.analysis.stats import composition
from interp.errors import DataError, StatisticsError, UsageError
from interp.stats import Labels, numbered

N_INNER = 3
"""Inner folds, inside the training rows of an outer fold, on which a probe's regularisation is
chosen.
"""

MANY_SCENARIOS = 2000
"""Training scenarios from which on one of these folds is enough to choose on: the loss of hundreds
of scenarios is known well.
"""

RowNumbers = Int[np.ndarray, "_"]


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers: `train` fits, `test` scores, `inner` are (train, test) splits of `train` that
    choose hyper-parameters.

    `inner` is empty where the training rows hold too few scenarios to be split again. `ungrouped`
    is the explicit admission that scenarios lie on both sides; without it such a fold is refused by
    every probe.
    """

    train: RowNumbers
    test: RowNumbers
    inner: tuple[tuple[RowNumbers, RowNumbers], ...] = ()
    ungrouped: bool = False


Folds = list[Fold]


def grouped_folds(y: Labels, groups: Labels, *, n_splits: int = 5, seed: int = 0) -> Folds:
    """`n_splits` outer folds that keep groups whole and spread the classes evenly, each with its
    inner folds.

    Groups are ordered by their class composition, at random among equals, and dealt round; their
    names count for nothing, the order of the items does. Raises `StatisticsError` for one class, or
    when a class has fewer groups than folds (it names the largest valid number); `UsageError` for
    `n_splits` < 2.
    """
    _check_request(y, groups, n_splits)
    splits = _deal(y, groups, n_splits, seed)
    if not _whole(y, splits):
        raise StatisticsError(
            f"with {n_splits} folds all scenarios of a class fall into one fold: use another "
            "number of folds."
        )
    return [Fold(train, test, _inner(y, groups, train, seed)) for train, test in splits]


def plain_folds(y: Labels, *, n_splits: int = 5, seed: int = 0) -> Folds:
    """Folds that ignore groups, stratified by class: every item is its own group. A probe that uses
    them must say so.
    """
    folds = grouped_folds(y, np.arange(len(y)), n_splits=n_splits, seed=seed)
    return [replace(fold, ungrouped=True) for fold in folds]


def transfer_folds(
    y: Labels,
    groups: Labels,
    *,
    source: Bool[np.ndarray, " item"],
    target: Bool[np.ndarray, " item"],
    n_splits: int = 5,
    seed: int = 0,
) -> Folds:
    """Folds that train on `source` items only and test on `target` items only, of other groups.

    So a probe of keyword_rich texts is tested on the keyword_free texts of scenarios that it has
    not seen. Raises as `grouped_folds`, and `StatisticsError` when a fold has nothing to train on
    or to test.
    """
    labels = np.asarray(y)
    _check_request(labels[source], np.asarray(groups)[source], n_splits)
    folds = []
    for train, test in _deal(y, groups, n_splits, seed):
        train, test = train[source[train]], test[target[test]]
        if len(test) == 0 or len(np.unique(labels[train])) < 2:
            raise StatisticsError(
                f"a fold of {n_splits} has no target to test or one class to train on: use fewer "
                "folds."
            )
        folds.append(Fold(train, test, _inner(y, groups, train, seed)))
    return folds


def value_folds(
    y: Labels, groups: Labels, values: Labels, *, left_out: Sequence[str], seed: int = 0
) -> Folds:
    """A fold for each value `left_out`: it tests the items that have it, and trains on all items of
    scenarios none of whose items has it.

    Raises `StatisticsError` where no item has such a value, or one class is left to train on.
    """
    labels, names, known = (np.asarray(column).astype(str) for column in (y, groups, values))
    folds = []
    for value in left_out:
        own = known == value
        train = np.flatnonzero(~np.isin(names, names[own]))
        if not own.any() or len(np.unique(labels[train])) < 2:
            raise StatisticsError(
                f"{value!r} cannot be left out: it needs items of its own, and scenarios of two "
                "classes that have none of them."
            )
        folds.append(Fold(train, np.flatnonzero(own), _inner(labels, names, train, seed)))
    return folds


def graded_folds(
    values: Float[np.ndarray, " item"], groups: Labels, *, n_splits: int = 5, seed: int = 0
) -> Folds:
    """`grouped_folds` for a number per item: scenarios are dealt by thirds of their mean value.

    Raises `StatisticsError` for a constant value, or for fewer than two scenarios a fold;
    `UsageError` for `n_splits` < 2.
    """
    if n_splits < 2:
        raise UsageError(f"n_splits is {n_splits}: cross-validation needs at least 2 folds.")
    if not np.ptp(values):
        raise StatisticsError("all values are the same: there is nothing to predict.")
    group = numbered(groups)
    n = int(group.max()) + 1
    if n < 2 * n_splits:
        raise StatisticsError(
            f"{n_splits} folds of a graded target need {2 * n_splits} scenarios, and there are "
            f"{n}: add scenarios, or use fewer folds."
        )
    means = np.bincount(group, weights=values) / np.bincount(group)
    third = np.searchsorted(np.quantile(means, (1 / 3, 2 / 3)), means)[group]

    def split(rows: RowNumbers, into: int) -> tuple[tuple[RowNumbers, RowNumbers], ...]:
        dealt = _deal(third[rows], group[rows], into, seed)
        return tuple((rows[train], rows[test]) for train, test in dealt)

    whole = split(np.arange(len(group)), n_splits)
    return [Fold(train, test, split(train, N_INNER)) for train, test in whole]


def prefix_folds(y: Labels, groups: Labels, *, seed: int = 0, ungrouped: bool = False) -> Folds:
    """Folds that train on the scenarios so far and test the next ones, of which there are as many:
    a sixteenth of all, then an eighth, and so on.

    Scenarios come at random, their kinds (`composition`) spread evenly. The first fold trains on
    two scenarios of every class at least. Raises `StatisticsError` where that is more than half.
    """
    group, kind, labels = numbered(groups), composition(y, groups), np.asarray(y)
    order = np.lexsort((np.random.default_rng(seed).random(len(kind)), kind))
    within = np.arange(len(kind)) - np.searchsorted(kind[order], kind[order])
    share = (within + 0.5) / np.bincount(kind)[kind[order]]
    rank = np.empty(len(kind), dtype=np.int64)
    rank[order[np.argsort(share, kind="stable")]] = np.arange(len(kind))
    of_item = rank[group]
    second = [np.sort(np.unique(of_item[labels == one]))[:2].max() for one in np.unique(labels)]
    cut, n = max(len(kind) // 16, int(max(second)) + 1), len(kind)
    if 2 * cut > n:
        raise StatisticsError(
            f"{cut} of {n} scenarios are needed to begin with two of every class: add scenarios."
        )
    folds = []
    while cut < n:
        train = np.flatnonzero(of_item < cut)
        test = np.flatnonzero((of_item >= cut) & (of_item < 2 * cut))
        folds.append(Fold(train, test, _inner(y, groups, train, seed), ungrouped))
        cut *= 2
    return folds


def fold_of(folds: Folds, n_items: int) -> Int[np.ndarray, " item"]:
    """The number of the fold that tests each item; -1 for items that none tests."""
    number = np.full(n_items, -1, dtype=np.int64)
    for place, fold in enumerate(folds):
        number[fold.test] = place
    return number


def straddling(folds: Folds, groups: Labels) -> list[str]:
    """The groups that lie on both sides of a fold, sorted: with these the probe has seen the
    scenario that it is tested on.
    """
    names = np.asarray(groups)
    both = [np.intersect1d(names[fold.train], names[fold.test]) for fold in folds]
    return sorted({str(name) for shared in both for name in shared})


def _check_request(y: Labels, groups: Labels, n_splits: int) -> None:
    labels, names = np.asarray(y), np.asarray(groups)
    if len(labels) != len(names):
        raise DataError(
            f"{len(labels)} labels came with {len(names)} groups: one of each belongs to every "
            "item."
        )
    if n_splits < 2:
        raise UsageError(f"n_splits is {n_splits}: cross-validation needs at least 2 folds.")
    classes = np.unique(labels)
    if len(classes) < 2:
        raise StatisticsError(
            f"only {', '.join(repr(str(c)) for c in classes) or 'nothing'} present; need >= 2 "
            "classes."
        )
    largest = {str(one): len(np.unique(names[labels == one])) for one in classes}
    rarest = min(largest, key=lambda one: largest[one])
    if largest[rarest] < n_splits:
        advice = (
            f"the largest valid number is {largest[rarest]}"
            if largest[rarest] > 1
            else "no number of folds is valid"
        )
        raise StatisticsError(
            f"{n_splits} folds need {n_splits} scenarios (groups) of every class, and {rarest!r} "
            f"has {largest[rarest]}: {advice} (leave one pair out); or add scenarios, or drop "
            "the class."
        )


def _deal(
    y: Labels, groups: Labels, n_splits: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    group, kind = numbered(groups), composition(y, groups)
    order = np.lexsort((np.random.default_rng(seed).random(len(kind)), kind))
    number = np.empty(len(kind), dtype=np.int64)
    number[order] = np.arange(len(kind)) % n_splits
    of_item = number[group]
    return [(np.flatnonzero(of_item != k), np.flatnonzero(of_item == k)) for k in range(n_splits)]


def _inner(
    y: Labels, groups: Labels, train: np.ndarray, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    labels, names = np.asarray(y)[train], np.asarray(groups)[train]
    fewest = min(len(np.unique(names[labels == one])) for one in np.unique(labels))
    if fewest < 2:
        return ()
    splits = _deal(labels, names, min(N_INNER, fewest), seed)
    if not _whole(labels, splits):
        return ()
    used = 1 if len(np.unique(names)) >= MANY_SCENARIOS else len(splits)
    return tuple((train[a], train[b]) for a, b in splits[:used])


def _whole(y: Labels, splits: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    labels = np.asarray(y)
    return all(len(np.unique(labels[train])) == len(np.unique(labels)) for train, _ in splits)
