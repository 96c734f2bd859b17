"""Held-out predictions of a classifier, and their scores with intervals over scenarios."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.analysis.stats import heaviest_scenario, share_inflation, weighted_auroc
from interp.stats import Statistic, jackknife

CV_INFLATION = float(np.sqrt(2))
"""How much wider an interval of K-fold scores without a bound (log-loss, d', lengths) is made than
the held-out predictions say; shares take `share_inflation`.

Every test scenario also trains the other folds' probes. For a mean-difference probe of labels
without signal the scores of two folds correlate by 1/(K-1), hence Var(mean) = 2/K times a fold's,
where the held-out predictions show 1/K (compare Bates, Hastie & Tibshirani 2024).
"""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Held-out probabilities, one row a tested item; `rows` are the items' numbers in x, `fold`
    says which fold tested each.

    `chosen` is the setting that the inner folds picked, one an outer fold; `inner_losses` its mean
    log-loss there, or NaN.
    """

    probability: Float[np.ndarray, "item class"]
    classes: tuple[str, ...]
    y: Shaped[np.ndarray, " item"]
    groups: Shaped[np.ndarray, " item"]
    fold: Int[np.ndarray, " item"]
    rows: Int[np.ndarray, " item"]
    chosen: tuple[Mapping[str, float], ...]
    warnings: tuple[str, ...] = ()
    inner_losses: tuple[float, ...] = ()


def score(predictions: Predictions) -> list[dict[str, Any]]:
    """Rows (metric, value, ci_low, ci_high, n) for auroc (macro one-vs-rest), accuracy,
    balanced_accuracy and log_loss.

    Scores of different folds are never compared: an AUROC counts positive-negative pairs inside
    folds. Intervals leave out scenarios (`interp.stats.jackknife`), shares on the logit and the
    log-loss on the log scale, wider by `share_inflation` and `CV_INFLATION` when there is more than
    one fold; a share of exactly 1 is bounded by the number of scenarios. n is the number of items.
    """
    statistics: dict[str, Statistic] = {
        "auroc": auroc_statistic(predictions),
        "accuracy": _mean_statistic(_hits(predictions)),
        "balanced_accuracy": _balanced_statistic(predictions),
        "log_loss": _mean_statistic(_losses(predictions)),
    }
    heaviest = heaviest_scenario(predictions.y, predictions.groups)
    several = predictions.fold.max() > 0
    rows = []
    for metric, statistic in statistics.items():
        share = metric != "log_loss"
        scale: Literal["share", "positive"] = "share" if share else "positive"
        wider = (
            1.0 if not several else share_inflation(predictions.groups) if share else CV_INFLATION
        )
        found = jackknife(
            statistic, predictions.groups, scale=scale, inflation=wider, heaviest=heaviest
        )
        rows.append({"metric": metric, **found._asdict()})
    return rows


def auroc_statistic(predictions: Predictions) -> Statistic:
    """Macro one-vs-rest AUROC inside folds, as a function of item weights; classes that no tested
    item has are left out.
    """
    tested = [
        place for place, one in enumerate(predictions.classes) if (predictions.y == one).any()
    ]
    # For two classes the second one-vs-rest problem mirrors the first.
    places = tested[-1:] if len(predictions.classes) == 2 else tested

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


def _hits(predictions: Predictions) -> np.ndarray:
    told = np.array(predictions.classes)[predictions.probability.argmax(axis=1)]
    return (told == predictions.y).astype(float)


def _losses(predictions: Predictions) -> np.ndarray:
    place = np.searchsorted(np.array(predictions.classes), predictions.y)
    return log_losses(predictions.probability, place)


def log_losses(
    probability: Float[np.ndarray, "item class"], place: Int[np.ndarray, " item"]
) -> Float[np.ndarray, " item"]:
    """-log of the probability of each item's own class, `place`; nothing counts as less than
    1e-12.
    """
    return -np.log(np.maximum(probability[np.arange(len(place)), place], 1e-12))


def _mean_statistic(values: np.ndarray) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _balanced_statistic(predictions: Predictions) -> Statistic:
    hits, member = _hits(predictions), predictions.y[:, None] == np.unique(predictions.y)

    def statistic(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        of_class = weights @ member
        right = weights @ (member * hits[:, None])
        return np.divide(
            right, of_class, out=np.full(of_class.shape, np.nan), where=of_class > 0
        ).mean(axis=1)

    return statistic
