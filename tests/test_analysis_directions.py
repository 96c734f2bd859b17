"""Directions recover a planted vector, keep sign and length, survive the disk unchanged and nothing
else does.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp import array_files
from interp.analysis import directions, methods
from interp.analysis.directions import fit, fit_groups, separation
from interp.analysis.emotion_directions import saturated
from interp.analysis.methods import DIRECTIONS
from interp.array_files import card_path
from interp.directions import Direction
from interp.errors import ArtefactError, DataError, StatisticsError, UsageError
from interp.sites import Site

SITE = Site("resid_post", 3)
LABELS = ("joy", "neutral")


def twins(
    n: int, d: int, scale: float, seed: int, spread: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twins that share a scenario and differ by about scale * v; returns (affective, neutral,
    v).
    """
    random = np.random.default_rng(seed)
    v = random.normal(size=d)
    v /= np.linalg.norm(v)
    neutral = 3 * random.normal(size=(n, d))
    noise = 0.1 * random.normal(size=(n, d))
    return neutral + (scale + spread * random.normal(size=(n, 1))) * v + noise, neutral, v


@pytest.mark.parametrize("method", list(DIRECTIONS))
def test_every_method_recovers_the_planted_direction_sign_and_length(method: str) -> None:
    affective, neutral, v = twins(600, 10, 4.0, 0)
    found = fit(affective, neutral, site=SITE, labels=LABELS, method=method)
    assert found.vector @ v > (0.999 if method in ("paired", "group_centred", "pca") else 0.97)
    assert found.length == pytest.approx(4.0, rel=0.05)
    assert found.spread == pytest.approx(0.51, rel=0.1)
    turned = fit(neutral, affective, site=SITE, labels=("neutral", "joy"), method=method)
    assert turned.vector == pytest.approx(-found.vector, abs=1e-3)


def test_the_vector_is_the_paired_mean_difference_and_length_its_held_out_length() -> None:
    affective, neutral, _ = twins(50, 6, 2.0, 1)
    found = fit(affective, neutral, site=SITE, labels=LABELS)
    mean = (affective - neutral).mean(axis=0)
    assert found.vector * np.linalg.norm(mean) == pytest.approx(mean)
    held = methods.held_out_length(affective, neutral, np.arange(50))
    assert (found.length, *found.length_interval) == pytest.approx(held[:3])
    difference = affective - neutral
    rest = (difference.sum(axis=0) - difference) / 49
    one_out = (rest * difference).sum(axis=1) / np.linalg.norm(rest, axis=1)
    assert held.value == pytest.approx(np.mean(one_out), abs=0.02)


def noisy(n: int, d: int, truth: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Twins that differ by unit noise and by `truth` along the last axis."""
    random = np.random.default_rng(seed)
    neutral = random.normal(size=(n, d))
    return neutral + random.normal(size=(n, d)) + truth * np.eye(d)[-1], neutral


@pytest.mark.parametrize(("n", "truth"), [(30, 0.0), (30, 5.0), (8, 5.0)])
def test_the_natural_length_is_not_made_of_noise(n: int, truth: float) -> None:
    """512 dimensions: the length in the fitted texts is 4 and more where there is nothing; on
    held-out scenarios it is what the truth adds along the vector. 60 data sets, binomial error
    .028.
    """
    hits, in_sample, held = [], [], []
    for seed in range(60):
        affective, neutral = noisy(n, 512, truth, seed)
        found = fit(affective, neutral, site=SITE, labels=LABELS)
        true = truth * found.vector[-1]
        hits.append(found.length_interval[0] <= true <= found.length_interval[1])
        held.append(found.length - true)
        in_sample.append((affective - neutral).mean(axis=0) @ found.vector - true)
    assert np.mean(hits) >= 0.87
    assert abs(np.mean(held)) < 0.35
    assert np.mean(in_sample) > 2


def test_a_direction_without_length_says_so_and_comes_back_so(tmp_path: Path) -> None:
    lost = next(
        found
        for seed in range(50)
        if (found := fit(*noisy(12, 64, 0.0, seed), site=SITE, labels=LABELS)).length <= 0
    )
    assert (
        "its length, 'joy' minus 'neutral', is not above zero: -" in lost.provenance["warnings"][0]
    )
    lost.save(tmp_path / "v.safetensors")
    back = Direction.load(tmp_path / "v.safetensors")
    assert (back.length, back.length_interval) == (lost.length, lost.length_interval)
    sure = fit(*noisy(12, 64, 9.0, 0), site=SITE, labels=LABELS)
    assert "warnings" not in sure.provenance
    with pytest.raises(StatisticsError, match="at least 2 scenarios"):
        fit(*noisy(4, 3, 1.0, 0), site=SITE, labels=LABELS, groups=list("aaaa"))


def test_the_natural_length_holds_scenarios_out_and_not_pairs() -> None:
    """Four copies of each scenario: with copies on both sides noise would be long on held-out
    texts, too.
    """
    affective, neutral = (np.repeat(rows, 4, axis=0) for rows in noisy(20, 256, 0.0, 3))
    groups = np.repeat(np.arange(20), 4)
    assert fit(affective, neutral, site=SITE, labels=LABELS).length > 2
    assert abs(fit(affective, neutral, site=SITE, labels=LABELS, groups=groups).length) < 1


@pytest.mark.parametrize("ends", [None, [0.5, 2.5], [None, None]])
def test_an_older_card_which_called_the_length_a_scale_is_read(tmp_path: Path, ends: Any) -> None:
    old = {"schema": 1, "site": str(SITE), "method": "paired", "labels": ["a", "b"]}
    old |= {"scale": 1.5, "spread": 0.5, "provenance": {}}
    old |= {} if ends is None else {"scale_interval": ends}
    path = tmp_path / "v.safetensors"
    array_files.write_arrays(path, {"vector": np.eye(2)[0]}, old)
    found = Direction.load(path)
    expected = (np.nan, np.nan) if ends != [0.5, 2.5] else (0.5, 2.5)
    assert found.length == 1.5
    np.testing.assert_array_equal(found.length_interval, expected)
    found.save(path)
    about = json.loads(card_path(path).read_text())["about"]
    assert (about["schema"], about["length"]) == (2, 1.5)
    assert not [key for key in about if "scale" in key]
    again = Direction.load(path)
    assert again.length == 1.5
    np.testing.assert_array_equal(again.length_interval, expected)


def test_centring_the_paired_differences_would_lose_the_signal() -> None:
    """Why `pca` does not centre: the constant shift is exactly what centring takes away."""
    affective, neutral, v = twins(300, 10, 4.0, 2, spread=0.0)
    difference = affective - neutral
    centred = np.linalg.svd(difference - difference.mean(axis=0))[2][0]
    assert abs(centred @ v) < 0.9
    assert abs(methods.pca(affective, neutral) @ v) > 0.999


def rogue(n: int, seed: int, truth: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Twins in 64 dimensions that share a scenario ten times as strong, with two axes of eightfold
    noise in the difference.
    """
    random = np.random.default_rng(seed)
    noise = np.ones(64)
    noise[:2] = 8
    scenario = 10 * random.normal(size=(n, 64))
    affective, neutral = (scenario + noise * random.normal(size=(n, 64)) for _ in range(2))
    return affective + truth * np.eye(64)[-1], neutral


def test_pca_on_a_noisy_axis_says_that_it_has_no_sign() -> None:
    affective, neutral = rogue(100, 0)
    with pytest.warns(
        UserWarning,
        match=r"pca direction at .* has no sign: .*does not differ from zero \(p = 0\.\d+\)",
    ):
        found = fit(affective, neutral, site=SITE, labels=LABELS, method="pca")
    assert abs(found.vector[-1]) < 0.2
    assert any(one.startswith("no sign") for one in found.provenance["warnings"])


def test_the_sign_of_pca_is_told_as_often_as_chance_says() -> None:
    """Nothing there: p of the first axis' mean is uniform, though axis and mean come of the same
    data; nominal .05, 200 data sets, binomial error .015.
    """
    p = []
    for seed in range(200):
        difference = np.random.default_rng(seed).normal(size=(14, 6))
        p.append(
            methods.axis_p(difference, methods.pca(difference, np.zeros((14, 6))), np.arange(14))
        )
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.1
    affective, neutral, _ = twins(14, 6, 4.0, 0)
    axis = methods.unit(methods.pca(affective, neutral))
    assert methods.axis_p(affective - neutral, axis, np.arange(14)) < 0.01


def test_lda_whitens_what_twins_differ_in_and_not_what_they_share() -> None:
    affective, neutral = rogue(150, 1)
    plain, whitened = (
        fit(affective, neutral, site=SITE, labels=LABELS, method=m).vector[-1]
        for m in ("paired", "lda")
    )
    within = np.concatenate([affective - affective.mean(axis=0), neutral - neutral.mean(axis=0)])
    unpaired = methods.unit(np.linalg.solve(np.cov(within.T), (affective - neutral).mean(axis=0)))[
        -1
    ]
    assert whitened > max(plain, unpaired) + 0.05


def test_lda_sees_through_correlated_noise_that_the_mean_difference_mistakes() -> None:
    """Noise along one axis is large and adds to the difference by accident; whitening discounts
    it.
    """
    random = np.random.default_rng(3)
    noise = np.diag([30.0, 1, 1, 1])
    neutral, affective = (random.normal(size=(60, 4)) @ noise for _ in range(2))
    affective[:, 1] += 2
    axis = np.eye(4)[1]
    plain, whitened = (
        fit(affective, neutral, site=SITE, labels=LABELS, method=m).vector
        for m in ("paired", "lda")
    )
    assert whitened @ axis > 0.95
    assert whitened @ axis > plain @ axis + 0.1


def test_group_centred_emotions_sum_to_zero_and_repel() -> None:
    random = np.random.default_rng(4)
    emotions, n_groups, d = ["anger", "fear", "joy", "trust"], 200, 30
    means = np.linalg.qr(random.normal(size=(d, 4)))[0].T * 5
    y = np.tile(emotions, n_groups)
    groups = np.repeat(np.arange(n_groups), 4)
    x = (
        means[np.tile(np.arange(4), n_groups)]
        + 4 * random.normal(size=(n_groups, d))[groups]
        + random.normal(size=(len(y), d))
    )
    keep = np.arange(len(y)) != 2  # the first scenario lacks joy, and must not count
    found = fit_groups(x[keep], y[keep], groups[keep], site=SITE)
    whole = x.reshape(n_groups, 4, d)[1:]
    expected = (whole - whole.mean(axis=1, keepdims=True)).mean(axis=0)
    for place, name in enumerate(emotions):
        assert found[name].vector * np.linalg.norm(expected[place]) == pytest.approx(
            expected[place]
        )
    vectors = np.stack([found[name].vector for name in emotions])
    cosines = (vectors @ vectors.T)[np.triu_indices(4, 1)]
    assert cosines.mean() == pytest.approx(-1 / 3, abs=0.02)
    with pytest.raises(StatisticsError, match="0 groups hold each of 4 emotions once"):
        fit_groups(x, y, np.arange(len(y)), site=SITE)


def test_separation_is_held_out() -> None:
    """Strong signal: the closed form of d'. Noise in many dimensions: perfect on its own pairs,
    chance on held-out ones.
    """
    random = np.random.default_rng(5)
    affective, neutral = random.normal(size=(200, 5)), random.normal(size=(200, 5))
    affective[:, 0] += 2
    rows = {row["metric"]: row for row in separation(affective, neutral, np.arange(200))}
    assert rows["d_prime"]["value"] == pytest.approx(2, abs=0.3)
    assert rows["separation_auroc"]["value"] == pytest.approx(0.921, abs=0.035)
    assert rows["split_half_cosine"]["value"] > 0.9
    assert rows["norm"]["value"] == pytest.approx(2, abs=0.4)
    assert rows["norm"]["ci_low"] < 2 < rows["norm"]["ci_high"]
    assert rows["norm"]["p"] < 0.01
    assert rows["held_out_length"]["ci_low"] < 2 < rows["held_out_length"]["ci_high"]
    nothing = random.normal(size=(2, 60, 200))
    own = (nothing[0] - nothing[1]) @ fit(nothing[0], nothing[1], site=SITE, labels=LABELS).vector
    assert (own > 0).mean() > 0.95
    rows = {row["metric"]: row for row in separation(nothing[0], nothing[1], np.arange(60))}
    assert rows["separation_auroc"]["ci_low"] < 0.5 < rows["separation_auroc"]["ci_high"]
    halves = rows.pop("split_half_cosine")
    assert halves["value"] == pytest.approx(0, abs=0.15)
    assert np.isnan(halves["ci_low"])  # a range over splits of one sample is no interval
    assert halves["split_low"] < halves["value"] < halves["split_high"]
    assert all(
        row["ci_low"] <= row["value"] <= row["ci_high"] and row["n"] == 60 for row in rows.values()
    )
    assert rows["norm"]["ci_low"] < 0 < rows["norm"]["ci_high"]
    assert rows["norm"]["p"] > 0.05


def test_retellings_of_a_scenario_stay_together() -> None:
    """Copies of scenarios whose differences are noise: only grouping by scenario shows that nothing
    generalises.
    """
    random = np.random.default_rng(6)
    groups = np.repeat(np.arange(30), 4)
    difference = random.normal(size=(30, 200))[groups]
    neutral = 0.01 * random.normal(size=(120, 200))
    apart = separation(neutral + difference, neutral, np.arange(120))[0]["value"]
    together = separation(neutral + difference, neutral, groups)[0]["value"]
    assert apart > 0.9
    assert together == pytest.approx(0.5, abs=0.25)


def test_sign_is_anchored_on_held_out_twins_with_a_warning() -> None:
    affective, neutral, _ = twins(20, 5, 3.0, 7)
    found = fit(affective, neutral, site=SITE, labels=LABELS)
    assert directions.anchored(found, affective, neutral) is found
    turned = directions.anchored(found, neutral, affective)
    assert turned.vector == pytest.approx(-found.vector)
    assert "sign turned" in turned.provenance["warnings"][0]


def test_an_origin_is_told_beside_the_warnings_of_both() -> None:
    sure = fit(*noisy(12, 64, 9.0, 0), site=SITE, labels=LABELS)
    assert sure.with_origin({"model": "m"}).provenance == {"model": "m"}
    lost = replace(sure, provenance={"warnings": ["short"]})
    found = lost.with_origin({"model": "m", "warnings": ["old"]})
    assert found.provenance == {"model": "m", "warnings": ["old", "short"]}
    assert (found.vector == sure.vector).all()
    assert found.length == sure.length


def test_a_saved_direction_comes_back_equal(tmp_path: Path) -> None:
    affective, neutral, _ = twins(20, 5, 3.0, 8)
    found = fit(affective, neutral, site=SITE, labels=LABELS)
    found = found.with_origin({"model": "planted", "revision": "0" * 40})
    found.save(tmp_path / "joy.safetensors")
    back = Direction.load(tmp_path / "joy.safetensors")
    assert (back.vector == found.vector).all()
    assert (back.site, back.method, back.labels, back.length, back.spread, back.provenance) == (
        found.site, found.method, found.labels, found.length, found.spread, found.provenance,
    )  # fmt: skip
    with pytest.raises(ValueError, match="read-only"):
        back.vector[0] = 1


def test_every_flipped_bit_and_truncation_is_refused(tmp_path: Path) -> None:
    affective, neutral, _ = twins(20, 3, 3.0, 9)
    path = tmp_path / "v.safetensors"
    fit(affective, neutral, site=SITE, labels=LABELS).with_origin({"model": "m"}).save(path)
    random = np.random.default_rng(0)
    for file in (path, card_path(path)):
        whole = file.read_bytes()
        for place in random.choice(len(whole) * 8, 150, replace=False).tolist():
            spoilt = bytearray(whole)
            spoilt[place // 8] ^= 1 << (place % 8)
            file.write_bytes(bytes(spoilt))
            if file == path or _means_something_else(bytes(spoilt), whole):
                with pytest.raises(ArtefactError):
                    Direction.load(path)
        for length in (0, 7, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            if file == path or length < len(whole) - 1:
                with pytest.raises(ArtefactError):
                    Direction.load(path)
        file.write_bytes(whole)
    Direction.load(path)


def _means_something_else(spoilt: bytes, whole: bytes) -> bool:
    """A flip of white space into other white space says the same and may be read."""
    try:
        return json.loads(spoilt) != json.loads(whole)
    except ValueError:
        return True


def test_newer_and_foreign_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    with pytest.raises(ArtefactError, match="cannot read"):
        Direction.load(path)
    array_files.write_arrays(path, {"vector": np.ones(2)}, {"schema": 99})
    with pytest.raises(ArtefactError, match="newer interp"):
        Direction.load(path)
    array_files.write_arrays(path, {"other": np.ones(2)}, {})
    with pytest.raises(ArtefactError, match="does not hold a direction"):
        Direction.load(path)
    zero = {
        "site": str(SITE),
        "method": "paired",
        "labels": ["a", "b"],
        "length": 1.0,
        "spread": 0.0,
        "provenance": {},
    }
    array_files.write_arrays(path, {"vector": np.zeros(2)}, zero)
    with pytest.raises(ArtefactError, match="norm 0"):
        Direction.load(path)
    os.truncate(path, array_files.LARGEST + 1)
    with pytest.raises(ArtefactError, match="more than"):
        Direction.load(path)


@pytest.mark.parametrize(
    ("vector", "length", "message"),
    [
        (np.zeros(3), 1.0, "norm 0, expected 1"),
        (np.array([np.nan, 0, 1]), 1.0, "not finite: 1 of its numbers"),
        (np.array([1.0, 0, 0]), np.inf, "length inf"),
        (np.array([1.0, 0, 0]), np.nan, "length nan"),
        (np.array([2.0, 0, 0]), 1.0, "norm 2, expected 1"),
    ],
)
def test_impossible_directions_are_refused(vector: np.ndarray, length: float, message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        Direction(vector, SITE, "paired", LABELS, length, 0.0)


def test_bad_rows_are_refused() -> None:
    affective, neutral, _ = twins(10, 4, 1.0, 10)
    with pytest.raises(UsageError, match="unknown direction method 'ica'"):
        fit(affective, neutral, site=SITE, labels=LABELS, method="ica")
    with pytest.raises(ArtefactError, match="twins do not differ"):
        fit(neutral, neutral, site=SITE, labels=LABELS)
    with pytest.raises(StatisticsError, match="at least 2 pairs, there is 1"):
        fit(affective[:1], neutral[:1], site=SITE, labels=LABELS)
    with pytest.raises(StatisticsError, match="at least 4 scenarios"):
        separation(affective[:3], neutral[:3], np.arange(3), n_splits=3)
    spoilt = neutral.copy()
    spoilt[4, 0] = np.inf
    with pytest.raises(DataError, match="1 neutral rows are not finite, first pair 4"):
        fit(affective, spoilt, site=SITE, labels=LABELS)


def test_sites_that_tell_as_much_as_the_best_are_kept_in_their_order():
    low, best, near = (Site("resid_post", layer) for layer in range(3))
    assert saturated({low: 0.93, best: 0.95, near: 0.945}) == (best, near)
