"""Probes of one space, read in another through a map between the two.

Probe and map are fitted on different scenarios. On the same ones they would share their noise: the
map then carries what tells the labels apart in the first space onto the very direction in which
the second one's texts happen to differ, and a probe of a space that knows nothing reads all.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.analysis.features import in_span, standardiser
from interp.analysis.folds import Fold, Folds
from interp.analysis.predictions import auroc_share
from interp.analysis.probes import PROBES, predict_folds
from interp.analysis.spaces import MAPS, FitMap
from interp.defaults import PROBE
from interp.stats import Estimate, Labels

OWN_SPACE, CARRIED = "own", "carried"


def carried_auroc(
    one: Float[np.ndarray, "item d_one"],
    other: Float[np.ndarray, "item d_other"],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    fit: FitMap,
) -> Mapping[str, Estimate]:
    """The macro AUROC of a probe fitted in the second space: on held-out texts there (`own`), and
    on the same texts read in the first space and carried over by the map (`carried`).

    Each fold's training scenarios are halved: one half fits the map, the other one the probe, which
    has the middle one of its settings (half of the scenarios are too few to choose on). Every
    text stands in two rows: as the second model read it, and as the map makes it of what the first
    one read.
    """
    n = len(other)
    kind = PROBES[PROBE]
    halves = [_halved(fold, np.asarray(y), np.asarray(groups)) for fold in folds]
    for_map = {int(fold.test[0]): own for fold, (own, _) in zip(folds, halves, strict=True)}

    def prepare(fold: Fold) -> Float[np.ndarray, "row axis"]:
        carried = fit(one, other, for_map[int(fold.test[0])])(one)
        rows = np.concatenate([np.asarray(other, dtype=np.float64), carried])
        return in_span(standardiser(rows[fold.train])(rows), fold.train)

    twice = [Fold(f.train, np.concatenate([f.test, f.test + n])) for _, f in halves]
    parts = np.repeat([OWN_SPACE, CARRIED], n)
    told = predict_folds(
        prepare,
        np.tile(np.asarray(y), 2),
        np.tile(np.asarray(groups), 2),
        folds=twice,
        kind=kind,
        grids=[(kind.grid[len(kind.grid) // 2],)] * len(folds),
        parts=parts,
    )
    return {
        part: auroc_share(own).estimate(own.groups)
        for part in (OWN_SPACE, CARRIED)
        for own in [told.of_part(part, parts[told.rows] == part)]
    }


def _halved(
    fold: Fold, y: Shaped[np.ndarray, " item"], groups: Shaped[np.ndarray, " item"]
) -> tuple[Fold, Fold]:
    """The fold with one half of its training scenarios, and with the other; of each label as many
    in both as can be.
    """
    first = dict(zip(groups[fold.train], y[fold.train], strict=True))
    dealt = sorted(first, key=lambda group: (str(first[group]), group))
    halves = []
    for side in (0, 1):
        mine = np.isin(groups, dealt[side::2])
        inner = tuple((a[mine[a]], b[mine[b]]) for a, b in fold.inner)
        halves.append(Fold(fold.train[mine[fold.train]], fold.test, inner))
    return halves[0], halves[1]


def carried_rows(
    one: Float[np.ndarray, "item d_one"],
    other: Float[np.ndarray, "item d_other"],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    maps: Sequence[str] = tuple(MAPS),
) -> Iterator[dict[str, Any]]:
    """Rows `carried_auroc` of each map (`method`), and of the probe in its own space (`own`)."""
    for at, name in enumerate(maps):
        found = carried_auroc(one, other, y, groups, folds=folds, fit=MAPS[name])
        if at == 0:
            yield {"metric": "carried_auroc", "method": OWN_SPACE, **found[OWN_SPACE]._asdict()}
        yield {"metric": "carried_auroc", "method": name, **found[CARRIED]._asdict()}
