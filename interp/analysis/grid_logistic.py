"""Logistic probes of several settings on several parts of the same rows, fitted side by side.

L-BFGS (Liu & Nocedal 1989) for all problems at once: a step of all of them is two products with the
same rows, and what is done beside that is done once, not once a problem. A problem that is flat
enough leaves. The optimum is that of scikit-learn's `LogisticRegression`: C times the log-loss plus
half the squared weights, with an intercept that no penalty holds.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.analysis.many_logistic import FLAT_ENOUGH

MOST_GRID_STEPS = 1000
_REMEMBERED = 8
_ENOUGH = 1e-4
"""The share of the promised descent that a step must bring (Armijo 1966)."""

_ROUNDING = 1e-12
"""What the sum of a loss may be off by, relative: a step is not refused for that."""


class GridFits(NamedTuple):
    """The probabilities that every fit gives all rows, and whether all fits came to an end."""

    probability: Float[np.ndarray, "setting part item class"]
    converged: bool


def fit_grid(
    z: Float[np.ndarray, "item axis"],
    labels: Int[np.ndarray, " item"],
    parts: Sequence[Int[np.ndarray, " _"]],
    grid: Sequence[Mapping[str, float]],
) -> GridFits:
    """Fit every setting of `grid` (its C) on the rows of every one of `parts`.

    `labels` are codes 0, 1, ... of classes, each of which every part holds. A fit ends where no
    slope of its part's mean loss is above `FLAT_ENOUGH`, as one of scikit-learn's.
    """
    rows = np.unique(np.concatenate(parts))
    n_classes = int(labels[rows].max()) + 1
    everywhere = np.column_stack([z.astype(np.float64), np.ones(len(z))])
    first = 1 if n_classes == 2 else 0  # two classes have one set of weights
    cases = list(product((setting["C"] for setting in grid), parts))
    problems = _Problems(
        everywhere[rows],
        (labels[rows] == np.arange(first, n_classes)[:, None]).astype(np.float64),
        np.stack([np.isin(rows, part) for _, part in cases]).astype(np.float64),
        np.array([1 / c for c, _ in cases]),
    )
    weights, converged = _minimise(problems)
    scores = weights @ everywhere.T
    chance = np.exp(scores - _level(scores)[:, None])
    both = np.concatenate([1 - chance, chance], axis=1) if n_classes == 2 else chance
    told = both.transpose(0, 2, 1).reshape(len(grid), len(parts), len(z), n_classes)
    return GridFits(told, converged)


def _level(scores: Float[np.ndarray, "problem out row"]) -> Float[np.ndarray, "problem row"]:
    """log of the sum of e^score over the classes; of two, the first one's score is zero."""
    if scores.shape[1] == 1:
        return np.asarray(np.logaddexp(0, scores[:, 0]))
    highest = scores.max(axis=1)
    return np.asarray(highest + np.log(np.exp(scores - highest[:, None]).sum(axis=1)))


class _Problems(NamedTuple):
    """Fits of the same rows, whose last axis is the intercept's: what is wanted of each row, which
    of them a problem holds, and how hard it penalises weights.
    """

    rows: Float[np.ndarray, "row axis"]
    wanted: Float[np.ndarray, "out row"]
    held: Float[np.ndarray, "problem row"]
    penalty: Float[np.ndarray, " problem"]

    def some(self, which: np.ndarray) -> "_Problems":
        """These of the problems."""
        return self._replace(held=self.held[which], penalty=self.penalty[which])

    def scores(self, weights: np.ndarray) -> Float[np.ndarray, "problem out row"]:
        flat = weights.reshape(-1, weights.shape[2])
        return np.asarray((flat @ self.rows.T).reshape(*weights.shape[:2], -1))

    def losses(self, weights: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The objective of each problem, over its C, and the level of its rows (`_level`)."""
        level = _level(scores)
        missed = (level - (scores * self.wanted).sum(axis=1)) * self.held
        free = weights[:, :, -1]
        kept = _dot(weights, weights) - _dot(free, free)
        return missed.sum(axis=1) + self.penalty * kept / 2, level

    def slopes(self, weights: np.ndarray, scores: np.ndarray, level: np.ndarray) -> np.ndarray:
        missed = (np.exp(scores - level[:, None]) - self.wanted) * self.held[:, None]
        slopes = (missed.reshape(-1, missed.shape[2]) @ self.rows).reshape(weights.shape)
        slopes[:, :, :-1] += self.penalty[:, None, None] * weights[:, :, :-1]
        return np.asarray(slopes)


class _State(NamedTuple):
    """Where problems stand: their weights, what these score, lose, and how steep that is."""

    weights: np.ndarray
    scores: np.ndarray
    losses: np.ndarray
    slopes: np.ndarray

    def some(self, which: np.ndarray) -> "_State":
        return _State(*(one[which] for one in self))


def _minimise(problems: _Problems) -> tuple[Float[np.ndarray, "problem out axis"], bool]:
    """The weights of each problem, and whether all were reached."""
    n = problems.held.sum(axis=1)
    shape = (len(n), len(problems.wanted), problems.rows.shape[1])
    found, left = np.zeros(shape), np.arange(len(n))
    scores = np.zeros((*shape[:2], len(problems.rows)))
    losses, level = problems.losses(found, scores)
    state = _State(found.copy(), scores, losses, problems.slopes(found, scores, level))
    steps = _Steps(state.slopes)
    for _ in range(MOST_GRID_STEPS):
        steep = np.abs(state.slopes).max(axis=(1, 2)) > FLAT_ENOUGH * n[left]
        if not steep.all():
            found[left] = state.weights
            left, problems = left[steep], problems.some(steep)
            state, steps = state.some(steep), steps.some(steep)
        if not len(left):
            return found, True
        new = _step(problems, state, steps.direction(state.slopes))
        steps.add(new.weights - state.weights, new.slopes - state.slopes)
        state = new
    found[left] = state.weights
    return found, False


def _step(problems: _Problems, state: _State, way: np.ndarray) -> _State:
    """One step of every problem along its way, halved until it brings enough."""
    along, promised, size = problems.scores(way), _dot(state.slopes, way), np.ones(len(way))
    slack = _ROUNDING * (1 + np.abs(state.losses))
    while True:
        far = size[:, None, None]
        weights, scores = state.weights + far * way, state.scores + far * along
        losses, level = problems.losses(weights, scores)
        short = losses > state.losses + _ENOUGH * size * promised + slack
        if not short.any():
            return _State(weights, scores, losses, problems.slopes(weights, scores, level))
        size = np.where(short, size / 2, size)


def _dot(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " problem"]:
    return np.asarray(np.einsum("ij,ij->i", a.reshape(len(a), -1), b.reshape(len(b), -1)))


class _Steps:
    """What L-BFGS remembers of each problem's last steps: how far they went, and by how much the
    slope changed.
    """

    def __init__(self, slopes: np.ndarray) -> None:
        self.kept: list[tuple[np.ndarray, ...]] = []
        self.scale = 1 / np.maximum(np.sqrt(_dot(slopes, slopes)), 1.0)  # of the first step

    def some(self, which: np.ndarray) -> "_Steps":
        """The same of these problems."""
        if which.any():
            self.kept = [tuple(one[which] for one in step) for step in self.kept]
            self.scale = self.scale[which]
        return self

    def add(self, step: np.ndarray, change: np.ndarray) -> None:
        """Remember a step. One that rounding has eaten up teaches nothing."""
        curved, square = _dot(step, change), _dot(change, change)
        moved = (curved > 0) & (square > 0)
        each = np.divide(1.0, curved, out=np.zeros_like(curved), where=moved)
        self.scale = np.divide(curved, square, out=self.scale.copy(), where=moved)
        self.kept = [*self.kept, (step, change, each)][-_REMEMBERED:]

    def direction(self, slopes: np.ndarray) -> np.ndarray:
        """The way down: minus the remembered inverse curvature times the slope."""
        way, parts = -slopes, []
        for step, change, each in reversed(self.kept):
            parts.append(each * _dot(step, way))
            way -= parts[-1][:, None, None] * change
        way *= self.scale[:, None, None]
        for (step, change, each), part in zip(self.kept, reversed(parts), strict=True):
            way += (part - each * _dot(change, way))[:, None, None] * step
        return way
