"""What causes what: edits of a model's activations while it reads or writes."""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.causal.ablation import ablate, enhance
    from interp.causal.attribution import Attribution
    from interp.causal.attribution_rows import attribute_pairs
    from interp.causal.bench import Bench
    from interp.causal.circuit import Circuit
    from interp.causal.contributions import EmotionTwins, contribution_rows
    from interp.causal.direction_ablation import DirectionTrial, ablate_directions
    from interp.causal.edits import EDITS
    from interp.causal.generation import generate
    from interp.causal.interventions import Intervention, applied
    from interp.causal.keywords import keyword_rows
    from interp.causal.layer_knockout import LayerTrial, knock_out_layers
    from interp.causal.lens import lens_rows
    from interp.causal.modulation import modulate
    from interp.causal.nodes import Node
    from interp.causal.patches import Patches
    from interp.causal.patching import patch_pairs
    from interp.causal.path_search import search_paths
    from interp.causal.paths import Edge, Receiver, patch_paths
    from interp.causal.readout import Readout
    from interp.causal.stand_ins import STAND_INS
    from interp.causal.steering import dose_response, steer
    from interp.causal.steering_sweep import Place, sweep

_HOME = {
    "Attribution": "interp.causal.attribution",
    "Bench": "interp.causal.bench",
    "Circuit": "interp.causal.circuit",
    "EDITS": "interp.causal.edits",
    "EmotionTwins": "interp.causal.contributions",
    "Intervention": "interp.causal.interventions",
    "Place": "interp.causal.steering_sweep",
    "Readout": "interp.causal.readout",
    "STAND_INS": "interp.causal.stand_ins",
    "ablate": "interp.causal.ablation",
    "attribute_pairs": "interp.causal.attribution_rows",
    "applied": "interp.causal.interventions",
    "contribution_rows": "interp.causal.contributions",
    "dose_response": "interp.causal.steering",
    "generate": "interp.causal.generation",
    "modulate": "interp.causal.modulation",
    "Patches": "interp.causal.patches",
    "patch_pairs": "interp.causal.patching",
    "Node": "interp.causal.nodes",
    "Edge": "interp.causal.paths",
    "Receiver": "interp.causal.paths",
    "patch_paths": "interp.causal.paths",
    "search_paths": "interp.causal.path_search",
    "steer": "interp.causal.steering",
    "sweep": "interp.causal.steering_sweep",
    "DirectionTrial": "interp.causal.direction_ablation",
    "LayerTrial": "interp.causal.layer_knockout",
    "ablate_directions": "interp.causal.direction_ablation",
    "enhance": "interp.causal.ablation",
    "keyword_rows": "interp.causal.keywords",
    "knock_out_layers": "interp.causal.layer_knockout",
    "lens_rows": "interp.causal.lens",
}

__all__ = [
    "EDITS", "STAND_INS", "Attribution", "Bench", "Circuit", "DirectionTrial", "Edge",
    "EmotionTwins", "Intervention", "LayerTrial", "Node", "Patches", "Place", "Readout", "Receiver",
    "ablate", "ablate_directions", "applied", "attribute_pairs", "contribution_rows",
    "dose_response", "enhance", "generate", "keyword_rows", "knock_out_layers", "lens_rows",
    "modulate", "patch_pairs", "patch_paths", "search_paths", "steer", "sweep",
]  # fmt: skip

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
