"""The circumplex: do the first principal axes of many emotions' directions follow people's ratings
of the emotions' words (valence, arousal)? After Russell (1980).

The emotions' products are made of different parts of the stories (`interp.analysis.products`), so
that noise, which differs from part to part, gives no axis any length. Parts are drawn again for
intervals; for p the ratings change places among the emotions, for all axes and ratings together.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.geometry import (
    distances,
    explained_shares,
    label_test,
    principal_axes,
    rating_test,
    rsa,
)
from interp.analysis.products import Products
from interp.analysis.references import FEWEST_EMOTIONS
from interp.errors import StatisticsError

Ratings = Mapping[str, Mapping[str, float]]
"""Of each rated emotion its ratings by name (valence, arousal, ...)."""

N_RESAMPLED = 400
"""Draws of parts for an interval."""

_AXES = 2
_SHOWN_AXES = 3


class PartProducts(NamedTuple):
    """The products of the means of each two parts, and how many stories each mean is of."""

    names: tuple[str, ...]
    inner: Float[np.ndarray, "part part emotion emotion"]
    counts: Float[np.ndarray, "part emotion"]

    def pooled(self, drawn: Float[np.ndarray, " part"]) -> Float[np.ndarray, "emotion emotion"]:
        """The products of the means over parts, each taken so often, of different parts only; NaN
        where an emotion has stories in one of the drawn parts alone.
        """
        weight = drawn[:, None] * self.counts
        apart = 1 - np.eye(len(drawn))
        pairs = np.einsum("pa,pq,qb->ab", weight, apart, weight)
        sums = np.einsum("pa,pq,qb,pqab->ab", weight, apart, weight, self.inner)
        return np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)

    def products(self) -> Products:
        """The same as `interp.analysis.geometry` takes it, with a part left out in turn."""
        n = len(self.counts)
        whole, left = np.ones(n), np.ones((n, n)) - np.eye(n)
        weight = self.counts / self.counts.sum(axis=0)
        biased = np.einsum("pa,qb,pqab->ab", weight, weight, self.inner)
        without = np.stack([self.pooled(one) for one in left])
        if not np.isfinite(without).all():
            raise StatisticsError(
                "an emotion's stories are of too few scenarios to leave some of them out."
            )
        return Products(self.names, self.pooled(whole), biased, without, int(self.counts.sum()))


def part_products(
    names: Sequence[str],
    means: Float[np.ndarray, "part emotion d_model"],
    counts: Float[np.ndarray, "part emotion"],
) -> PartProducts:
    """The products of parts' means, which were centred and cleaned before."""
    flat = means.reshape(-1, means.shape[-1])
    inner = (flat @ flat.T).reshape(*means.shape[:2], *means.shape[:2])
    return PartProducts(tuple(names), inner.transpose(0, 2, 1, 3), counts)


def circumplex_rows(
    parts: PartProducts, ratings: Ratings, *, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """The rows of one place.

    - `explained` and `axis_place` as `interp.analysis.geometry_rows.axes_rows` writes them.
    - `axis_rating`: the correlation of an axis with a rating (`reference`) over the emotions that
      were rated, with the interval of drawn parts, `p_max_t` over all axes and ratings, and the
      number of emotions (n).
    - `rsa`: of the emotions' squared distances with those of all ratings together.

    Raises `StatisticsError` where the emotions have no spread that other scenarios repeat.
    """
    found = parts.products()
    for axis, share in enumerate(explained_shares(found, most=_SHOWN_AXES), start=1):
        yield {"metric": "explained", "axis": axis, **share._asdict()}
    places = principal_axes(found.whole, most=_AXES).places
    for emotion, place in zip(found.names, places, strict=True):
        for axis, value in enumerate(place.tolist(), start=1):
            told = {"axis": axis, "emotion": emotion, "value": value, "n": found.n}
            known_as = ratings.get(emotion, {}).get("valence", np.nan)
            yield {"metric": "axis_place", **told, "valence": known_as}
    rated = [name for name in found.names if name in ratings]
    if len(rated) < FEWEST_EMOTIONS:
        return
    at = np.array([found.names.index(name) for name in rated])
    kinds = list(ratings[rated[0]])
    known = np.array([[ratings[name][kind] for kind in kinds] for name in rated])
    r, p = rating_test(places[at], known, seed=seed)
    low, high = _resampled(parts, places, at, known, seed=seed)
    for axis, kind in np.ndindex(r.shape):
        value = float(r[axis, kind])
        ends = min(float(low[axis, kind]), value), max(float(high[axis, kind]), value)
        told = {"axis": axis + 1, "reference": kinds[kind], "value": value, "n": len(rated)}
        told |= {"ci_low": ends[0], "ci_high": ends[1], "p_max_t": float(p[axis, kind])}
        yield {"metric": "axis_rating", **told}
    units = known / np.where(known.std(axis=0) > 0, known.std(axis=0), 1.0)
    apart = ((units[:, None] - units[None]) ** 2).sum(axis=-1)
    own = found.of(rated)
    tested = label_test(distances(own.whole)[None], apart, seed=seed)
    told = {"p": float(tested.p[0]), "least_p": tested.least, "reference": "ratings"}
    yield {"metric": "rsa", **rsa(own, apart)._asdict(), **told}


def _resampled(
    parts: PartProducts,
    places: Float[np.ndarray, "emotion axis"],
    at: Int[np.ndarray, " rated"],
    known: Float[np.ndarray, "rated rating"],
    *,
    seed: int,
) -> tuple[Float[np.ndarray, "axis rating"], Float[np.ndarray, "axis rating"]]:
    """The 2.5 and 97.5 % quantiles of the correlations over draws of parts. The axes of a draw are
    those of the whole that they lie nearest to, with its sign: an axis' sign means nothing, and two
    of like length may change places.
    """
    n, random = len(parts.counts), np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < N_RESAMPLED:
        inner = parts.pooled(random.multinomial(n, np.full(n, 1 / n)).astype(np.float64))
        if not np.isfinite(inner).all():  # an emotion's stories all fell into one part
            continue
        own = _turned(principal_axes(inner, most=_AXES).places, places)
        with np.errstate(invalid="ignore", divide="ignore"):
            both = np.corrcoef(own[at].T, known.T)
        found.append(both[: own.shape[1], own.shape[1] :])
    low, high = np.nanquantile(np.stack(found), (0.025, 0.975), axis=0)
    return low, high


def _turned(
    own: Float[np.ndarray, "emotion axis"], places: Float[np.ndarray, "emotion axis"]
) -> Float[np.ndarray, "emotion axis"]:
    """The axes in the order and with the signs in which they lie nearest to `places`."""
    alike = places.T @ own
    straight, crossed = np.abs(np.diag(alike)).sum(), np.abs(np.diag(alike[:, ::-1])).sum()
    order = [0, 1] if straight >= crossed else [1, 0]
    return own[:, order] * np.where(np.diag(alike[:, order]) < 0, -1.0, 1.0)
