"""The space of the words: texts as rows of a text baseline's features, for a geometry that needs no
model.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from interp.analysis.baselines import BASELINES, Lexicons
from interp.analysis.folds import Fold

NamedRows = Iterator[tuple[str, Float[np.ndarray, "row feature"]]]
"""The name of each text baseline, and rows of its features."""


def text_features(texts: Sequence[str], *, lexicons: Lexicons) -> NamedRows:
    """What each text baseline sees of the texts, learned on all of them without any label. One in
    whose eyes all texts are the same is left out.
    """
    every = np.arange(len(texts))
    for name, make in BASELINES.items():
        rows = make(texts, lexicons)(Fold(every, every))
        dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
        if np.ptp(dense, axis=0).any():
            yield name, dense


def text_differences(
    affective: Sequence[str], neutral: Sequence[str], *, lexicons: Lexicons
) -> NamedRows:
    """The features of each affective text less those of its twin. A baseline in whose eyes no pair
    differs is left out.
    """
    for name, rows in text_features([*affective, *neutral], lexicons=lexicons):
        apart = rows[: len(affective)] - rows[len(affective) :]
        if apart.any():
            yield name, apart
