"""Probes of one space, read in another through a map between the two."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.analysis.features import in_span, standardiser
from interp.analysis.folds import Fold, Folds
from interp.analysis.predictions import auroc_share
from interp.analysis.probes import PROBES, predict_folds
from interp.analysis.spaces import MAPS, FitMap
from interp.defaults import PROBE
from interp.stats import Estimate, Labels

OWN, CARRIED = "own", "carried"


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

    Probe and map are fitted on the same training scenarios. Every text stands in two rows: as the
    second model read it, and as the map makes it of what the first one read.
    """
    n = len(other)
    kind = PROBES[PROBE]

    def prepare(fold: Fold) -> Float[np.ndarray, "row axis"]:
        own = Fold(fold.train, fold.test[fold.test < n], fold.inner)
        rows = np.concatenate([np.asarray(other, dtype=np.float64), fit(one, other, own)(one)])
        return in_span(standardiser(rows[fold.train])(rows), fold.train)

    twice = [Fold(f.train, np.concatenate([f.test, f.test + n]), f.inner) for f in folds]
    parts = np.repeat([OWN, CARRIED], n)
    told = predict_folds(
        prepare,
        np.tile(np.asarray(y), 2),
        np.tile(np.asarray(groups), 2),
        folds=twice,
        make=kind.make,
        grids=[kind.grid] * len(folds),
        parts=parts,
    )
    return {
        part: auroc_share(own).estimate(own.groups)
        for part in (OWN, CARRIED)
        for own in [told.of_part(part, parts[told.rows] == part)]
    }


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
            yield {"metric": "carried_auroc", "method": OWN, **found[OWN]._asdict()}
        yield {"metric": "carried_auroc", "method": name, **found[CARRIED]._asdict()}
