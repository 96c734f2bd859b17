"""Power: how many scenarios a test needs to see an effect, from the spread that was measured."""

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from interp.errors import StatisticsError
from interp.stats import Labels, numbered

SIZES = (5, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Numbers of scenarios that are tried."""

WANTED = 0.8
"""The share of studies that should see the effect."""


def scenario_means(
    values: Float[np.ndarray, " item"], groups: Labels
) -> Float[np.ndarray, " group"]:
    """The mean of each scenario's values."""
    group = numbered(groups)
    return np.bincount(group, weights=values) / np.bincount(group)


def power(
    values: Float[np.ndarray, " group"],
    n: int,
    *,
    share: float = 0.5,
    alpha: float = 0.05,
    n_studies: int = 2000,
    seed: int = 0,
) -> float:
    """The share of studies of `n` scenarios in which a mean of `share` times the measured one is
    seen.

    Each study draws scenarios, with replacement, from the measured `values`, moved so that their
    mean is that. It is seen where a one-sided t-test has p <= alpha: the sign flips that the stages
    use agree with it closely from five scenarios on. Raises `StatisticsError` for fewer than five
    values.
    """
    if len(values) < SIZES[0]:
        raise StatisticsError(
            f"power is simulated from at least {SIZES[0]} scenarios, and there are {len(values)}."
        )
    moved = values - (1 - share) * values.mean()
    drawn = np.random.default_rng(seed).choice(moved, size=(n_studies, n))
    spread = drawn.std(axis=1, ddof=1)
    # t = mean / (s / sqrt(n)), seen where it exceeds the 1 - alpha quantile of Student's t
    seen = drawn.mean(axis=1) * np.sqrt(n) > student.ppf(1 - alpha, n - 1) * spread
    return float(seen.mean())


def scenarios_needed(
    values: Float[np.ndarray, " group"], *, share: float = 0.5, seed: int = 0
) -> int | None:
    """The fewest scenarios of `SIZES` with which `WANTED` of the studies see `share` of the
    measured mean; None where not even the largest number does, or the mean is not above zero.
    """
    if values.mean() <= 0:
        return None
    return next((n for n in SIZES if power(values, n, share=share, seed=seed) >= WANTED), None)
