"""Figures and one HTML report, drawn from tidy tables and from nothing else."""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.reporting.figures import FIGURES, draw, draw_all
    from interp.reporting.report import write_report

_HOME = {
    "FIGURES": "interp.reporting.figures",
    "draw": "interp.reporting.figures",
    "draw_all": "interp.reporting.figures",
    "write_report": "interp.reporting.report",
}

__all__ = ["FIGURES", "draw", "draw_all", "write_report"]

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
