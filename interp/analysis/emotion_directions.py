"""From the twins of an emotion to its direction: at which layers, and with which provenance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.analysis.directions import fit, fit_groups, held_out_projections
from interp.analysis.lengths import PairRows
from interp.analysis.stats import weighted_auroc
from interp.defaults import DIRECTION
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
    method: str = DIRECTION,
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
    method: str = DIRECTION,
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

    return saturated({site: mean_at(site) for site in sites})


def saturated(separations: Mapping[Site, float]) -> tuple[Site, ...]:
    """The sites whose mean separation is within `SATURATED` of the highest, in the same order."""
    least = max(separations.values()) - SATURATED
    return tuple(site for site, mean in separations.items() if mean >= least)


def fit_emotion(
    twins: TwinRows,
    *,
    site: Site,
    emotion: str,
    groups: Scenarios,
    origin: Mapping[str, Any],
    method: str = DIRECTION,
) -> Direction:
    """The direction of `emotion` from its twins, with the provenance that an intervention asks for.

    `origin` is that of `origin_of`. Raises as `fit`.
    """
    made = {
        "operation": "add scale * length * vector to the residual stream",
        "pairs": len(twins[0]),
    }
    found = fit(*twins, site=site, labels=(emotion, NEUTRAL), groups=groups, method=method)
    return found.with_origin({**origin, **made})


def fit_centred(
    x: Float[np.ndarray, "item d_model"],
    emotions: Sequence[str],
    groups: Scenarios,
    *,
    site: Site,
    origin: Mapping[str, Any],
) -> dict[str, Direction]:
    """The group-centred direction of each emotion, from texts that need no twins (`fit_groups`).

    Where no scenario is told under two emotions, scenarios are dealt: the first of each emotion
    stand for one scenario, then the second, and so on. The directions are then the emotion's mean
    less the mean of all. `origin` is that of `origin_of`. Raises as `fit_groups`.
    """
    crossed = len(set(zip(groups, emotions, strict=True))) > len(set(groups))
    scenarios = groups if crossed else _dealt(emotions, groups)
    made = {
        "operation": "add scale * vector to the residual stream",
        "texts": len(x),
        "centred": "within the scenario" if crossed else "over scenarios dealt together",
    }
    found = fit_groups(x, emotions, scenarios, site=site)
    return {emotion: one.with_origin({**origin, **made}) for emotion, one in found.items()}


def _dealt(emotions: Sequence[str], groups: Scenarios) -> list[int]:
    """Of each text, the place of its scenario among those of its emotion, in order of
    appearance.
    """
    places: dict[str, dict[str, int]] = {}
    found = []
    for emotion, group in zip(emotions, groups, strict=True):
        mine = places.setdefault(emotion, {})
        found.append(mine.setdefault(group, len(mine)))
    return found


def usual_layer(n_layers: int) -> int:
    """Where a model is steered unless a layer is named: two thirds of the way up. A rule of thumb:
    of SmolLM2's 30 layers, 15 to 24 move it about as much as each other.
    """
    return min(round(2 / 3 * n_layers), n_layers - 1)


def origin_of(model: Mapping[str, Any], *, battery: str, position: str) -> dict[str, Any]:
    """Where activations come from: the model, the battery's digest, the position rule."""
    known = {name: model.get(name) for name in ("model", "revision", "digest", "chat_template")}
    return {**known, "battery": battery, "position": position}
