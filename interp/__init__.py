"""interp: mechanistic interpretability of emotion in language models.

What most people need is here: `load` a model, read a `battery`, `record` activations, `probe` them,
fit a `direction`, `steer` or `generate` with it, `patch`, `attribute`, `ablate`, find a `circuit`,
`draw` a table, `run` a study, `read` any texts along a study's directions.
Everything else is in the rooms (`interp.analysis`, `interp.causal`, ...). All of it is imported
when it is first named, so that `import interp` costs nothing.
"""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.api import ablate, attribute, circuit, direction, patch, probe, record, run
    from interp.capture.store import Activations, ActivationStore
    from interp.causal.circuit import Circuit
    from interp.causal.generation import generate
    from interp.causal.interventions import Intervention
    from interp.causal.patches import Patches
    from interp.causal.steering import steer
    from interp.directions import Direction, Eraser
    from interp.models import LanguageModel, load
    from interp.reporting.figures import draw
    from interp.sites import Site
    from interp.study.reading import read
    from stimuli.battery import Battery, Pair, Pairs
    from stimuli.reading import load as battery

__version__ = "0.1.0"

_HOME = {
    "load": "interp.models",
    "battery": "stimuli.reading:load",
    "record": "interp.api",
    "probe": "interp.api",
    "direction": "interp.api",
    "generate": "interp.causal.generation",
    "steer": "interp.causal.steering",
    "patch": "interp.api",
    "attribute": "interp.api",
    "ablate": "interp.api",
    "circuit": "interp.api",
    "draw": "interp.reporting.figures",
    "read": "interp.study.reading",
    "run": "interp.api",
    "Site": "interp.sites",
    "Battery": "stimuli.battery",
    "Pair": "stimuli.battery",
    "Pairs": "stimuli.battery",
    "Activations": "interp.capture.store",
    "ActivationStore": "interp.capture.store",
    "Circuit": "interp.causal.circuit",
    "Direction": "interp.directions",
    "Eraser": "interp.directions",
    "Intervention": "interp.causal.interventions",
    "Patches": "interp.causal.patches",
    "LanguageModel": "interp.models",
}

__all__ = [
    "ActivationStore", "Activations", "Battery", "Circuit", "Direction", "Eraser", "Intervention",
    "LanguageModel", "Pair", "Pairs", "Patches", "Site", "ablate", "attribute", "battery",
    "circuit", "direction", "draw", "generate", "load", "patch", "probe", "read", "record", "run",
    "steer",
]  # fmt: skip

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
