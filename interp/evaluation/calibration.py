"""Calibration: how often tests reject where there is nothing, and how often intervals hold the
truth.

Each check (`interp.evaluation.rejections`, `interp.evaluation.coverages`) makes data whose truth is
known, many times over, and asks the very functions that a study asks. A p is right when it is at or
below a level as often as the level says; a 95 % interval when it holds the truth in 95 of 100. Data
sets that give no interval are not counted.
"""

from collections.abc import Iterable

import numpy as np

from interp.defaults import CALIBRATIONS
from interp.errors import UsageError
from interp.evaluation.coverages import INTERVALS, NOTES, TableRow
from interp.evaluation.rejections import TESTS
from interp.progress import track
from interp.stats import Estimate

LEVELS = (0.05, 0.01)
_MOST_RUNS = 1_000_000


def calibrate(
    *, runs: int = CALIBRATIONS, seed: int = 0, names: Iterable[str] = ()
) -> list[TableRow]:
    """Rows (what, nominal, measured, runs, note) of every check, or of those whose name holds one
    of `names`.

    `measured` is the share of rejections, or of intervals that hold the truth, among the data sets
    that gave an answer, `runs` their number: of those asked for, less those without an interval.
    Where an estimate's truth has no closed form (what a probe scores on scenarios that it has not
    seen), it is the mean of the estimates. The binomial error of a share is sqrt(nominal (1 -
    nominal) / runs). `note` says why a check cannot be at its level, where that is known. `seed`
    draws other data sets. Raises `UsageError` for runs below 1, and where no check has such a name.
    """
    if runs < 1:
        raise UsageError(f"runs is {runs}: a share of none says nothing, give 1 or more.")
    wanted, seeds = tuple(names), range(seed * _MOST_RUNS, seed * _MOST_RUNS + runs)
    tests = {what: one for what, one in TESTS.items() if _named(what, wanted)}
    intervals = {what: one for what, one in INTERVALS.items() if _named(what, wanted)}
    if not tests and not intervals:
        raise UsageError(
            f"no check is called {', '.join(map(repr, wanted))}: the names are "
            f"{', '.join([*TESTS, *INTERVALS])}."
        )
    rows: list[TableRow] = []
    for what, test in track(list(tests.items()), "calibrating p", unit="check"):
        p = np.array([test(one) for one in seeds])
        rows += [_row(f"rejection of {what}", level, (p <= level).tolist()) for level in LEVELS]
    for what, draw in track(list(intervals.items()), "calibrating intervals", unit="check"):
        rows.append(_row(f"coverage of {what}", 0.95, _held([draw(one) for one in seeds])))
    return rows


def _held(found: list[tuple[Estimate, float | None]]) -> list[bool]:
    """Which of the intervals hold the truth, of those that there are."""
    mean = float(np.mean([estimate.value for estimate, _ in found]))
    return [
        estimate.ci_low <= (mean if truth is None else truth) <= estimate.ci_high
        for estimate, truth in found
        if not np.isnan(estimate.ci_low)
    ]


def _named(what: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or any(name in what for name in wanted)


def _row(what: str, nominal: float, hits: list[bool]) -> TableRow:
    measured = float(np.mean(hits)) if hits else None
    note = next((note for name, note in NOTES.items() if name in what), "")
    return {"what": what, "nominal": nominal, "measured": measured, "runs": len(hits), "note": note}
