"""A best place that is chosen on some scenarios and told of others: it is no better than it is."""

import numpy as np
import pytest

from interp.analysis import nested, probes
from interp.analysis.design import Design
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import Predictions, score
from interp.analysis.site_probes import prepare, probe_sites


def guesses(
    seed: int, *, n: int = 60, signal: float = 0.0, losses: tuple[float, ...] = ()
) -> Predictions:
    """Predictions of `n` items by two classes, right as far as there is `signal`, in five folds."""
    random = np.random.default_rng(seed)
    truth = np.tile([0, 1], n // 2)
    high = 1 / (1 + np.exp(-random.normal(size=n) - signal * (2 * truth - 1)))
    fold = np.arange(n) // 2 % 5
    told = losses or tuple(random.random(5))
    return Predictions(
        np.column_stack([1 - high, high]), ("no", "yes"), np.array(["no", "yes"])[truth],
        np.arange(n).astype(str), fold, np.arange(n), ({"C": 1.0},) * 5, (), told,
    )  # fmt: skip


def value(rows: list[dict], metric: str = nested.NESTED_AUROC, target: str = "") -> dict:
    (row,) = [row for row in rows if row["metric"] == metric and row["target"] == target]
    return row


def test_the_best_of_many_that_tell_nothing_is_high_and_the_nested_one_is_not() -> None:
    best, honest, above = [], [], []
    for seed in range(40):
        found = [guesses(100 * seed + place) for place in range(40)]
        best.append(max(score(one)[0]["value"] for one in found))
        row = value(nested.nested_rows(found, [{"layer": place} for place in range(40)], {}))
        honest.append(row["value"])
        above.append(row["ci_low"] > 0.5)
    assert np.mean(best) > 0.62
    assert np.mean(honest) == pytest.approx(0.5, abs=0.04)  # standard error .012
    assert np.mean(above) <= 0.15


def test_each_fold_takes_the_place_of_its_least_inner_loss() -> None:
    one, other = (
        guesses(0, losses=(1.0, 1.0, 1.0, 5.0, 5.0)),
        guesses(1, losses=(2.0, 2.0, 2.0, 1.0, 1.0)),
    )
    told = nested.joined([one, other], nested.choose_places([one, other]))
    first = np.isin(one.fold, [0, 1, 2])
    assert (told.probability[first] == one.probability[first]).all()
    assert (told.probability[~first] == other.probability[~first]).all()
    row = value(nested.nested_rows([one, other], [{"layer": 3}, {"layer": 7}], {}))
    assert (row["layer"], row["chosen_by"]) == (3, "3 of 5 folds")
    none = guesses(2, losses=(1.0, 1.0, np.nan, 1.0, 1.0))
    assert nested.nested_rows([one, none], [{}, {}], {}) == []
    assert value(nested.nested_rows([none], [{}], {}))["value"] == score(none)[0]["value"]


def test_the_distance_to_the_words_is_paired_and_told_of_each_baseline() -> None:
    probe, words = guesses(3, signal=2.0), guesses(4, signal=0.0)
    same = guesses(3, signal=2.0)
    rows = nested.nested_rows([probe], [{}], {"char": words, "same": same})
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
    before = probes.cross_validate(x, y, groups, folds=folds)
    assert np.isfinite(before.inner_losses).all()
    changed = x.copy()
    changed[folds[0].test, 0] += 50 * (y[folds[0].test] == "affective")
    after = probes.cross_validate(changed, y, groups, folds=folds)
    assert after.inner_losses[0] == before.inner_losses[0]
    assert after.inner_losses[1] != before.inner_losses[1]


def test_a_sweep_tells_the_place_with_the_signal() -> None:
    random = np.random.default_rng(6)
    y, groups = ["affective", "neutral"] * 30, np.repeat(np.arange(30), 2)
    task = prepare("reception", Design.infer(y, groups), n_perm=199)
    sites = []
    for layer in range(4):
        x = random.normal(size=(60, 8))
        x[::2, 0] += 3.0 * (layer == 2)
        sites.append(({"site": "resid_post", "layer": layer, "position": "last"}, x))
    swept = probe_sites(sites, task, control=False)
    row = value(swept.rows)
    assert (row["site"], row["layer"], row["chosen_by"]) == ("resid_post", 2, "5 of 5 folds")
    assert row["task"] == "reception"
    own = [r for r in swept.rows if r["metric"] == "auroc"]
    assert row["value"] == own[2]["value"]
    assert row["p_max_t"] == min(one["p_max_t"] for one in own) <= 0.05
    assert "largest of 4 places" in row["p_of"]
    small = Design.infer(["affective", "neutral"] * 2, np.repeat([0, 1], 2))
    few = prepare("reception", small, n_splits=2, n_perm=9)
    told = probe_sites([(where, x[:4]) for where, x in sites], few, control=False)
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
