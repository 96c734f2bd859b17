"""How a probe of emotions does level by level: the valence, then the family, then the emotion.

    level      what is told                            among
    valence    pleasant or unpleasant                  all
    family     the family, the valence being known     the families of the text's own valence
    emotion    the emotion, the family being known     the emotions of the text's own family

The probabilities of a branch's emotions add up to the branch's; the answer is the branch that has
most. What is known is the truth, and not what the probe says of the level above, so that an error
is counted at one level only. A text whose branch does not part at a level is not asked there. Which
emotion belongs where stands in `stimuli/lexicons/hierarchy.json`, after Shaver et al. (1987).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

import stimuli
from interp.analysis.predictions import Predictions, accuracy_share
from interp.shares import Share, share_difference

_LEVELS = ("valence", "family", "emotion")


class _Asked(NamedTuple):
    """What a probe says of the branches of one level, of the texts that are asked there, and the
    branch above that is known of each text.
    """

    told: Predictions
    known: Shaped[np.ndarray, " item"]

    @property
    def share(self) -> Share:
        return accuracy_share(self.told)

    def row(self) -> dict[str, Any]:
        """The share of texts that are given their own branch, beside `chance`."""
        return {**self.share.estimate(self.told.groups)._asdict(), "chance": self._chance()}

    def _chance(self) -> float:
        """The share if the answers changed places among the texts of each known branch."""
        said = np.array(self.told.classes)[self.told.probability.argmax(axis=1)]
        right = 0.0
        for known in np.unique(self.known):
            own = self.known == known
            shares = [(said[own] == one).mean() * (self.told.y[own] == one).sum()
                      for one in self.told.classes]  # fmt: skip
            right += float(np.sum(shares))
        return right / len(said)


def hierarchy_rows(told: Predictions, texts: Mapping[str, Predictions]) -> Iterator[dict[str, Any]]:
    """Rows `level_accuracy` of each `level` at which some branch parts: the share of texts that are
    given their own branch, by the probe and by each text baseline (`control`); and `above_text`,
    how far the probe's lies above that of the baseline `target`, paired by scenario.

    `chance` is the share if the same answers changed places among the texts of a branch. Intervals
    leave scenarios out, wider by what folds share. No rows where the hierarchy lacks a class.
    """
    paths = _paths(told.classes)
    for depth, level in enumerate(_LEVELS if paths else ()):
        own = _asked(told, paths, depth)
        if own is None:
            continue
        row = {"metric": "level_accuracy", "level": level}
        yield {**row, "control": "", "target": "", **own.row()}
        for name, words in texts.items():
            rival = _asked(words, paths, depth)
            assert rival is not None  # of the same texts
            yield {**row, "control": name, "target": "", **rival.row()}
            above = share_difference(own.share, rival.share, own.told.groups)
            found = {**row, "metric": "above_text", "control": "", "target": name}
            yield {**found, **above._asdict()}


def _paths(classes: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Of each class the root, its branch at each level, and itself; none where one is unknown."""
    known = stimuli.lexicon("hierarchy")
    if not set(classes) <= set(known):
        return {}
    return {name: ("", known[name]["valence"], known[name]["family"], name) for name in classes}


def _asked(told: Predictions, paths: Mapping[str, tuple[str, ...]], depth: int) -> _Asked | None:
    """The texts whose branch parts at this level; None where no branch does."""
    above, below = (np.array([paths[one][at] for one in told.classes]) for at in (depth, depth + 1))
    parting = {one for one in above if len(set(below[above == one])) > 1}
    own = np.searchsorted(np.array(told.classes), told.y)
    kept = np.isin(above[own], sorted(parting))
    if not kept.any():
        return None
    branches = np.unique(below)
    siblings = above[own][:, None] == above
    mass = (told.probability * siblings) @ (below[:, None] == branches)
    asked = replace(told, probability=mass, classes=tuple(branches.tolist()), y=below[own]).where(
        kept
    )
    return _Asked(asked, above[own][kept])
