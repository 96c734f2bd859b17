"""Splits and draws of pairs, against hand-made cases."""

import pytest

from interp.errors import StatisticsError
from stimuli.battery import Pair, Pairs, Stimulus
from stimuli.splits import balanced, strangers


def pair(n: int, emotion: str, group: str) -> Pair:
    return Pair(
        Stimulus(f"{n}a", "a", emotion, "keyword_free", f"p{n}", group),
        Stimulus(f"{n}n", "b", "neutral", "neutral", f"p{n}", group),
    )


def ids(pairs):
    return [pair.affective.id for pair in pairs]


def test_balanced_draws_emotions_evenly_and_keeps_the_order():
    pairs = [pair(n, "joy" if n < 20 else "fear", f"g{n}") for n in range(24)]
    chosen = balanced(pairs, n=10, seed=1)
    assert [p.affective.emotion for p in chosen].count("fear") == 4
    assert len(chosen) == 10
    assert [pairs.index(p) for p in chosen] == sorted(pairs.index(p) for p in chosen)
    assert balanced(pairs, n=10, seed=1) == chosen
    assert len(balanced(pairs, n=99)) == 24


def test_split_halves_share_no_group_and_split_every_emotion():
    pairs = [pair(n, ("joy", "fear", "anger")[n % 3], f"g{n // 6}") for n in range(36)]
    select, score = Pairs(pairs).split(seed=3)
    assert not {p.affective.group for p in select} & {p.affective.group for p in score}
    assert {*ids(select), *ids(score)} == {*ids(pairs)}
    assert len(select) + len(score) == 36
    assert (select, score) == Pairs(pairs).split(seed=3)
    assert (select, score) != Pairs(pairs).split(seed=4)
    for emotion in ("joy", "fear", "anger"):
        counts = [sum(p.affective.emotion == emotion for p in part) for part in (select, score)]
        assert abs(counts[0] - counts[1]) <= 2
    with pytest.raises(StatisticsError, match="one group"):
        Pairs([pair(1, "joy", "g"), pair(2, "joy", "g")]).split()


def test_strangers_share_the_emotion_and_not_the_group():
    pairs = [pair(n, "joy" if n < 6 else "fear", f"g{n // 2 if n < 6 else 9}") for n in range(8)]
    found = strangers(pairs)
    assert found[6:].tolist() == [-1, -1]
    for own, other in zip(pairs[:6], found[:6], strict=True):
        assert pairs[other].affective.emotion == "joy"
        assert pairs[other].affective.group != own.affective.group
