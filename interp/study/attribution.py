"""The stage `attribution`: every node's effect by the gradient, and the exact patch of some."""

from interp.causal.attribution import Attribution
from interp.causal.attribution_rows import attribute_pairs
from interp.results import TableRows
from interp.study.causes import asked_pairs
from interp.study.folder import Study
from interp.study.presets import spaced


def attribution(study: Study) -> TableRows:
    """Attribution of all heads and neurons, and of the sublayers that `patching` patches. One half
    of the scenarios ranks them; what is told is of the other.
    """
    settings, limits = study.settings, study.settings.limits
    at = ",".join(map(str, spaced(study.model.dims.n_layers, limits.layers)))
    asked = Attribution(
        sites=(*(f"{name}@{at}" for name in limits.patched), "z", "post"),
        method=settings.attribute_with,
        steps=settings.steps,
        top=max(limits.ks),
    )
    chosen, reported = study.pairs.split(seed=settings.seed)
    return attribute_pairs(
        study.model,
        (asked_pairs(study, chosen), asked_pairs(study, reported)),
        study.readout.readout,
        asked,
        seed=settings.seed,
    )
