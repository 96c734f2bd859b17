"""How alike continuations begin, against pairs that are counted one by one."""

from itertools import combinations

import numpy as np
import pytest

from interp.causal.openings import OPENING, openings_shared
from interp.causal.steered_texts import Written, share_rows
from interp.results import table

WORDS = ("and then", "but", "so he went", "they")


def drawn(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 3)) for _ in range(n)]


def counted(texts: list[str], groups: list[int]) -> float:
    pairs = [(a, b) for a, b in combinations(range(len(texts)), 2) if groups[a] != groups[b]]
    first = [text.lower().split()[:OPENING] for text in texts]
    return float(np.mean([first[a] == first[b] for a, b in pairs]))


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_different_scenarios_are_counted(seed):
    groups = [0, 0, 1, 2, 2, 2, 3, 4, 5, 5]
    sets = [drawn(10, seed), [text.title() for text in drawn(10, seed)], drawn(10, seed + 10)]
    found = openings_shared(sets, groups).estimate(groups)
    assert found.value == pytest.approx(np.mean([counted(one, groups) for one in sets]))
    assert 0 <= found.ci_low < found.value < found.ci_high <= 1


def test_the_interval_holds_the_truth():
    """Each text begins in one of four ways, by chance: two texts are alike in 1 of 4."""
    held, groups = [], list(range(16))
    for seed in range(200):
        texts = [f"{word} he went" for word in np.random.default_rng(seed).choice(list("abcd"), 16)]
        found = openings_shared([texts], groups).estimate(groups)
        held.append(found.ci_low <= 0.25 <= found.ci_high)
    assert np.mean(held) > 0.9


@pytest.mark.parametrize(("texts", "value"), [(["one way on"] * 8, 1.0), (list("abcdefgh"), 0.0)])
def test_no_pair_and_every_pair_have_a_width(texts, value):
    found = openings_shared([texts], range(8)).estimate(range(8))
    assert found.value == value
    assert found.ci_high - found.ci_low > 0.2


def test_each_arm_has_a_row_by_no_judge():
    def written(control: str, emotion: str, texts: list[str]) -> Written:
        said = {"one": [None] * 4, "two": ["joy"] * 4}
        return Written((control, 1.0), emotion, None, "last", texts, said)

    arms = [
        written("", "joy", ["so it is", "so it is not", "So it is", "and now"]),
        written("", "fear", ["a", "b", "c", "d"]),
        written("random", "joy", ["a", "b", "c", "d"]),
        written("random", "fear", ["a", "a", "a", "a"]),
    ]
    rows = table(share_rows(arms, [0, 1, 2, 3])).query("metric == 'shared_opening'")
    assert set(rows["judge"]) == {""}
    values = {(row.control, row.emotion): row.value for row in rows.itertuples()}
    assert values == {
        ("", "joy"): 0.5, ("", "fear"): 0.0, ("", "all"): 0.25,
        ("random", "joy"): 0.0, ("random", "fear"): 1.0, ("random", "all"): 0.5,
    }  # fmt: skip
    assert not [row for row in share_rows(arms, [7] * 4) if row["metric"] == "shared_opening"]
