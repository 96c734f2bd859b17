"""Emotion directions: a unit vector of a site along which affective texts project higher than their
neutral twins.

`fit` takes a method's vector (`interp.analysis.methods`), anchors its sign so that the first label
projects higher, and measures its natural length on held-out scenarios. `separation` says how well a
direction fitted on some scenarios separates the twins of others.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.analysis.dependence import auroc_over
from interp.analysis.folds import Folds, fold_of, grouped_folds
from interp.analysis.lengths import OF, PairRows, length, length_p
from interp.analysis.methods import (
    Method,
    axis_p,
    check_rows,
    cross_fit,
    fit_unit,
    fold_inflation,
    held_out_length,
    method_named,
)
from interp.analysis.stats import heaviest_scenario
from interp.chance import LEAST_P
from interp.defaults import DIRECTION
from interp.directions import Direction
from interp.errors import StatisticsError
from interp.shares import Share
from interp.sites import Site
from interp.stats import Estimate, Labels, codes, jackknife, numbered

N_HALVES = 50
"""Random halvings of the scenarios behind a split-half cosine."""

MEAN_OF_ALL = "mean"
"""The second label of a direction that was fitted against the mean of all emotions."""


def fit(
    affective: PairRows,
    neutral: PairRows,
    *,
    site: Site,
    labels: tuple[str, str],
    groups: Labels | None = None,
    method: str = DIRECTION,
) -> Direction:
    """The direction from `neutral` rows to `affective` rows (row i of both is one pair), labelled
    (affective, neutral).

    `groups` are the pairs' scenarios; without them every pair counts as one of its own. Its length,
    and where the texts project, are measured on held-out scenarios (`cross_fit`); where the
    length is not surely above zero, or the axis of `pca` has no sign, `warnings` in its provenance
    say so, and `pca` warns. `Direction.with_origin` adds where the activations came from. Raises
    `DataError` for rows that do not match or are not finite, `StatisticsError` for fewer than two
    pairs or scenarios, `UsageError` for an unknown method, `ArtefactError` when the twins do not
    differ along it.
    """
    check_rows(affective, neutral)
    scenarios = np.arange(len(affective)) if groups is None else groups
    vector = fit_unit(method_named(method), affective, neutral)
    difference = (affective - neutral).astype(np.float64)
    held_out = cross_fit(affective, neutral, scenarios, method=method)
    natural = held_out.length
    doubts = _doubts(natural, labels)
    if method == "pca" and (p := axis_p(difference, vector, scenarios)) > LEAST_P:
        doubts.append(
            f"no sign: the mean of {labels[0]!r} minus {labels[1]!r} along the first principal "
            f"axis does not differ from zero (p = {p:.3f}). The twins differ most along it, not "
            "by the emotion."
        )
        warnings.warn(f"the pca direction at {site} has {doubts[-1]}", stacklevel=2)
    told = {"warnings": doubts} if doubts else {}
    spread = float((difference @ vector).std(ddof=1))
    interval = (natural.ci_low, natural.ci_high)
    norm = _norm(np.concatenate([affective, neutral]))
    centre = float((affective.mean(axis=0) + neutral.mean(axis=0)) / 2 @ vector)
    low, high = held_out.neutral + centre, held_out.affective + centre
    return Direction(
        vector, site, method, labels, natural.value, spread, told, interval, norm, low, high
    )


def fit_groups(
    x: Float[np.ndarray, "item d_model"],
    emotions: Labels,
    groups: Labels,
    *,
    site: Site,
) -> dict[str, Direction]:
    """Group-centred directions of scenarios told under every emotion (EC).

    r_ge = x_ge - mean_e' x_ge' and v_e = unit(mean_g r_ge), for scenarios g and emotions e. Only
    groups that hold each emotion once count. The vectors sum to zero before normalisation, so their
    mean pairwise cosine is about -1/(E-1): an artefact of centring. Raises `StatisticsError` for
    fewer than two complete groups.
    """
    names, kind, group = np.unique(np.asarray(emotions)), codes(emotions), numbered(groups)
    counts = np.zeros((group.max() + 1, len(names)), dtype=int)
    np.add.at(counts, (group, kind), 1)
    complete = np.flatnonzero((counts == 1).all(axis=1))
    if len(complete) < 2 or len(names) < 2:
        raise StatisticsError(
            f"{len(complete)} groups hold each of {len(names)} emotions once; need >= 2 groups "
            "and emotions."
        )
    rows = np.flatnonzero(np.isin(group, complete))
    rows = rows[np.lexsort((kind[rows], group[rows]))]
    told = x[rows].reshape(len(complete), len(names), x.shape[1])
    centre = told.mean(axis=1)
    found = {}
    for place, name in enumerate(names):
        direction = fit(told[:, place], centre, site=site, labels=(str(name), MEAN_OF_ALL))
        found[str(name)] = replace(direction, method="group_centred", stream_norm=_norm(told))
    return found


def anchored(direction: Direction, affective: PairRows, neutral: PairRows) -> Direction:
    """The direction with the sign that held-out twins ask for: turned, with a warning in its
    provenance, when it disagrees.
    """
    check_rows(affective, neutral)
    if float((affective - neutral).mean(axis=0) @ direction.vector) >= 0:
        return direction
    warning = (
        f"sign turned: held-out {direction.labels[0]!r} projected lower than "
        f"{direction.labels[1]!r}."
    )
    told = {
        **direction.provenance,
        "warnings": [*direction.provenance.get("warnings", []), warning],
    }
    turned = {name: -getattr(direction, name) for name in ("vector", "neutral", "affective")}
    return replace(direction, **turned, provenance=told)


def separation(
    affective: PairRows,
    neutral: PairRows,
    groups: Labels,
    *,
    method: str = DIRECTION,
    n_splits: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows (method, metric, value, ci_low, ci_high, n) of how a direction fitted on some scenarios
    separates the twins of others.

    separation_auroc of the projections inside grouped folds; d_prime, their mean difference over
    their pooled standard deviation; held_out_length, the natural length; norm, the unbiased length
    of the mean paired difference, with the `p` of its sign flips, whatever `method` is (its row
    says "paired"); split_half_cosine, the mean cosine
    of directions fitted on two halves of the scenarios. That one has no interval: `split_low` and
    `split_high` are the 95 % range over `N_HALVES` halvings of the one sample. `n` counts pairs.
    Raises as `fit` and `grouped_folds`.
    """
    check_rows(affective, neutral)
    if (n_groups := len(np.unique(np.asarray(groups)))) < 4:
        raise StatisticsError(
            f"two halves of the scenarios need at least 4 scenarios, there are {n_groups}."
        )
    projection, number = held_out_projections(
        affective, neutral, groups, method=method, n_splits=n_splits, seed=seed
    )
    n_pairs, both = len(affective), np.concatenate([groups, groups])
    truth = np.repeat([True, False], n_pairs)
    wider = fold_inflation(affective, neutral, groups, number[:n_pairs], method=method)
    apart = separation_share(projection, truth, number, both, inflation=wider).estimate(both)
    d_prime = jackknife(
        lambda w: _d_prime(projection, w * truth, w * ~truth), both, inflation=wider
    )
    difference = affective - neutral
    found: dict[str, Estimate] = {
        "separation_auroc": apart,
        "d_prime": d_prime,
        "held_out_length": held_out_length(affective, neutral, groups, method=method, seed=seed),
        "norm": length(difference, groups),
    }
    rows: list[dict[str, Any]] = [
        {"method": method, "metric": metric, **one._asdict(), "n": n_pairs}
        for metric, one in found.items()
    ]
    rows[-1] |= {"method": OF, "p": length_p(difference, groups, seed=seed)}
    halves = _split_half(affective, neutral, groups, method_named(method), seed)
    return [*rows, {"method": method, **halves}]


def separation_share(
    projection: Float[np.ndarray, " row"],
    truth: Bool[np.ndarray, " row"],
    fold: Int[np.ndarray, " row"],
    groups: Labels,
    *,
    inflation: float,
) -> Share:
    """The AUROC of projections inside folds, with what its interval needs."""
    left_out, variance = auroc_over([projection], [truth], strata=fold, groups=groups)
    return Share(left_out, inflation, heaviest_scenario(truth, groups), variance)


def held_out_projections(
    affective: PairRows,
    neutral: PairRows,
    groups: Labels,
    *,
    method: str = DIRECTION,
    n_splits: int = 5,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Projections of all affective, then all neutral rows on directions fitted without their
    scenarios, and each row's fold.

    A fold's projections are centred on its training rows. Raises as `fit` and `grouped_folds`.
    """
    check_rows(affective, neutral)
    folds = twin_folds(groups, n_splits=n_splits, seed=seed)
    x = np.concatenate([affective, neutral]).astype(np.float64)
    projection = np.zeros(len(x))
    for fold in folds:
        projection[fold.test] = project(x, fold.train, fold.test, method_named(method))
    return projection, fold_of(folds, len(x))


def twin_folds(groups: Labels, *, n_splits: int, seed: int = 0) -> Folds:
    """Grouped folds of all affective, then all neutral rows of pairs in these scenarios. Raises as
    `grouped_folds`.
    """
    return grouped_folds(
        np.repeat([1, 0], len(groups)),
        np.concatenate([groups, groups]),
        n_splits=n_splits,
        seed=seed,
    )


def project(
    x: PairRows, train: Int[np.ndarray, " _"], test: Int[np.ndarray, " _"], method: Method
) -> Float[np.ndarray, " _"]:
    """The rows `test` of x (all affective, then all neutral) on the direction of the rows `train`,
    from whose mean they count.

    `train` holds both twins of a pair, or neither.
    """
    half = len(x) // 2
    pairs = train[train < half]
    vector = fit_unit(method, x[pairs], x[pairs + half])
    return (x[test] - x[train].mean(axis=0)) @ vector


def _norm(rows: Float[np.ndarray, "*row d_model"]) -> float:
    """The root mean square of the rows' norm."""
    return float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=-1).mean()))


def _split_half(
    affective: PairRows, neutral: PairRows, groups: Labels, method: Method, seed: int
) -> dict[str, Any]:
    group, random = numbered(groups), np.random.default_rng(seed)
    n_groups = int(group.max()) + 1
    cosines = []
    for _ in range(N_HALVES):
        first = np.isin(group, random.permutation(n_groups)[: n_groups // 2])
        halves = [fit_unit(method, affective[half], neutral[half]) for half in (first, ~first)]
        cosines.append(float(halves[0] @ halves[1]))
    low, high = np.quantile(cosines, (0.025, 0.975)).tolist()
    none = Estimate(float(np.mean(cosines)), np.nan, np.nan, len(affective))
    return {"metric": "split_half_cosine", **none._asdict(), "split_low": low, "split_high": high}


def _d_prime(projection: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    means, variances = [], []
    for weights in (high, low):
        total = weights.sum(axis=1)
        mean = weights @ projection / total
        means.append(mean)
        variances.append(np.maximum(weights @ projection**2 / total - mean**2, 0))
    spread = np.sqrt((variances[0] + variances[1]) / 2)
    return np.divide(
        means[0] - means[1], spread, out=np.full(len(spread), np.nan), where=spread > 0
    )


def _doubts(natural: Estimate, labels: tuple[str, str]) -> list[str]:
    """What to say of a natural length that is not surely above zero."""
    if natural.ci_low > 0:
        return []
    bounds = "" if np.isnan(natural.ci_low) else f" [{natural.ci_low:.3g}, {natural.ci_high:.3g}]"
    what = "is not above zero" if natural.value <= 0 else "may be zero"
    measured = f"its length, {labels[0]!r} minus {labels[1]!r}"
    return [f"on held-out scenarios {measured}, {what}: {natural.value:.3g}{bounds}."]
