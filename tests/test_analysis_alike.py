"""Nearly alike sets are found as by comparing all pairs, with work that grows as the sets do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from interp.analysis import alike as room
from interp.analysis.alike import alike, candidates
from interp.analysis.text_rules import near_duplicates
from stimuli.battery import Battery, Stimulus


def as_rows(sets: list[set[int]]) -> sparse.csr_array:
    width = max((max(one, default=0) for one in sets), default=0) + 1
    rows = np.zeros((len(sets), width), dtype=np.int64)
    for row, members in enumerate(sets):
        rows[row, list(members)] = 1
    return sparse.csr_array(rows)


def by_brute_force(
    sets: list[set[int]], groups: list[int], above: float
) -> list[tuple[int, int, float]]:
    return [
        (one, other, share)
        for one in range(len(sets))
        for other in range(one + 1, len(sets))
        if groups[one] != groups[other] and sets[one] | sets[other]
        for share in [len(sets[one] & sets[other]) / len(sets[one] | sets[other])]
        if share > above
    ]


def found(sets: list[set[int]], groups: list[int], above: float) -> list[tuple[int, int, float]]:
    blocks = alike(as_rows(sets), groups, above=above)
    return [
        (int(one), int(other), float(share))
        for block in blocks
        for one, other, share in zip(*block, strict=True)
    ]


@given(
    st.lists(st.sets(st.integers(0, 12), max_size=10), min_size=1, max_size=14),
    st.sampled_from([0.25, 0.4, 0.5, 0.6, 2 / 3, 0.8]),
    st.integers(1, 4),
)
@settings(max_examples=80, deadline=None)
def test_the_pairs_are_those_of_brute_force(
    sets: list[set[int]], above: float, n_groups: int
) -> None:
    groups = [place % n_groups for place in range(len(sets))]
    assert found(sets, groups, above) == by_brute_force(sets, groups, above)


def texts_with_copies(n: int, seed: int) -> list[set[int]]:
    """`n` sets of 40 members out of many; each tenth is its predecessor with four members new."""
    random = np.random.default_rng(seed)
    sets: list[set[int]] = []
    for place in range(n):
        members = set(random.integers(0, 40 * n, 40).tolist()) | {0, 1, 2}  # three that all share
        if place % 10 == 9:
            members = {*list(sets[-1])[4:], *list(members)[:4]}
        sets.append(members)
    return sets


@pytest.mark.parametrize("seed", range(3))
def test_planted_near_copies_are_found_in_blocks_too(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = texts_with_copies(200, seed)
    groups = list(range(200))
    whole = found(sets, groups, 0.6)
    assert [pair[:2] for pair in whole] == [(place - 1, place) for place in range(9, 200, 10)]
    assert whole == by_brute_force(sets, groups, 0.6)
    monkeypatch.setattr(room, "_AT_ONCE", 100)
    assert len(list(candidates(as_rows(sets), groups, above=0.6))) > 10
    assert found(sets, groups, 0.6) == whole


def test_the_work_grows_as_the_number_of_sets_though_all_share_some_members() -> None:
    met = [
        sum(
            len(one) for one, _ in candidates(as_rows(texts_with_copies(n, 0)), range(n), above=0.6)
        )
        for n in (200, 400, 800)
    ]
    assert met[0] < 200 * 10 < 200 * 199 / 2  # all pairs would be 19,900
    assert met[2] < 8 * met[0]  # 4 times the sets; squared, it would be 16 times


def test_the_rule_counts_all_pairs_and_names_ten() -> None:
    text = "the lamp stood by the river all day and nobody came to light it"
    items = tuple(Stimulus(f"i{k}", f"{text} {k}", "joy", group=f"g{k // 2}") for k in range(8))
    rule = near_duplicates(Battery("b", items))
    assert (rule.passed, rule.value, rule.bound) == (False, 24.0, 0.0)
    assert rule.detail.startswith("i0 and i2 share 1.00; i0 and i3")
    assert rule.detail.count("share") == 10
    assert rule.detail.endswith("; and 14 more")
    apart = tuple(Stimulus(f"i{k}", f"{k} word", "joy", group=f"g{k}") for k in range(3))
    assert near_duplicates(Battery("b", apart)).row() == {
        "rule": "near_duplicate_text", "passed": True, "value": 0.0, "bound": 0.0, "detail": "",
    }  # fmt: skip
