"""Emotion directions: a unit vector of a site along which affective texts project higher than their neutral twins.

A method is a function (affective, neutral) -> vector on matched rows; `fit` normalises it, anchors its sign so that the first
label projects higher, and keeps its natural length. `separation` says how well a direction fitted on some scenarios
separates the twins of others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from interp.analysis import cards
from interp.analysis.folds import fold_of, grouped_folds
from interp.analysis.probes import CV_INFLATION, standardiser
from interp.analysis.stats import Labels, Statistic, cluster_bootstrap, codes, numbered, weighted_auroc
from interp.errors import ArtefactError, DataError, StatisticsError, UsageError
from interp.sites import Site

N_HALVES = 50
"""Random halvings of the scenarios behind a split-half cosine."""

_UNIT_TOLERANCE = 1e-6

Rows = Float[np.ndarray, "pair d_model"]
Method = Callable[[Rows, Rows], Float[np.ndarray, " d_model"]]


@dataclass(frozen=True, slots=True)
class Direction:
    """A unit `vector` at `site`; `labels` are (what projects higher, what projects lower).

    `scale` is the mean difference of the two labels' projections, in units of the activations, so that scale * vector is the
    natural shift; `spread` is the standard deviation of that difference over pairs. Raises `ArtefactError` unless the vector is
    finite and of length one, and scale and spread are finite and not negative.
    """

    vector: Float[np.ndarray, " d_model"]
    site: Site
    method: str
    labels: tuple[str, str]
    scale: float
    spread: float
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.isfinite(self.vector).all():
            raise ArtefactError(
                f"the direction at {self.site} is not finite: {_bad(self.vector)} of its numbers are nan or inf."
            )
        norm = float(np.linalg.norm(self.vector))
        if abs(norm - 1) > _UNIT_TOLERANCE:
            raise ArtefactError(f"the direction at {self.site} has norm {norm:.6g}, expected 1: make it with `fit`.")
        if not (np.isfinite([self.scale, self.spread]).all() and self.scale >= 0 and self.spread >= 0):
            raise ArtefactError(f"the direction at {self.site} has scale {self.scale} and spread {self.spread}: expected >= 0.")
        own = np.array(self.vector)
        own.setflags(write=False)
        object.__setattr__(self, "vector", own)

    def save(self, path: Path) -> None:
        """Write `path` (safetensors) and its JSON card beside it, each atomically."""
        about = {
            "site": str(self.site), "method": self.method, "labels": list(self.labels),
            "scale": self.scale, "spread": self.spread, "provenance": dict(self.provenance),
        }  # fmt: skip
        cards.write(path, {"vector": np.asarray(self.vector, dtype=np.float64)}, about)

    @classmethod
    def load(cls, path: Path) -> "Direction":
        """Read a direction back. Raises `ArtefactError` for a changed, foreign or impossible file."""
        tensors, about = cards.read(path)
        try:
            return cls(
                tensors["vector"], Site.parse(about["site"]), about["method"], (about["labels"][0], about["labels"][1]),
                float(about["scale"]), float(about["spread"]), about["provenance"],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError, UsageError) as error:
            raise ArtefactError(f"{path} does not hold a direction: {error}.") from error


def paired(affective: Rows, neutral: Rows) -> Float[np.ndarray, " d_model"]:
    """The mean of the paired differences."""
    return (affective - neutral).mean(axis=0)


def group_centred(affective: Rows, neutral: Rows) -> Float[np.ndarray, " d_model"]:
    """The mean of the affective rows after taking away each scenario's own mean (EC); for twins, half the paired difference."""
    return (affective - (affective + neutral) / 2).mean(axis=0)


def pca(affective: Rows, neutral: Rows) -> Float[np.ndarray, " d_model"]:
    """The first right singular vector of the paired differences, *not* centred: centring takes the signal out (RepE)."""
    return np.linalg.svd(affective - neutral, full_matrices=False)[2][0]


def lda(affective: Rows, neutral: Rows) -> Float[np.ndarray, " d_model"]:
    """The mean difference whitened by the covariance within arms, S^-1 (m_a - m_n), shrunk as Ledoit & Wolf (2004)."""
    within = np.concatenate([affective - affective.mean(axis=0), neutral - neutral.mean(axis=0)])
    covariance = ledoit_wolf(within, assume_centered=True)[0]
    return np.linalg.lstsq(covariance, paired(affective, neutral), rcond=None)[0]


def logistic(affective: Rows, neutral: Rows) -> Float[np.ndarray, " d_model"]:
    """The weights of a logistic regression (C = 1) on standardised rows, mapped back to raw space: w / sigma."""
    x = np.concatenate([affective, neutral])
    y = np.repeat([1, 0], len(affective))
    standardise = standardiser(x)
    weights = LogisticRegression(tol=1e-4, max_iter=5000).fit(standardise(x), y).coef_[0]
    return weights * (standardise(np.ones((1, x.shape[1]))) - standardise(np.zeros((1, x.shape[1]))))[0]


DIRECTIONS: dict[str, Method] = {
    "paired": paired, "group_centred": group_centred, "pca": pca, "lda": lda, "logistic": logistic,
}  # fmt: skip
"""Name -> (affective, neutral) -> an unnormalised vector, whose sign `fit` anchors."""


def fit(
    affective: Rows,
    neutral: Rows,
    *,
    site: Site,
    labels: tuple[str, str],
    method: str = "paired",
    provenance: Mapping[str, Any] | None = None,
) -> Direction:
    """The direction from `neutral` rows to `affective` rows (row i of both is one pair), labelled (affective, neutral).

    Raises `DataError` for rows that do not match or are not finite, `StatisticsError` for fewer than two pairs, `UsageError`
    for an unknown method, `ArtefactError` when the twins do not differ along it.
    """
    _check_rows(affective, neutral)
    vector = _unit(_method(method)(affective, neutral))
    difference = (affective - neutral).astype(np.float64) @ vector
    if difference.mean() < 0:
        vector, difference = -vector, -difference
    scale, spread = float(difference.mean()), float(difference.std(ddof=1))
    return Direction(vector, site, method, labels, scale, spread, dict(provenance or {}))


def fit_groups(
    x: Float[np.ndarray, "item d_model"],
    emotions: Labels,
    groups: Labels,
    *,
    site: Site,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Direction]:
    """Group-centred directions of scenarios told under every emotion (EC).

    r_ge = x_ge - mean_e' x_ge' and v_e = unit(mean_g r_ge), for scenarios g and emotions e. Only groups that hold each
    emotion once count. The vectors sum to zero before normalisation, so their mean pairwise cosine is about -1/(E-1): an
    artefact of centring. Raises `StatisticsError` for fewer than two complete groups.
    """
    names, kind, group = np.unique(np.asarray(emotions)), codes(emotions), numbered(groups)
    counts = np.zeros((group.max() + 1, len(names)), dtype=int)
    np.add.at(counts, (group, kind), 1)
    complete = np.flatnonzero((counts == 1).all(axis=1))
    if len(complete) < 2 or len(names) < 2:
        raise StatisticsError(f"{len(complete)} groups hold each of {len(names)} emotions once; need >= 2 groups and emotions.")
    rows = np.flatnonzero(np.isin(group, complete))
    rows = rows[np.lexsort((kind[rows], group[rows]))]
    told = x[rows].reshape(len(complete), len(names), x.shape[1])
    centre = told.mean(axis=1)
    found = {}
    for place, name in enumerate(names):
        direction = fit(told[:, place], centre, site=site, labels=(str(name), "mean"), provenance=provenance)
        found[str(name)] = replace(direction, method="group_centred")
    return found


def anchored(direction: Direction, affective: Rows, neutral: Rows) -> Direction:
    """The direction with the sign that held-out twins ask for: turned, with a warning in its provenance, when it disagrees."""
    _check_rows(affective, neutral)
    if float((affective - neutral).mean(axis=0) @ direction.vector) >= 0:
        return direction
    warning = f"sign turned: held-out {direction.labels[0]!r} projected lower than {direction.labels[1]!r}."
    told = {**direction.provenance, "warnings": [*direction.provenance.get("warnings", []), warning]}
    return replace(direction, vector=-direction.vector, provenance=told)


def separation(
    affective: Rows, neutral: Rows, groups: Labels, *, method: str = "paired", n_splits: int = 5, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows (metric, value, ci_low, ci_high, n) of how a direction fitted on some scenarios separates the twins of others.

    separation_auroc of the projections inside grouped folds; d_prime, their mean difference over their pooled standard
    deviation; split_half_cosine of directions fitted on two halves of the scenarios (mean and 95 % range of `N_HALVES`
    halvings); norm of the mean paired difference. `n` counts pairs. Raises as `fit` and `grouped_folds`.
    """
    _check_rows(affective, neutral)
    if (n_groups := len(np.unique(np.asarray(groups)))) < 4:
        raise StatisticsError(f"two halves of the scenarios need at least 4 scenarios, there are {n_groups}.")
    projection, number = held_out_projections(affective, neutral, groups, method=method, n_splits=n_splits, seed=seed)
    n_pairs, both = len(affective), np.concatenate([groups, groups])
    truth = np.repeat([True, False], n_pairs)
    size = np.linalg.norm
    statistics: dict[str, Statistic] = {
        "separation_auroc": lambda w: weighted_auroc(projection, w * truth, w * ~truth, strata=number),
        "d_prime": lambda w: _d_prime(projection, w * truth, w * ~truth),
        "norm": lambda w: size(w[:, :n_pairs] @ (affective - neutral) / w[:, :n_pairs].sum(axis=1, keepdims=True), axis=1),
    }
    rows = []
    for metric, statistic in statistics.items():
        inflation = 1.0 if metric == "norm" else CV_INFLATION
        value, low, high = cluster_bootstrap(statistic, both, seed=seed, inflation=inflation)
        if metric == "separation_auroc":
            low, high = max(0.0, low), min(1.0, high)
        rows.append({"metric": metric, "value": value, "ci_low": low, "ci_high": high, "n": n_pairs})
    return [*rows, _split_half(affective, neutral, groups, _method(method), seed)]


def held_out_projections(
    affective: Rows, neutral: Rows, groups: Labels, *, method: str = "paired", n_splits: int = 5, seed: int = 0
) -> tuple[Float[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Projections of all affective, then all neutral rows on directions fitted without their scenarios, and each row's fold.

    A fold's projections are centred on its training rows. Raises as `fit` and `grouped_folds`.
    """
    _check_rows(affective, neutral)
    n_pairs, fit_vector = len(affective), _method(method)
    y, both = np.repeat([1, 0], n_pairs), np.concatenate([groups, groups])
    folds = grouped_folds(y, both, n_splits=n_splits, seed=seed)
    x, projection = np.concatenate([affective, neutral]).astype(np.float64), np.zeros(2 * n_pairs)
    for fold in folds:
        pairs = fold.train[fold.train < n_pairs]
        vector = _turned(fit_vector(affective[pairs], neutral[pairs]), affective[pairs] - neutral[pairs])
        projection[fold.test] = (x[fold.test] - x[fold.train].mean(axis=0)) @ vector
    return projection, fold_of(folds, len(y))


def _split_half(affective: Rows, neutral: Rows, groups: Labels, method: Method, seed: int) -> dict[str, Any]:
    group, random = numbered(groups), np.random.default_rng(seed)
    n_groups = int(group.max()) + 1
    cosines = []
    for _ in range(N_HALVES):
        first = np.isin(group, random.permutation(n_groups)[: n_groups // 2])
        halves = [_turned(method(affective[half], neutral[half]), affective[half] - neutral[half]) for half in (first, ~first)]
        cosines.append(float(halves[0] @ halves[1]))
    low, high = np.quantile(cosines, (0.025, 0.975)).tolist()
    value = float(np.mean(cosines))
    return {"metric": "split_half_cosine", "value": value, "ci_low": low, "ci_high": high, "n": len(affective)}


def _d_prime(projection: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    means, variances = [], []
    for weights in (high, low):
        total = weights.sum(axis=1)
        mean = weights @ projection / total
        means.append(mean)
        variances.append(np.maximum(weights @ projection**2 / total - mean**2, 0))
    spread = np.sqrt((variances[0] + variances[1]) / 2)
    return np.divide(means[0] - means[1], spread, out=np.full(len(spread), np.nan), where=spread > 0)


def _turned(vector: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """The unit vector, with the sign under which the differences are positive on average."""
    unit = _unit(vector)
    return unit if float(differences.mean(axis=0) @ unit) >= 0 else -unit


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise ArtefactError(f"the direction's norm is {norm}: the twins do not differ at this site, so it points nowhere.")
    return vector.astype(np.float64) / norm


def _method(name: str) -> Method:
    if name not in DIRECTIONS:
        raise UsageError(f"unknown direction method {name!r}: choose one of {', '.join(DIRECTIONS)}.")
    return DIRECTIONS[name]


def _check_rows(affective: np.ndarray, neutral: np.ndarray) -> None:
    if affective.shape != neutral.shape:
        raise DataError(
            f"affective rows have shape {affective.shape}, neutral ones {neutral.shape}: row i of both is one pair."
        )
    if len(affective) < 2:
        raise StatisticsError(f"a direction needs at least 2 pairs, there is {len(affective)}.")
    for name, rows in (("affective", affective), ("neutral", neutral)):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise DataError(f"{len(bad)} {name} rows are not finite, first pair {bad[0]}: quarantine the pair or mend it.")


def _bad(vector: np.ndarray) -> int:
    return int((~np.isfinite(vector)).sum())
