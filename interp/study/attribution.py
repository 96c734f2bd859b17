"""The stage `attribution`: every node's effect by the gradient, and the exact patch of some."""

from collections.abc import Sequence
from dataclasses import asdict

from interp.causal.attribution import Attribution
from interp.causal.attribution_rows import attribute_pairs
from interp.causal.dtype_error import dtype_error_row
from interp.models import load
from interp.results import TableRow, TableRows
from interp.study.causes import asked_pairs
from interp.study.folder import Study
from stimuli.battery import Pair


def attribution(study: Study) -> TableRows:
    """Attribution at the last token of all heads and neurons, and of the sublayers that `patching`
    patches. One half of the scenarios ranks them, and what is told is of the other; each half gives
    half of the pairs.
    """
    settings, limits = study.settings, study.settings.limits
    asked = Attribution(
        sites=(*limits.sites_patched(study.model.dims.n_layers), "z", "post"),
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
    rows = attribute_pairs(study.model, (ranking, told), readout, asked, seed=settings.seed)
    return [*rows, _dtype_error(study, told)] if settings.dtype_error else rows


def _dtype_error(study: Study, pairs: Sequence[Pair]) -> TableRow:
    """How far effects in the dtype of the study are from those in float32."""
    how = {**asdict(study.settings.loading), "dtype": "float32"}
    exact = load(study.settings.model, **how)
    exact.reading = study.settings.reading
    return dtype_error_row(study.model, exact, pairs, study.readout.readout)
