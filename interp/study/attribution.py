"""The stage `attribution`: every node's effect by the gradient, and the exact patch of some."""

from interp.causal.attribution import Attribution
from interp.causal.attribution_rows import attribute_pairs
from interp.results import TableRows
from interp.study.causes import asked_pairs
from interp.study.folder import Study
from interp.study.presets import spaced


def attribution(study: Study) -> TableRows:
    """Attribution at the last token of all heads and neurons, and of the sublayers that `patching`
    patches. One half of the scenarios ranks them, and what is told is of the other; each half gives
    half of the pairs.
    """
    settings, limits = study.settings, study.settings.limits
    at = ",".join(map(str, spaced(study.model.dims.n_layers, limits.layers)))
    asked = Attribution(
        sites=(*(f"{name}@{at}" for name in limits.patched), "z", "post"),
        method=settings.attribute_with,
        steps=settings.steps,
        top=limits.tried,
        positions=("last",),
    )
    ranking, told = (
        asked_pairs(study, half, each=max(1, limits.pairs // 2))
        for half in study.pairs.split(seed=settings.seed)
    )
    readout = study.readout.readout
    return attribute_pairs(study.model, (ranking, told), readout, asked, seed=settings.seed)
