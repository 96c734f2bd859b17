"""All figures of a run: which stage each belongs to, and drawing them into files.

A figure is a function of a tidy table and of nothing else. To add one, write its function (in
`representation`, `causes` or `steered`), its line in `FIGURES`, and how to read it in `stages.READING`.
"""

import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from interp.errors import UsageError
from interp.files import make_folder, write_atomic
from interp.reporting import causes, representation, steered
from interp.reporting.letters import told_once
from interp.reporting.rows import holds
from interp.reporting.style import STYLE

FIGURES: dict[str, tuple[str, Callable[[pd.DataFrame], Figure]]] = {
    "probe_curves": ("probes", representation.probe_curves),
    "text_baselines": ("probes", representation.text_baselines),
    "direction_separation": ("directions", representation.direction_separation),
    "direction_stability": ("directions", representation.direction_stability),
    "direction_cosines": ("cosines", representation.direction_cosines),
    "patching_map": ("patching", causes.patching_map),
    "patching_curves": ("patching", causes.patching_curves),
    "head_contributions": ("contributions", causes.head_contributions),
    "neuron_tail": ("contributions", causes.neuron_tail),
    "frozen_norm": ("contributions", causes.frozen_norm),
    "ablation_projection": ("ablation", causes.ablation_projection),
    "ablation_label": ("ablation", causes.ablation_label),
    "ablation_specificity": ("ablation", causes.ablation_specificity),
    "steering_success": ("steering", steered.steering_success),
    "steering_dose": ("steering", steered.steering_dose),
}
"""Every figure: its name (and file name), the table that it is drawn from, and the function that draws it."""

NEEDS: dict[str, dict[str, str]] = {
    "steering_success": {"metric": "success"},
    "steering_dose": {"metric": "label_logprob"},
    "ablation_projection": {"metric": "projection_drop"},
    "frozen_norm": {"metric": "frozen_contribution"},
    "head_contributions": {"component": "head"},
    "neuron_tail": {"component": "neuron"},
}
"""Figures of what a stage may lawfully leave out: a model whose continuations nobody can judge has no
success, directions without a held-out length are no unit for what an ablation takes, only some models
have a norm behind a sublayer, and a mixture of experts shows no neurons.
"""

_DPI = 144
_log = logging.getLogger(__name__)


def draw(name: str, table: pd.DataFrame) -> Figure:
    """The figure `name` of `FIGURES`, drawn from its table.

    Raises `UsageError` for an unknown name, `DataError` when the table lacks the rows that the figure shows.
    """
    if name not in FIGURES:
        raise UsageError(f"unknown figure {name!r}: there are {', '.join(FIGURES)}.")
    return FIGURES[name][1](table)


def draw_all(tables: Mapping[str, pd.DataFrame], out_dir: Path, *, say: Callable[[str], None] = _log.info) -> list[Path]:
    """Draw the figures of all stages in `tables` (stage -> table) as SVG and PNG into `out_dir`; the files written.

    A stage that is not in `tables` did not run: its figures are skipped, and `say` is told which (so for `NEEDS`). The same
    tables give the same bytes, with the same fonts installed. Letters that none of these has are told
    once. Raises `DataError` when a stage ran and its table lacks what its figure shows.
    """
    with told_once():
        return _draw_all(tables, make_folder(out_dir), say)


def _draw_all(tables: Mapping[str, pd.DataFrame], out_dir: Path, say: Callable[[str], None]) -> list[Path]:
    written = []
    for name, (stage, _) in FIGURES.items():
        if stage not in tables:
            say(f"figure {name} skipped: the stage {stage} did not run")
            continue
        needed = NEEDS.get(name, {})
        if needed and not holds(tables[stage], **needed):
            say(f"figure {name} skipped: the stage {stage} did not measure {', '.join(needed.values())}")
            continue
        figure = draw(name, tables[stage])
        for form in ("svg", "png"):
            path = out_dir / f"{name}.{form}"
            write_atomic(path, as_bytes(figure, form))
            written.append(path)
    return written


def as_bytes(figure: Figure, form: str) -> bytes:
    """The figure as an `svg` or `png` file, without dates or version stamps, so that equal figures are equal bytes."""
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format=form, dpi=_DPI, metadata=metadata)
    return stream.getvalue()
