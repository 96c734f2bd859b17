"""The rows of a table of geometry, in the table's terms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.metrics import pairwise_distances, silhouette_samples

from interp.analysis.geometry import (
    centred_cosines,
    distances,
    explained_shares,
    label_test,
    principal_axes,
    rating_test,
    reliability,
    rsa,
    rsa_difference,
)
from interp.analysis.nested import ABOVE_TEXT
from interp.analysis.products import Products
from interp.analysis.references import RATED, Reference, rated_of, ratings_of
from interp.results import TableRow
from interp.sites import Site
from interp.stats import Labels, mean_interval

OF_DISTANCES = "crossnobis"
"""Squared distances in units of the noise, free of its bias."""

P_OF_RSA = "emotions change places in the reference"
N_AXES = 3


@dataclass(frozen=True, slots=True)
class Space:
    """The emotions' products at a place of the model (`where`: its columns), or in the words
    (`control`: the text baseline's name).
    """

    found: Products
    where: Mapping[str, Any]
    control: str = ""

    def row(self, metric: str, **columns: Any) -> TableRow:
        """A row of this space."""
        same = {"control": self.control, "method": self.control or OF_DISTANCES, "n": self.found.n}
        return {**self.where, **same, "metric": metric, **columns}


def rsa_rows(
    places: Sequence[Space],
    words: Sequence[Space],
    references: Mapping[str, Reference],
    *,
    seed: int = 0,
) -> Iterator[TableRow]:
    """Of each reference: how well the emotions' distances fit it at each place and in each text
    baseline (`rsa`), and the paired difference of a place to each baseline (`above_text`, whose
    `target` is the baseline).
    """
    for name, known in references.items():
        spaces = [*places, *words]
        of = [space.found.of(known.names) for space in spaces]
        found = np.stack([distances(one.whole) for one in of])
        tested = label_test(found, known.distances, seed=seed)
        for space, own, p in zip(spaces, of, tested.p.tolist(), strict=True):
            told = {"p": p, "p_of": P_OF_RSA, "least_p": tested.least}
            value = rsa(own, known.distances)._asdict()
            yield space.row("rsa", reference=name, **value, **told)
        for space, own in zip(places, of, strict=False):
            for rival, other in zip(words, of[len(places) :], strict=True):
                above = rsa_difference(own, other, known.distances)._asdict()
                yield space.row(ABOVE_TEXT, reference=name, target=rival.control, **above)


def axes_rows(space: Space, *, seed: int = 0) -> Iterator[TableRow]:
    """Of one place: the variance that each axis explains (`explained`), where the emotions lie on
    the first two (`axis_place`), and how these two follow people's ratings (`axis_rating`).
    """
    for axis, share in enumerate(explained_shares(space.found, most=N_AXES), start=1):
        yield space.row("explained", axis=axis, **share._asdict())
    first = principal_axes(space.found.whole, most=2).places
    for emotion, place in zip(space.found.names, first, strict=True):
        for axis, value in enumerate(place.tolist(), start=1):
            yield space.row("axis_place", axis=axis, emotion=emotion, value=value)
    rated = rated_of(space.found.names)
    if len(rated) < 3:
        return
    at = [space.found.names.index(name) for name in rated]
    found, p = rating_test(first[at], ratings_of(rated), seed=seed)
    for axis, rating in np.ndindex(found.shape):
        told = {"value": float(found[axis, rating]), "p_max_t": float(p[axis, rating])}
        yield space.row("axis_rating", axis=axis + 1, reference=RATED[rating], **told)


def cosine_rows(space: Space) -> Iterator[TableRow]:
    """Of one place: the cosines of the emotions' means less their grand mean, corrected for
    unreliability (`centred_cosine`; no row beside a mean that is not reliable), and how reliable
    each mean is (`reliability`).
    """
    names = space.found.names
    cosines = centred_cosines(space.found)
    for emotion, share in zip(names, reliability(space.found).tolist(), strict=True):
        yield space.row("reliability", emotion=emotion, value=share)
    for one, other in np.argwhere(np.isfinite(cosines)).tolist():
        pair = {"emotion": names[one], "target": names[other]}
        yield space.row("centred_cosine", **pair, value=float(cosines[one, other]))


def site_map_rows(
    sites: Sequence[Site], alike: Float[np.ndarray, "site site"], *, position: str, n: int
) -> Iterator[TableRow]:
    """How alike the emotions' means are at each two sites (`site_cosine`); no row for a site whose
    emotions other scenarios do not repeat.
    """
    for one, other in np.argwhere(np.isfinite(alike)).tolist():
        a, b = sites[one], sites[other]
        place = {"site": a.name, "layer": a.layer, "position": position}
        other_place = {"other_site": b.name, "other_layer": b.layer}
        value = {"value": float(alike[one, other]), "n": n, "method": "centred"}
        yield {**place, **other_place, "metric": "site_cosine", "control": "", **value}


def silhouette_rows(
    x: Float[np.ndarray, "item feature"],
    kinds: Mapping[str, Labels],
    groups: Labels,
    *,
    where: Mapping[str, Any],
    control: str = "",
) -> Iterator[TableRow]:
    """How much closer texts lie to those of their own kind than to the nearest other one
    (Rousseeuw 1987), for each way of sorting them (`by`: emotion, arm, scenario); from -1 to 1.

    Texts that are alone of their kind count nothing. The interval is over scenarios.
    """
    apart = pairwise_distances(np.asarray(x, dtype=np.float64))
    np.fill_diagonal(apart, 0.0)
    for by, labels in kinds.items():
        kind = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
        if not 2 <= kind.max() + 1 < len(kind):
            continue
        known = np.bincount(kind)[kind] > 1
        shares = silhouette_samples(apart, kind, metric="precomputed")[known]
        found = mean_interval(shares, np.asarray(groups)[known])._asdict()
        told = {"metric": "silhouette", "by": by, "control": control}
        yield {**where, **told, "method": control or "euclidean", **found}
