"""Zero-shot: what a model says of a text when it is asked, beside what a probe reads in it.

The model is asked by label words: p_e is the probability of the words of emotion e behind the text
and a suffix. Frequent words are likely whatever the text says, so that p_e is divided by its value
behind texts that say nothing, and brought to sum one over the emotions: contextual calibration
(Zhao et al. 2021), by the neutral texts of the battery, which are of the same kind (compare Fei et
al. 2023); beside it by texts without content, and without any. Nothing is fitted. The probe is
fitted on other scenarios, and so are the text baselines; all are scored on the same texts (compare
*Decoding Emotion in the Deep*).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from interp.analysis.predictions import Predictions, accuracy_share, auroc_share
from interp.results import TableRow, TableRows
from interp.shares import share_difference
from interp.stats import Estimate

BY_WORDS = "zero_shot"
"""What the tables call the model that is asked."""

AUROC_ABOVE, ACCURACY_ABOVE = "auroc_above", "accuracy_above"


def asked_predictions(
    scores: Float[np.ndarray, "item emotion"], emotions: tuple[str, ...], like: Predictions
) -> Predictions:
    """What label words tell of the items that a probe was tested on (`like`): `scores`, in nats,
    one row for each item of the probe's x, as probabilities of the probe's classes.

    No fold teaches them anything, so that all items are compared with each other.
    """
    order = [emotions.index(one) for one in like.classes]
    return replace(
        like,
        probability=softmax(scores[like.rows][:, order], axis=1),
        fold=np.zeros_like(like.fold),
        chosen=(),
        warnings=(),
        influence=None,
        by_part={},
    )


def zero_shot_rows(
    probe: Predictions, asked: Mapping[str, Predictions], words: Mapping[str, Predictions]
) -> TableRows:
    """Rows of every classifier (`method`): the "probe", the model that was `asked` by label words,
    and the text baselines (`words`, whose name is the `control` too).

    metric          value
    auroc           macro AUROC, one emotion against the rest; chance is .5
    accuracy        the share of texts that get their own emotion; chance is 1 / `choices`
    auroc_above     AUROC less that of `target`, paired by scenario on the same texts
    accuracy_above  the same of the accuracy
    """
    every = {"probe": probe, **asked, **words}
    rows: TableRows = [
        {**_named(name, words), "metric": metric, "choices": len(probe.classes), **one._asdict()}
        for name, told in every.items()
        for metric, one in _scores(told).items()
    ]
    rows += _above("probe", BY_WORDS, every)
    rows += [row for one in asked if one != BY_WORDS for row in _above(BY_WORDS, one, every)]
    if words:
        best = max(words, key=lambda name: _scores(words[name])["auroc"].value)
        rows += [row for one in ("probe", BY_WORDS) for row in _above(one, best, every)]
    return rows


def _named(name: str, words: Mapping[str, Predictions]) -> TableRow:
    return {"method": name, "target": "", "control": name if name in words else ""}


def _scores(told: Predictions) -> dict[str, Estimate]:
    return {
        "auroc": auroc_share(told).estimate(told.groups),
        "accuracy": accuracy_share(told).estimate(told.groups),
    }


def _above(one: str, other: str, every: Mapping[str, Predictions]) -> TableRows:
    a, b = every[one], every[other]
    found = {
        AUROC_ABOVE: share_difference(auroc_share(a), auroc_share(b), a.groups),
        ACCURACY_ABOVE: share_difference(accuracy_share(a), accuracy_share(b), a.groups),
    }
    return [
        {**_named(one, {}), "target": other, "metric": metric, **above._asdict()}
        for metric, above in found.items()
    ]
