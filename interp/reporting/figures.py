"""All figures: which table each is drawn from, and drawing them into files.

A figure is a function of a tidy table and of nothing else. To add one of a stage, write its
function in the stage's file in `sections/`, and its line in that file's `SECTION`; one of a command
beside a study has its line in `trial_figures.py`.
"""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from interp.errors import UsageError
from interp.files import make_folder, write_atomic
from interp.reporting.form import HOUSE, Form, in_form
from interp.reporting.letters import told_once
from interp.reporting.section import Drawing
from interp.reporting.sections import SECTIONS
from interp.reporting.select import holds
from interp.reporting.style import STYLE
from interp.reporting.trial_figures import TRIAL_FIGURES

FIGURES: dict[str, Drawing] = {
    drawing.name: replace(drawing, table=drawing.table or section.name)
    for section in SECTIONS
    for drawing in section.figures
}
"""Every figure of a run by its name, in the order of the report."""

FILE_KINDS = ("svg", "png")
"""The kinds of file that a report's figures are written as; `as_bytes` knows `pdf`, too."""

_DPI = 144
_NO_STAMP: Mapping[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_log = logging.getLogger(__name__)


def draw(
    name: str,
    table: pd.DataFrame,
    *,
    width: float | None = None,
    titles: bool = True,
    published: bool = False,
) -> Figure:
    """The figure `name` of `FIGURES` or `TRIAL_FIGURES`, drawn from its table; `width` inches wide,
    if that is given, and without its title and caption, if `titles` is off. The foot line always
    says the model, the battery and n. `published` marks published values in it, where there are any
    of its kind: they are of other texts and models, and the caption says whose.

    Raises `UsageError` for an unknown name or a width outside 2 to 20 inches, `DataError` when the
    table lacks the rows that the figure shows.
    """
    known = FIGURES | TRIAL_FIGURES
    if name not in known:
        raise UsageError(f"unknown figure {name!r}: there are {', '.join(known)}.")
    with in_form(Form(width=width, titles=titles, published=published)):
        return known[name].draw(table)


def draw_all(
    tables: Mapping[str, pd.DataFrame],
    out_dir: Path,
    *,
    figures: Mapping[str, Drawing] = FIGURES,
    form: Form = HOUSE,
    kinds: Sequence[str] = FILE_KINDS,
    say: Callable[[str], None] = _log.info,
) -> list[Path]:
    """Draw `figures`, by default those of all stages, of `tables` (stage -> table) into `out_dir`,
    in a form and as files of these kinds; the files written.

    A stage that is not in `tables` did not run: its figures are skipped, and `say` is told which;
    so are those whose rows (`Drawing.needs`) it left out. The same tables give the same
    bytes, with the same fonts installed. Letters that none of these has are told once. Raises
    `DataError` when a stage ran and its table lacks what its figure shows.
    """
    folder, written = make_folder(out_dir), []
    with told_once(), in_form(form):
        for name, drawing in figures.items():
            if missing := _missing(drawing, tables):
                say(f"figure {name} skipped: the stage {drawing.table} did not {missing}")
                continue
            figure = drawing.draw(tables[drawing.table])
            for kind in kinds:
                written.append(folder / f"{name}.{kind}")
                write_atomic(written[-1], as_bytes(figure, kind))
    return written


def _missing(drawing: Drawing, tables: Mapping[str, pd.DataFrame]) -> str:
    """What the figure's stage did not do that the figure needs; empty where it can be drawn."""
    if drawing.table not in tables:
        return "run"
    needs = drawing.needs
    if needs and not holds(tables[drawing.table], **needs):
        named = {name: one or "(none)" for name, one in needs.items()}
        said = [one if name == "metric" else f"{name} {one}" for name, one in named.items()]
        return f"measure {', '.join(said)}"
    return ""


def as_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as an `svg`, `png` or `pdf` file, without dates or version stamps, so that equal
    figures are equal bytes.
    """
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format=kind, dpi=_DPI, metadata=_NO_STAMP[kind])
    return stream.getvalue()
