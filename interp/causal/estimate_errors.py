"""How far estimated effects are from the exact ones, over nodes: pure functions of arrays.

Both are held in a matrix of cases by nodes. What is compared are the nodes' means over cases, and
the interval is that of leaving out each scenario in turn.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.stats import rankdata

from interp.results import TableRow
from interp.stats import jackknife

LARGE = 0.1
"""The signs of those nodes are compared whose exact effect is at least this share of the largest
one: of a node that does nothing the sign is a coin's.
"""

FEWEST_NODES = 3
"""Below it a rank correlation says nothing."""

Means = Float[np.ndarray, "draw node"]
Compare = Callable[[Means, Means], Float[np.ndarray, " draw"]]
"""From the nodes' mean estimates and exact effects, one row per draw, to one number per draw."""


def rank_correlation(estimated: Means, exact: Means) -> Float[np.ndarray, " draw"]:
    """Spearman's, over nodes; NaN where one side is the same everywhere."""
    a, b = (rankdata(side, axis=1) for side in (estimated, exact))
    a, b = (side - side.mean(axis=1, keepdims=True) for side in (a, b))
    below = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), below, out=np.full(len(a), np.nan), where=below > 0)


def mean_absolute_error(estimated: Means, exact: Means) -> Float[np.ndarray, " draw"]:
    """mean over nodes of |estimate - exact| (nats)."""
    return np.abs(estimated - exact).mean(axis=1)


def relative_error(estimated: Means, exact: Means) -> Float[np.ndarray, " draw"]:
    """sum of |estimate - exact| over the sum of |exact|: 0 is exact, and 1 is no better than to
    estimate nothing everywhere. NaN where no node does anything.
    """
    size = np.abs(exact).sum(axis=1)
    error = np.abs(estimated - exact).sum(axis=1)
    return np.divide(error, size, out=np.full(len(size), np.nan), where=size > 0)


def sign_agreement(estimated: Means, exact: Means) -> Float[np.ndarray, " draw"]:
    """The share of nodes whose estimate has the sign of the exact effect."""
    return (np.sign(estimated) == np.sign(exact)).mean(axis=1)


ERRORS: dict[str, Compare] = {
    "rank_correlation": rank_correlation,
    "mean_absolute_error": mean_absolute_error,
    "relative_error": relative_error,
    "sign_agreement": sign_agreement,
}
"""What is told of the error, by the metric's name."""


_RANGES = {"rank_correlation": (-1.0, 1.0), "sign_agreement": (0.0, 1.0)}
"""What a metric can be: an interval reaches no further."""


def error_rows(
    estimated: Float[np.ndarray, "case node"],
    exact: Float[np.ndarray, "case node"],
    groups: Shaped[np.ndarray, " case"],
) -> Iterator[TableRow]:
    """A row per metric of `ERRORS`: its value, the interval over scenarios, n cases, and over how
    many `nodes`. Where a metric is not defined (nothing does anything; too few nodes to rank) it
    has no row. Nodes that are zero on both sides in every case (such as the last layer, read
    further back) are not ranked: they would agree by construction.
    """
    some = (exact != 0).any(axis=0) | (estimated != 0).any(axis=0)
    among = {"sign_agreement": _large(exact), "rank_correlation": some}
    for metric, compare in ERRORS.items():
        mine = among.get(metric, np.ones(exact.shape[1], dtype=bool))
        least = FEWEST_NODES if metric == "rank_correlation" else 1
        one, other = estimated[:, mine], exact[:, mine]

        def statistic(
            weights: Float[np.ndarray, "draw case"],
            compare: Compare = compare,
            one: np.ndarray = one,
            other: np.ndarray = other,
        ) -> Float[np.ndarray, " draw"]:
            total = weights.sum(axis=1, keepdims=True)
            return compare(weights @ one / total, weights @ other / total)

        if mine.sum() < least or np.isnan(statistic(np.ones((1, len(groups))))[0]):
            continue
        found = jackknife(statistic, groups)
        lowest, highest = _RANGES.get(metric, (0.0, np.inf))  # an error is never below zero
        found = found._replace(
            ci_low=max(found.ci_low, lowest), ci_high=min(found.ci_high, highest)
        )
        yield {"metric": metric, "nodes": int(mine.sum()), **found._asdict()}


def _large(exact: Float[np.ndarray, "case node"]) -> Bool[np.ndarray, " node"]:
    """The nodes that do something, by the mean over all cases."""
    size = np.abs(exact.mean(axis=0))
    return (size >= LARGE * size.max()) & (size > 0)
