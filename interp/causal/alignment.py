"""Alignment: how the tokens of a pair's two texts correspond.

The rule. Tokens that two texts share at their beginning correspond one to one, and so do those they
share at their end; what lies between is the *edit*, whose tokens correspond counted from its end.
Where the target's edit is longer, its surplus first tokens take the first token of the source's
edit. Where one edit is empty (a pure insertion), the token after it (or, at the end of the text,
the one before) joins both edits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from interp.errors import DataError


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
