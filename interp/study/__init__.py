"""The study: every stage on one model and one battery, into one folder, resumed by the same
call.

Names are imported when first used: what only looks at a folder waits for no model's machinery.
"""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.study.artefacts import describe
    from interp.study.dry_run import estimate
    from interp.study.identity import new_run
    from interp.study.runs import STAGE_FUNCTIONS, report, run
    from interp.study.settings import Settings

_HOME = {
    "STAGE_FUNCTIONS": "interp.study.runs",
    "Settings": "interp.study.settings",
    "describe": "interp.study.artefacts",
    "estimate": "interp.study.dry_run",
    "new_run": "interp.study.identity",
    "report": "interp.study.runs",
    "run": "interp.study.runs",
}

__all__ = ["STAGE_FUNCTIONS", "Settings", "describe", "estimate", "new_run", "report", "run"]

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
