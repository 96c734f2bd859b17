"""Printed rows: those of a stage's table that stand in the page; the CSV file has them all."""

from dataclasses import dataclass

import pandas as pd

from interp.reporting.section import Section
from interp.reporting.select import best, column, groups, holds, measured, select

MOST_ROWS = 24
"""How many rows of a table are printed; the rest is one click away, in the CSV file."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The printed rows of a table: headings, cells, and how many rows the CSV file holds."""

    headings: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    total: int
    file: str


def pick_rows(table: pd.DataFrame, section: Section) -> Rows:
    """The rows of a stage's table that the report prints: of each group of `section.per`, the one
    with the highest value.
    """
    file = f"tables/{section.name}.csv"
    headings = (
        *section.per,
        *(name for name in ("site", "layer", "method", "metric") if name not in section.per),
        "value",
        "n",
    )
    if not holds(table, metric=section.metrics):
        return Rows(headings, (), len(table), file)
    tops = [
        best(rows)
        for _, rows in groups(select(table, metric=section.metrics), section.per)
        if rows["value"].notna().any()
    ]
    if not tops:
        return Rows(headings, (), len(table), file)
    shown = pd.concat(tops[:MOST_ROWS])
    cells = tuple(zip(*(_column_cells(shown, name) for name in headings), strict=True))
    return Rows(headings, cells, len(table), file)


def _column_cells(rows: pd.DataFrame, name: str) -> list[str]:
    if name == "value":
        return [measured(rows.iloc[[at]]) for at in range(len(rows))]
    return column(rows, name).tolist()
