"""Recording what a model computes while it reads texts.

`plan` says what is read in which batch, `recording/` runs the plan, `workers/` share it out, and
`store/` keeps what was recorded (it imports no torch). Names are imported when first used, so that
reading a store stays light.
"""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.capture.options import Options
    from interp.capture.run import capture
    from interp.capture.store import Activations, ActivationStore

_HOME = {
    "ActivationStore": "interp.capture.store",
    "Activations": "interp.capture.store",
    "Options": "interp.capture.options",
    "capture": "interp.capture.run",
}

__all__ = ["ActivationStore", "Activations", "Options", "capture"]

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
