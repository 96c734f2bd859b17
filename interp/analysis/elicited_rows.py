"""The rows of elicited directions: what they tell of replies to held-out questions, beside shuffled
labels, neutral replies, and the words of the replies.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from interp.analysis.directions import separation_share
from interp.analysis.elicited import ELICITED, HeldOut, KeptReplies, aurocs_of
from interp.analysis.folds import Folds
from interp.analysis.persistence_rows import SHUFFLED
from interp.analysis.predictions import Predictions, auroc_share
from interp.chance import permutation_p
from interp.directions import Direction
from interp.results import TableRow, TableRows
from interp.shares import Share, share_difference
from interp.stats import codes

ALL_EMOTIONS = "all"
"""What `emotion` says of all emotions together."""

P_OF_REPLIES = "emotions of the replies to each question changed places"


def elicited_rows(
    replies: KeptReplies,
    neutral: KeptReplies,
    directions: Mapping[str, Direction],
    folds: Folds,
    words: Mapping[str, Predictions],
    *,
    draws: int,
    seed: int = 0,
) -> TableRows:
    """Rows of one site, by `emotion` and of all together ("all"), intervals over questions.

    metric          value
    auroc           how often an emotion's reply projects higher on its direction than another's, on
                    held-out questions; `p` by `draws` shuffles. Of all: the mean over emotions
    auroc, control  the same of shuffled labels: the mean of the draws, and the range of 95 % of
    shuffled        them (`draw_low`, `draw_high`)
    auroc_above     `auroc` less that of `target`, the text baseline that tells most (`words`)
    auroc_neutral   the same as `auroc` against neutral replies
    length          the natural length of the direction
    """
    folded = HeldOut(replies, folds)
    told = folded.predictions()
    null = folded.shuffled(draws, seed=seed)
    least = max(1 / (1 + draws), folded.one_of_all)
    best = telling_baseline(words)
    rows: TableRows = []
    for at, (emotion, share) in enumerate(_shares(told).items()):
        observed = share.estimate(told.groups)
        shown: TableRow = {"emotion": emotion, "metric": "auroc"}
        p = permutation_p(observed.value, null[:, at])
        rows.append({**shown, **observed._asdict(), "p": p, "p_of": P_OF_REPLIES, "least_p": least})
        low, high = np.quantile(null[:, at], (0.025, 0.975)).tolist()
        drawn = {"value": float(null[:, at].mean()), "draw_low": low, "draw_high": high}
        rows.append({**shown, "control": SHUFFLED, **drawn, "n": observed.n})
        above = share_difference(share, _shares(words[best])[emotion], told.groups)
        rows.append({**shown, "metric": "auroc_above", "target": best, **above._asdict()})
    for emotion, (against, questions) in folded.against(neutral, told).items():
        found = against.estimate(questions)
        rows.append({"emotion": emotion, "metric": "auroc_neutral", **found._asdict()})
    for emotion, one in directions.items():
        low, high = one.length_interval
        bounds = {"value": one.length, "ci_low": low, "ci_high": high}
        rows.append({"emotion": emotion, "metric": "length", **bounds, "n": len(replies.x)})
    return [{"method": ELICITED, "control": "", "target": "", **row} for row in rows]


def reply_words_rows(words: Mapping[str, Predictions]) -> TableRows:
    """`auroc` of each text baseline on the same replies and folds, by emotion and of all."""
    return [
        {
            "method": name,
            "control": name,
            "target": "",
            "emotion": emotion,
            "metric": "auroc",
            **share.estimate(told.groups)._asdict(),
        }
        for name, told in words.items()
        for emotion, share in _shares(told).items()
    ]


def telling_baseline(words: Mapping[str, Predictions]) -> str:
    """The text baseline with the highest AUROC."""
    return max(words, key=lambda name: float(_aurocs(words[name])[-1]))


def _shares(told: Predictions) -> dict[str, Share]:
    """The AUROC of each emotion against the others, and last that of all (their mean)."""
    found = {
        emotion: separation_share(
            told.probability[:, at],
            told.y == emotion,
            told.fold,
            told.groups,
            inflation=told.inflation,
        )
        for at, emotion in enumerate(told.classes)
    }
    return {**found, ALL_EMOTIONS: auroc_share(told)}


def _aurocs(told: Predictions) -> Float[np.ndarray, " _"]:
    return aurocs_of(told.probability, codes(told.y), told.fold)
