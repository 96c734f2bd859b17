"""The study: every stage on one model and one battery, into one folder, resumed by the same
call.
"""

from interp.study.describe import describe
from interp.study.dry_run import estimate
from interp.study.identity import new_run
from interp.study.run import STAGE_FUNCTIONS, report, run
from interp.study.settings import Settings

__all__ = ["STAGE_FUNCTIONS", "Settings", "describe", "estimate", "new_run", "report", "run"]
