"""What is represented, and where: probes, directions, text baselines. Arrays in, no torch."""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.analysis.baselines import BASELINES
    from interp.analysis.design import Design
    from interp.analysis.directions import fit, fit_groups, separation
    from interp.analysis.erasers import fit_eraser
    from interp.analysis.methods import DIRECTIONS
    from interp.analysis.probes import PROBES, cross_validate
    from interp.analysis.site_probes import prepare, probe_rows

_HOME = {
    "BASELINES": "interp.analysis.baselines",
    "DIRECTIONS": "interp.analysis.methods",
    "Design": "interp.analysis.design",
    "PROBES": "interp.analysis.probes",
    "cross_validate": "interp.analysis.probes",
    "fit": "interp.analysis.directions",
    "fit_eraser": "interp.analysis.erasers",
    "fit_groups": "interp.analysis.directions",
    "prepare": "interp.analysis.site_probes",
    "probe_rows": "interp.analysis.site_probes",
    "separation": "interp.analysis.directions",
}

__all__ = [
    "BASELINES", "DIRECTIONS", "PROBES", "Design", "cross_validate", "fit", "fit_eraser",
    "fit_groups", "prepare", "probe_rows", "separation",
]  # fmt: skip

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
