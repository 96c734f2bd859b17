"""The same probe on the same texts, read from a model of equal shape with random weights: what a
probe reads off the words as they are embedded, without anything having been learned.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from interp.analysis.features import FoldFeatures
from interp.analysis.predictions import Predictions, auroc_share
from interp.analysis.probes import cross_validate
from interp.analysis.refits import Sites
from interp.analysis.site_probes import Task
from interp.analysis.spread import share_out
from interp.errors import DataError
from interp.shares import share_difference

RANDOM_TWIN = "random_model"


def control_model_rows(
    sites: Sites, twins: Sites, task: Task, *, probe: str
) -> Iterator[dict[str, Any]]:
    """Rows of every place: the AUROC of the probe in the twin (control "random_model"), and
    `above_random_model`, how far that of the model lies above it, paired by scenario on the same
    folds.

    Both give the same places in the same order. Raises `DataError` where they do not, and as
    `cross_validate`; a place where all of the twin's rows are the same has no rows.
    """

    def both(place: tuple[Any, Any]) -> list[dict[str, Any]]:
        (where, x), (other, of_twin) = place
        if where != other:
            raise DataError(f"the twin gives {other} where the model gives {where}.")
        if not np.ptp(of_twin, axis=0).any():
            return []
        mine, theirs = (_told(one, task, probe) for one in (x, of_twin))
        above = share_difference(auroc_share(mine), auroc_share(theirs), task.groups)
        own = auroc_share(theirs).estimate(theirs.groups)
        common = {**where, "task": task.name, "method": probe, "control": RANDOM_TWIN}
        return [
            {**common, "metric": "auroc", **own._asdict()},
            {**common, "metric": "above_random_model", **above._asdict()},
        ]

    for rows in share_out(both, zip(sites(), twins(), strict=True)):
        yield from rows


def _told(x: np.ndarray, task: Task, probe: str) -> Predictions:
    return cross_validate(FoldFeatures(x), task.y, task.groups, folds=task.folds, probe=probe)
