"""Geometry: products without noise's share, distances against theories, axes, cosines; each held
against loops, scikit-learn or what was planted.
"""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

import stimuli
from interp.analysis.geometry import (
    centred_cosines,
    distances,
    explained_shares,
    label_test,
    principal_axes,
    rating_test,
    reliability,
    rsa,
    rsa_difference,
)
from interp.analysis.geometry_rows import Space, axes_rows, rsa_rows, silhouette_rows
from interp.analysis.products import (
    LEAST_SHRINKAGE,
    N_PARTS,
    Products,
    alikeness,
    gram_of,
    pair_weights,
    products,
    whitened,
)
from interp.analysis.references import ratings_of, references_for, wheel_distances
from interp.analysis.text_space import text_differences
from interp.errors import DataError, StatisticsError
from interp.evaluation.made import WHEEL, circumplex

KINDS = ("anger", "fear", "joy")


def crossed(seed: int, d: int = 6) -> tuple[np.ndarray, list[str], list[str]]:
    """Three emotions; two scenarios are told under two of them, one has two texts of one."""
    random = np.random.default_rng(seed)
    labels = ["anger"] * 5 + ["fear"] * 4 + ["joy"] * 4
    groups = ["a", "b", "c", "d", "d", "a", "e", "f", "g", "b", "h", "i", "k"]
    return random.normal(size=(13, d)) + random.normal(size=d), labels, groups


def by_loops(x, labels, groups) -> np.ndarray:
    found = np.zeros((3, 3))
    for a, one in enumerate(KINDS):
        for b, other in enumerate(KINDS):
            terms = [
                x[i] @ x[j]
                for i in range(len(x))
                for j in range(len(x))
                if labels[i] == one and labels[j] == other and groups[i] != groups[j]
            ]
            found[a, b] = np.mean(terms)
    return found


def test_products_are_means_over_texts_of_different_scenarios():
    x, labels, groups = crossed(0)
    found = products(gram_of(x), labels, groups)
    assert found.names == KINDS
    np.testing.assert_allclose(found.whole, by_loops(x, labels, groups))
    means = np.stack([x[np.array(labels) == kind].mean(axis=0) for kind in KINDS])
    np.testing.assert_allclose(found.biased, means @ means.T)
    for left, name in enumerate(dict.fromkeys(groups)):
        rest = [at for at, group in enumerate(groups) if group != name]
        alone = by_loops(x[rest], [labels[at] for at in rest], [groups[at] for at in rest])
        np.testing.assert_allclose(found.without[left], alone)


def test_products_of_some_emotions():
    x, labels, groups = crossed(1)
    whole = products(gram_of(x), labels, groups)
    some = whole.of(("joy", "anger"))
    np.testing.assert_allclose(some.whole, whole.whole[np.ix_([2, 0], [2, 0])])
    np.testing.assert_allclose(some.without[3], whole.without[3][np.ix_([2, 0], [2, 0])])


def test_noise_alone_sets_nothing_apart():
    raw, white, biased = [], [], []
    for seed in range(100):
        x, labels, groups = circumplex(seed, n=6, radius=0.0, d=60)
        raw.append(distances(products(gram_of(x), labels, groups).whole).mean())
        found = of_circle(seed, n=6, radius=0.0, d=60)  # more dimensions than texts of the noise
        white.append(distances(found.whole).mean())
        biased.append(distances(found.biased).mean())
    for unbiased in (raw, white):
        assert abs(np.mean(unbiased)) < 4 * np.std(unbiased) / np.sqrt(100)
    assert np.mean(biased) > 20 * abs(np.mean(white))


def test_what_cannot_be_repeated_is_refused():
    x, labels, groups = crossed(2)
    with pytest.raises(StatisticsError, match="'joy' are of one scenario"):
        products(gram_of(x), labels, [*groups[:9], "z", "z", "z", "z"])
    with pytest.raises(StatisticsError, match="'joy' has fewer than three"):
        products(gram_of(x), labels, [*groups[:9], "y", "z", "z", "z"])
    with pytest.raises(StatisticsError, match="two or more"):
        products(gram_of(x), ["joy"] * 13, groups)
    with pytest.raises(DataError, match="not finite"):
        products(gram_of(np.where(x > 1, np.nan, x)), labels, groups)
    with pytest.raises(DataError, match="13 rows came with 12 labels"):
        products(gram_of(x), labels[1:], groups)


@pytest.mark.parametrize("d", [5, 60])
def test_whitened_rows_are_in_units_of_the_shrunk_noise(d):
    random = np.random.default_rng(d)
    labels = np.repeat(["a", "b", "c"], 12)
    x = random.normal(size=(36, d)) * np.linspace(0.2, 2, d) + np.repeat(np.eye(3, d), 12, axis=0)
    part = np.arange(36) % N_PARTS  # every row is a scenario of its own
    found = whitened(gram_of(x), labels, list(range(36)), width=d)
    middle = x - x.mean(axis=0)
    for i, j in ((0, 0), (3, 8), (30, 7)):
        aside = part[j] if part[i] != part[j] else (part[i] + 1) % N_PARTS
        rest = (part != part[i]) & (part != aside)
        own = {label: x[rest & (labels == label)].mean(axis=0) for label in "abc"}
        residuals = x[rest] - np.stack([own[label] for label in labels[rest]])
        shrinkage = ledoit_wolf_shrinkage(residuals, assume_centered=True)
        assert LEAST_SHRINKAGE < shrinkage < 1
        covariance = ledoit_wolf(residuals, assume_centered=True)[0]
        expected = middle[i] @ np.linalg.inv(covariance) @ middle[j]
        assert found[i, j] == pytest.approx(expected)
    np.testing.assert_allclose(found, found.T)


def test_texts_that_do_not_differ_have_no_noise():
    x = np.repeat(np.eye(3), 4, axis=0)
    with pytest.raises(StatisticsError, match="do not differ"):
        whitened(gram_of(x), np.repeat(["a", "b", "c"], 4), list(range(12)), width=3)


def of_circle(seed: int, **how):
    x, labels, groups = circumplex(seed, **how)
    return products(whitened(gram_of(x), labels, groups, width=x.shape[1]), labels, groups)


def test_a_circle_is_recovered():
    found = of_circle(0, radius=4.0)
    theory = wheel_distances(found.names)
    told = rsa(found, theory)
    assert told.ci_low < told.value < told.ci_high
    assert told.value > 0.9
    test = label_test(distances(found.whole)[None], theory)
    assert test.least == pytest.approx(16 / 40320)  # a wheel looks the same turned and mirrored
    assert test.p[0] == pytest.approx(test.least)
    axes = principal_axes(found.of(WHEEL).whole, most=3)
    assert axes.explained[:2].min() > 0.3 > 5 * abs(axes.explained[2])
    radius = np.linalg.norm(axes.places[:, :2], axis=1)
    assert radius.std() < 0.25 * radius.mean()
    assert abs(reliability(found)).max() <= 1
    assert reliability(found).min() > 0.3
    assert np.nanmax(np.abs(reliability(of_circle(1, radius=0.0)))) < reliability(found).min() + 1


def test_rsa_is_pearsons_and_its_p_counts_all_orders():
    random = np.random.default_rng(3)
    x, labels, groups = crossed(3)
    found = products(gram_of(x), labels, groups)
    theory = np.abs(random.normal(size=(3, 3)))
    theory = theory + theory.T
    np.fill_diagonal(theory, 0)
    pairs = [(0, 1), (0, 2), (1, 2)]
    own = [found.whole[a, a] + found.whole[b, b] - 2 * found.whole[a, b] for a, b in pairs]
    expected = pearsonr(own, [theory[pair] for pair in pairs]).statistic
    assert rsa(found, theory).value == pytest.approx(expected)
    null = [
        pearsonr(own, [theory[order[a], order[b]] for a, b in pairs]).statistic
        for order in permutations(range(3))
    ]
    share = np.mean([one >= expected - 1e-9 for one in null])
    assert label_test(np.array([own]), theory).p[0] == pytest.approx(share)


def test_a_fit_is_compared_with_another_one_scenario_by_scenario():
    one, other = of_circle(4, radius=4.0), of_circle(4, radius=0.0)
    theory = wheel_distances(one.names)
    told = rsa_difference(one, other, theory)
    assert told.value == pytest.approx(rsa(one, theory).value - rsa(other, theory).value)
    assert told.ci_low > 0
    same = rsa_difference(one, one, theory)
    assert (same.value, same.ci_low, same.ci_high) == (0, 0, 0)


def test_the_p_of_labels_holds_its_level_and_the_interval_its_mean():
    rated = references_for(WHEEL[:6])["ratings"]
    p = []
    for seed in range(200):
        x, labels, groups = circumplex(seed, n=5, radius=0.0, d=12)
        found = products(gram_of(x), labels, groups).of(rated.names)
        p.append(label_test(distances(found.whole)[None], rated.distances).p[0])
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.1
    told = []
    for seed in range(60):
        found = of_circle(seed, n=10, radius=1.0)
        told.append(rsa(found, wheel_distances(found.names)))
    usual = np.tanh(np.mean([np.arctanh(one.value) for one in told]))
    assert 0.4 < usual < 0.6  # noise hides a part of what is there
    assert np.mean([one.ci_low <= usual <= one.ci_high for one in told]) > 0.88


def test_axes_of_means_without_noise_are_those_of_pca():
    random = np.random.default_rng(5)
    means = random.normal(size=(6, 9))
    found = principal_axes(means @ means.T, most=3)
    pca = PCA(3).fit(means)
    np.testing.assert_allclose(found.explained, pca.explained_variance_ratio_)
    np.testing.assert_allclose(np.abs(found.places), np.abs(pca.transform(means)), atol=1e-8)


def test_explained_shares_have_intervals_over_scenarios():
    found = of_circle(6, radius=4.0)
    first, second, third = explained_shares(found)
    assert first.value >= second.value > third.ci_high
    assert first.ci_low < 0.5 < first.ci_high
    with pytest.raises(StatisticsError, match="no spread"):
        principal_axes(-np.eye(4))


def test_axes_follow_ratings_only_where_they_do():
    ratings = ratings_of(sorted(WHEEL))
    own = np.column_stack([ratings[:, 0] * 2 + 1, np.random.default_rng(7).normal(size=8)])
    found, p = rating_test(own, ratings)
    assert found[0, 0] == pytest.approx(1)
    for axis, rating in np.ndindex(found.shape):
        expected = pearsonr(own[:, axis], ratings[:, rating]).statistic
        assert found[axis, rating] == pytest.approx(expected)
    assert p[0, 0] == pytest.approx(1 / 40320, rel=1.1)
    assert p[1].min() > 0.05
    few, chances = own[:4, :1], ratings[:4]
    largest = [
        max(abs(pearsonr(few[:, 0], chances[list(order), k]).statistic) for k in range(3))
        for order in permutations(range(4))
    ]
    value, told = rating_test(few, chances)
    for k in range(3):
        assert told[0, k] == pytest.approx(
            np.mean([one >= abs(value[0, k]) - 1e-9 for one in largest])
        )
    flat, none = rating_test(np.column_stack([own[:, 0], np.zeros(8)]), ratings)
    assert np.isnan(flat[1]).all()
    assert np.isnan(none[1]).all()
    assert none[0, 0] < 0.01


def test_centred_cosines_lose_what_all_share_and_what_is_noise():
    means = np.eye(4, 10) + 50.0
    inner = means @ means.T
    none = np.empty((0, 4, 4))
    found = centred_cosines(Products(tuple("abcd"), inner, inner, none, 4))
    np.testing.assert_allclose(found[~np.eye(4, dtype=bool)], -1 / 3)
    np.testing.assert_allclose(np.diag(found), 1)
    noisy = np.diag([4.0, 1.0, -3.0, 1.0])
    refused = centred_cosines(Products(tuple("abcd"), noisy, noisy + np.eye(4), none, 4))
    assert np.isnan(refused[2]).all()
    assert not np.isnan(refused[0, 1])
    hardly = Products(tuple("abcd"), np.eye(4), np.diag([1.0, 1.0, 30.0, 1.0]), none, 4)
    assert np.isnan(centred_cosines(hardly)[2]).all()


def test_sites_that_hold_the_same_emotions_are_alike_and_noise_does_not_hide_it():
    random = np.random.default_rng(8)
    means = {kind: 1.2 * random.normal(size=40) for kind in KINDS}
    labels = np.repeat(KINDS, 15).tolist()
    groups = [f"s{at % 20}" for at in range(45)]
    own = np.stack([means[label] for label in labels])
    turn = np.linalg.qr(random.normal(size=(40, 40)))[0]
    sites = [scale * (own + 2 * random.normal(size=own.shape)) for scale in (1, 3)]
    sites.append(own @ turn + 2 * random.normal(size=own.shape))
    found = alikeness(sites, labels, groups)
    np.testing.assert_allclose(np.diag(found), 1)
    assert found[0, 1] == pytest.approx(1, abs=0.2)
    assert abs(found[0, 2]) < 0.5
    plain = [site - site.mean(axis=0) for site in sites]
    mean = [np.stack([p[np.array(labels) == k].mean(axis=0) for k in KINDS]).ravel() for p in plain]
    raw = mean[0] @ mean[1] / np.linalg.norm(mean[0]) / np.linalg.norm(mean[1])
    assert raw < found[0, 1]


def test_the_weights_of_pairs_give_the_centred_products():
    x, labels, groups = crossed(9)
    weights = pair_weights(labels, groups)
    inner = by_loops(x, labels, groups)
    expected = np.trace(inner) - inner.sum() / 3
    assert (weights * (x @ x.T)).sum() == pytest.approx(expected)


def test_references_say_what_their_sources_do():
    assert wheel_distances(["joy", "sadness", "fear"]) == pytest.approx(
        np.array([[0, 4, 2], [4, 0, 2], [2, 2, 0]])
    )
    found = references_for(sorted(WHEEL))
    assert set(found) == {"wheel", "ratings", "valence", "arousal", "dominance"}
    joint = sum(found[name].distances for name in ("valence", "arousal", "dominance"))
    np.testing.assert_allclose(found["ratings"].distances, joint)
    assert set(stimuli.ratings()) == set(WHEEL)
    assert stimuli.ratings()["joy"] == {"valence": 8.21, "arousal": 5.55, "dominance": 7.0}
    assert all(1 <= value <= 9 for one in stimuli.ratings().values() for value in one.values())
    assert references_for(["joy", "fear", "anger", "awe"]) == {}
    with pytest.raises(StatisticsError, match="'awe' has no place"):
        wheel_distances(["joy", "awe"])


def test_the_words_stand_beside_the_model():
    found = Space(of_circle(10, radius=4.0), {"site": "resid_post", "layer": 2})
    words = Space(of_circle(10, radius=0.0), {"site": ""}, "tfidf")
    rows = list(rsa_rows([found], [words], references_for(found.found.names)))
    assert {row["reference"] for row in rows} == {
        "wheel", "ratings", "valence", "arousal", "dominance"
    }  # fmt: skip
    own, other, above = [row for row in rows if row["reference"] == "wheel"]
    assert (own["metric"], own["control"], above["target"]) == ("rsa", "", "tfidf")
    assert above["value"] == pytest.approx(own["value"] - other["value"])
    assert own["p"] < 0.01 < other["p"]
    axes = list(axes_rows(found))
    kinds = [row["metric"] for row in axes]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    assert counts == {"explained": 3, "axis_place": 16, "axis_rating": 6}


def test_silhouettes_are_scikit_learns():
    random = np.random.default_rng(11)
    x = random.normal(size=(40, 5)) + np.repeat(np.eye(2, 5) * 3, 20, axis=0)
    kinds = {
        "emotion": ["joy"] * 20 + ["fear"] * 20,
        "scenario": [f"s{at // 2}" for at in range(40)],
    }
    kinds |= {"arm": ["keyword_free"] * 40}  # one arm: nothing to sort by
    rows = list(silhouette_rows(x, kinds, kinds["scenario"], where={}))
    assert [row["by"] for row in rows] == ["emotion", "scenario"]
    for row in rows:
        assert row["value"] == pytest.approx(silhouette_score(x, kinds[row["by"]]))
        assert row["ci_low"] < row["value"] < row["ci_high"]


def test_differences_of_the_words_alone():
    affective = ["I won and won a prize", "I won the race today", "we won a race at last"]
    neutral = ["I saw and saw a prize", "I saw the race today", "we saw a race at last"]
    found = dict(text_differences(affective, neutral, lexicons={
        "negation": ["not", "n't"], "function_words": ["the", "a"]
    }))  # fmt: skip
    assert "bag_of_words" in found
    assert "negation" not in found  # none has any
    assert all(len(apart) == 3 for apart in found.values())
    np.testing.assert_allclose(np.linalg.norm(found["bag_of_words"], axis=1), np.sqrt([8, 2, 2]))
