"""Splits and draws of pairs, against hand-made cases."""

import numpy as np
import pytest

from interp.errors import StatisticsError
from stimuli.battery import Pair, Pairs, Stimulus
from stimuli.splits import balanced, halves, strangers


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


class Looked(tuple):
    """Pairs that count how often one of them is looked at."""

    n = 0

    def __iter__(self):
        for one in super().__iter__():
            Looked.n += 1
            yield one

    def __getitem__(self, at):
        Looked.n += 1
        return super().__getitem__(at)


def many(n):
    random = np.random.default_rng(n)
    emotions = random.choice(["joy", "fear", "anger"], n)
    return [
        pair(k, str(emotion), f"g{random.integers(n // 3)}") for k, emotion in enumerate(emotions)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_strangers_are_drawn_as_from_a_list_of_all_others(seed):
    pairs = many(90)
    rng, expected = np.random.default_rng(seed), []
    for own, _ in pairs:
        others = [
            i
            for i, (other, _) in enumerate(pairs)
            if other.emotion == own.emotion and other.group != own.group
        ]
        expected.append(int(rng.choice(others)) if others else -1)
    assert strangers(pairs, seed=seed).tolist() == expected


@pytest.mark.parametrize("draw", [strangers, halves])
def test_the_work_grows_as_the_number_of_pairs(draw):
    looked = []
    for n in (100, 200, 400):
        Looked.n = 0
        draw(Looked(many(n)))
        looked.append(Looked.n)
    assert looked[0] >= 100
    assert looked[2] < 5 * looked[0]
