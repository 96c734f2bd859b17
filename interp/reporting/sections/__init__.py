"""The sections of the report: one file per stage, in the order of the stages.

A stage whose name no file here bears shows its table in another's section, or has none.
"""

import pkgutil
from importlib import import_module

from interp.reporting.section import Section
from interp.stages import STAGES

_FILES = {module.name for module in pkgutil.iter_modules(__path__)}

SECTIONS: tuple[Section, ...] = tuple(
    import_module(f"{__name__}.{stage.name}").SECTION for stage in STAGES if stage.name in _FILES
)
