"""Whether probes find what is planted, and nothing where nothing is."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from interp.analysis.controls import permutation_null, relabellings
from interp.analysis.design import Design
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import score
from interp.analysis.probes import PROBES, cross_validate
from interp.chance import benjamini_hochberg
from interp.evaluation.planted_bench import PlantedBench
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.sites import Site
from stimuli.battery import NEUTRAL


def check_reception(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """Probes for affective against neutral: significant where the circuit acts, and nowhere in the
    model without it.
    """
    found, nothing = _reception_p(bed, seed), _reception_p(null, seed)
    yield row("null", "permutation", "p", min(nothing), "planted_null, every layer")
    yield row(
        "layer",
        "permutation",
        "p",
        max(found[bed.truth.head_layer :]),
        "planted, from the head layer on",
    )
    yield row(
        "null",
        "permutation",
        "p",
        min(found[: bed.truth.head_layer]),
        "planted, before the head layer",
    )
    for probe in PROBES:
        yield row(
            "layer",
            probe,
            "auroc",
            _auroc(bed, Site("resid_post", bed.truth.head_layer), probe, seed),
            "planted",
        )
        yield row("null", probe, "auroc", _auroc(null, null.final, probe, seed), "planted_null")


def _reception_p(bed: PlantedBench, seed: int) -> list[float]:
    """The probe's permutation p at each layer's residual stream, corrected over layers."""
    y, groups = _labels(bed)
    folds = grouped_folds(y, groups, seed=seed)
    labellings = relabellings(Design.infer(y, groups), folds=folds, seed=seed)
    layers = range(bed.model.dims.n_layers)
    p = [
        permutation_null(_stacked(bed, Site("resid_post", layer)), labellings, folds=folds).p
        for layer in layers
    ]
    return benjamini_hochberg(np.array(p)).tolist()


def _auroc(bed: PlantedBench, site: Site, probe: str, seed: int) -> float:
    y, groups = _labels(bed)
    predictions = cross_validate(
        _stacked(bed, site), y, groups, folds=grouped_folds(y, groups, seed=seed), probe=probe
    )
    return next(one["value"] for one in score(predictions) if one["metric"] == "auroc")


def _labels(bed: PlantedBench) -> tuple[list[str], list[str]]:
    pairs = bed.battery.pairs()
    return ["affective"] * len(pairs) + [NEUTRAL] * len(pairs), list(pairs.groups) * 2


def _stacked(bed: PlantedBench, site: Site) -> Float[np.ndarray, "item d_model"]:
    """All affective texts, then all neutral ones."""
    return np.concatenate(bed.values(site, bed.battery.pairs())).astype(np.float64)
