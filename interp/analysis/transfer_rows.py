"""The rows of a table of transfer, beside the words and the ceiling: each arm's probe on each arm's
texts, and the probe of all values of a field but one on that one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from interp.analysis.across import ALL_VALUES, EVERY_VALUE, OTHER_VALUES, ValueTask
from interp.analysis.alarms import alarms_by_layer
from interp.analysis.baselines import Lexicons
from interp.analysis.controls import least_relabelled_p
from interp.analysis.nested import ABOVE_TEXT
from interp.analysis.predictions import (
    Predictions,
    accuracy_share,
    auroc_share,
    missed_share,
)
from interp.analysis.refits import Sites
from interp.analysis.site_probes import Sweep
from interp.analysis.transfer import ArmCell, ArmCells, ArmTask, carry
from interp.chance import benjamini_hochberg
from interp.defaults import PROBE
from interp.results import TableRow
from interp.shares import Share, share_difference

LOST_IN_TRANSFER = "lost_in_transfer"
CALLED = "called_emotional"
P_OF_TRANSFER = "refits of this AUROC, labels changed in all texts at once, places chosen anew"


def transfer_rows(
    sites: Sites,
    task: ArmTask,
    *,
    texts: Sequence[str],
    lexicons: Lexicons,
    unlabelled: str = "",
    probe: str = PROBE,
) -> Sweep:
    """Rows of every arm that is fitted (`train_arm`) on every arm that is tested (`test_arm`).

    metric             value
    auroc              macro AUROC of the probe, or of the text baseline that `control` names
    above_text         the probe's AUROC less that of the baseline `target`, paired by scenario
    lost_in_transfer   the AUROC of the tested arm's own probe less this one, on the same texts
    called_emotional   the share of texts that evoke nothing which are not given the label
                       `unlabelled`: of arms that are only tested, and of the fitted arm's own
                       neutral twins (`test_arm` is that label)
    found_emotional    beside that, the share of the fitted arm's other texts that are not given it
    called_at_layer    the same shares at each place by itself (`alarms_by_layer`), where there are
                       arms that are only tested

    `p` stands on the probe's AUROC and is of that number (`P_OF_TRANSFER`); `p_corrected` is
    Benjamini-Hochberg's over all arms, `least_p` the smallest p that there can be. Raises as
    `carry`.
    """
    cells = carry(sites, task, texts=texts, lexicons=lexicons, probe=probe)
    rows = [
        _row(cell, probe, {"task": task.name, "train_arm": fit, "test_arm": test, **found})
        for (fit, test), cell in cells.items()
        for found in _of_cell(cells, fit, test, least_relabelled_p(task.labellings), unlabelled)
    ]
    _correct(rows)
    fitted = [arm for arm in task.fitted if (arm, arm) in cells]
    told = _told(task, cells, [arm for arm in task.fitted if arm not in fitted])
    if not (unlabelled and task.tested_only):
        return Sweep(rows, told)
    alarms = alarms_by_layer(sites, task, fitted=fitted, unlabelled=unlabelled, probe=probe)
    common = {"task": task.name, "method": probe, "chosen_by": "", **_NONE}
    rows += [{**common, **row} for row in alarms.rows]
    return Sweep(rows, tuple(sorted({*told, *alarms.warnings})))


def _of_cell(
    cells: ArmCells, fit: str, test: str, least_p: float, unlabelled: str
) -> Iterator[TableRow]:
    """What is said of one cell; of an arm's own probe also how its twins are called."""
    cell = cells[fit, test]
    if cell.null is None:
        yield from _called(cell, CALLED, missed_share)
        return
    yield from _scores(cell, {"p": cell.null.p, "least_p": least_p})
    yield from _lost(cells.get((test, test)), cell)
    if fit == test and unlabelled:
        neutral = cell.told.y == unlabelled
        for row in _called(_only(cell, neutral), CALLED, missed_share):
            yield {**row, "test_arm": unlabelled}
        yield from _called(_only(cell, ~neutral), "found_emotional", accuracy_share)


def value_rows(
    sites: Sites,
    task: ValueTask,
    *,
    field: str,
    texts: Sequence[str],
    lexicons: Lexicons,
    probe: str = PROBE,
) -> Sweep:
    """Rows of each value of the `field` (column `across`), left out in turn (`test_arm`; empty: all
    of them, compared inside each); `train_arm` is `OTHER_VALUES`, or `ALL_VALUES` for the ceiling.

    The metrics are `auroc`, `above_text` and `lost_in_transfer` of `transfer_rows`; the last is the
    ceiling's AUROC less that of the probe of the others, paired by scenario. `p` stands on the
    probe of the others; `p_corrected` is Benjamini-Hochberg's over the values. Raises as `carry`.
    """
    cells = carry(sites, task, texts=texts, lexicons=lexicons, probe=probe)
    rows: list[TableRow] = []
    least = least_relabelled_p(task.labellings)
    for (fit, test), cell in cells.items():
        common = {"task": task.name, "across": field, "train_arm": fit, "test_arm": test}
        tested = {"p": cell.null.p, "least_p": least} if cell.null else {}
        within = cells.get((ALL_VALUES, test)) if fit == OTHER_VALUES else None
        found = [*_scores(cell, tested), *_lost(within, cell)]
        rows += [_row(cell, probe, {**common, **one}) for one in found]
    _correct([row for row in rows if row["test_arm"] == EVERY_VALUE])
    _correct([row for row in rows if row["test_arm"] != EVERY_VALUE])
    lost = [fit for fit in task.fitted if (fit, EVERY_VALUE) not in cells]
    return Sweep(rows, _told(task, cells, lost))


def _told(task: ArmTask, cells: ArmCells, lost: Sequence[str]) -> tuple[str, ...]:
    """What the probes warned of, and the arms `lost` for want of scenarios."""
    told = {f"{task.name}: {text}" for cell in cells.values() for text in cell.told.warnings}
    told |= {f"{task.name}: {arm} has too few scenarios to choose a place on." for arm in lost}
    return tuple(sorted(told))


def _scores(cell: ArmCell, tested: Mapping[str, float]) -> Iterator[TableRow]:
    own = auroc_share(cell.told)
    groups = cell.told.groups
    p_of = P_OF_TRANSFER if tested else ""
    yield {"metric": "auroc", **own.estimate(groups)._asdict(), **tested, "p_of": p_of}
    for name, text in cell.texts.items():
        words = auroc_share(text)
        yield {"metric": "auroc", "control": name, **words.estimate(groups)._asdict()}
        above = share_difference(own, words, groups)
        yield {"metric": ABOVE_TEXT, "target": name, **above._asdict()}


def _lost(within: ArmCell | None, across: ArmCell) -> Iterator[TableRow]:
    if within is not None and within is not across:
        ceiling, reached = (auroc_share(cell.told) for cell in (within, across))
        lost = share_difference(ceiling, reached, across.told.groups)
        yield {"metric": LOST_IN_TRANSFER, **lost._asdict()}


def _called(
    cell: ArmCell, metric: str, share: Callable[[Predictions], Share]
) -> Iterator[TableRow]:
    for name, told in {"": cell.told, **cell.texts}.items():
        yield {"metric": metric, "control": name, **share(told).estimate(told.groups)._asdict()}


def _only(cell: ArmCell, kept: Bool[np.ndarray, " row"]) -> ArmCell:
    """The cell with these of its rows."""
    texts = {name: told.where(kept) for name, told in cell.texts.items()}
    return cell._replace(told=cell.told.where(kept), texts=texts)


def _row(cell: ArmCell, probe: str, found: TableRow) -> TableRow:
    control = str(found.get("control", ""))
    place = {"site": "", "position": ""} if control else {**cell.place}
    chosen_by = "" if control else cell.chosen_by
    return {**place, "method": control or probe, "chosen_by": chosen_by, **_NONE, **found}


_NONE = {
    "control": "", "target": "", "p": np.nan, "least_p": np.nan, "p_of": "", "p_corrected": np.nan,
}  # fmt: skip


def _correct(rows: Sequence[TableRow]) -> None:
    """Write Benjamini-Hochberg's p over all arms beside each p."""
    tested = [row for row in rows if np.isfinite(row["p"])]
    corrected = benjamini_hochberg(np.array([row["p"] for row in tested])).tolist()
    for row, p in zip(tested, corrected, strict=True):
        row["p_corrected"] = p
