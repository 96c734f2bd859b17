"""All figures of a run: which stage each belongs to, and drawing them into files.

A figure is a function of a tidy table and of nothing else. To add one, write its function in the
stage's file in `sections/`, and its line in that file's `SECTION`.
"""

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from interp.errors import UsageError
from interp.files import make_folder, write_atomic
from interp.reporting.letters import told_once
from interp.reporting.section import Drawing
from interp.reporting.sections import SECTIONS
from interp.reporting.select import holds
from interp.reporting.style import STYLE

FIGURES: dict[str, Drawing] = {
    drawing.name: replace(drawing, table=drawing.table or section.name)
    for section in SECTIONS
    for drawing in section.figures
}
"""Every figure by its name, in the order of the report."""

_DPI = 144
_log = logging.getLogger(__name__)


def draw(name: str, table: pd.DataFrame) -> Figure:
    """The figure `name` of `FIGURES`, drawn from its table.

    Raises `UsageError` for an unknown name, `DataError` when the table lacks the rows that the
    figure shows.
    """
    if name not in FIGURES:
        raise UsageError(f"unknown figure {name!r}: there are {', '.join(FIGURES)}.")
    return FIGURES[name].draw(table)


def draw_all(
    tables: Mapping[str, pd.DataFrame], out_dir: Path, *, say: Callable[[str], None] = _log.info
) -> list[Path]:
    """Draw the figures of all stages in `tables` (stage -> table) as SVG and PNG into `out_dir`;
    the files written.

    A stage that is not in `tables` did not run: its figures are skipped, and `say` is told which;
    so are those whose rows (`Drawing.needs`) the stage left out. The same tables give the same
    bytes, with the same fonts installed. Letters that none of these has are told once. Raises
    `DataError` when a stage ran and its table lacks what its figure shows.
    """
    with told_once():
        return _draw_all(tables, make_folder(out_dir), say)


def _draw_all(
    tables: Mapping[str, pd.DataFrame], out_dir: Path, say: Callable[[str], None]
) -> list[Path]:
    written = []
    for name, drawing in FIGURES.items():
        stage, needs = drawing.table, drawing.needs
        if stage not in tables:
            say(f"figure {name} skipped: the stage {stage} did not run")
            continue
        if needs and not holds(tables[stage], **needs):
            say(
                f"figure {name} skipped: the stage {stage} did not measure "
                f"{', '.join(needs.values())}"
            )
            continue
        figure = drawing.draw(tables[stage])
        for form in ("svg", "png"):
            path = out_dir / f"{name}.{form}"
            write_atomic(path, as_bytes(figure, form))
            written.append(path)
    return written


def as_bytes(figure: Figure, form: str) -> bytes:
    """The figure as an `svg` or `png` file, without dates or version stamps, so that equal figures
    are equal bytes.
    """
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format=form, dpi=_DPI, metadata=metadata)
    return stream.getvalue()
