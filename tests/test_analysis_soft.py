"""Soft labels: planted shares are told and nothing is not; the fit is that of weighted copies."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression

from interp.analysis.features import FoldFeatures
from interp.analysis.folds import straddling
from interp.analysis.graded_rows import place_ps
from interp.analysis.many_logistic import fit_labellings, fit_shares
from interp.analysis.probes import cross_validate, probe_named
from interp.analysis.questions import lexicons
from interp.analysis.soft import divergences, predict_shares, score_shares
from interp.analysis.soft_rows import correlated_shares, prepare_soft, soft_rows
from interp.analysis.targets import soft_of
from interp.errors import DataError, UsageError
from stimuli.battery import Stimulus

pytestmark = pytest.mark.usefixtures("few_baselines")

N, K = 60, 3
GROUPS = np.repeat(np.arange(N), 2)
RANDOM = np.random.default_rng(0)
LATENT = RANDOM.normal(size=(2 * N, K))
SHARES = softmax(1.5 * LATENT, axis=1)
TASK = prepare_soft("shares", SHARES, GROUPS, n_perm=99)


def planted(signal: float, *, seed: int = 1) -> np.ndarray:
    """Activations of scenarios, in which an axis grows with the latent of each class."""
    random = np.random.default_rng(seed)
    x = 0.5 * random.normal(size=(N, 6))[GROUPS] + 0.5 * random.normal(size=(2 * N, 6))
    x[:, :K] += signal * LATENT
    return x


def rows_of(xs: list[np.ndarray], texts: list[str]) -> list[dict]:
    places = [({"site": "resid_post", "layer": at}, x) for at, x in enumerate(xs)]
    return soft_rows(lambda: places, TASK, texts, lexicons=lexicons())


def plain_texts() -> list[str]:
    random = np.random.default_rng(3)
    return [" ".join(random.choice(["sea", "tree", "road", "door"], 6)) for _ in GROUPS]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_fit_is_that_of_copies_weighted_by_their_shares(n_classes: int) -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(50, 4))
    shares = random.dirichlet(np.ones(n_classes), size=40)
    copies, labels = np.repeat(x[:40], n_classes, axis=0), np.tile(np.arange(n_classes), 40)
    known = LogisticRegression(C=0.3, tol=1e-9, max_iter=5000)
    known.fit(copies, labels, sample_weight=shares.reshape(-1))
    told = fit_shares(x[:40], shares[None], x[40:], C=0.3)[0]
    np.testing.assert_allclose(told, known.predict_proba(x[40:]), atol=1e-3)


def test_shares_of_nought_and_one_are_the_probe_of_classes() -> None:
    random = np.random.default_rng(2)
    x, labels = random.normal(size=(50, 4)), random.integers(0, 3, size=(2, 40))
    hard = fit_labellings(x[:40], labels, x[40:], n_classes=3, C=0.3)
    np.testing.assert_array_equal(fit_shares(x[:40], np.eye(3)[labels], x[40:], C=0.3), hard)


def test_a_divergence_is_counted_by_hand() -> None:
    shares, told = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    by_hand = [0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75), np.log(2)]
    np.testing.assert_allclose(divergences(shares, told), by_hand)
    assert (divergences(shares, shares) == 0).all()


def test_planted_shares_are_told_at_their_place_and_at_no_other() -> None:
    found = rows_of([planted(0.0), planted(2.0), planted(0.0, seed=5)], plain_texts())
    own = {
        row["layer"]: row for row in found
        if row["metric"] == "kl_explained" and row["site"] and not row["control"]
    }  # fmt: skip
    assert own[1]["ci_low"] > 0.5
    assert own[1]["p"] == own[1]["p_max_t"] == 0.01
    assert max(own[at]["ci_low"] for at in (0, 2)) < 0
    assert min(own[at]["p"] for at in (0, 2)) > 0.05
    shuffled = [row for row in found if row["control"] == "shuffled"]
    assert max(row["draw_high"] for row in shuffled) < 0.1
    assert all(row["draw_low"] <= row["value"] <= row["draw_high"] for row in shuffled)
    (nested,) = [row for row in found if row["metric"] == "nested_kl_explained"]
    assert (nested["layer"], nested["chosen_by"], nested["p"]) == (1, "5 of 5 folds", 0.01)
    above = {row["target"]: row["ci_low"] for row in found if row["metric"] == "above_text"}
    assert set(above) == {"bag_of_words", "length"}
    assert min(above.values()) > 0.3


def item(name: str, **shares: float) -> Stimulus:
    return Stimulus(name, f"text {name}", "joy", "keyword_free", fields={"shares": shares})


def test_the_fields_of_a_soft_label_add_up_and_what_is_none_is_refused_by_name() -> None:
    names = ("shares.joy", "shares.fear")
    bare = Stimulus("bare", "text", "joy", "keyword_free")
    texts = [item("a", joy=3, fear=1), bare, item("b", joy=0, fear=2)]
    found = soft_of(names, texts)
    assert found.emotions == ("joy", "fear")
    assert [one.id for one in found.items] == ["a", "b"]
    np.testing.assert_allclose(found.shares, [[0.75, 0.25], [0.0, 1.0]])
    np.testing.assert_allclose(found.only([1]).shares, [[0.0, 1.0]])
    for wrong, message in (
        (item("c", joy=1), "'c' has no 'shares.fear'"),
        (item("c", joy=-1, fear=2), "'c' has -1 in 'shares.joy'"),
        (item("c", joy=0, fear=0), "'c' has 0 in all of shares.joy, shares.fear"),
    ):
        with pytest.raises(DataError, match=message):
            soft_of(names, [*texts, wrong])
    with pytest.raises(UsageError, match="two fields or more"):
        soft_of(names[:1], texts)
    worded = [Stimulus(one, "t", "joy", "keyword_free", fields={"a": one, "b": 1}) for one in "xy"]
    with pytest.raises(DataError, match="'a' holds words"):
        soft_of(("a", "b"), worded)


def test_p_is_uniform_where_shares_mean_nothing() -> None:
    random, found = np.random.default_rng(6), []
    groups = np.repeat(np.arange(20), 2)
    for seed in range(60):
        shares = random.dirichlet(np.ones(3), size=40)
        task = prepare_soft("shares", shares, groups, n_perm=39, seed=seed)
        x = random.normal(size=(20, 4))[groups] + random.normal(size=(40, 4))
        (own,) = place_ps([correlated_shares(x, task)])
        found.append(own["p"])
    assert kstest(found, "uniform").pvalue > 0.01


def test_words_that_tell_the_shares_stand_beside_the_probe() -> None:
    names = ("sea", "tree", "road")
    texts = [" ".join(np.repeat(names, (10 * one).round().astype(int))) for one in SHARES]
    found = rows_of([planted(2.0)], texts)
    (words,) = [
        r for r in found if r["control"] == "bag_of_words" and r["metric"] == "kl_explained"
    ]
    assert words["value"] > 0.7
    (above,) = [r for r in found if r["target"] == "bag_of_words"]
    assert above["ci_low"] < 0.1


def test_a_probe_of_the_likeliest_class_tells_the_shares_worse() -> None:
    """What soft labels are for: the probe of classes is surer than the texts are."""
    random = np.random.default_rng(4)
    shares = np.where(random.integers(0, 2, (2 * N, 1)) > 0, [[0.6, 0.4, 0.0]], [[0.4, 0.6, 0.0]])
    x = random.normal(size=(2 * N, 5))
    x[:, 0] += 3 * (shares[:, 0] > 0.5)
    task = prepare_soft("shares", shares, GROUPS, n_perm=9)
    features, grid = FoldFeatures(x), probe_named("logistic").grid
    soft = predict_shares(
        lambda fold: features.of(fold, turned=True), shares, GROUPS, folds=task.folds, grid=grid
    )
    hard = cross_validate(x, shares.argmax(axis=1).astype(str), GROUPS, folds=task.folds)
    by_class = np.column_stack([hard.probability, np.zeros(2 * N)])
    assert divergences(shares, soft.told).mean() < 0.02
    assert divergences(shares, by_class).mean() > 0.2
    assert straddling(task.folds, GROUPS) == []
    kl, explained = score_shares(soft)
    assert (kl["metric"], explained["metric"]) == ("kl", "kl_explained")
    assert kl["value"] == pytest.approx(divergences(shares, soft.told).mean())
    assert np.isnan(kl["ci_low"])
    plain = [
        divergences(shares[one.test], np.tile(shares[one.train].mean(axis=0), (len(one.test), 1)))
        for one in task.folds
    ]
    assert explained["value"] == pytest.approx(1 - kl["value"] / np.concatenate(plain).mean())
