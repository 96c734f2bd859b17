"""Steerability: how evenly a direction works over prompts. Tan et al. (2024), *Analysing the
Generalisation and Reliability of Steering Vectors*.

A mean over prompts hides those that move the other way. So each prompt has its own slope: how much
its score rises for each unit of strength. A prompt whose slope is below zero is *anti-steerable*.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.causal.pooled import ALL
from interp.errors import StatisticsError
from interp.shares import Share
from interp.stats import EQUAL_WITHIN, Labels, mean_interval, mean_of

PER_PROMPT = "prompt_slope"
"""The metric of the rows of single prompts."""

Scores = Float[np.ndarray, "strength prompt"]


def slopes(scores: Scores, strengths: Sequence[float]) -> Float[np.ndarray, " prompt"]:
    """The least-squares slope of each prompt's scores against the strengths, in units of the score
    for each unit of strength: Σ (λ - mean λ) s / Σ (λ - mean λ)².

    Raises `StatisticsError` for fewer than two different strengths.
    """
    x = np.asarray(strengths, dtype=float) - np.mean(strengths)
    if not (x @ x > 0):
        raise StatisticsError(
            f"a slope against the strengths {list(strengths)}: give two that differ."
        )
    return x @ scores / (x @ x)


def steerability_rows(
    scores: Mapping[str, Scores], strengths: Sequence[float], groups: Labels, items: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of each emotion, and of all (the mean of their scores): `slope`, the mean over prompts;
    `anti_steerable`, the share of prompts whose slope is below zero; and `prompt_slope`, the slope
    of each prompt (`item`). Intervals are over `groups`.

    The strength 0, if the scores have it, is one of the `strengths`.
    """
    told = {**scores, ALL: np.mean(list(scores.values()), axis=0)}
    rows: list[dict[str, Any]] = []
    for emotion, mine in told.items():
        found = slopes(mine, strengths)
        found = np.where(np.abs(found) <= EQUAL_WITHIN, 0.0, found)  # what is below is rounding
        below = (found < 0).astype(float)
        estimates = {
            "slope": mean_interval(found, groups),
            "anti_steerable": Share(mean_of(below)).estimate(groups),
        }
        rows += [
            {"emotion": emotion, "metric": metric, **one._asdict()}
            for metric, one in estimates.items()
        ]
        rows += [
            {"emotion": emotion, "metric": PER_PROMPT, "value": slope, "n": 1, "item": item}
            for slope, item in zip(found.tolist(), items, strict=True)
        ]
    return rows
