"""LEACE: after it no linear probe knows the label, by its theorem; and nothing smaller would do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from interp.analysis.erasers import fit_eraser
from interp.causal.edits import Selected, erase
from interp.directions import Eraser
from interp.errors import ArtefactError, DataError, StatisticsError
from interp.sites import Site

SITE = Site("resid_post", 2)
N, D = 240, 12


@pytest.fixture(scope="module")
def told() -> tuple[np.ndarray, np.ndarray]:
    """Three labels that move two directions, in noise of very unequal spread."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["anger", "fear", "joy"], [60, 80, 100])
    means = {"anger": 2.0, "fear": -1.0, "joy": 0.5}
    x = rng.standard_normal((N, D)) @ rng.standard_normal((D, D)) * np.geomspace(0.1, 10, D)
    x[:, 0] += [means[label] for label in labels]
    x[:, 3] += 3 * (labels == "joy")
    return x, labels


def loss(x: np.ndarray, labels: np.ndarray) -> float:
    """Of the best linear probe, on the rows that it is fitted on."""
    spread = (x - x.mean(0)) / np.maximum(x.std(0), 1e-12)
    probe = LogisticRegression(C=1e4, max_iter=5000).fit(spread, labels)
    return float(log_loss(labels, probe.predict_proba(spread)))


def test_no_linear_probe_knows_the_label_after_it(told):
    x, labels = told
    shares = np.array([60, 80, 100]) / N
    entropy = float(-(shares * np.log(shares)).sum())
    assert loss(x, labels) < 0.8 * entropy  # without it, it does
    assert loss(fit_eraser(x, labels, site=SITE)(x), labels) == pytest.approx(entropy, abs=1e-4)


def test_it_is_the_smallest_such_change_in_every_norm(told):
    """No other affine map whose output has no covariance with the labels moves the rows less."""
    x, labels = told
    eraser = fit_eraser(x, labels, site=SITE)
    onehot = (labels[:, None] == np.unique(labels)).astype(float)
    cross = (x - x.mean(0)).T @ (onehot - onehot.mean(0)) / N
    assert np.abs(((eraser(x) - x.mean(0)).T @ (onehot - onehot.mean(0))) / N).max() < 1e-10
    basis = np.linalg.svd(cross, full_matrices=False)[0][:, :2]
    orthogonal = Eraser(basis @ basis.T, x.mean(0), SITE, ("a", "b"))  # erases too, and moves more
    assert np.abs((orthogonal(x) - x.mean(0)).T @ (onehot - onehot.mean(0))).max() < 1e-8
    rng = np.random.default_rng(1)
    for _ in range(5):
        root = rng.standard_normal((D, D))
        moved = [(((one(x) - x) @ root) ** 2).sum() for one in (eraser, orthogonal)]
        assert moved[0] < moved[1]


def test_fewer_rows_than_dimensions_leave_the_rest_alone():
    rng = np.random.default_rng(2)
    x, labels = rng.standard_normal((10, 40)), np.array(["a", "b"] * 5)
    x[:, 0] += 5 * (labels == "a")
    eraser = fit_eraser(x, labels, site=SITE)
    erased = eraser(x)
    assert np.abs(erased[labels == "a"].mean(0) - erased[labels == "b"].mean(0)).max() < 1e-9
    assert np.linalg.matrix_rank(eraser.projection, tol=1e-8) == 1


def test_a_model_is_edited_with_what_was_fitted(told):
    x, labels = told
    eraser = fit_eraser(x, labels, site=SITE)
    at = Selected(torch.zeros(N, dtype=torch.long), torch.arange(N))
    edited = erase(eraser.projection, centre=eraser.centre)(torch.from_numpy(x).float(), at)
    np.testing.assert_allclose(edited.numpy(), eraser(x), atol=1e-4)


def test_it_is_saved_and_read_back_and_other_files_are_refused(told, tmp_path: Path):
    eraser = fit_eraser(*told, site=SITE, provenance={"model": "m"})
    eraser.save(tmp_path / "e.safetensors")
    again = Eraser.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.projection, eraser.projection)
    assert (again.site, again.labels, again.provenance) == (
        SITE,
        ("anger", "fear", "joy"),
        {"model": "m"},
    )
    with pytest.raises(ArtefactError, match="no projection"):
        Eraser(2 * np.eye(3), np.zeros(3), SITE, ("a", "b"))
    with pytest.raises(ArtefactError, match=r"expected finite \(d, d\)"):
        Eraser(np.eye(3), np.array([0, np.nan, 0]), SITE, ("a", "b"))


def test_what_cannot_be_fitted_is_said(told):
    x, labels = told
    with pytest.raises(StatisticsError, match="nothing to erase"):
        fit_eraser(x, ["joy"] * N, site=SITE)
    with pytest.raises(DataError, match="one label per finite row"):
        fit_eraser(x, labels[:-1].tolist(), site=SITE)
