"""Logistic probes of many labellings of the same rows, fitted together; a labelling may give each
row a share of every class in the place of one class.

What a labelling changes is the right side alone. So one bound on the curvature is factored once
and serves every labelling and every step; the steps are accelerated (Nesterov 1983), and begin anew
where they overshoot (O'Donoghue & Candès 2015). The bound that always holds is that of the squares,
times a quarter for two classes and a half for more (Böhning 1992). Of many classes it is far too
careful while all are about as likely: there it begins at one over their number, and is doubled
where a step meets more curvature. The optimum is that of scikit-learn's `LogisticRegression`: C
times the log-loss plus half the squared weights, with an intercept that no penalty holds.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from interp.errors import StatisticsError

FLAT_ENOUGH = 1e-5
"""The largest slope of the mean loss at which a fit ends, as that of the probe itself."""

MOST_STEPS = 10_000
"""Standardised rows of a language model take a few hundred."""

NUMBERS_AT_ONCE = 4_000_000
"""Numbers (rows times labellings times classes) that are worked on at once, as far as one labelling
allows: what does not fit the processor's caches is slow.
"""

_ROUNDING = 1e-6
"""What the curvature along a step may be above the bound, relative, without a doubt about it."""


def fit_labellings(
    train: Float[np.ndarray, "item axis"],
    labels: Int[np.ndarray, "draw item"],
    test: Float[np.ndarray, "other axis"],
    *,
    n_classes: int,
    C: float,
) -> Float[np.ndarray, "draw other class"]:
    """The probability of each class for the rows `test`, from the rows `train` under each labelling
    (codes below `n_classes`). Two classes have one set of weights, more have one each.

    Raises `StatisticsError` where `MOST_STEPS` steps do not lead to the optimum.
    """
    wanted = np.arange(1, 2) if n_classes == 2 else np.arange(n_classes)
    return _fit(train, labels[:, :, None] == wanted, test, n_classes, C)


def fit_shares(
    train: Float[np.ndarray, "item axis"],
    shares: Float[np.ndarray, "draw item class"],
    test: Float[np.ndarray, "other axis"],
    *,
    C: float,
) -> Float[np.ndarray, "draw other class"]:
    """`fit_labellings` to soft labels: what is small is C times the sum of the cross-entropies of
    each row's shares, which is that of the divergences KL(shares || told) but for a constant.
    """
    n_classes = shares.shape[2]
    return _fit(train, shares[:, :, 1:] if n_classes == 2 else shares, test, n_classes, C)


def _fit(
    train: np.ndarray, wanted: np.ndarray, test: np.ndarray, n_classes: int, c: float
) -> np.ndarray:
    """The probabilities of the rows `test` under each draw of what is wanted of the rows `train`;
    of two classes the second alone is wanted.
    """
    centre = train.mean(axis=0)
    rows, others = (part.astype(np.float64) - centre for part in (train, test))
    told = np.empty((len(wanted), len(others), wanted.shape[2]))
    at_once = max(1, NUMBERS_AT_ONCE // (len(rows) * wanted.shape[2]))
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        # A column per draw and class, draws side by side.
        columns = some.transpose(1, 0, 2).reshape(len(rows), -1).astype(np.float64)
        weights, intercept = _minimise(rows, columns, n_classes, c)
        scores = _probability(others @ weights + intercept, n_classes)
        told[start : start + at_once] = scores.reshape(len(others), *some.shape[::2]).swapaxes(0, 1)
    return np.concatenate([1 - told, told], axis=2) if n_classes == 2 else told


def _minimise(
    rows: np.ndarray, columns: np.ndarray, n_classes: int, c: float
) -> tuple[np.ndarray, np.ndarray]:
    n, square = len(rows), rows.T @ rows
    always = 0.25 if n_classes == 2 else 0.5
    curve = _Curve(square, c, n, min(always, 1 / n_classes))
    weights, intercept = np.zeros((rows.shape[1], columns.shape[1])), np.zeros(columns.shape[1])
    ahead, base, run = weights, intercept, np.ones(columns.shape[1])
    before: tuple[np.ndarray, ...] = ()
    for _ in range(MOST_STEPS):
        missed = _probability(rows @ ahead + base, n_classes) - columns
        slope, level = rows.T @ missed + ahead / c, missed.sum(axis=0)
        if max(np.abs(slope).max(initial=0.0), np.abs(level).max(initial=0.0)) <= FLAT_ENOUGH * n:
            return ahead, base
        here = (ahead, base, slope, level)
        if before and curve.bound < always and curve.is_low(before, here, n_classes):
            curve, run = _Curve(square, c, n, min(always, 2 * curve.bound)), np.ones_like(run)
        before = here
        new, new_base = ahead - curve.solve(slope), base - level / (curve.bound * n)
        step, step_base = new - weights, new_base - intercept
        # Uphill: this column's run of growing steps begins anew.
        run = np.where((slope * step).sum(axis=0) + level * step_base > 0, 1.0, run)
        longer = (1 + np.sqrt(1 + 4 * run**2)) / 2
        momentum, run = (run - 1) / longer, longer
        ahead, base = new + momentum * step, new_base + momentum * step_base
        weights, intercept = new, new_base
    raise StatisticsError(
        f"the logistic probes did not converge in {MOST_STEPS} steps: what they tell, or the p of "
        "relabelled texts, cannot be said. Try --probe lda."
    )


class _Curve:
    """The curvature that steps reckon with: `bound` times that of the squares of `n` rows, and that
    of the penalty.
    """

    def __init__(self, square: np.ndarray, c: float, n: int, bound: float) -> None:
        self.bound, self._square, self._c, self._n = bound, square, c, n
        self._factor = cho_factor(bound * square + np.eye(len(square)) / c)

    def solve(self, slope: np.ndarray) -> np.ndarray:
        """The step that this slope asks for."""
        return np.asarray(cho_solve(self._factor, slope))

    def is_low(
        self, before: tuple[np.ndarray, ...], here: tuple[np.ndarray, ...], n_classes: int
    ) -> bool:
        """Whether some draw met more curvature between two points, each with its slopes."""
        step, base, slope, level = (new - old for new, old in zip(here, before, strict=True))
        met = (step * slope).sum(axis=0) + base * level
        known = self.bound * ((self._square @ step * step).sum(axis=0) + self._n * base**2)
        known += (step**2).sum(axis=0) / self._c
        met, known = (one.reshape(-1, n_classes).sum(axis=1) for one in (met, known))
        return bool((met > (1 + _ROUNDING) * known).any())


def _probability(scores: np.ndarray, n_classes: int) -> np.ndarray:
    """The softmax of each draw's classes. SciPy's takes six times as long here, and half of a fit
    would be spent on it.
    """
    if n_classes == 2:
        return 1 / (1 + np.exp(-scores))
    of_draw = scores.reshape(len(scores), -1, n_classes)
    found = of_draw - of_draw.max(axis=2, keepdims=True)
    np.exp(found, out=found)
    found /= found.sum(axis=2, keepdims=True)
    return found.reshape(scores.shape)
