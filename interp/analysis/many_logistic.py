"""Logistic probes of many labellings of the same rows, fitted together; a labelling may give each
row a share of every class in the place of one class.

What a labelling changes is the right side alone. So one bound on the curvature (Böhning 1992: that
of the squares, a quarter for two classes and a half for more) is factored once and serves every
labelling and every step; the steps are accelerated (Nesterov 1983), and begin anew where they
overshoot (O'Donoghue & Candès 2015). The optimum is that of scikit-learn's `LogisticRegression`:
C times the log-loss plus half the squared weights, with an intercept that no penalty holds.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

from interp.errors import StatisticsError

FLAT_ENOUGH = 1e-5
"""The largest slope of the mean loss at which a fit ends, as that of the probe itself."""

MOST_STEPS = 10_000
"""Standardised rows of a language model take a few hundred."""


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
    # A column per draw and class, draws side by side.
    columns = wanted.transpose(1, 0, 2).reshape(len(rows), -1).astype(np.float64)
    weights, intercept = _minimise(rows, columns, n_classes, c)
    told = (
        _probability(others @ weights + intercept, n_classes)
        .reshape(len(others), len(wanted), -1)
        .transpose(1, 0, 2)
    )
    return np.concatenate([1 - told, told], axis=2) if n_classes == 2 else told


def _minimise(
    rows: np.ndarray, columns: np.ndarray, n_classes: int, c: float
) -> tuple[np.ndarray, np.ndarray]:
    n, bound = len(rows), 0.25 if n_classes == 2 else 0.5
    factor = cho_factor(bound * rows.T @ rows + np.eye(rows.shape[1]) / c)
    weights, intercept = np.zeros((rows.shape[1], columns.shape[1])), np.zeros(columns.shape[1])
    ahead, base, run = weights, intercept, np.ones(columns.shape[1])
    for _ in range(MOST_STEPS):
        missed = _probability(rows @ ahead + base, n_classes) - columns
        slope, level = rows.T @ missed + ahead / c, missed.sum(axis=0)
        if max(np.abs(slope).max(initial=0.0), np.abs(level).max(initial=0.0)) <= FLAT_ENOUGH * n:
            return ahead, base
        new, new_base = ahead - cho_solve(factor, slope), base - level / (bound * n)
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


def _probability(scores: np.ndarray, n_classes: int) -> np.ndarray:
    if n_classes == 2:
        return 1 / (1 + np.exp(-scores))
    return softmax(scores.reshape(len(scores), -1, n_classes), axis=2).reshape(scores.shape)
