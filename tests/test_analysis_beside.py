"""What stands beside a probe, on data whose truth is known: codes, erased nuisances, ranks, depths,
confusions, the twin's scores; and the two simple probes.
"""

import numpy as np
import pytest

from interp.analysis import probes
from interp.analysis.beside import ProbedPlace as Place
from interp.analysis.beside import beside_named, compression_rows, erased_rows, rank_rows
from interp.analysis.confusions import confusion_rows, told_rows
from interp.analysis.control_models import control_model_rows
from interp.analysis.depths import depth_rows, depths_of, later_rows, layer_scores
from interp.analysis.design import Design
from interp.analysis.features import FoldFeatures
from interp.analysis.folds import prefix_folds
from interp.analysis.predictions import Predictions, right_ranks, score
from interp.analysis.site_probes import Task, prepare, probe_rows
from interp.analysis.stats import auroc
from interp.errors import DataError, StatisticsError, UsageError

N = 40
Y = np.tile(["a", "b"], N)
GROUPS = np.repeat(np.arange(N), 2)
TASK = prepare("reception", Design.infer(Y, GROUPS), n_perm=9)


def rows_with(signal: float, seed: int = 0, *, shared: float = 1.0, d: int = 6) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = shared * random.normal(size=(N, d))[GROUPS] + random.normal(size=(2 * N, d))
    x[Y == "a", 0] += signal
    return x


def place_of(x: np.ndarray, task: Task = TASK, nuisances: dict | None = None) -> Place:
    told = probes.cross_validate(x, task.y, task.groups, folds=task.folds)
    return Place(
        FoldFeatures(x), task.y, task.groups, task.folds, told, nuisances or {}, "logistic", 0
    )


def test_labels_that_are_read_have_a_short_code_and_others_none() -> None:
    sure, nothing = (compression_rows(place_of(rows_with(one)))[0] for one in (9.0, 0.0))
    assert sure["ci_low"] > 2
    assert nothing["value"] < 1.02
    assert nothing["ci_low"] < 1
    # what is drawn for a scenario is remembered where its texts look alike
    groups = np.repeat(np.arange(20), 4)
    task = prepare("t", Design.infer(Y, groups), n_perm=9)
    noise = np.random.default_rng(1).normal(size=(80, 30))
    alike = 9.0 * np.random.default_rng(2).normal(size=(20, 30))[groups] + noise
    drawn, none = (compression_rows(place_of(x, task))[1] for x in (alike, noise))
    assert drawn["control"] == "memorisation"
    assert drawn["value"] > 1.05 > none["value"]


def test_a_code_costs_what_each_block_says_of_the_next() -> None:
    folds = prefix_folds(Y, GROUPS, seed=3)
    assert [len(fold.test) for fold in folds] == [4, 8, 16, 32, 16]
    assert [len(fold.train) for fold in folds] == [4, 8, 16, 32, 64]
    assert all(not set(GROUPS[fold.train]) & set(GROUPS[fold.test]) for fold in folds)
    with pytest.raises(StatisticsError, match="scenarios are needed to begin with"):
        prefix_folds(np.array(["a", "b", "b"]), np.arange(3))


def test_a_nuisance_that_is_the_label_takes_the_score_with_it_and_another_does_not() -> None:
    x = rows_with(3.0)
    given = {"same": Y.tolist(), "other": [str(one % 2) for one in GROUPS]}
    rows = {(row["target"], row["metric"]): row for row in erased_rows(place_of(x, TASK, given))}
    assert rows["same", "auroc"]["value"] < 0.6
    assert rows["same", "erased_change"]["ci_high"] < -0.3
    assert rows["other", "auroc"]["value"] > 0.95
    assert abs(rows["other", "erased_change"]["value"]) < 0.06
    assert all(row["control"] == "erased" for row in rows.values())


def told_of(probability: list, y: list, classes: tuple[str, ...]) -> Predictions:
    n = len(y)
    return Predictions(
        np.array(probability), classes, np.array(y), np.arange(n).astype(str),
        np.zeros(n, dtype=np.int64), np.arange(n), (),
    )  # fmt: skip


def test_ranks_are_counted_and_ties_share_theirs() -> None:
    told = told_of(
        [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.4, 0.4]], ["a", "c", "b"], ("a", "b", "c")
    )
    assert right_ranks(told).tolist() == [1.0, 3.0, 1.5]
    (row,) = rank_rows(
        Place(FoldFeatures(np.zeros((3, 1))), told.y, told.groups, [], told, {}, "logistic", 0)
    )
    assert row["value"] == pytest.approx(5.5 / 3)
    assert rank_rows(place_of(rows_with(0.0))) == []  # two classes have no ranks


def test_depths_are_where_they_were_planted_and_compared_by_scenario() -> None:
    signals = (0.0, 1.0, 4.0, 4.0)
    places = [{"site": "resid_post", "layer": at} for at in range(4)]
    told = [place_of(rows_with(one, at)).told for at, one in enumerate(signals)]
    (found,) = layer_scores(places[::-1], told[::-1])  # their order does not matter
    assert found.layers == (0, 1, 2, 3)
    assert found.scores[0] == pytest.approx([score(one)[0]["value"] for one in told])
    rows = {row["metric"]: row for row in depth_rows(found)}
    assert rows["saturation"]["value"] == 2
    assert rows["emergence"]["value"] in (1, 2)
    assert 2 <= rows["peak"]["ci_low"] <= rows["peak"]["value"] <= rows["peak"]["ci_high"] <= 3
    early = [place_of(rows_with(4.0, at)).told for at in range(4)]
    (sooner,) = layer_scores(places, early)
    later = {row["metric"]: row for row in later_rows(found, sooner)}
    assert later["emergence_later"]["value"] == rows["emergence"]["value"]
    assert later["emergence_later"]["ci_low"] > 0
    assert later["emergence_later"]["p"] < 0.01
    (again,) = layer_scores(places, told)  # the same scenarios are drawn
    same = {row["metric"]: row for row in later_rows(found, again)}["peak_later"]
    assert rows["peak"]["ci_low"] < rows["peak"]["ci_high"]
    assert (same["value"], same["ci_low"], same["ci_high"], same["p"]) == (0, 0, 0, 1)
    assert not list(later_rows(found, sooner._replace(layers=(0, 1, 2, 5))))
    assert layer_scores(places[:1], told[:1]) == []
    broken = found._replace(scores=np.vstack([found.scores[:1], np.full((1, 4), np.nan)]))
    assert np.isnan(depths_of(broken)["peak"][1])


WHEEL = ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust")


def test_near_emotions_that_are_confused_are_found_and_far_ones_are_not() -> None:
    beside = {"anger": "anticipation", "anticipation": "joy", "joy": "trust", "trust": "fear"}
    beside |= {"fear": "surprise", "surprise": "sadness", "sadness": "disgust", "disgust": "anger"}
    far = {"joy": "sadness", "sadness": "joy", "anger": "fear", "fear": "anger"}
    far |= {"trust": "disgust", "disgust": "trust", "surprise": "anticipation"}
    far |= {"anticipation": "surprise"}
    y = [one for one in WHEEL for _ in range(6)]
    found = {}
    for name, other in (("near", beside), ("far", far)):
        said = [one if at % 2 else other[one] for at, one in enumerate(y)]
        told = told_of((np.array(said)[:, None] == np.array(WHEEL)).astype(float), y, WHEEL)
        rows = list(confusion_rows(told, n_perm=199))
        found[name] = {row["reference"]: row for row in rows if row["metric"] == "confused_near"}
        shares = {(r["emotion"], r["target"]): r for r in rows if r["metric"] == "confusion"}
        assert shares["joy", "joy"]["value"] == shares["joy", other["joy"]]["value"] == 0.5
        assert shares["joy", "sadness"]["distance_wheel"] == pytest.approx(4)
    assert found["near"]["wheel"]["value"] > 0.3
    assert found["near"]["wheel"]["ci_low"] > 0
    assert found["near"]["wheel"]["p"] <= 0.01
    assert found["far"]["wheel"]["value"] < 0
    assert found["far"]["wheel"]["p"] > 0.9
    right = told_of(np.eye(8), list(WHEEL), WHEEL)  # nothing is confused
    assert not [row for row in confusion_rows(right) if row["metric"] == "confused_near"]


def test_what_was_told_of_each_text_is_kept() -> None:
    told = told_of([[0.2, 0.8], [0.6, 0.4]], ["a", "a"], ("a", "b"))
    one, other = told_rows(told, ["t1", "t2"])
    assert (one["text"], one["emotion"], one["target"], one["value"]) == ("t1", "a", "b", 0.2)
    assert (other["target"], other["rank"], other["n"], other["scenario"]) == ("a", 1.0, 1, "1")


def test_a_twin_that_reads_as_well_leaves_nothing_above_it() -> None:
    good, bad = rows_with(4.0), rows_with(0.0, 1)
    where = {"site": "resid_post", "layer": 0}

    def rows(x: np.ndarray, twin: np.ndarray, other: dict = where) -> dict:
        found = control_model_rows(
            lambda: [(where, x)], lambda: [(other, twin)], TASK, probe="logistic"
        )
        return {row["metric"]: row for row in found}

    found = rows(good, bad)
    assert found["auroc"]["control"] == "random_model"
    assert found["auroc"]["ci_low"] < 0.5
    assert found["above_random_model"]["ci_low"] > 0.2
    assert rows(good, good)["above_random_model"]["value"] == 0
    assert not rows(good, np.ones_like(good))  # its rows are all the same
    with pytest.raises(DataError, match="the twin gives"):
        rows(good, bad, {"site": "resid_post", "layer": 1})


def test_neighbours_read_a_ring_that_no_line_does() -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=(2 * N, 2))
    x *= np.where(Y == "a", 1.0, 4.0)[:, None] / np.linalg.norm(x, axis=1, keepdims=True)
    values = {
        name: score(probes.cross_validate(x, Y, GROUPS, folds=TASK.folds, probe=name))[0]["value"]
        for name in ("knn", "logistic", "mean_difference")
    }
    assert values["knn"] > 0.95
    assert max(values["logistic"], values["mean_difference"]) < 0.7


def test_the_difference_of_means_is_a_projection_on_it() -> None:
    x, fold = rows_with(1.0), TASK.folds[0]
    told = probes.cross_validate(x, Y, GROUPS, folds=[fold], probe="mean_difference")
    z = (x - x[fold.train].mean(axis=0)) / x[fold.train].std(axis=0)
    train, a = z[fold.train], Y[fold.train] == "a"
    along = z[fold.test] @ (train[a].mean(axis=0) - train[~a].mean(axis=0))
    assert auroc(told.probability[:, 0], told.y == "a") == auroc(along, Y[fold.test] == "a")
    assert np.argsort(told.probability[:, 0]).tolist() == np.argsort(along).tolist()


def test_names_of_what_stands_beside_are_known() -> None:
    assert beside_named("mdl, rank") == ("mdl", "rank")
    assert beside_named(None) == ()
    with pytest.raises(UsageError, match="nothing is called 'bits': choose among mdl, erased"):
        beside_named("bits")
    found = probe_rows(rows_with(2.0), TASK, control=False, beside=("rank", "erased", "mdl")).rows
    assert [row["control"] for row in found if row["metric"] == "compression"] == [
        "",
        "memorisation",
    ]
