"""Does every method find what is known to be true? Testbeds at work, judges, readouts."""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.evaluation.judges import JUDGES, judge_for
    from interp.evaluation.readouts import readout_for

_HOME = {
    "JUDGES": "interp.evaluation.judges",
    "judge_for": "interp.evaluation.judges",
    "readout_for": "interp.evaluation.readouts",
}

__all__ = ["JUDGES", "judge_for", "readout_for"]

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
