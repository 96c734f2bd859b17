"""A state outside a model: a point of valence, arousal and dominance that the affect of each turn
moves, and that keeps some of what came before.

    v_t = momentum v_(t-1) + (1 - retention) (e_t - s_(t-1))        s_t = s_(t-1) + v_t

s is the state, e the affect of a turn, both in points of the rating scale from what the emotions
have on average. Without momentum this is of first order, s_t = retention s_(t-1) + (1 - retention)
e_t: it comes near e and never passes it. With momentum it is of second order, a mass on a damped
spring. Its modes are the roots of z^2 - (retention + momentum) z + momentum; where they are
complex, (retention + momentum)^2 < 4 momentum, it passes what it comes to (overshoot).

A state is told to a model as a mixture of emotions' directions: of all mixtures whose ratings add
up to the state the shortest, in weights (least squares). It is read along the axis on which the
emotions' directions go with each rating. Valence, arousal and dominance: Russell & Mehrabian
(1977). After *explicit state dynamics*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.analysis.circumplex import Ratings
from interp.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDynamics:
    """How much of a state a turn leaves (`retention`), and how much of its last move goes on
    (`momentum`; 0: first order). Raises `UsageError` for a share outside 0 to 1, or 1 itself.
    """

    retention: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        for name in ("retention", "momentum"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise UsageError(f"{name} is {share}: expected 0 or more, and less than 1.")

    def over(
        self, affect: Float[np.ndarray, "conversation turn axis"]
    ) -> Float[np.ndarray, "conversation turn axis"]:
        """The state behind each turn, which begins at rest in zero."""
        state = np.zeros_like(affect[:, 0])
        move = np.zeros_like(state)
        found = np.empty_like(affect)
        for turn in range(affect.shape[1]):
            move = self.momentum * move + (1 - self.retention) * (affect[:, turn] - state)
            state = state + move
            found[:, turn] = state
        return found


@dataclass(frozen=True, slots=True)
class AffectAxes:
    """Axes of affect, and the `ratings` of `emotions` on them, less the mean of these emotions."""

    names: tuple[str, ...]
    emotions: tuple[str, ...]
    ratings: Float[np.ndarray, "emotion axis"]
    middle: Float[np.ndarray, " axis"]

    def affect(self, labels: Sequence[str | None]) -> Float[np.ndarray, "text axis"]:
        """The affect of texts of these labels: of an emotion its ratings, of any other label zero,
        of None NaN.
        """
        known = dict(zip(self.emotions, self.ratings, strict=True))
        nothing = np.zeros(len(self.names))
        unknown = np.full(len(self.names), np.nan)
        return np.array([unknown if one is None else known.get(one, nothing) for one in labels])

    def weights(self, states: Float[np.ndarray, "*any axis"]) -> Float[np.ndarray, "*any emotion"]:
        """How many times each emotion's step is added, so that its ratings add up to the state."""
        return states @ np.linalg.pinv(self.ratings)

    def readers(
        self, steps: Float[np.ndarray, "emotion d_model"]
    ) -> Float[np.ndarray, "axis d_model"]:
        """What projects a stream onto each axis, in points: the regression of the emotions' steps
        on the axis's ratings, divided by its squared length.
        """
        along = self.ratings.T @ steps / (self.ratings**2).sum(axis=0)[:, None]
        return along / (along**2).sum(axis=1, keepdims=True)


def affect_axes(emotions: Sequence[str], ratings: Ratings) -> AffectAxes:
    """The axes on which `emotions` are rated. Raises `UsageError` for one that is not, and for so
    few that their ratings do not span the axes.
    """
    if lost := [one for one in emotions if one not in ratings]:
        raise UsageError(
            f"there are no ratings of {', '.join(lost)}: name others of {', '.join(ratings)} "
            "(--emotions)."
        )
    names = tuple(next(iter(ratings.values())))
    rated = np.array([[ratings[one][name] for name in names] for one in emotions])
    middle = rated.mean(axis=0)
    if np.linalg.matrix_rank(rated - middle) < len(names):
        raise UsageError(
            f"{len(emotions)} emotions span fewer axes than {', '.join(names)}: name at least "
            f"{len(names) + 1} (--emotions)."
        )
    return AffectAxes(names, tuple(emotions), rated - middle, middle)
