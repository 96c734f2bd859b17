"""What the numbers of a run themselves give reason to doubt: warnings that no stage could see alone."""

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from interp.reporting.representation import text_baselines_of
from interp.reporting.rows import (
    POOLED,
    beside,
    best,
    column,
    groups,
    holds,
    mean,
    measured,
    nuisances_of,
    numbers,
    numeral,
    select,
    word,
)
from interp.reporting.said_of_representation import NESTED, closest_words
from interp.reporting.text import interval, number

CLOSE = 0.02
"""A nuisance this near to the probe explains its score as well as the emotion does."""

VALID_WANTED = 0.9
"""The share of continuations that should still be readable."""

STABLE = 0.5
"""The cosine between halves of the scenarios below which a direction is called unstable."""

PAIRS_WANTED = 8
"""The number of distinct pairs a cell below which an interval over pairs means little."""


def doubts(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Warnings that the numbers themselves give: a baseline as good as the probe, unreadable steering, too few pairs, ..."""
    found: list[str] = []
    for stage, table in tables.items():
        unmeasured = int(table["value"].isna().sum())
        if unmeasured:
            found.append(f"{stage}: {unmeasured} of {len(table)} rows were not measured; figures and headlines leave them out.")
        found += _DOUBT[stage](table[table["value"].notna()]) if stage in _DOUBT else ()
    return found


def _doubt_probes(table: pd.DataFrame) -> Iterator[str]:
    for task, rows in _parts(table, "task", metric="auroc", control=""):
        top = best(rows)
        baselines = text_baselines_of(select(table, metric="auroc", task=task))
        if baselines.empty:
            yield f"{task}: no text baseline was measured, so the probe's score says nothing about meaning."
        else:
            yield from _doubt_words(table, task, baselines)
        for name, row in nuisances_of(table, top, metric="selectivity").items():
            if numeral(row, "value") <= CLOSE or not numeral(row, "ci_low") > 0:
                yield (
                    f"{task}: whether the probe tells more of the emotion than of {name} cannot be said "
                    f"(difference {measured(row)})."
                )


def _doubt_words(table: pd.DataFrame, task: str, baselines: pd.DataFrame) -> Iterator[str]:
    """Where the probe does not surely lie above the best text baseline, paired on the same folds."""
    _, above = closest_words(table, task)
    if above.low > 0 or not holds(table, metric=NESTED, task=task):
        return
    top = select(table, metric=NESTED, task=task)
    far = interval(*above)
    yield (
        f"{task}: the text baseline {word(best(baselines), 'control')} reaches {measured(best(baselines))}, the probe "
        f"{measured(top)}, a paired difference of {far}: the probe is not told apart from the words alone."
    )


def _doubt_directions(table: pd.DataFrame) -> Iterator[str]:
    for emotion, rows in _parts(table, "emotion", metric="separation_auroc"):
        stable = beside(table, best(rows), metric="split_half_cosine")
        if stable is not None and numeral(stable, "value") < STABLE:
            yield f"directions: {emotion}'s best direction is unstable (cosine of two halves {measured(stable)})."


def _doubt_patching(table: pd.DataFrame) -> Iterator[str]:
    few = int(table["n"].min()) if len(table) else 0
    if 0 < few < PAIRS_WANTED:
        yield f"patching: some cells rest on {few} pairs; fewer than {PAIRS_WANTED} distinct pairs make an interval unreliable."


def _doubt_ablation(table: pd.DataFrame) -> Iterator[str]:
    own = table[column(table, "emotion") == column(table, "target")]
    for kind, rows in _parts(own, "component", metric="projection_drop", control=""):
        most = rows[numbers(rows, "k") == numbers(rows, "k").max()]
        alone = most[~column(most, "emotion").isin(POOLED)]
        beaten = [word(row, "emotion") for _, row in groups(alone, ["emotion"]) if _no_better(own, row, "random")]
        if beaten:
            yield f"ablation: for {', '.join(beaten)} random {kind}s take as much from the projection as the chosen ones."


def _doubt_steering(table: pd.DataFrame) -> Iterator[str]:
    if not holds(table, metric="success", control=""):
        return
    rows = select(table, metric=("success", "valid"))
    told = select(rows, half="report") if holds(rows, half="report") else rows
    valid = mean(told, metric="valid", control="")
    if valid is not None and valid < VALID_WANTED:
        yield f"steering: only {number(valid)} of the steered continuations can be read at the strength reported."
    steered = select(told, metric="success", control="")
    steered = steered[column(steered, "emotion") != "all"]
    beaten = [word(row, "emotion") for _, row in groups(steered, ["emotion"]) if _no_better(told, row, "random")]
    if beaten:
        yield f"steering: toward {', '.join(beaten)} a random direction does as well as the emotion's."


def _parts(table: pd.DataFrame, by: str, **wanted: str) -> list[tuple[str, pd.DataFrame]]:
    """The groups of the rows that `select` would find; none where it would find none."""
    return groups(select(table, **wanted), [by]) if holds(table, **wanted) else []


def _no_better(table: pd.DataFrame, row: pd.DataFrame, control: str) -> bool:
    """Whether the control's value reaches the row's own."""
    other = beside(table, row.iloc[[0]], control=control)
    return other is not None and numeral(other, "value") >= numeral(row, "value")


_DOUBT: dict[str, Callable[[pd.DataFrame], Iterator[str]]] = {
    "probes": _doubt_probes,
    "directions": _doubt_directions,
    "patching": _doubt_patching,
    "ablation": _doubt_ablation,
    "steering": _doubt_steering,
}
