"""How alike continuations begin: a model that is pushed too hard begins every text with the same
words, whatever the prompt was.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.shares import Share
from interp.stats import Labels, numbered

OPENING = 3
"""The words of an opening."""


def openings_shared(texts: Sequence[Sequence[str]], groups: Labels) -> Share:
    """The share of pairs of continuations, of prompts of different scenarios, whose first three
    words are the same, capitals aside; the mean over several sets of `texts`, each with one text
    for each of the prompts' `groups`. 0: no two begin alike; 1: all do. An empty text begins like
    another empty one.

    An estimate of Simpson's (1949) index of concentration without bias, of pairs between scenarios.
    """
    group = numbered(groups)
    by_group = _members(group)
    sets = [_codes(one) for one in texts]
    parts = [(_members(one), _members(numbered(one * (group.max() + 1) + group))) for one in sets]
    n_groups = int(group.max()) + 1

    def statistic(weights: Float[np.ndarray, "draw text"]) -> Float[np.ndarray, " draw"]:
        whole = weights.sum(axis=1) ** 2
        pairs = whole - ((weights @ by_group) ** 2).sum(axis=1)
        alike = [
            ((weights @ opening) ** 2).sum(axis=1) - ((weights @ cell) ** 2).sum(axis=1)
            for opening, cell in parts
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.mean(alike, axis=0) / pairs)

    return Share(statistic, heaviest=2 / n_groups)


def _codes(texts: Sequence[str]) -> np.ndarray:
    """The number of each text's opening."""
    return numbered([" ".join(text.casefold().split()[:OPENING]) for text in texts])


def _members(codes: np.ndarray) -> Float[np.ndarray, "text kind"]:
    return (codes[:, None] == np.unique(codes)).astype(float)
