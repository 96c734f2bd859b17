"""Design: which labels may change places under the null, stated once for a task and all its sites.

What is *drawn again* as a whole (by intervals, folds and halves) is always the scenario. What may
*change places* follows from how labels lie in scenarios:

    exchange   labels                                  one relabelling
    pair       a scenario is one pair of twins, or     swaps the labels within each pair, or not;
               `pairs` says that they are independent  every pair on its own
    scenario   a scenario holds one class, or each     classes change places as a whole: within a
               of its classes equally often            scenario that holds several, and between
                                                       scenarios of one kind
    both       some scenarios hold one class, others   both in the same draw
               several

Why a scenario's retellings move together unless `pairs` is given: they share the edit that makes
them affective. What that edit does by chance is then in every retelling, and swapping each on its
own would take it for so many independent accidents: p would come out too small.

Only scenarios of one kind exchange: as many texts, split over as many classes, in the same fold, so
that a relabelling has the true labels' counts and its folds stay stratified.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from interp.analysis.stats import class_counts
from interp.errors import DataError, StatisticsError
from interp.stats import Labels, codes, numbered

LEAST_CHANGED = 0.5
"""Least share of labels that a relabelling changes, of what shuffling all labels would change."""

EXCHANGES = ("pair", "scenario", "both")


@dataclass(frozen=True, slots=True)
class Design:
    """The label and the scenario of every item, and the `units` inside which labels stay together.

    `units` are pairs where `exchange` is "pair", else scenarios. Make it with `infer`.
    """

    y: Shaped[np.ndarray, " item"]
    groups: Shaped[np.ndarray, " item"]
    units: Int[np.ndarray, " item"]
    exchange: str

    @classmethod
    def infer(cls, y: Labels, groups: Labels, pairs: Labels | None = None) -> "Design":
        """The design of labels `y` in scenarios `groups`; see the module's table.

        `pairs` names each item's pair and says that the pairs of a scenario are independent.
        Raises `DataError` when lengths differ, or a pair lies in two scenarios or is no two texts
        of two classes.
        """
        labels, names = np.asarray(y).astype(str), np.asarray(groups).astype(str)
        if len(labels) != len(names):
            raise DataError(
                f"{len(labels)} labels came with {len(names)} groups: one of each belongs to "
                "every item."
            )
        if pairs is not None:
            _check_pairs(labels, names, pairs)
            return cls(labels, names, numbered(pairs), "pair")
        counts = class_counts(labels, names)
        classes = (counts > 0).sum(axis=1)
        if (classes == 2).all() and (counts.sum(axis=1) == 2).all():
            return cls(labels, names, numbered(names), "pair")
        mixed = classes > 1
        return cls(
            labels,
            names,
            numbered(names),
            "both" if mixed.any() and not mixed.all() else "scenario",
        )

    def relabel(
        self, *, n_perm: int, seed: int, folds: Int[np.ndarray, " item"] | None = None
    ) -> Int[np.ndarray, "draw item"]:
        """Codes of `y`, relabelled `n_perm` times; `folds` is the number of each item's fold.

        Where the scenarios of one kind are too few in each fold, they exchange over all folds.
        Raises `StatisticsError` when there is one class, or when even so a relabelling changes less
        than `LEAST_CHANGED` of the labels that shuffling all of them would: then every relabelling
        is nearly the true one, and its p means nothing.
        """
        label = codes(self.y)
        if label.max() == 0:
            raise StatisticsError("there is one class only: no relabelling changes anything.")
        free = 1 - float(((np.bincount(label) / len(label)) ** 2).sum())
        share = 0.0
        for block in (folds, None) if folds is not None else (None,):
            drawn = self._draw(label, block, n_perm, np.random.default_rng(seed))
            share = float((drawn != label).mean()) / free
            if share >= LEAST_CHANGED:
                return drawn
        kinds = len(np.unique(class_counts(label, self.units).sum(axis=1)))
        raise StatisticsError(
            f"a relabelling that keeps scenarios whole changes only {share:.0%} of the labels "
            f"that it should: scenarios hold {kinds} different numbers of texts, and one that is "
            "alone in its kind has nothing to change places with. Give scenarios equal numbers "
            "of texts, or each of them every class."
        )

    def _draw(
        self,
        label: Int[np.ndarray, " item"],
        block: Int[np.ndarray, " item"] | None,
        n_perm: int,
        random: np.random.Generator,
    ) -> Int[np.ndarray, "draw item"]:
        drawn = np.empty((n_perm, len(label)), dtype=np.int16)  # the largest array of a study
        for items, equal, n_classes in self._kinds(label, block):
            told = np.broadcast_to(label[items], (n_perm, *items.shape))
            if self.exchange != "pair":
                told = np.take_along_axis(
                    told, random.random(told.shape[:2]).argsort(axis=1)[..., None], axis=1
                )
            if equal:  # the classes change names, and what holds one name keeps together
                told = told.reshape(n_perm, len(items), n_classes, -1)
                order = random.random(told.shape[:3]).argsort(axis=2)
                told = np.take_along_axis(told, order[..., None], axis=2)
            else:
                told = np.take_along_axis(told, random.random(told.shape).argsort(axis=2), axis=2)
            drawn[:, items] = told.reshape(n_perm, *items.shape)
        return drawn

    def _kinds(
        self, label: Int[np.ndarray, " item"], block: Int[np.ndarray, " item"] | None
    ) -> Iterator[tuple[Int[np.ndarray, "unit place"], bool, int]]:
        """For each kind of unit: its items (a row per unit, its classes side by side), whether its
        classes are equally frequent, and how many there are.
        """
        counts = class_counts(label, self.units)
        kind = np.sort(counts, axis=1)
        if block is not None:
            first = np.unique(self.units, return_index=True)[1]
            kind = np.column_stack([kind, block[first]])
        of_unit = np.unique(kind, axis=0, return_inverse=True)[1].reshape(-1)
        order = np.lexsort((label, self.units))
        for one in np.unique(of_unit):
            members = np.flatnonzero(of_unit == one)
            items = order[np.isin(self.units[order], members)].reshape(len(members), -1)
            found = counts[members[0]][counts[members[0]] > 0]
            yield items, bool((found == found[0]).all()), len(found)


def _check_pairs(
    labels: Shaped[np.ndarray, " item"], groups: Shaped[np.ndarray, " item"], pairs: Labels
) -> None:
    names = np.asarray(pairs).astype(str)
    if len(names) != len(labels):
        raise DataError(
            f"{len(labels)} labels came with {len(names)} pairs: one of each belongs to every item."
        )
    for name in np.unique(names).tolist():
        mine = names == name
        if len(np.unique(groups[mine])) > 1:
            raise DataError(
                f"pair {name!r} lies in {len(np.unique(groups[mine]))} scenarios: twins share one."
            )
        if mine.sum() != 2 or len(np.unique(labels[mine])) != 2:
            raise DataError(
                f"pair {name!r} has the labels {sorted(labels[mine].tolist())}: it must be two, "
                "of two classes."
            )
