"""What theories and people say of the emotions' distances: the wheel, and ratings of their words.

    reference   squared distance of two emotions
    wheel       2 - 2 cos(angle between them), the eight primaries at 45 degrees: Plutchik (1980)
    ratings     valence, arousal and dominance, each in units of its spread, together
    valence, arousal, dominance      one of them alone

The ratings are people's, of the emotions' *words*: means of the norms of Warriner, Kuperman &
Brysbaert (2013), from 1 to 9. Of other emotions there are none here: they are left out.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

import stimuli
from interp.errors import StatisticsError

RATED = ("valence", "arousal", "dominance")
"""What the words were rated for."""

REFERENCES = ("wheel", "ratings", *RATED)

FEWEST_EMOTIONS = 4
"""Emotions that a reference needs: three can change places in six ways, so that p is never below
1 / 6.
"""


class Reference(NamedTuple):
    """The squared distances by a theory of those emotions that it knows."""

    names: tuple[str, ...]
    distances: Float[np.ndarray, "emotion emotion"]


def references_for(emotions: Sequence[str]) -> dict[str, Reference]:
    """Each reference that knows at least `FEWEST_EMOTIONS` of the emotions, by its name."""
    found = {}
    on_wheel = [one for one in emotions if one in stimuli.lexicon("primaries")]
    if len(on_wheel) >= FEWEST_EMOTIONS:
        found["wheel"] = Reference(tuple(on_wheel), wheel_distances(on_wheel))
    rated = rated_of(emotions)
    if len(rated) >= FEWEST_EMOTIONS:
        values = ratings_of(rated)
        units = values / values.std(axis=0)
        found["ratings"] = Reference(rated, _squared(units))
        for column, name in enumerate(RATED):
            found[name] = Reference(rated, _squared(units[:, [column]]))
    return found


def wheel_distances(emotions: Sequence[str]) -> Float[np.ndarray, "emotion emotion"]:
    """The squared chords between primaries on the wheel. Raises `StatisticsError` for another
    emotion.
    """
    known = stimuli.lexicon("primaries")
    strange = [one for one in emotions if one not in known]
    if strange:
        raise StatisticsError(f"{', '.join(map(repr, strange))} has no place on the wheel.")
    angle = np.radians([known[one]["angle"] for one in emotions])
    return 2 - 2 * np.cos(angle[:, None] - angle[None])


def rated_of(emotions: Sequence[str]) -> tuple[str, ...]:
    """Those of the emotions whose word was rated, in their order."""
    known = stimuli.ratings()
    return tuple(one for one in emotions if one in known)


def ratings_of(emotions: Sequence[str]) -> Float[np.ndarray, "emotion rating"]:
    """The ratings of these emotions, in the order of `RATED`."""
    known: Mapping[str, Mapping[str, float]] = stimuli.ratings()
    return np.array([[known[one][name] for name in RATED] for one in emotions])


def _squared(values: Float[np.ndarray, "emotion rating"]) -> Float[np.ndarray, "emotion emotion"]:
    return ((values[:, None] - values[None]) ** 2).sum(axis=-1)
