"""What a probe said of every text where each fold chose its place, and which emotions it confuses.

Confusions are held against the emotions' distances (`references`): are near ones confused more?
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.predictions import Predictions, right_ranks
from interp.analysis.references import Reference, references_for
from interp.chance import permutation_p
from interp.errors import StatisticsError
from interp.stats import Estimate, jackknife

SharesOf = Callable[[Float[np.ndarray, "draw item"]], Float[np.ndarray, "draw class class"]]
"""From item weights to the shares of each class that are called each class."""

NEAR = "confused_near"
"""The metric of how confusions go with distance."""


def told_rows(told: Predictions, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row of each tested text: the probability of its own class (`emotion`), the class that the
    probe said (`target`), the rank of the right one, the text's id, its scenario and its fold.
    """
    said = np.array(told.classes)[told.probability.argmax(axis=1)]
    own = np.searchsorted(np.array(told.classes), told.y)
    mine, ranks = told.probability[np.arange(len(own)), own], right_ranks(told)
    for at, item in enumerate(told.rows.tolist()):
        yield {
            "metric": "probability",
            "value": float(mine[at]),
            "n": 1,
            "emotion": str(told.y[at]),
            "target": str(said[at]),
            "rank": float(ranks[at]),
            "text": ids[item],
            "scenario": str(told.groups[at]),
            "fold": int(told.fold[at]),
        }


def confusion_rows(
    told: Predictions, *, n_perm: int = 1000, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Rows `confusion`: the share of the texts of `emotion` that were called `target`, with their
    squared distances by each theory that knows both; and `confused_near` of each theory
    (`reference`): minus the correlation of the shares with the distances over all pairs of two
    emotions, above zero where near ones are confused more.

    Its p: the emotions change places in the theory. Its interval leaves scenarios out, wider by
    what folds share.
    """
    classes = list(told.classes)
    said = told.probability.argmax(axis=1)
    shares = _shares(told, said)
    counts = {one: int((told.y == one).sum()) for one in classes}
    theories = {name: one for name, one in references_for(classes).items() if _whole(one, classes)}
    table = shares(np.ones((1, len(said))))[0]
    for a, emotion in enumerate(classes):
        for b, target in enumerate(classes):
            far = {f"distance_{name}": float(one.distances[a, b]) for name, one in theories.items()}
            value = {"metric": "confusion", "value": float(table[a, b]), "n": counts[emotion]}
            yield {**value, "emotion": emotion, "target": target, **far}
    for name, theory in theories.items():
        near = _confused_near(told, shares, theory.distances)
        if near is not None:
            p = _p_of_places(table, theory.distances, n_perm=n_perm, seed=seed)
            yield {"metric": NEAR, "reference": name, **near._asdict(), "p": p}


def _whole(theory: Reference, classes: Sequence[str]) -> bool:
    return list(theory.names) == list(classes)


def _shares(told: Predictions, said: Int[np.ndarray, " item"]) -> SharesOf:
    """The shares of each class that are called each class, as a function of item weights."""
    k, own = len(told.classes), np.searchsorted(np.array(told.classes), told.y)
    pairs = np.eye(k * k)[own * k + said]

    def statistic(
        weights: Float[np.ndarray, "draw item"],
    ) -> Float[np.ndarray, "draw class class"]:
        both = (weights @ pairs).reshape(-1, k, k)
        total = both.sum(axis=2, keepdims=True)
        return np.divide(both, total, out=np.full_like(both, np.nan), where=total > 0)

    return statistic


def _confused_near(
    told: Predictions, shares: SharesOf, distances: Float[np.ndarray, "class class"]
) -> Estimate | None:
    """The correlation with its interval; None where no two emotions are confused."""

    def near(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        return np.array([_nearness(one, distances) for one in shares(weights)])

    try:
        return jackknife(near, told.groups, inflation=told.inflation)
    except StatisticsError:
        return None


def _nearness(
    table: Float[np.ndarray, "class class"], distances: Float[np.ndarray, "class class"]
) -> float:
    """Minus the correlation off the diagonal; NaN where a side does not vary."""
    off = ~np.eye(len(table), dtype=bool)
    a, b = table[off], distances[off]
    if not (np.isfinite(a).all() and np.ptp(a) > 0 and np.ptp(b) > 0):
        return float("nan")
    return -float(np.corrcoef(a, b)[0, 1])


def _p_of_places(table: np.ndarray, distances: np.ndarray, *, n_perm: int, seed: int) -> float:
    random = np.random.default_rng(seed)
    drawn = [random.permutation(len(table)) for _ in range(n_perm)]
    null = np.array([_nearness(table, distances[np.ix_(one, one)]) for one in drawn])
    return permutation_p(_nearness(table, distances), null)
