"""The probes of a study beside those of a model of the same shape with random weights."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from interp.analysis.control_models import control_model_rows
from interp.analysis.refits import Sites
from interp.analysis.site_probes import Task
from interp.capture import ActivationStore, capture
from interp.models.loading.random_weights import random_twin
from interp.results import TableRow
from interp.sites import Site
from interp.study.folder import Study
from stimuli.battery import Stimulus


def beside_random(
    study: Study,
    task: Task,
    items: Sequence[Stimulus],
    sites: Sites,
    places: Sequence[tuple[Site, str]],
) -> Iterator[TableRow]:
    """Rows of the same probe at the same `places`, in a model with random weights."""
    store, ids = _random_store(study), [item.id for item in items]

    def twins() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        for site, position in places:
            where = {"site": site.name, "layer": site.layer, "position": position}
            yield where, store.read(site, position).select(ids)

    yield from control_model_rows(sites, twins, task, probe=study.settings.probe)


def _random_store(study: Study) -> ActivationStore:
    """The texts at the sites of the study, as the twin reads them; in `random_model` of its folder.
    Raises as `random_twin` and `capture`.
    """
    if study.random_store is None:
        settings = study.settings
        # Other processes would load the trained model; what was captured of that serves no twin.
        how = replace(settings.capture, executor="serial", reuse=())
        study.random_store = capture(
            random_twin(study.model, seed=settings.seed),
            study.captured,
            sites=study.sites,
            positions=settings.captured_positions,
            out=study.out / "random_model",
            options=how,
        )
    return study.random_store
