"""From which layer on the stream tells the labels, each depth with an interval over scenarios.

    peak          the first layer with the highest AUROC
    saturation    the first layer within `NEARLY` of the highest
    emergence     the first layer at least half-way from chance to the highest

A depth jumps where a score moves a little, so scenarios are drawn again (percentile bootstrap), and
every draw has its own highest score. Two questions of the same scenarios are drawn together, so
that the difference of their depths has an interval, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from interp.analysis.predictions import Predictions, auroc_statistic
from interp.chance import permutation_p
from interp.stats import numbered

DEPTH_DRAWS = 400
"""Draws of scenarios."""

NEARLY = 0.01
"""How far below the highest AUROC a saturated layer may lie."""

CHANCE = 0.5

DEPTH_METRICS = ("emergence", "saturation", "peak")

LATER = "_later"
"""What ends the metric of how many layers later one question's depth lies than another's."""


class LayerScores(NamedTuple):
    """AUROCs of one site by layer, of all scenarios (row 0) and of each draw of them; what to write
    in the site's rows, and the scenarios, which two questions must share to be compared.
    """

    where: Mapping[str, Any]
    layers: tuple[int, ...]
    scores: Float[np.ndarray, "draw layer"]
    scenarios: tuple[str, ...]
    n: int


def layer_scores(
    places: Sequence[Mapping[str, Any]], told: Sequence[Predictions], *, seed: int = 0
) -> list[LayerScores]:
    """The scores of every site and position that was probed at two layers or more."""
    series: dict[tuple[Any, ...], list[tuple[int, Predictions]]] = {}
    for place, one in zip(places, told, strict=True):
        if place.get("layer") is not None:
            rest = tuple((name, value) for name, value in place.items() if name != "layer")
            series.setdefault(rest, []).append((int(place["layer"]), one))
    found = []
    for rest, members in series.items():
        if len(members) < 2:
            continue
        ordered = sorted(members, key=lambda member: member[0])
        first = ordered[0][1]
        weights = drawn_weights(first.groups, seed=seed)
        scores = np.stack([auroc_statistic(one)(weights) for _, one in ordered], axis=1)
        layers, scenarios = (
            tuple(layer for layer, _ in ordered),
            tuple(dict.fromkeys(first.groups)),
        )
        found.append(LayerScores(dict(rest), layers, scores, scenarios, len(first.y)))
    return found


def drawn_weights(
    groups: Shaped[np.ndarray, " item"], *, seed: int
) -> Float[np.ndarray, "draw item"]:
    """One for every item (row 0), and how often its scenario occurs in each draw of scenarios."""
    scenario = numbered(groups)
    n = int(scenario.max()) + 1
    random = np.random.default_rng(seed)
    drawn = random.multinomial(n, np.full(n, 1 / n), size=DEPTH_DRAWS)
    return np.concatenate([np.ones((1, n)), drawn])[:, scenario].astype(np.float64)


def depths_of(scores: LayerScores) -> dict[str, Float[np.ndarray, " draw"]]:
    """The layer of each of `DEPTH_METRICS` in all scenarios (first) and in each draw; a draw that
    lost a class is NaN.
    """
    values, layers = scores.scores, np.array(scores.layers, dtype=np.float64)
    highest = values.max(axis=1, keepdims=True)  # NaN where one is
    reached = {
        "emergence": values >= CHANCE + (highest - CHANCE) / 2,
        "saturation": values >= highest - NEARLY,
        "peak": values >= highest,
    }
    lost = np.isnan(highest[:, 0])
    return {name: np.where(lost, np.nan, layers[at.argmax(axis=1)]) for name, at in reached.items()}


def depth_rows(scores: LayerScores) -> Iterator[dict[str, Any]]:
    """Rows of each depth, in layers, with its interval."""
    for name, layers in depths_of(scores).items():
        yield {**scores.where, "metric": name, **_interval(layers), "n": scores.n}


def later_rows(one: LayerScores, other: LayerScores) -> Iterator[dict[str, Any]]:
    """Rows of how many layers later the depths of `one` lie than those of `other`, paired by
    scenario; none where the scenarios or the layers are not the same. `p`: the share of the draws
    in which they do not lie later.
    """
    if (one.scenarios, one.layers) != (other.scenarios, other.layers):
        return
    mine, theirs = depths_of(one), depths_of(other)
    for name in DEPTH_METRICS:
        apart = mine[name] - theirs[name]
        drawn = apart[1:][np.isfinite(apart[1:])]
        p = {"p": permutation_p(0.0, -drawn), "p_of": "draws of scenarios"}
        yield {**one.where, "metric": f"{name}{LATER}", **_interval(apart), **p, "n": one.n}


def _interval(layers: Float[np.ndarray, " draw"]) -> dict[str, float]:
    value, drawn = float(layers[0]), layers[1:][np.isfinite(layers[1:])]
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist() if len(drawn) else (np.nan, np.nan)
    return {"value": value, "ci_low": min(low, value), "ci_high": max(high, value)}
