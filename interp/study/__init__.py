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
    from interp.study.registration import Registration, read_registration, register
    from interp.study.runs import STAGE_FUNCTIONS, report, run
    from interp.study.settings import Settings

_HOME = {
    "Registration": "interp.study.registration",
    "STAGE_FUNCTIONS": "interp.study.runs",
    "Settings": "interp.study.settings",
    "describe": "interp.study.artefacts",
    "estimate": "interp.study.dry_run",
    "new_run": "interp.study.identity",
    "read_registration": "interp.study.registration",
    "register": "interp.study.registration",
    "report": "interp.study.runs",
    "run": "interp.study.runs",
}

__all__ = [
    "STAGE_FUNCTIONS", "Registration", "Settings", "describe", "estimate", "new_run",
    "read_registration", "register", "report", "run",
]  # fmt: skip

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
