"""Choosing rows of a tidy table and laying their values out, so that a choice that matches nothing
is an error and never an empty picture.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from interp.errors import DataError
from interp.reporting.formatting import interval, number, site_name, whole

POOLED = ("", "all")
"""What column `emotion` says in a row that speaks of all emotions together."""

MEMORISED = ("memorisation", "control_task")
"""What column `control` says of labels that a probe can only learn by heart; the second in older
tables.
"""

ERASED, RANDOM_MODEL = "erased", "random_model"
"""What column `control` says where a nuisance was erased, and of a model with random weights."""

SHUFFLED_LABELS = "shuffled"
"""What column `control` says of labels that changed places among the scenarios."""

NOT_BASELINES = (
    "", *MEMORISED, "nuisance", ERASED, RANDOM_MODEL, SHUFFLED_LABELS, "random", "unsteered",
    "random_source",
)  # fmt: skip
"""What column `control` says in a probe's table when the row is no text baseline."""


_PLACE = (
    "emotion",
    "metric",
    "layer",
    "task",
    "target",
    "position",
    "mode",
    "site",
    "component",
    "k",
    "scale",
    "half",
    "judge",
)


def select(table: pd.DataFrame, **wanted: str | Collection[str]) -> pd.DataFrame:
    """The rows whose columns hold the wanted value (or one of several); raises `DataError` when
    there are none.

    A column that the table lacks counts as empty text. The error names the choice and what the
    table holds instead.
    """
    found = _matching(table, wanted)
    if found.empty:
        asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items()) or "any row"
        held = (
            "; ".join(f"{name}: {sorted(set(column(table, name)))[:8]}" for name in wanted)
            or "no rows"
        )
        raise DataError(
            f"no row of the table matches {asked}; it holds {held}. Run the stage that makes "
            "these rows."
        )
    return found


def holds(table: pd.DataFrame, **wanted: str | Collection[str]) -> bool:
    """Whether `select` would find a row."""
    return not _matching(table, wanted).empty


def _matching(table: pd.DataFrame, wanted: Mapping[str, str | Collection[str]]) -> pd.DataFrame:
    kept = np.ones(len(table), dtype=bool)
    for name, value in wanted.items():
        held = column(table, name).isin([value] if isinstance(value, str) else list(value))
        kept &= held.to_numpy()
    return table[kept]


def column(table: pd.DataFrame, name: str) -> "pd.Series[str]":
    """A text column; empty text where the table lacks it or the cell. Sites are written in their
    short form.
    """
    if name not in table:
        return pd.Series("", index=table.index, dtype=object)
    cells = table[name]
    told = [
        "" if lacks else cell if isinstance(cell, str) else whole(float(cell))
        for cell, lacks in zip(cells.tolist(), cells.isna().tolist(), strict=True)
    ]
    if name == "site":
        told = [site_name(cell) for cell in told]
    return pd.Series(told, index=table.index, dtype=object)


def numbers(table: pd.DataFrame, name: str) -> "pd.Series[float]":
    """A number column as floats (a method's own columns come back from CSV as text); NaN where
    empty.

    Raises `DataError` when the column is missing or a cell is no number.
    """
    if name not in table:
        raise DataError(
            f"the table has no column {name!r}; it has {list(table.columns)}. Make the table again."
        )
    try:
        return pd.to_numeric(table[name].replace("", float("nan")), errors="raise").astype(float)
    except (ValueError, TypeError) as error:
        raise DataError(f"column {name!r} must hold numbers: {error}.") from error


def groups(table: pd.DataFrame, by: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each combination of the columns `by`, in order of appearance, named by the
    columns that vary.

    Where none varies, the name is the first column's value.
    """
    keys = pd.DataFrame({name: column(table, name) for name in by})
    varying = [name for name in by if keys[name].nunique() > 1] or list(by[:1])
    found = []
    for _, own in keys.groupby(list(by), sort=False):
        name = ", ".join(filter(None, own.iloc[0][varying]))
        found.append((name, table.loc[own.index]))
    return found


def pooled(table: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The rows that speak of all emotions together where the table has them, else all rows; and
    whether it has them.
    """
    if holds(table, emotion=POOLED):
        return select(table, emotion=POOLED), True
    return table, False


def best(rows: pd.DataFrame) -> pd.DataFrame:
    """The one row with the highest value; raises `DataError` when no row has one."""
    measured = rows[rows["value"].notna()]
    if measured.empty:
        raise DataError(
            "none of the rows holds a measured value. Run the stage again; its warnings say why."
        )
    return measured.iloc[[int(measured["value"].to_numpy().argmax())]]


def with_values(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows; raises `DataError` when none has a measured value."""
    best(rows)
    return rows


def least(rows: pd.DataFrame) -> pd.DataFrame:
    """The one row with the lowest value; raises `DataError` when no row has one."""
    return rows.loc[best(rows.assign(value=-rows["value"])).index]


def word(rows: pd.DataFrame, name: str) -> str:
    """What the first row says in a text column."""
    return str(column(rows, name).iloc[0])


def words_of(rows: pd.DataFrame, *names: str) -> dict[str, str]:
    """What the first row says in these text columns, by their names."""
    return {name: word(rows, name) for name in names}


def numeral(rows: pd.DataFrame, name: str) -> float:
    """What the first row says in a number column."""
    return float(numbers(rows, name).iloc[0])


def measured(row: pd.DataFrame) -> str:
    """The first row's value with its interval, as text."""
    return interval(numeral(row, "value"), numeral(row, "ci_low"), numeral(row, "ci_high"))


def place(row: pd.DataFrame) -> str:
    """Where the first row was measured, as text: `resid_post, layer 3`."""
    return f"{word(row, 'site')}, layer {whole(numeral(row, 'layer'))}"


def layers(rows: pd.DataFrame) -> str:
    """The rows' layers as text: `2`, or `2 to 5`."""
    low, high = (whole(float(end)) for end in (rows["layer"].min(), rows["layer"].max()))
    return low if low == high else f"{low} to {high}"


def counted(rows: pd.DataFrame) -> str:
    """The rows' n as text: `n = 120`, or `n = 60 to 120`."""
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def beside(
    table: pd.DataFrame, row: pd.DataFrame, **changed: str | Collection[str]
) -> pd.DataFrame | None:
    """The row (of a control, another metric) that differs from `row` only in the columns `changed`;
    None if not measured.
    """
    wanted: dict[str, str | Collection[str]] = {name: word(row, name) for name in _PLACE} | changed
    if not holds(table, **wanted):
        return None
    found = select(table, **wanted)
    return None if found["value"].isna().all() else found


def nuisances_of(table: pd.DataFrame, row: pd.DataFrame, *, metric: str) -> dict[str, pd.DataFrame]:
    """The row of each nuisance (length, negation, ...) at the place of `row`, by its name."""
    if not holds(table, control="nuisance", metric=metric):
        return {}
    names = dict.fromkeys(column(select(table, control="nuisance", metric=metric), "target"))
    found = {
        name: beside(table, row, control="nuisance", metric=metric, target=name) for name in names
    }
    return {name: own for name, own in found.items() if own is not None}


def mean(rows: pd.DataFrame, **wanted: str) -> float | None:
    """The mean value of the rows that `select` would find; None where it would find none."""
    return float(select(rows, **wanted)["value"].mean()) if holds(rows, **wanted) else None


def parts(table: pd.DataFrame, by: str, **wanted: str) -> list[tuple[str, pd.DataFrame]]:
    """The groups of the rows that `select` would find; none where it would find none."""
    return groups(select(table, **wanted), [by]) if holds(table, **wanted) else []


def with_ranges(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the range of random draws in the place of an interval, to be drawn as a
    band.
    """
    if "draw_low" not in rows:
        return rows
    low, high = numbers(rows, "draw_low"), numbers(rows, "draw_high")
    return rows.assign(ci_low=rows["ci_low"].fillna(low), ci_high=rows["ci_high"].fillna(high))


def matrix(
    down: "pd.Series", across: "pd.Series", values: "pd.Series", names: list, columns: list
) -> pd.DataFrame:
    """Mean value for each combination of `down` and `across`; NaN where there is none."""
    cells = pd.DataFrame({"down": down, "across": across, "value": values})
    wide = cells.pivot_table(
        index="down", columns="across", values="value", aggfunc="mean", dropna=False
    )
    return wide.reindex(index=names, columns=columns).astype(float)


def square(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The values as a matrix, `emotion` down and `target` across; NaN where the table has no
    row.
    """
    return matrix(
        column(rows, "emotion"), column(rows, "target"), numbers(rows, "value"), names, names
    )


def mean_off_diagonal(rows: pd.DataFrame) -> str:
    """The mean value of an emotion with another one, as text."""
    others = rows[column(rows, "emotion") != column(rows, "target")]
    return number(float(others["value"].mean())) if len(others) else "not measured"
