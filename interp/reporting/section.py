"""A section: everything that the report has of one stage, in one record."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.finding import Caution, Finding

DrawFigure = Callable[[pd.DataFrame], Figure]
"""A figure of a stage's tidy table, and of nothing else."""


def no_cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """The cautions of a stage whose numbers give no reason to doubt them."""
    yield from ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: the function that draws it, whose name is the figure's, and how to read it, where a
    report shows it.

    `table` is the table it is drawn from (empty: the section's own). `needs` says which rows it
    shows, where the stage may lawfully leave them out: the figure is then skipped.
    """

    draw: DrawFigure
    reading: str = ""
    table: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The figure's name, which is that of its file."""
        return self.draw.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the report: a stage's question, its figures, and what may be said of its table.

    Of the stage's table the rows of `metrics` are grouped by `per`, and the highest of each group
    is printed. `findings` gives the headlines of that table, `cautions` what its numbers themselves
    give reason to doubt. `claims` names what its findings can claim, each as `Finding.what` does,
    so that it can be registered before a run (`interp.reporting.claims`). `texts` names a table of
    steered texts of which some are shown.
    """

    name: str
    title: str
    question: str
    metrics: tuple[str, ...]
    per: tuple[str, ...]
    figures: tuple[Drawing, ...]
    findings: Callable[[pd.DataFrame], list[Finding]]
    claims: tuple[str, ...] = ()
    cautions: Callable[[pd.DataFrame], Iterator[Caution]] = no_cautions
    texts: str = ""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it shows, the stage's own first."""
        others = [*(drawing.table for drawing in self.figures), self.texts]
        return tuple(dict.fromkeys((self.name, *filter(None, others))))
