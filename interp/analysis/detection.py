"""Which of many emotions a text evokes, by its score on each emotion's direction.

    metric   of a text, or of all                              chance among E
    rank     the place of its own emotion, 1 is the best       (E + 1) / 2
    top1     share of texts whose own emotion scores highest   1 / E
    top5     share of texts whose own one is among five        5 / E
    auroc    mean over emotions: own texts against others      .5

Ties count half. The p of all of them is one: how often the emotions' columns, dealt at random, do
as well (`interp.chance.assignment_p`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.analysis.dependence import auroc_over
from interp.analysis.predictions import ranks_of
from interp.analysis.stats import heaviest_scenario
from interp.chance import assignment_p, least_assignment_p
from interp.errors import StatisticsError
from interp.shares import Share
from interp.stats import Labels, mean_interval, mean_of

MOST_TOP = 5

EmotionScores = Float[np.ndarray, "text emotion"]
Own = Int[np.ndarray, " text"]


def auroc_mean(
    scores: Float[np.ndarray, "text column"], truth: Bool[np.ndarray, "text column"], groups: Labels
) -> Share:
    """The mean of the columns' AUROCs, with what its interval over scenarios needs. Columns without
    a positive or a negative text are left out.
    """
    kept = truth.any(axis=0) & ~truth.all(axis=0)
    x, told = scores[:, kept], truth[:, kept]
    if not kept.any():
        raise StatisticsError("an AUROC needs at least one positive and one negative text.")
    left_out, variance = auroc_over(
        list(x.T), list(told.T), strata=np.zeros(len(x), dtype=np.int64), groups=groups
    )
    kind = told @ (1 + np.arange(told.shape[1]))
    return Share(left_out, 1.0, heaviest_scenario(kind, groups), variance)


def detection_shares(scores: EmotionScores, own: Own, groups: Labels) -> dict[str, Share]:
    """The shares by metric; `top5` of more than five emotions."""
    place, n = ranks_of(scores, own), scores.shape[1]
    found = {"top1": Share(mean_of((place < 1.5).astype(float)))}
    if n > MOST_TOP:
        found["top5"] = Share(mean_of((place < MOST_TOP + 0.5).astype(float)))
    found["auroc"] = auroc_mean(scores, own[:, None] == np.arange(n), groups)
    return found


def detection_rows(
    scores: EmotionScores, own: Own, groups: Labels, *, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """A row of each metric, with its interval over scenarios, its `chance`, the number of emotions
    (`choices`), and the `p` of all.

    Raises `StatisticsError` for texts of fewer than two emotions.
    """
    n, known = scores.shape[1], np.unique(own)
    if len(known) < 2:
        raise StatisticsError("the texts evoke fewer than two emotions: there is nothing to tell.")
    effects = np.stack([scores[own == one][:, known].mean(axis=0) for one in known])
    told = {"choices": n, "p": assignment_p(effects, seed=seed)}
    told |= {"least_p": least_assignment_p(len(known))}
    for metric, share in detection_shares(scores, own, groups).items():
        nothing = {"top1": 1 / n, "top5": MOST_TOP / n, "auroc": 0.5}[metric]
        value = share.estimate(groups)._asdict()
        yield {"metric": metric, "emotion": "", **value, "chance": nothing, **told}
    place = mean_interval(ranks_of(scores, own), groups)._asdict()
    yield {"metric": "rank", "emotion": "", **place, "chance": (n + 1) / 2, **told}
