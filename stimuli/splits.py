"""Splits and draws of pairs: halves that share no scenario, an even choice, strangers.

Everything random comes from a seed.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from interp.errors import StatisticsError
from stimuli.battery import Pair, Pairs


def balanced(pairs: Sequence[Pair], *, n: int, seed: int = 0) -> Pairs:
    """At most `n` pairs, drawn as evenly over the emotions as they allow, in battery order."""
    queues = list(_shuffled_by_emotion(pairs, seed).values())
    turns = range(max(map(len, queues), default=0))
    chosen = [queue[turn] for turn in turns for queue in queues if turn < len(queue)]
    return Pairs(pairs[i] for i in sorted(chosen[:n]))


def halves(pairs: Sequence[Pair], *, seed: int = 0) -> tuple[Pairs, Pairs]:
    """What `Pairs.split` gives."""
    side_of: dict[str, int] = {}
    for emotion, queue in _shuffled_by_emotion(pairs, seed).items():
        groups = list(dict.fromkeys(pairs[i].affective.group for i in queue))
        if len(groups) < 2:
            need = "at least 2 are needed to select on one and score on the other"
            raise StatisticsError(f"{emotion!r} has one group of pairs: {need}.")
        taken = Counter(side_of[group] for group in groups if group in side_of)
        for group in groups:
            if group not in side_of:
                side_of[group] = int(taken[0] > taken[1])
                taken[side_of[group]] += 1

    def on(side: int) -> Pairs:
        return Pairs(pair for pair in pairs if side_of[pair.affective.group] == side)

    return on(0), on(1)


def strangers(pairs: Sequence[Pair], *, seed: int = 0) -> Int[np.ndarray, " pair"]:
    """For each pair the index of a random pair of its emotion and another group; -1: there is
    none.
    """
    rng = np.random.default_rng(seed)
    alike: dict[str, list[int]] = defaultdict(list)
    # Of each place that a group has among its emotion's pairs: how many others lie before it.
    before: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        emotion, group = pair.affective.emotion, pair.affective.group
        own = before[emotion, group]
        own.append(len(alike[emotion]) - len(own))
        alike[emotion].append(i)
    chosen = []
    for pair in pairs:
        emotion, group = pair.affective.emotion, pair.affective.group
        same, own = alike[emotion], before[emotion, group]
        others = len(same) - len(own)
        k = int(rng.integers(others)) if others else -1
        chosen.append(same[k + bisect_right(own, k)] if others else -1)
    return np.array(chosen, dtype=int)


def of_other_emotions(pairs: Sequence[Pair], *, seed: int = 0) -> Int[np.ndarray, " pair"]:
    """For each pair the index of a random pair of another emotion and another group; -1: there is
    none.
    """
    rng = np.random.default_rng(seed)
    emotion = np.array([pair.affective.emotion for pair in pairs])
    group = np.array([pair.affective.group for pair in pairs])
    found = []
    for one, scenario in zip(emotion, group, strict=True):
        others = np.flatnonzero((emotion != one) & (group != scenario))
        found.append(int(rng.choice(others)) if len(others) else -1)
    return np.array(found, dtype=int)


def whole_scenarios(pairs: Sequence[Pair], *, n: int, seed: int = 0) -> Pairs:
    """At most `n` pairs, in battery order: all that belong to a scenario or none, those first that
    are told under most emotions, in random order. Where none has two emotions, as `balanced`.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i in np.random.default_rng(seed).permutation(len(pairs)):
        members[pairs[int(i)].affective.group].append(int(i))
    told = {group: len({pairs[i].affective.emotion for i in own}) for group, own in members.items()}
    if max(told.values(), default=0) < 2:
        return balanced(pairs, n=n, seed=seed)
    chosen: list[int] = []
    for group in sorted(members, key=lambda one: -told[one]):
        if len(chosen) + len(members[group]) <= n:
            chosen += members[group]
    return Pairs(pairs[i] for i in sorted(chosen))


def _shuffled_by_emotion(pairs: Sequence[Pair], seed: int) -> dict[str, list[int]]:
    queues: dict[str, list[int]] = defaultdict(list)
    for i in np.random.default_rng(seed).permutation(len(pairs)):
        queues[pairs[int(i)].affective.emotion].append(int(i))
    return dict(sorted(queues.items()))
