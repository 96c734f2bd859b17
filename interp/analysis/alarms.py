"""False alarms layer by layer: how many of the texts that evoke nothing does the probe of one arm
call emotional, and from which layer on?

Affect-reception (*Whether, Not Which*) carries a probe of emotional against neutral texts to rich
scenes without emotion. A probe that reads emotion calls these as seldom so as it does the neutral
twins that it is fitted beside; one that reads vividness calls them so, too.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from interp.analysis.predictions import Predictions, accuracy_share, missed_share
from interp.analysis.probes import cross_validate
from interp.analysis.refits import SiteRows, Sites
from interp.analysis.site_probes import Sweep
from interp.analysis.spread import share_out
from interp.analysis.transfer import ArmTask
from interp.defaults import PROBE
from interp.results import TableRow, TableRows


def alarms_by_layer(
    sites: Sites,
    task: ArmTask,
    *,
    fitted: Sequence[str],
    unlabelled: str,
    probe: str = PROBE,
) -> Sweep:
    """Rows `called_at_layer` of every place and of the probe of each arm in `fitted` (`train_arm`):
    the share of texts that are not given the label `unlabelled`.

    test_arm            texts
    the fitted arm      its own that evoke an emotion: how many of them are found
    `unlabelled`        its own neutral twins
    any other           those of an arm that is only tested: none of them evokes anything

    All scenarios are held out. Intervals leave scenarios out, wider by what folds share, and for
    arms that are only tested by what the fitted scenarios teach. Nothing is chosen over the places:
    a row speaks of its own layer alone. Raises as `cross_validate`.
    """
    at_place = partial(_at_place, task=task, fitted=fitted, unlabelled=unlabelled, probe=probe)
    rows: TableRows = []
    warnings: set[str] = set()
    for found, told in share_out(at_place, sites()):
        rows += found
        warnings |= told
    return Sweep(rows, tuple(sorted(f"{task.name}: {text}" for text in warnings)))


def _at_place(
    place: SiteRows, *, task: ArmTask, fitted: Sequence[str], unlabelled: str, probe: str
) -> tuple[TableRows, set[str]]:
    """The rows of one place, and what its probes warned of."""
    where, x = place
    rows: TableRows = []
    warnings: set[str] = set()
    for fit in fitted:
        told = _probed(x, task, fit, probe)
        warnings |= set(told.warnings)
        rows += [{**where, "train_arm": fit, **row} for row in _called(told, task, fit, unlabelled)]
    return rows, warnings


def _probed(
    x: Float[np.ndarray, "row feature"], task: ArmTask, fit: str, probe: str
) -> Predictions:
    folds = task.folds(fit)
    return cross_validate(x, task.y, task.groups, folds=folds, probe=probe, parts=task.arms)


def _called(told: Predictions, task: ArmTask, fit: str, unlabelled: str) -> Iterator[TableRow]:
    """A row of each set of texts that one probe was shown."""
    own = task.part(told, fit, fit)
    neutral = own.y == unlabelled
    shares = {
        fit: (accuracy_share, own.where(~neutral)),
        unlabelled: (missed_share, own.where(neutral)),
        **{arm: (missed_share, task.part(told, fit, arm)) for arm in task.tested_only},
    }
    for test, (share, texts) in shares.items():
        called = share(texts).estimate(texts.groups)
        yield {"metric": "called_at_layer", "test_arm": test, **called._asdict()}
