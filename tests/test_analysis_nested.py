"""A best place that is chosen on some scenarios and told of others: it is no better than it is."""

import numpy as np
import pytest

from interp.analysis import nested
from interp.analysis.controls import inner_correlations
from interp.analysis.design import Design
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import Predictions, score
from interp.analysis.site_probes import P_OF_NESTED, prepare, probe_sites


def guesses(seed: int, *, n: int = 60, signal: float = 0.0) -> Predictions:
    """Predictions of `n` items by two classes, right as far as there is `signal`, in five folds."""
    random = np.random.default_rng(seed)
    truth = np.tile([0, 1], n // 2)
    high = 1 / (1 + np.exp(-random.normal(size=n) - signal * (2 * truth - 1)))
    fold = np.arange(n) // 2 % 5
    return Predictions(
        np.column_stack([1 - high, high]), ("no", "yes"), np.array(["no", "yes"])[truth],
        np.arange(n).astype(str), fold, np.arange(n), ({"C": 1.0},) * 5,
    )  # fmt: skip


def told_rows(found: list[Predictions], inner: np.ndarray, texts: dict | None = None) -> list[dict]:
    """The rows of places in layers 0, 1, ..., chosen by their correlations on inner folds."""
    chosen = nested.choose_places(inner[:, :, None])[:, 0]
    places = [{"layer": layer} for layer in range(len(found))]
    return nested.nested_rows(nested.joined(found, chosen), chosen, places, texts or {})


def value(rows: list[dict], metric: str = nested.NESTED_AUROC, target: str = "") -> dict:
    (row,) = [row for row in rows if row["metric"] == metric and row["target"] == target]
    return row


def test_the_best_of_many_that_tell_nothing_is_high_and_the_nested_one_is_not() -> None:
    best, honest, above = [], [], []
    for seed in range(40):
        found = [guesses(100 * seed + place) for place in range(40)]
        best.append(max(score(one)[0]["value"] for one in found))
        row = value(told_rows(found, np.random.default_rng(seed).random((40, 5))))
        honest.append(row["value"])
        above.append(row["ci_low"] > 0.5)
    assert np.mean(best) > 0.62
    assert np.mean(honest) == pytest.approx(0.5, abs=0.04)  # standard error .012
    assert np.mean(above) <= 0.15


def test_each_fold_takes_the_place_that_correlates_most_on_its_inner_folds() -> None:
    one, other = guesses(0), guesses(1)
    inner = np.array([[0.3, 0.3, 0.3, -0.5, 0.1], [0.2, 0.2, 0.2, 0.4, 0.4]])
    told = nested.joined([one, other], nested.choose_places(inner[:, :, None])[:, 0])
    first = np.isin(one.fold, [0, 1, 2])
    assert (told.probability[first] == one.probability[first]).all()
    assert (told.probability[~first] == other.probability[~first]).all()
    row = value(told_rows([one, other], inner))
    assert (row["layer"], row["chosen_by"]) == (0, "3 of 5 folds")
    none = np.where(np.arange(5) == 2, np.nan, inner)
    assert nested.choose_places(none[:, :, None]) is None
    assert value(told_rows([one], none[:1]))["value"] == score(one)[0]["value"]


def test_each_labelling_has_places_of_its_own() -> None:
    inner = np.zeros((3, 2, 4))
    inner[1, 0], inner[2, 1] = [9, 0, 0, 9], [0, 9, 9, 0]
    assert nested.choose_places(inner).tolist() == [[1, 0, 0, 1], [0, 2, 2, 0]]


def test_the_distance_to_the_words_is_paired_and_told_of_each_baseline() -> None:
    probe, words = guesses(3, signal=2.0), guesses(4, signal=0.0)
    same = guesses(3, signal=2.0)
    rows = told_rows([probe], np.ones((1, 5)), {"char": words, "same": same})
    apart = value(rows, nested.ABOVE_TEXT, "char")
    of_both = [score(one)[0]["value"] for one in (probe, words)]
    assert apart["value"] == pytest.approx(of_both[0] - of_both[1])
    assert apart["ci_low"] > 0
    itself = value(rows, nested.ABOVE_TEXT, "same")
    assert itself["value"] == 0
    assert itself["ci_low"] < 0 < itself["ci_high"]


def test_what_a_fold_chooses_does_not_depend_on_what_it_is_scored_on() -> None:
    random = np.random.default_rng(5)
    y, groups = np.tile(["affective", "neutral"], 30), np.repeat(np.arange(30), 2)
    x = random.normal(size=(60, 6))
    folds = grouped_folds(y, groups)
    labels = (y == "neutral").astype(int)[None]
    before = inner_correlations(x, labels, folds=folds)
    assert np.isfinite(before).all()
    changed = x.copy()
    changed[folds[0].test, 0] += 50 * (y[folds[0].test] == "affective")
    after = inner_correlations(changed, labels, folds=folds)
    assert after[0] == before[0]
    assert (after[1:] != before[1:]).all()


def test_a_sweep_tells_the_place_with_the_signal() -> None:
    random = np.random.default_rng(6)
    y, groups = ["affective", "neutral"] * 30, np.repeat(np.arange(30), 2)
    task = prepare("reception", Design.infer(y, groups), n_perm=199)
    sites = []
    for layer in range(4):
        x = random.normal(size=(60, 8))
        x[::2, 0] += 3.0 * (layer == 2)
        sites.append(({"site": "resid_post", "layer": layer, "position": "last"}, x))
    swept = probe_sites(lambda: sites, task, control=False)
    row = value(swept.rows)
    assert (row["site"], row["layer"], row["chosen_by"]) == ("resid_post", 2, "5 of 5 folds")
    assert row["task"] == "reception"
    own = [r for r in swept.rows if r["metric"] == "auroc"]
    assert row["value"] == own[2]["value"]
    assert row["p_max_t"] == min(one["p_max_t"] for one in own) <= 0.05
    assert (row["p"], row["p_of"]) == (1 / 200, P_OF_NESTED)
    small = Design.infer(["affective", "neutral"] * 2, np.repeat([0, 1], 2))
    few = prepare("reception", small, n_splits=2, n_perm=9)
    told = probe_sites(lambda: [(where, x[:4]) for where, x in sites], few, control=False)
    assert not [r for r in told.rows if r["metric"] == nested.NESTED_AUROC]
    assert any("too few scenarios to choose a place" in one for one in told.warnings)


def test_an_emotions_direction_is_told_where_it_is_and_nowhere_else() -> None:
    random = np.random.default_rng(7)
    groups = [f"s{i}" for i in range(20)]
    places = [{"site": "resid_post", "layer": layer} for layer in range(6)]

    def twins(shift: float) -> list[tuple[np.ndarray, np.ndarray]]:
        found = [(random.normal(size=(20, 12)), random.normal(size=(20, 12))) for _ in places]
        found[4][0][:, 3] += shift
        return found

    (row,) = nested.nested_separation(twins(4.0), places, groups)
    assert (row["layer"], row["chosen_by"], row["n"]) == (4, "5 of 5 folds", 20)
    assert row["ci_low"] > 0.5
    assert row["p"] < 0.01
    nothing = [
        nested.nested_separation(twins(0.0), places, groups, seed=seed)[0] for seed in range(40)
    ]
    assert np.mean([one["value"] for one in nothing]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([one["ci_low"] > 0.5 and one["p"] <= 0.05 for one in nothing]) <= 0.1
    assert (
        nested.nested_separation(
            [(one[:2], two[:2]) for one, two in twins(0.0)], places, groups[:2], n_splits=2
        )
        == []
    )
