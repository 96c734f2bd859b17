"""Recording what a model computes while it reads texts.

`plan` says what is read in which batch, `recorder` runs the plan, `workers/` share it out, and
`store/` keeps what was recorded (it imports no torch). Names are imported when first used, so that
reading a store stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.capture.run import capture
    from interp.capture.store import Activations, ActivationStore

_HOME = {"capture": "run", "ActivationStore": "store", "Activations": "store"}

__all__ = ["ActivationStore", "Activations", "capture"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"interp.capture.{_HOME[name]}"), name)
    raise AttributeError(f"module 'interp.capture' has no attribute {name!r}")
