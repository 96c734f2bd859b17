"""From the twins of an emotion to its direction: at which layers, and with which provenance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from interp.analysis.directions import fit, held_out_projections
from interp.analysis.lengths import PairRows
from interp.analysis.stats import weighted_auroc
from interp.directions import Direction
from interp.sites import Site
from interp.stats import Labels
from stimuli.battery import NEUTRAL

SATURATED = 0.01
"""A site tells as much as the best one when its mean separation is within this of the highest."""

TwinRows = tuple[PairRows, PairRows]
"""Affective and neutral rows; row i of both is one pair."""

Scenarios = Sequence[str]
"""The scenario of each pair."""


def told_apart(
    twins: TwinRows,
    groups: Labels,
    *,
    method: str = "paired",
    n_splits: int = 5,
    seed: int = 0,
) -> float:
    """How often a held-out affective text projects higher than a held-out neutral one of its fold.

    An AUROC: 0.5 is chance. With fewer scenarios than `n_splits` there is one fold per scenario.
    """
    n = min(n_splits, len(set(groups)))
    projection, fold = held_out_projections(*twins, groups, method=method, n_splits=n, seed=seed)
    truth = np.repeat([1.0, 0.0], len(twins[0]))[None]
    return float(weighted_auroc(projection, truth, 1 - truth, strata=fold)[0])


def saturated_sites(
    sites: Iterable[Site],
    twins_at: Callable[[Site], Iterable[tuple[TwinRows, Scenarios]]],
    *,
    method: str = "paired",
    n_splits: int = 5,
    seed: int = 0,
) -> tuple[Site, ...]:
    """The sites whose separation is within `SATURATED` of the best one's, in the order of `sites`.

    `twins_at` gives a site's twins and scenarios, once per emotion; the separation (`told_apart`)
    is the mean over emotions.
    """

    def mean_at(site: Site) -> float:
        told = partial(told_apart, method=method, n_splits=n_splits, seed=seed)
        return float(np.mean([told(*one) for one in twins_at(site)]))

    means = {site: mean_at(site) for site in sites}
    least = max(means.values()) - SATURATED
    return tuple(site for site, mean in means.items() if mean >= least)


def fit_emotion(
    twins: TwinRows,
    *,
    site: Site,
    emotion: str,
    groups: Scenarios,
    origin: Mapping[str, Any],
    method: str = "paired",
) -> Direction:
    """The direction of `emotion` from its twins, with the provenance that an intervention asks for.

    `origin` is that of `origin_of`. Raises as `fit`.
    """
    made = {"operation": "add scale * length * vector to the residual stream", "pairs": len(twins[0])}
    return fit(
        *twins,
        site=site,
        labels=(emotion, NEUTRAL),
        groups=groups,
        method=method,
        provenance={**origin, **made},
    )


def origin_of(model: Mapping[str, Any], *, battery: str, position: str) -> dict[str, Any]:
    """Where activations come from: the model, the battery's digest, the position rule."""
    known = {name: model.get(name) for name in ("model", "revision", "digest", "chat_template")}
    return {**known, "battery": battery, "position": position}
