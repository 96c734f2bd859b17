"""Estimates with intervals: bootstrap of means and of ratios of means over groups, and Wilson's interval of a rate."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.errors import StatisticsError
from interp.sites import Site

N_BOOT = 1000


class Estimate(NamedTuple):
    """A value, its 95 % interval, and the number of items it is a mean over: four columns of a table."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def bootstrap_weights(groups: Sequence[str], *, seed: int = 0) -> Float[np.ndarray, "draw item"]:
    """How often each item occurs in each of `N_BOOT` resamples of whole groups, drawn with replacement.

    A weighted mean with row b is the statistic on resample b, so one matrix serves every column of a sweep. Groups count in
    order of first appearance, whatever their names.
    """
    place = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    group_of_item = np.array([place[name] for name in groups])
    draws = np.random.default_rng(seed).multinomial(len(place), np.full(len(place), 1 / len(place)), size=N_BOOT)
    return draws[:, group_of_item].astype(np.float64)


def mean_interval(values: Float[np.ndarray, " item"], weights: Float[np.ndarray, "draw item"]) -> Estimate:
    """The mean of `values` with its percentile bootstrap interval."""
    return ratio_interval(values, np.ones_like(values), weights)


def ratio_interval(
    above: Float[np.ndarray, " item"], below: Float[np.ndarray, " item"], weights: Float[np.ndarray, "draw item"]
) -> Estimate:
    """sum(above) / sum(below) with its percentile bootstrap interval: a ratio of means, which one item with `below` near
    zero cannot blow up as it would a mean of ratios. Raises `StatisticsError` when sum(below) is zero, in any resample too.
    """
    denominators = weights @ below
    if below.sum() == 0 or (denominators == 0).any():
        raise StatisticsError("a ratio of means has a denominator of zero: there is no effect to be a share of.")
    low, high = np.quantile(weights @ above / denominators, [0.025, 0.975])
    value = float(above.sum() / below.sum())
    return Estimate(value, min(float(low), value), max(float(high), value), len(above))


def wilson(successes: int, n: int) -> Estimate:
    """A rate with Wilson's 95 % score interval. Raises `StatisticsError` for n = 0."""
    if n < 1:
        raise StatisticsError("a rate over no items: there is nothing to count.")
    z, p = 1.959963984540054, successes / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return Estimate(p, min(max(0.0, low), p), max(min(1.0, high), p), n)


def place(site: Site | None) -> dict[str, Any]:
    """A site as the columns site, layer and head of a table; None is the whole model."""
    if site is None:
        return {"site": "", "layer": math.nan, "head": math.nan}
    return {"site": site.name, "layer": site.layer, "head": math.nan if site.head is None else site.head}
