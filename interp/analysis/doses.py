"""Doses of stress: statements of graded levels before a task, against the score and the reading.

The statement is the unit: several of a level, each before the same tasks. A straight line says
whether a number rises or falls with the dose; two lines (`interp.analysis.two_lines`) whether it
rises and then falls. Compare *StressPrompt*, which sees an inverted U in means by level.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from interp.analysis.framings import is_right
from interp.analysis.stats import max_t
from interp.analysis.two_lines import two_lines
from interp.results import TableRows
from interp.shares import Share
from interp.stats import Estimate, Statistic, jackknife, mean_interval, mean_of

ACCURACY, MARGIN = "accuracy", "margin"


def level_rows(
    dose: Float[np.ndarray, " statement"],
    margins: Float[np.ndarray, "statement task"],
    readings: Mapping[str, Float[np.ndarray, " statement"]],
) -> TableRows:
    """Rows of each level (`dose`): `accuracy` and `margin` (nats) of the tasks, and `reading`, the
    mean projection on each direction (`target`); intervals over the level's statements.
    """
    rows: TableRows = []
    for level in np.unique(dose).tolist():
        mine = np.flatnonzero(dose == level)
        own = margins[mine]
        statements = np.repeat(mine, own.shape[1])
        right = Share(mean_of(is_right(own).ravel().astype(float)))
        found = {
            (ACCURACY, ""): right.estimate(statements),
            (MARGIN, ""): mean_interval(own.ravel(), statements),
            **{("reading", at): mean_interval(one[mine], mine) for at, one in readings.items()},
        }
        rows += [
            {"dose": level, "metric": metric, "target": target, **one._asdict()}
            for (metric, target), one in found.items()
        ]
    return _told(rows)


def dose_rows(
    dose: Float[np.ndarray, " statement"],
    margins: Float[np.ndarray, "statement task"],
    readings: Mapping[str, Float[np.ndarray, " statement"]],
    *,
    draws: int = 999,
    seed: int = 0,
) -> TableRows:
    """Rows of the dose's part in `accuracy`, `margin` and each reading (`target`).

    metric        value
    slope         change per level by one line; `p` two-sided, by dealing the doses anew, and for
                  readings beside all of them (max-T)
    slope_below   the first of the two lines, up to the level `turn`; `p` two-sided, of its own
    slope_above   the second
    inverted_u    the weaker claim of the two (the lesser of the first slope and minus the second)
                  with the larger `p`; `p_order`: how often other orders of the doses do as much

    The two lines are of the scores alone. Their turn is chosen on every other statement of a level,
    and all rows of them are of the rest.
    """
    scores = {ACCURACY: is_right(margins).mean(axis=1), MARGIN: margins.mean(axis=1)}
    rows: TableRows = []
    for family in (scores, readings):
        if not family:
            continue
        p = _slope_p(dose, np.stack(list(family.values())), draws=draws, seed=seed)
        for (target, values), own in zip(family.items(), p.tolist(), strict=True):
            found = jackknife(_slope(dose, values), np.arange(len(dose)))
            rows.append({"metric": "slope", "target": target, **found._asdict(), "p": own})
    choosing = every_other(dose)
    for target, values in scores.items():
        told = two_lines(dose, values, choosing, draws=draws, seed=seed)
        common = {"target": target, "turn": told.turn}
        parts: dict[str, tuple[Estimate, float]] = {
            "slope_below": (told.slopes[0], told.p_of[0]),
            "slope_above": (told.slopes[1], told.p_of[1]),
            "inverted_u": (told.both, told.p),
        }
        for metric, (found, value) in parts.items():
            rows.append({**common, "metric": metric, **found._asdict(), "p": value})
        rows[-1]["p_order"] = told.p_order
    return _told(rows)


def every_other(dose: Float[np.ndarray, " statement"]) -> np.ndarray:
    """Every other item of each dose, the first among them."""
    chosen = np.zeros(len(dose), dtype=bool)
    for level in np.unique(dose):
        chosen[np.flatnonzero(dose == level)[::2]] = True
    return chosen


def _slope(dose: Float[np.ndarray, " item"], values: Float[np.ndarray, " item"]) -> Statistic:
    """The least-squares slope as a function of the items' weights."""

    def statistic(weights: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, " draw"]:
        total = weights.sum(axis=1)
        x, y = weights @ dose / total, weights @ values / total
        together = weights @ (dose * values) / total - x * y
        spread = weights @ dose**2 / total - x**2
        return np.divide(together, spread, out=np.full(len(total), np.nan), where=spread > 0)

    return statistic


def _slope_p(
    dose: Float[np.ndarray, " item"],
    values: Float[np.ndarray, "kind item"],
    *,
    draws: int,
    seed: int,
) -> Float[np.ndarray, " kind"]:
    """Two-sided p of each slope, beside all of them; 1 for values that do not vary."""
    random = np.random.default_rng(seed)
    orders = np.stack(
        [np.arange(len(dose)), *(random.permutation(len(dose)) for _ in range(draws))]
    )
    middle = dose - dose.mean()
    size = np.abs(np.einsum("oi,ki->ok", middle[orders], values - values.mean(axis=1)[:, None]))
    varies, p = np.ptp(values, axis=1) > 0, np.ones(len(values))
    if varies.any():
        p[varies] = max_t(size[0, varies], size[1:, varies])
    return p


def _told(rows: TableRows) -> TableRows:
    return [{"method": "stress_dose", "control": "", **row} for row in rows]
