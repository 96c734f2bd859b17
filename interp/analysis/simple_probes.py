"""Two classifiers that a linear probe is held against: the difference of means, which fits least,
and nearest neighbours, which need no line between the classes.
"""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from interp.stats import codes

ProbeRows = Float[np.ndarray, "row axis"]


class MeanDifference(ClassifierMixin, BaseEstimator):
    """The class whose mean is nearest: of two classes, the projection on the difference of their
    means.

    Log-odds are scale * (|z - m_a|^2 - |z - m_b|^2) / 2 v, with v the rows' mean squared distance
    from the mean of their class; they add the log of the classes' shares.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def fit(self, z: ProbeRows, y: Shaped[np.ndarray, " row"]) -> "MeanDifference":
        """Learn the means of the classes of `y`."""
        self.classes_, code = np.unique(y), codes(y)
        counts = np.bincount(code)
        self.means_ = (np.eye(len(counts))[code] / counts[code][:, None]).T @ z
        apart = ((z - self.means_[code]) ** 2).sum(axis=1).mean()
        self.spread_ = max(float(apart), 1e-12)
        self.shares_ = counts / len(code)
        return self

    def predict_proba(self, z: ProbeRows) -> Float[np.ndarray, "row class"]:
        """The probability of each class for each row."""
        near = z @ self.means_.T - (self.means_**2).sum(axis=1) / 2
        odds = self.scale * near / self.spread_ + np.log(self.shares_)
        return np.asarray(softmax(odds, axis=1))


class Neighbours(ClassifierMixin, BaseEstimator):
    """The share of each class among the k nearest training rows, with one more vote that the
    classes share as they share all rows (so that no probability is zero). Where there are fewer
    than k rows, all vote. Cover & Hart (1967).
    """

    def __init__(self, k: float = 15.0) -> None:
        self.k = k

    def fit(self, z: ProbeRows, y: Shaped[np.ndarray, " row"]) -> "Neighbours":
        """Keep the rows with their classes."""
        self.classes_, code = np.unique(y), codes(y)
        self.rows_, self.member_ = z, np.eye(len(self.classes_))[code]
        return self

    def predict_proba(self, z: ProbeRows) -> Float[np.ndarray, "row class"]:
        """The probability of each class for each row."""
        k = min(int(self.k), len(self.rows_))
        # |z|^2 is the same for all training rows, so that it orders none.
        far = (self.rows_**2).sum(axis=1) - 2 * (z @ self.rows_.T)
        nearest = np.argpartition(far, k - 1, axis=1)[:, :k]
        votes = self.member_[nearest].sum(axis=1)
        return np.asarray((votes + self.member_.mean(axis=0)) / (k + 1))
