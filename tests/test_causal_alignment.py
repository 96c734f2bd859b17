"""Alignment of twins by their edit, against hand-made cases."""

import numpy as np
import pytest

from interp.causal.alignment import align
from interp.errors import DataError


@pytest.mark.parametrize(
    ("source", "target", "source_of", "source_edit", "target_edit"),
    [
        ("abXde", "abYde", [0, 1, 2, 3, 4], (2, 3), (2, 3)),
        ("abXYde", "abZde", [0, 1, 3, 4, 5], (2, 4), (2, 3)),  # counted from the edit's end
        # the surplus takes the source's first
        ("abZde", "abXYde", [0, 1, 2, 2, 3, 4], (2, 3), (2, 4)),
        ("abcd", "abXcd", [0, 1, 2, 2, 3], (2, 3), (2, 4)),  # an insertion: the token after joins
        ("abXcd", "abcd", [0, 1, 3, 4], (2, 4), (2, 3)),  # a deletion
        ("ab", "abX", [0, 1, 1], (1, 2), (1, 3)),  # at the end: the token before joins
        ("aXbYc", "aVbWc", [0, 1, 2, 3, 4], (1, 4), (1, 4)),  # two changes are one edit
        ("aab", "aaab", [0, 1, 2, 2], (2, 3), (2, 4)),  # repeats: shared beginning first
    ],
)
def test_alignment(source, target, source_of, source_edit, target_edit):
    found = align([ord(c) for c in source], [ord(c) for c in target])
    assert found.source_of.tolist() == source_of
    assert found.source_edit == source_edit
    assert found.target_edit == target_edit


def test_alignment_holds_on_random_edits():
    rng = np.random.default_rng(0)
    for _ in range(300):
        front, back = rng.integers(0, 4, rng.integers(0, 5)), rng.integers(0, 4, rng.integers(0, 5))
        source = [int(t) for t in (*front, *rng.integers(10, 14, rng.integers(0, 4)), *back)]
        target = [int(t) for t in (*front, *rng.integers(20, 24, rng.integers(0, 4)), *back)]
        if source == target or not source or not target:
            continue
        found = align(source, target)
        assert (np.diff(found.source_of) >= 0).all()
        assert found.source_edit[1] > found.source_edit[0]
        assert found.target_edit[1] > found.target_edit[0]
        outside = [
            i for i in range(len(target)) if not found.target_edit[0] <= i < found.target_edit[1]
        ]
        assert all(source[found.source_of[i]] == target[i] for i in outside)


def test_twins_of_the_same_tokens_are_refused():
    with pytest.raises(DataError, match="same tokens"):
        align([1, 2], [1, 2])
