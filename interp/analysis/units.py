"""Calibrated units: what a projection on a direction comes to, beside held-out texts.

    share        (x . v - mean of n_i) / length     0: as the mean neutral text; 1: as far above it
                                                    as a held-out text lies above its twin
    percentile   100 * (below + equal / 2) / n      among the projections n_i of neutral texts
    probability  1 / (1 + exp(-(a x . v + b)))      that a text which projects so is emotional,
                                                    where as many are emotional as neutral

`length` is the natural length (`interp.analysis.methods.cross_fit`), and n_i is the projection of a
neutral text along a direction that was fitted without its scenario: along one that it helped to
fit it lies too low, and every new text would seem to be above it. A direction whose length is not
above zero separates no held-out text from its twin: it is no unit, and gives no share and no
probability. a and b are those of a logistic regression of the twins on their own held-out
projections; its targets are (n + 1) / (n + 2) and 1 / (n + 2), so that twins who are told apart
without a fault do not make it certain (Platt 1999).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

from interp.analysis.directions import MEAN_OF_ALL
from interp.directions import Direction

LEAST_NEUTRAL = 2
"""Neutral texts that a direction must know of before anything is held against them."""


def is_calibrated(direction: Direction) -> bool:
    """Whether the direction knows where neutral texts project; those of older files do not."""
    return len(direction.neutral) >= LEAST_NEUTRAL


def length_shares(
    projections: Float[np.ndarray, " *place"], direction: Direction
) -> Float[np.ndarray, " *place"]:
    """The projections as shares of the direction's natural length above the mean neutral text; NaN
    where the direction has no length above zero, or does not know where neutral texts project.
    """
    if not is_calibrated(direction) or not direction.length > 0:
        return np.full(np.shape(projections), np.nan)
    return (projections - direction.neutral.mean()) / direction.length


def percentiles(
    projections: Float[np.ndarray, " *place"], direction: Direction
) -> Float[np.ndarray, " *place"]:
    """How many of a hundred neutral texts project lower than each projection; a tie counts half.
    NaN for NaN, and where the direction does not know where neutral texts project.
    """
    if not is_calibrated(direction):
        return np.full(np.shape(projections), np.nan)
    known = np.sort(direction.neutral)
    below, upto = (np.searchsorted(known, projections, side) for side in ("left", "right"))
    return np.where(np.isnan(projections), np.nan, 100 * (below + upto) / 2 / len(known))


def probabilities(
    projections: Float[np.ndarray, " *place"], direction: Direction
) -> Float[np.ndarray, " *place"]:
    """The probability that a text which projects so evokes the emotion and is not neutral, where as
    many texts do as do not.

    NaN for NaN, where the direction has no length above zero, where it does not know where its
    twins project, and where it was fitted against the mean of all emotions: these are no neutral
    texts.
    """
    known = is_calibrated(direction) and len(direction.affective) == len(direction.neutral)
    if not known or not direction.length > 0 or direction.labels[1] == MEAN_OF_ALL:
        return np.full(np.shape(projections), np.nan)
    slope, level = _logistic(direction.affective.tobytes(), direction.neutral.tobytes())
    return 1 / (1 + np.exp(-(slope * projections + level)))


@lru_cache(maxsize=256)
def _logistic(affective: bytes, neutral: bytes) -> tuple[float, float]:
    """Slope and level of the logistic regression of held-out projections."""
    high, low = (np.frombuffer(one, dtype=np.float64) for one in (affective, neutral))
    x, n = np.concatenate([high, low]), len(low)
    centre, spread = float(x.mean()), float(x.std())
    if not spread > 0:
        return 0.0, 0.0
    sure = (n + 1) / (n + 2)
    emotional = np.repeat([sure, 1 - sure], n)
    reader = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    reader.fit(
        np.tile((x - centre) / spread, 2)[:, None],
        np.repeat([1, 0], 2 * n),
        sample_weight=np.concatenate([emotional, 1 - emotional]),
    )
    slope = float(reader.coef_[0, 0]) / spread
    return slope, float(reader.intercept_[0]) - slope * centre


READINGS = {"share": length_shares, "percentile": percentiles, "probability": probabilities}
"""Every unit by the name that its column has."""
