"""Swaps: a text of one emotion patched into a text of another.

Both texts are emotional. What only says "this is emotional" is in both, and a patch of it leaves
the answer where it is; what says which emotion moves it to the source's. Two contrasts are read:
the words of the source's emotion against those of the target's, which also rise where a patch only
spoils the target's, and against the mean of all third emotions, which do not.

The source of a target is the same scenario's text of the other emotion. Where scenarios are told
under one emotion, sources are dealt to targets, each to one, so that their lengths in tokens differ
least. Intervals and p are over the scenarios of the targets: that one text is the source for
targets of several emotions is not counted in them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from interp.causal.patches import Patches
from interp.causal.restoration import CONTROL, OTHER_EMOTION
from interp.causal.spans import places_of
from interp.causal.transplants import Case, PairTexts, Stranger, make_case
from interp.errors import StatisticsError
from stimuli.splits import strangers


class Swap(NamedTuple):
    """A case whose source and target are emotional texts, and the source's emotion."""

    case: Case
    emotion: str


def swap_cases(texts: PairTexts, patches: Patches, *, seed: int = 0) -> list[Swap]:
    """Every pair's emotional text as the target of every other emotion that has a source for it.

    The control of another scenario is a random text of the source's emotion; that of another
    emotion is the source of a third one, for the same target. Raises `StatisticsError` for texts of
    one emotion.
    """
    sources = matched_sources(texts)
    if len(sources) < 2:
        raise StatisticsError(
            f"a swap needs texts of at least two emotions, and all are of {next(iter(sources))}: "
            "add texts of another, or leave swap out."
        )
    alike, rng = strangers(texts.pairs, seed=seed), np.random.default_rng(seed)
    told = texts.affective
    places = [
        places_of(pair.affective, text, patches.positions, patches.spans)
        for pair, text in zip(texts.pairs, told, strict=True)
    ]
    found = []
    for emotion, chosen in sources.items():
        for target, pair in enumerate(texts.pairs):
            source = int(chosen[target])
            if source < 0:
                continue
            met = {}
            if CONTROL in patches.controls and (k := int(alike[source])) >= 0:
                met[CONTROL] = Stranger(told[k], texts.neutral[k])
            thirds = [int(of[target]) for one, of in sources.items() if one != emotion]
            thirds = [k for k in thirds if k >= 0]
            if OTHER_EMOTION in patches.controls and thirds:
                met[OTHER_EMOTION] = Stranger(told[int(rng.choice(thirds))], told[target])
            case = make_case(pair, told[source], told[target], met, places[target])
            found.append(Swap(case, emotion))
    return found


def matched_sources(texts: PairTexts) -> dict[str, Int[np.ndarray, " pair"]]:
    """By emotion, the index of each pair's source of that emotion; -1: the pair is of it, or there
    is none left.
    """
    emotion = np.array([pair.affective.emotion for pair in texts.pairs])
    group = np.array([pair.affective.group for pair in texts.pairs])
    length = np.array([len(text.story) for text in texts.affective])
    found = {}
    for one in dict.fromkeys(emotion.tolist()):
        found[one] = np.full(len(emotion), -1)
        own = np.flatnonzero(emotion == one)
        for other in dict.fromkeys(emotion[emotion != one].tolist()):
            mine = np.flatnonzero(emotion == other)
            apart = np.abs(length[own][:, None] - length[mine]).astype(float)
            same = group[own][:, None] == group[mine]
            source, target = linear_sum_assignment(np.where(same, -length.sum(), apart))
            found[one][mine[target]] = own[source]
    return found
