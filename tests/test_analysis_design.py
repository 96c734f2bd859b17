"""What relabelling exchanges: whole scenarios, twins inside pairs, both at once; and what it
refuses.
"""

import numpy as np
import pytest

from interp.analysis.controls import permutation_null, relabellings
from interp.analysis.design import Design
from interp.analysis.folds import fold_of, grouped_folds
from interp.errors import DataError, StatisticsError


def retold(
    n_groups: int, n_pairs: int, seed: int, *, shift: float, pair: float = 0.0, edit: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scenarios told in several pairs of twins; `pair` is what twins share, `edit` what a
    scenario's affective texts do.
    """
    random = np.random.default_rng(seed)
    n = 2 * n_pairs * n_groups
    groups, pairs = np.repeat(np.arange(n_groups), 2 * n_pairs), np.repeat(np.arange(n // 2), 2)
    y = np.tile(["affective", "neutral"], n // 2)
    x = random.normal(size=(n, 6)) + pair * random.normal(size=(n // 2, 6))[pairs]
    x[y == "affective"] += edit * random.normal(size=(n_groups, 6))[groups[y == "affective"]]
    x[y == "affective", 0] += shift
    return x, y, groups, pairs


def p_of(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, pairs: np.ndarray | None = None, seed: int = 0
) -> float:
    folds = grouped_folds(y, groups, seed=seed)
    drawn = relabellings(Design.infer(y, groups, pairs), folds=folds, n_perm=100, seed=seed)
    return permutation_null(x, drawn, folds=folds).p


def test_the_exchange_is_inferred_from_how_labels_lie_in_scenarios() -> None:
    assert Design.infer([0, 1, 0, 1], list("ppqq")).exchange == "pair"
    assert Design.infer(["joy", "joy", "fear", "fear"], list("ppqq")).exchange == "scenario"
    assert Design.infer([0, 1, 0, 1] * 2, list("ppppqqqq")).exchange == "scenario"
    assert Design.infer([0, 1, 0, 1] * 2, list("ppppqqqq"), list("aabbccdd")).exchange == "pair"
    assert Design.infer(["joy", "fear", "joy", "fear"], list("ppqr")).exchange == "both"


def test_twins_swap_and_scenarios_exchange_whole() -> None:
    swapped = Design.infer([0, 1, 0, 1], list("ppqq")).relabel(n_perm=400, seed=0)
    assert {tuple(row) for row in swapped.tolist()} == {
        (0, 1, 0, 1),
        (1, 0, 0, 1),
        (0, 1, 1, 0),
        (1, 0, 1, 0),
    }
    exchanged = Design.infer(["joy", "joy", "fear", "fear"], list("ppqq")).relabel(
        n_perm=50, seed=0
    )
    assert {tuple(row) for row in exchanged.tolist()} == {(1, 1, 0, 0), (0, 0, 1, 1)}


def test_retellings_swap_together_unless_their_pairs_are_named() -> None:
    y, groups = [0, 1, 0, 1, 0, 1, 0, 1], list("ppppqqqq")
    together = Design.infer(y, groups).relabel(n_perm=400, seed=0)
    assert len({tuple(row) for row in together.tolist()}) == 4
    apart = Design.infer(y, groups, list("aabbccdd")).relabel(n_perm=400, seed=0)
    assert len({tuple(row) for row in apart.tolist()}) == 16
    for drawn in (together, apart):  # every pair keeps one of each
        assert (np.sort(drawn.reshape(-1, 2), axis=1) == [0, 1]).all()


def test_blocks_keep_the_classes_of_a_fold() -> None:
    design = Design.infer([0, 1, 2, 0, 1, 2], list("abcdef"))
    drawn = design.relabel(n_perm=500, seed=0, folds=np.array([0, 0, 0, 1, 1, 1]))
    assert (np.sort(drawn[:, :3], axis=1) == [0, 1, 2]).all()
    assert len({tuple(row) for row in drawn.tolist()}) == 36


def test_uneven_scenarios_keep_their_counts_and_the_classes_theirs() -> None:
    """Scenarios of one, two and three texts, some with two classes: sizes exchange with their like,
    counts stay.
    """
    y = ["a", "b", "a", "a", "b", "b", "a", "b", "a", "a", "b", "b", "b", "a"]
    groups = list("mnooppqrsstttu")
    drawn = Design.infer(y, groups).relabel(n_perm=300, seed=0)
    assert {int((row == 0).sum()) for row in drawn} == {y.count("a")}
    assert {tuple(row[[2, 3]]) for row in drawn.tolist() for row in [np.array(row)]} >= {
        (0, 0),
        (1, 1),
    }
    triple = {tuple(np.array(row)[10:13]) for row in drawn.tolist()}
    assert triple == {(1, 1, 1)}  # the only one of three texts has nothing to change places with


@pytest.mark.parametrize("n_mixed", [0, 1, 10])
def test_one_crossed_scenario_does_not_void_the_p_of_all_others(n_mixed: int) -> None:
    """40 texts of four emotions, told apart perfectly; once a scenario was told under two, p was
    .5.
    """
    random = np.random.default_rng(n_mixed)
    emotions = np.array(["anger", "fear", "joy", "trust"])
    y = np.tile(emotions, 10)
    groups = np.arange(40)
    for one in range(n_mixed):
        groups[4 * one + 1] = groups[4 * one]  # anger and fear in one scenario
    x = random.normal(size=(40, 8))
    x[np.arange(40), np.tile(np.arange(4), 10)] += 5
    assert p_of(x, y, groups) == pytest.approx(1 / 101)
    drawn = Design.infer(y, groups).relabel(
        n_perm=200, seed=0, folds=fold_of(grouped_folds(y, groups), 40)
    )
    # shuffling all would change .75
    assert (drawn != np.unique(y, return_inverse=True)[1]).mean() > 0.45


def test_what_twins_share_costs_no_power() -> None:
    """16 scenarios of 3 pairs, a true shift of .8 and six times that shared by twins.

    Shuffling a scenario's labels freely makes both twins affective, so that what they share swamps
    the null: power 0. With twins kept apart it is .67; 60 data sets, binomial error .06.
    """
    found = [
        p_of(*retold(16, 3, seed, shift=0.8, pair=6)[:3], seed=seed) <= 0.05 for seed in range(60)
    ]
    assert np.mean(found) > 0.45


def test_retellings_with_one_edit_are_no_independent_evidence() -> None:
    """No shift, but each scenario's affective texts share an accident: swapping pair by pair finds
    it in every third data set.

    Nominal .05; 80 data sets, binomial error .024, and .05 where p is too small.
    """
    cases = [retold(16, 3, seed, shift=0.0, edit=2.0) for seed in range(80)]
    whole = np.mean(
        [p_of(x, y, groups, seed=seed) <= 0.05 for seed, (x, y, groups, _) in enumerate(cases)]
    )
    each = np.mean([p_of(*case, seed=seed) <= 0.05 for seed, case in enumerate(cases)])
    assert whole <= 0.125
    assert each > whole + 0.05


def test_a_relabelling_that_changes_too_little_is_refused() -> None:
    with pytest.raises(StatisticsError, match="one class only"):
        Design.infer(["joy"] * 3, list("abc")).relabel(n_perm=5, seed=0)
    # scenarios of 1, 2, ... 6 texts: none has another of its kind
    groups = np.repeat(np.arange(6), np.arange(1, 7))
    y = np.array(["joy", "fear"])[groups % 2]
    with pytest.raises(StatisticsError, match=r"changes only 0%.*6 different numbers of texts"):
        Design.infer(y, groups).relabel(n_perm=50, seed=0)


def test_kinds_that_are_rare_in_a_fold_exchange_over_all_folds() -> None:
    y, groups, folds = np.repeat(["joy", "fear"], 4), np.arange(8), np.arange(8)
    drawn = Design.infer(y, groups).relabel(n_perm=200, seed=0, folds=folds)
    assert len(np.unique(drawn, axis=0)) > 50


def test_wrong_pairs_are_named() -> None:
    y, groups = [0, 1, 0, 1], list("ppqq")
    with pytest.raises(DataError, match=r"pair 'a' lies in 2 scenarios"):
        Design.infer(y, groups, list("abab"))
    with pytest.raises(DataError, match=r"pair 'a' has the labels \['0', '0'\]"):
        Design.infer([0, 1, 0, 1], list("pppp"), list("abab"))
    with pytest.raises(DataError, match="4 labels came with 2 pairs"):
        Design.infer(y, groups, ["a", "b"])
    with pytest.raises(DataError, match="4 labels came with 1 groups"):
        Design.infer(y, ["p"])
