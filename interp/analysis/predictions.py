"""Held-out predictions of a classifier, and their scores with intervals over scenarios."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.analysis.dependence import (
    UNKNOWN_INFLATION,
    auroc_over,
    drawn_inflation,
    shared_inflation,
)
from interp.analysis.stats import heaviest_scenario, weighted_auroc
from interp.shares import Share
from interp.stats import Estimate, Statistic, mean_of


@dataclass(frozen=True, slots=True)
class Predictions:
    """Held-out probabilities, one row per tested item; `rows` are the items' numbers in x, `fold`
    says which fold tested each.

    `chosen` is the setting that the inner folds picked, one per outer fold; `influence` what blocks
    of scenarios teach the probes of others (`dependence.influence`, summed over folds), None where
    that is not known; `by_part` the same on the tested items of each part alone. `drawn` says that
    the scenarios it was fitted on count as drawn, too: they taught it of other texts than those
    that are tested (`dependence.drawn_inflation`).
    """

    probability: Float[np.ndarray, "item class"]
    classes: tuple[str, ...]
    y: Shaped[np.ndarray, " item"]
    groups: Shaped[np.ndarray, " item"]
    fold: Int[np.ndarray, " item"]
    rows: Int[np.ndarray, " item"]
    chosen: tuple[Mapping[str, float], ...]
    warnings: tuple[str, ...] = ()
    influence: Float[np.ndarray, "block block"] | None = None
    by_part: Mapping[str, Float[np.ndarray, "block block"]] = field(default_factory=dict)
    drawn: bool = False

    def where(self, kept: Bool[np.ndarray, " tested"]) -> "Predictions":
        """The same probes on these of the tested items."""
        return replace(
            self,
            probability=self.probability[kept],
            y=self.y[kept],
            groups=self.groups[kept],
            fold=self.fold[kept],
            rows=self.rows[kept],
        )

    def of_part(self, part: str, kept: Bool[np.ndarray, " tested"]) -> "Predictions":
        """The same probes on the tested items `kept`, which are those of one of the parts."""
        return replace(self.where(kept), influence=self.by_part[part], by_part={})

    @property
    def inflation(self) -> float:
        """How much wider intervals of these scores are than the scenarios' own scores say."""
        if not (self.fold.max() or self.drawn):
            return 1.0
        if self.influence is None:
            return UNKNOWN_INFLATION
        return (drawn_inflation if self.drawn else shared_inflation)(self.influence)


def score(predictions: Predictions) -> list[dict[str, Any]]:
    """Rows (metric, value, ci_low, ci_high, n) for auroc (macro one-vs-rest), accuracy,
    balanced_accuracy and log_loss.

    Scores of different folds are never compared: an AUROC counts positive-negative pairs inside
    folds. Intervals leave out scenarios on the logit scale, wider by what the folds share
    (`Predictions.inflation`); a share of exactly 1 is bounded by the number of scenarios. A
    log-loss has none: how sure a probe is of itself varies with the texts that it was fitted on,
    too, and intervals over the tested ones held its mean in 88 to 91 of 100 made sets. n is the
    number of items.
    """
    groups, wider = predictions.groups, predictions.inflation
    heaviest = heaviest_scenario(predictions.y, groups)
    balanced = Share(_balanced_statistic(predictions), wider, heaviest).estimate(groups)
    losses = _losses(predictions)
    found = {
        "auroc": auroc_share(predictions).estimate(groups),
        "accuracy": accuracy_share(predictions).estimate(groups),
        "balanced_accuracy": balanced,
        "log_loss": Estimate(float(losses.mean()), np.nan, np.nan, len(losses)),
    }
    return [{"metric": metric, **one._asdict()} for metric, one in found.items()]


def auroc_share(predictions: Predictions) -> Share:
    """The macro AUROC with what its interval needs."""
    heaviest = heaviest_scenario(predictions.y, predictions.groups)
    places = _places(predictions)
    left_out, variance = auroc_over(
        [predictions.probability[:, place] for place in places],
        [predictions.y == predictions.classes[place] for place in places],
        strata=predictions.fold,
        groups=predictions.groups,
    )
    return Share(left_out, predictions.inflation, heaviest, variance)


def accuracy_share(predictions: Predictions) -> Share:
    """The share of tested items that are given their own label."""
    heaviest = heaviest_scenario(predictions.y, predictions.groups)
    return Share(mean_of(_hits(predictions)), predictions.inflation, heaviest)


def missed_share(predictions: Predictions) -> Share:
    """The share of tested items that are not given their own label."""
    return Share(mean_of(1 - _hits(predictions)), predictions.inflation)


def auroc_statistic(predictions: Predictions) -> Statistic:
    """Macro one-vs-rest AUROC inside folds, as a function of item weights; classes that no tested
    item has are left out.
    """
    places = _places(predictions)

    def statistic(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        total = np.zeros(len(weights))
        for place in places:
            truth = predictions.y == predictions.classes[place]
            scores = predictions.probability[:, place]
            total += weighted_auroc(
                scores, weights * truth, weights * ~truth, strata=predictions.fold
            )
        return total / len(places)

    return statistic


def _places(predictions: Predictions) -> list[int]:
    """The classes whose AUROCs are averaged: those that a tested item has."""
    tested = [
        place for place, one in enumerate(predictions.classes) if (predictions.y == one).any()
    ]
    # For two classes the second one-vs-rest problem mirrors the first.
    return tested[-1:] if len(predictions.classes) == 2 else tested


def _hits(predictions: Predictions) -> np.ndarray:
    told = np.array(predictions.classes)[predictions.probability.argmax(axis=1)]
    return (told == predictions.y).astype(float)


def _losses(predictions: Predictions) -> np.ndarray:
    place = np.searchsorted(np.array(predictions.classes), predictions.y)
    return log_losses(predictions.probability, place)


def right_ranks(predictions: Predictions) -> Float[np.ndarray, " item"]:
    """`ranks_of` each item's own class by probability."""
    own = np.searchsorted(np.array(predictions.classes), predictions.y)
    return ranks_of(predictions.probability, own)


def ranks_of(
    scores: Float[np.ndarray, "item column"], own: Int[np.ndarray, " item"]
) -> Float[np.ndarray, " item"]:
    """The rank of each item's `own` column among all by score, 1 the highest; of columns that tie
    the mean of their ranks.
    """
    mine = scores[np.arange(len(own)), own][:, None]
    return 0.5 + (scores > mine).sum(axis=1) + (scores == mine).sum(axis=1) / 2


def log_losses(
    probability: Float[np.ndarray, "item class"], place: Int[np.ndarray, " item"]
) -> Float[np.ndarray, " item"]:
    """-log of the probability of each item's own class, `place`; nothing counts as less than
    1e-12.
    """
    return -np.log(np.maximum(probability[np.arange(len(place)), place], 1e-12))


def _balanced_statistic(predictions: Predictions) -> Statistic:
    hits, member = _hits(predictions), predictions.y[:, None] == np.unique(predictions.y)

    def statistic(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        of_class = weights @ member
        right = weights @ (member * hits[:, None])
        return np.divide(
            right, of_class, out=np.full(of_class.shape, np.nan), where=of_class > 0
        ).mean(axis=1)

    return statistic
