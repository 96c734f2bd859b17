"""Alignment of twins by their edit, splits and draws of pairs, against hand-made cases."""

import numpy as np
import pytest

from interp.causal.alignment import align
from interp.causal.splits import balanced, halves, strangers
from interp.errors import DataError, StatisticsError
from stimuli.battery import Pair, Stimulus


def pair(n: int, emotion: str, group: str) -> Pair:
    return Pair(
        Stimulus(f"{n}a", "a", emotion, "keyword_free", f"p{n}", group),
        Stimulus(f"{n}n", "b", "neutral", "neutral", f"p{n}", group),
    )


@pytest.mark.parametrize(
    ("source", "target", "source_of", "source_edit", "target_edit"),
    [
        ("abXde", "abYde", [0, 1, 2, 3, 4], (2, 3), (2, 3)),
        ("abXYde", "abZde", [0, 1, 3, 4, 5], (2, 4), (2, 3)),  # counted from the edit's end
        ("abZde", "abXYde", [0, 1, 2, 2, 3, 4], (2, 3), (2, 4)),  # the surplus takes the source's first
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
        outside = [i for i in range(len(target)) if not found.target_edit[0] <= i < found.target_edit[1]]
        assert all(source[found.source_of[i]] == target[i] for i in outside)


def test_twins_of_the_same_tokens_are_refused():
    with pytest.raises(DataError, match="same tokens"):
        align([1, 2], [1, 2])


def test_balanced_draws_emotions_evenly_and_keeps_the_order():
    pairs = [pair(n, "joy" if n < 20 else "fear", f"g{n}") for n in range(24)]
    chosen = balanced(pairs, n=10, seed=1)
    assert [p.affective.emotion for p in chosen].count("fear") == 4
    assert len(chosen) == 10
    assert [pairs.index(p) for p in chosen] == sorted(pairs.index(p) for p in chosen)
    assert balanced(pairs, n=10, seed=1) == chosen
    assert len(balanced(pairs, n=99)) == 24


def test_halves_share_no_group_and_split_every_emotion():
    pairs = [pair(n, ("joy", "fear", "anger")[n % 3], f"g{n // 6}") for n in range(36)]
    select, score = halves(pairs, seed=3)
    assert not {p.affective.group for p in select} & {p.affective.group for p in score}
    assert len(select) + len(score) == 36
    for emotion in ("joy", "fear", "anger"):
        counts = [sum(p.affective.emotion == emotion for p in part) for part in (select, score)]
        assert abs(counts[0] - counts[1]) <= 2
    with pytest.raises(StatisticsError, match="one group"):
        halves([pair(1, "joy", "g"), pair(2, "joy", "g")])


def test_strangers_share_the_emotion_and_not_the_group():
    pairs = [pair(n, "joy" if n < 6 else "fear", f"g{n // 2 if n < 6 else 9}") for n in range(8)]
    found = strangers(pairs)
    assert found[6:].tolist() == [-1, -1]
    for own, other in zip(pairs[:6], found[:6], strict=True):
        assert pairs[other].affective.emotion == "joy"
        assert pairs[other].affective.group != own.affective.group
