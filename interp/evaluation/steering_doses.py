"""Rows of how steering goes with layer and strength: what was tried where, and how evenly a larger
strength works over the prompts.
"""

from collections.abc import Sequence

import numpy as np

from interp.causal.pooled import ALL
from interp.causal.steerability import Scores, steerability_rows
from interp.evaluation.steering_rows import RATIO, Spoken, hits_of, known_mean, log_ratio
from interp.results import TableRows
from interp.shares import Share
from interp.stats import Labels, mean_of


def tried_rows(tried: Sequence[Spoken], usual: Spoken, groups: Labels) -> TableRows:
    """Rows of one layer and strength, all emotions together: `success` by each judge, and the
    `perplexity_ratio`.
    """
    rows: TableRows = []
    shared = {"emotion": ALL, "control": ""}
    for judge in usual.verdicts:
        hits = np.mean([hits_of([one], one.emotion, judge) for one in tried], axis=0)
        found = Share(mean_of(hits)).estimate(groups)
        rows.append({**shared, "metric": "success", "judge": judge, **found._asdict()})
    price = np.mean([log_ratio(one, usual) for one in tried], axis=0)
    return [*rows, {**shared, "metric": RATIO, **known_mean(price, groups, log=True)}]


def slope_rows(
    steered: Sequence[Spoken], usual: Spoken, groups: Labels, items: Sequence[str]
) -> TableRows:
    """Rows of steerability by each judge (`interp.causal.steerability`), where the score is 1 for a
    text in which the judge hears the emotion that was meant. Control `shuffled`: the emotion, in
    the texts of the other emotions' directions.
    """
    scales = sorted({one.scale for one in steered})
    emotions = sorted({one.emotion for one in steered})
    rows: TableRows = []
    for judge in usual.verdicts:
        for control in ("", "shuffled") if len(emotions) > 1 else ("",):
            scores = {
                emotion: _scores(steered, usual, emotion, judge=judge, control=control)
                for emotion in emotions
            }
            found = steerability_rows(scores, [0.0, *scales], groups, items)
            rows += [{"judge": judge, "control": control, **row} for row in found]
    return rows


def _scores(
    steered: Sequence[Spoken], usual: Spoken, emotion: str, *, judge: str, control: str
) -> Scores:
    """How often the judge hears the emotion at each strength, 0 first, behind each prompt."""
    mine = [one for one in steered if (one.emotion == emotion) == (control == "")]
    by_scale = [
        hits_of([one for one in mine if one.scale == scale], emotion, judge)
        for scale in sorted({one.scale for one in mine})
    ]
    return np.stack([hits_of([usual], emotion, judge), *by_scale])
