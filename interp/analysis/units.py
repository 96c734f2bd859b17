"""Calibrated units: what a projection on a direction comes to, beside held-out neutral texts.

    share        (x . v - mean of n_i) / length     0: as the mean neutral text; 1: as far above it
                                                    as a held-out text lies above its twin
    percentile   100 * (below + equal / 2) / n      among the projections n_i of neutral texts

`length` is the natural length (`interp.analysis.methods.cross_fit`), and n_i is the projection of a
neutral text along a direction that was fitted without its scenario: along one that it helped to
fit it lies too low, and every new text would seem to be above it. A direction whose length is not
above zero separates no held-out text from its twin: it is no unit, and gives no share.
"""

import numpy as np
from jaxtyping import Float

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
