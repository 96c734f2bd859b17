"""Whether probes find what is planted, and nothing where nothing is; and carry it to other arms."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from interp.analysis.controls import permutation_null, relabellings
from interp.analysis.design import Design
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import score
from interp.analysis.probes import PROBES, cross_validate
from interp.analysis.questions import lexicons
from interp.analysis.transfer import ArmRows, prepare_arms
from interp.analysis.transfer_rows import transfer_rows
from interp.chance import benjamini_hochberg
from interp.evaluation.planted_bench import PlantedBench
from interp.evaluation.truth_rows import row
from interp.results import TableRow
from interp.sites import Site
from stimuli.battery import NEUTRAL, Stimulus


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


_CARRIED_BETWEEN = ("keyword_rich", "keyword_free")


def check_transfer(bed: PlantedBench, null: PlantedBench, seed: int) -> Iterator[TableRow]:
    """A probe of texts that hold the emotion's word on texts that do not, and back: carried where
    the circuit acts, nowhere in the model without it, and never by the words.
    """
    for name, one in (("transfer", bed), ("null", null)):
        where = "planted" if one is bed else "planted_null"
        found = [row for row in _carried(one, seed) if row["train_arm"] != row["test_arm"]]
        probe = [row for row in found if row["metric"] == "auroc" and not row["control"]]
        words = [row["value"] for row in found if row["metric"] == "auroc" and row["control"]]
        worst = min(probe, key=lambda row: row["value"])
        yield row(name, "transfer", "auroc", worst["value"], where)
        yield row(name, "transfer", "p", worst["p"], where)
        yield row("null", "transfer_of_words", "auroc", max(words), where)


def _carried(bed: PlantedBench, seed: int) -> list[TableRow]:
    """The rows of transfer between the arms that name the emotion and that do not (reception)."""
    texts: list[tuple[Stimulus, str, str]] = [
        (item, label, arm)
        for arm, pairs in bed.battery.twinned(_CARRIED_BETWEEN).items()
        for pair in pairs
        for item, label in zip(pair, ("affective", NEUTRAL), strict=True)
    ]
    items, labels, arms = zip(*texts, strict=True)
    task = prepare_arms("reception", ArmRows(labels, [i.group for i in items], arms), seed=seed)
    ids = [item.id for item in items]
    places = [
        ({"layer": layer}, bed.store.read(Site("resid_post", layer)).select(ids))
        for layer in range(bed.model.dims.n_layers)
    ]
    told = [item.text for item in items]
    return transfer_rows(lambda: places, task, texts=told, lexicons=lexicons()).rows


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
