"""Twins: how the tokens of a pair's two texts correspond, and splits and draws of pairs.

The rule of alignment. Tokens that two texts share at their beginning correspond one to one, and so
do those they share at their end; what lies between is the *edit*, whose tokens correspond counted
from its end. Where the target's edit is longer, its surplus first tokens take the first token of
the source's edit. Where one edit is empty (a pure insertion), the token after it (or, at the end of
the text, the one before) joins both edits.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from interp.errors import DataError, StatisticsError
from stimuli.battery import Pair, Pairs


@dataclass(frozen=True, slots=True)
class Alignment:
    """For each target token the source token that corresponds (`source_of`), and the edits as
    half-open ranges.
    """

    source_of: Int[np.ndarray, " target_pos"]
    source_edit: tuple[int, int]
    target_edit: tuple[int, int]


def align(source: Sequence[int], target: Sequence[int]) -> Alignment:
    """The alignment of two token sequences by the rule above. Raises `DataError` when they are the
    same: there is no edit.
    """
    if list(source) == list(target):
        raise DataError(
            "the twins are the same tokens: there is no edit to patch. The tokenizer may not "
            "know the words that differ."
        )
    shorter = min(len(source), len(target))
    prefix = next((i for i in range(shorter) if source[i] != target[i]), shorter)
    limit = shorter - prefix
    suffix = next((i for i in range(limit) if source[-1 - i] != target[-1 - i]), limit)
    if prefix + suffix == shorter:
        prefix, suffix = (prefix, suffix - 1) if suffix else (prefix - 1, suffix)
    source_edit, target_edit = (prefix, len(source) - suffix), (prefix, len(target) - suffix)
    return Alignment(
        map_positions(len(target), source_edit, target_edit, len(source)), source_edit, target_edit
    )


def map_positions(
    n_target: int, source_edit: tuple[int, int], target_edit: tuple[int, int], n_source: int
) -> Int[np.ndarray, " target_pos"]:
    """The source position of each of `n_target` target positions: from the front before the edit,
    from its end within it, and from the text's end behind it.
    """
    position = np.arange(n_target)
    within = np.maximum(source_edit[1] - target_edit[1] + position, source_edit[0])
    behind = n_source - n_target + position
    return np.select(
        [position < target_edit[0], position < target_edit[1]], [position, within], behind
    )


def balanced(pairs: Sequence[Pair], *, n: int, seed: int = 0) -> Pairs:
    """At most `n` pairs, drawn as evenly over the emotions as they allow, in battery order."""
    queues = list(_shuffled_by_emotion(pairs, seed).values())
    chosen = [
        queue[turn]
        for turn in range(max(map(len, queues), default=0))
        for queue in queues
        if turn < len(queue)
    ][:n]
    return Pairs(pairs[i] for i in sorted(chosen))


def halves(pairs: Sequence[Pair], *, seed: int = 0) -> tuple[Pairs, Pairs]:
    """Pairs in two halves, no group on both sides, each emotion's groups dealt alternately: one
    half selects, one scores.

    Raises `StatisticsError` when an emotion has fewer than two groups.
    """
    side_of: dict[str, int] = {}
    for emotion, queue in _shuffled_by_emotion(pairs, seed).items():
        groups = list(dict.fromkeys(pairs[i].affective.group for i in queue))
        if len(groups) < 2:
            raise StatisticsError(
                f"{emotion!r} has one group of pairs: at least 2 are needed to select on one and "
                "score on the other."
            )
        for group in groups:
            taken = [side_of[g] for g in groups if g in side_of]
            side_of.setdefault(group, int(taken.count(0) > taken.count(1)))

    def on(side: int) -> Pairs:
        return Pairs(pair for pair in pairs if side_of[pair.affective.group] == side)

    return on(0), on(1)


def strangers(pairs: Sequence[Pair], *, seed: int = 0) -> Int[np.ndarray, " pair"]:
    """For each pair the index of a random pair of the same emotion and another group, -1 where
    there is none.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for pair in pairs:
        others = [
            i
            for i, other in enumerate(pairs)
            if other.affective.emotion == pair.affective.emotion
            and other.affective.group != pair.affective.group
        ]
        chosen.append(int(rng.choice(others)) if others else -1)
    return np.array(chosen, dtype=int)


def _shuffled_by_emotion(pairs: Sequence[Pair], seed: int) -> dict[str, list[int]]:
    queues: dict[str, list[int]] = defaultdict(list)
    for i in np.random.default_rng(seed).permutation(len(pairs)):
        queues[pairs[int(i)].affective.emotion].append(int(i))
    return dict(sorted(queues.items()))
