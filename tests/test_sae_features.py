"""Sparse autoencoders: encoding against a loop, both layouts, what is refused, and which features
know an emotion, where the features are the planted directions and where there is nothing to know.
"""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from interp import study
from interp.analysis.autoencoder_files import read_autoencoder
from interp.analysis.autoencoders import ACTIVATIONS, SparseAutoencoder
from interp.analysis.design import Design
from interp.analysis.questions import lexicons
from interp.analysis.sae_features import Halved, selectivity_rows
from interp.errors import ArtefactError, UsageError
from interp.evaluation.made import emotions as made_emotions
from interp.reporting.decisions import Verdict
from interp.reporting.sae_features import _ENDS, feature_selectivity, said_of_features
from interp.results import read_table, table
from interp.sites import Site
from interp.study.features import FEATURE_TEXTS, FEATURES
from interp.testbeds import planted
from support.commands import outcome

SPEC = planted.SPECS["planted"]
FINAL = Site("resid_post", SPEC.n_layers - 1)
KNOWN = ("fear", "joy")


def weights(d_model: int = 6, d_sae: int = 11, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {
        "W_enc": (d_model, d_sae),
        "b_enc": d_sae,
        "W_dec": (d_sae, d_model),
        "b_dec": d_model,
    }
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(folder, tensors, **metadata):
    path = folder / "sae.safetensors"
    save_file(tensors, path, metadata={key: str(value) for key, value in metadata.items()})
    return path


def write_folder(folder, tensors, **settings):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("off", [True, False])
def test_encoding_is_that_of_a_loop_over_vectors_and_features(kind, off):
    random, own = np.random.default_rng(1), weights()
    x = random.normal(size=(5, 6)).astype(np.float32)
    threshold = random.uniform(0, 2, size=11).astype(np.float32)
    more = {"topk": {"k": 3}, "jumprelu": {"threshold": threshold}}.get(kind, {})
    sae = SparseAutoencoder(**own, activation=kind, apply_b_dec_to_input=off, **more)
    expected = np.zeros((5, 11))
    for row in range(5):
        vector = x[row] - own["b_dec"] * off
        before = [float(vector @ own["W_enc"][:, f]) + own["b_enc"][f] for f in range(11)]
        for f, value in enumerate(before):
            among = sum(other > value for other in before)
            kept = {"relu": True, "topk": among < 3, "jumprelu": value > threshold[f]}[kind]
            expected[row, f] = value if kept and value > 0 else 0
    np.testing.assert_allclose(sae.encode(x), expected, atol=1e-5)
    for at_once in (1, 4, 50):
        found = np.concatenate([b for _, b in sae.blocks(x, at_once=at_once)], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    back = sae.decode_blocks(sae.blocks(x, at_once=4), 5)
    np.testing.assert_allclose(back, expected @ own["W_dec"] + own["b_dec"], atol=1e-4)


def test_a_file_and_a_folder_of_either_age_are_read_alike(tmp_path):
    own = weights()
    hook = "blocks.2.hook_resid_post"
    file = read_autoencoder(write(tmp_path, own, activation="topk", k=4, hook_name=hook))
    old = {"architecture": "standard", "activation_fn_str": "topk", "hook_name": hook, "d_in": 6,
           "activation_fn_kwargs": {"k": 4}, "normalize_activations": "none"}  # fmt: skip
    new = {"architecture": "topk", "k": 4, "metadata": {"hook_name": hook}, "d_sae": 11}
    for place, settings in (("old", old), ("new", new)):
        found = read_autoencoder(write_folder(tmp_path / place, own, **settings))
        assert (found.activation, found.k, found.hook_name) == ("topk", 4, hook)
        assert (file.activation, file.k, file.hook_name) == ("topk", 4, hook)
        assert found.apply_b_dec_to_input
        np.testing.assert_array_equal(found.W_enc, file.W_enc)
    kept = read_autoencoder(
        write_folder(tmp_path / "kept", own, architecture="standard", apply_b_dec_to_input=False)
    )
    assert not kept.apply_b_dec_to_input
    bare = write(tmp_path, own)
    assert read_autoencoder(bare, activation="topk", k=2).k == 2


@pytest.mark.parametrize(
    ("broken", "metadata", "told"),
    [
        ({"W_dec": None}, {"activation": "relu"}, r"has no W_dec: expected W_enc, b_enc, W_dec"),
        ({"b_enc": np.zeros(4, np.float32)}, {"activation": "relu"}, r"b_enc has the shape \(4,\)"),
        ({"W_enc": np.full((6, 11), np.nan, np.float32)}, {"activation": "relu"},
         r"W_enc is not finite: 66 numbers"),
        ({"b_dec": np.zeros(6, np.int32)}, {"activation": "relu"}, r"b_dec holds int32"),
        ({}, {}, r"does not say its activation"),
        ({}, {"activation": "gelu"}, r"activation is 'gelu'; expected one of relu, topk"),
        ({}, {"activation": "topk"}, r"k is missing"),
        ({}, {"activation": "topk", "k": 12}, r"k is 12; expected 1 to 11"),
        ({}, {"activation": "topk", "k": "x"}, r"metadata k is 'x'"),
        ({}, {"activation": "jumprelu"}, r"threshold is missing"),
        ({"threshold": np.zeros(11, np.float32)}, {"activation": "relu"}, r"threshold is there"),
        ({}, {"activation": "relu", "apply_b_dec_to_input": "maybe"}, r"is 'maybe'; expected true"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_the_name_of_the_field(broken, metadata, told, tmp_path):
    own = {name: one for name, one in {**weights(), **broken}.items() if one is not None}
    with pytest.raises(ArtefactError, match=told):
        read_autoencoder(write(tmp_path, own, **metadata))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"architecture": "gated"}, r"architecture is 'gated'; read here are standard"),
        ({"normalize_activations": "layer_norm"}, r"normalize_activations is 'layer_norm'"),
        ({"activation_fn_str": "tanh-relu"}, r"activation_fn is 'tanh-relu'"),
        ({"architecture": "topk"}, r"k is None; topk needs a whole number"),
        ({"d_in": 7}, r"d_in is 7 in cfg.json, and 6 in W_enc"),
    ],
)
def test_settings_that_would_change_the_numbers_are_refused(settings, told, tmp_path):
    with pytest.raises(ArtefactError, match=told):
        read_autoencoder(write_folder(tmp_path / "sae", weights(), **settings))


def test_what_is_no_autoencoder_is_refused(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    for path, told in (("bad.safetensors", "is no safetensors file"), ("none", "cannot read")):
        with pytest.raises(ArtefactError, match=told):
            read_autoencoder(tmp_path / path, activation="relu")
    with pytest.raises(UsageError, match=r"says activation relu, and --activation topk"):
        read_autoencoder(write(tmp_path, weights(), activation="relu"), activation="topk")
    (folder := write_folder(tmp_path / "odd", weights())).joinpath("cfg.json").write_text("{")
    with pytest.raises(ArtefactError, match="is no JSON"):
        read_autoencoder(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A capture of the planted model, one site."""
    out = tmp_path_factory.mktemp("features") / "run"
    asked = study.Settings.of(
        model="planted", stimuli="planted", out=out, sites=(f"resid_post@{FINAL.layer}",),
        emotions=KNOWN,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study.run(asked, stages=["capture"])
    return out


@pytest.fixture(scope="module")
def planted_sae(tmp_path_factory):
    """Features 3 and 8 are the planted directions of fear and joy, the others lie across them."""
    known = np.stack([planted.truth(SPEC).direction(one, FINAL) for one in KNOWN])
    columns = np.random.default_rng(0).normal(size=(12, SPEC.d_model))
    columns -= columns @ np.linalg.pinv(known) @ known
    columns[3], columns[8] = known
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    own = {"W_enc": columns.T, "W_dec": columns, "b_enc": np.zeros(12), "b_dec": columns[0] * 0}
    own = {name: np.ascontiguousarray(one, dtype=np.float32) for name, one in own.items()}
    return write(tmp_path_factory.mktemp("sae"), own, activation="relu", hook_name=str(FINAL))


def told(run, sae, out, *more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return outcome("features", run, "--sae", sae, "--out", out, *more)


def test_the_planted_features_are_found_and_their_texts_shown(run, planted_sae, tmp_path):
    code, printed = told(run, planted_sae, tmp_path / "out", "--json", "--position", "last")
    assert code == 2, printed  # the run's positions are last_content and mean_content
    code, printed = told(run, planted_sae, tmp_path / "out", "--json")
    assert code == 0, printed
    rows = read_table(tmp_path / "out" / "tables" / f"{FEATURES}.csv")
    own = rows[(rows["metric"] == "auroc") & (rows["task"] == "categorisation")]
    best = own[(own["control"] == "") & (own["emotion"] != "")].set_index("emotion")
    assert best["feature"].to_dict() == {"fear": 3, "joy": 8}
    assert (best["value"] > 0.95).all()
    assert (best["p"] < 0.05).all()
    shuffled = own[(own["control"] == "shuffled") & (own["emotion"] == "")]
    assert shuffled["draw_low"].iloc[0] < 0.55 < 0.75 < float(best["value"].mean())
    texts = read_table(tmp_path / "out" / "tables" / f"{FEATURE_TEXTS}.csv")
    texts = texts[texts["task"] == "categorisation"]
    assert (texts["of"] == texts["emotion"]).all()
    assert (texts["value"] > 0).all()
    assert (tmp_path / "out" / "figures" / "feature_selectivity.svg").stat().st_size > 1000
    assert "AUROC" in json.loads(printed)["said"][1]
    # the same weights as a folder give the same numbers
    sae = read_autoencoder(planted_sae)
    tensors = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    folder = write_folder(tmp_path / "folder", tensors, hook_name=str(FINAL))
    assert told(run, folder, tmp_path / "again")[0] == 0
    again = read_table(tmp_path / "again" / "tables" / f"{FEATURES}.csv")
    pd.testing.assert_series_equal(again["value"], rows["value"])


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--site", "blocks.0.hook_resid_post"), 2, "was not captured"),
        (("--site", "blocks.0.attn.hook_z"), 2, "is not in the stream"),
        (("--position", "mean_content"), 2, "reads single tokens"),
        (("--activation", "topk"), 2, "says activation relu"),
        (("--k", "3"), 4, "k belongs to topk"),
    ],
)
def test_what_cannot_be_asked_is_refused(run, planted_sae, tmp_path, words, code, what):
    found = told(run, planted_sae, tmp_path / "out", *words)
    assert found[0] == code
    assert what in found[1]
    assert not (tmp_path / "out").exists()


def test_another_width_names_both_numbers(run, tmp_path):
    sae = write(tmp_path, weights(), activation="relu", hook_name=str(FINAL))
    code, printed = told(run, sae, tmp_path / "out")
    assert code == 2
    assert f"W_enc reads vectors of 6 numbers, and {FINAL} holds {SPEC.d_model}" in printed


def halved(seed: int, n: int = 48) -> tuple[np.ndarray, Halved]:
    """Noise without emotion, thirty features of it, and halves of scenarios."""
    x, y, groups = made_emotions(seed, n=n)
    features = np.maximum(x @ np.random.default_rng(seed).normal(size=(8, 30)), 0)
    texts = [f"w{seed % 7} w{i % 5} {'not' if i % 3 else 'it'}" for i in range(n)]
    choose = np.arange(n) // 4 % 2 == 0
    return features, Halved("categorisation", Design.infer(y, groups), texts, choose)


def test_noise_has_no_feature_and_the_told_half_chose_nothing():
    features, asked = halved(3)
    rows, found = selectivity_rows(
        lambda size: ((at, features[:, at : at + 7]) for at in range(0, 30, 7)),
        asked,
        lexicons=lexicons(),
    )
    frame = pd.DataFrame(rows)
    truth = asked.truth
    for at, kind in enumerate(asked.kinds):
        chosen = [roc_auc_score(truth[asked.choose, at], f[asked.choose]) for f in features.T]
        assert found.feature[0, at] == int(np.argmax(chosen))
        np.testing.assert_allclose(found.every[at], chosen)
        rest = ~asked.choose
        value = roc_auc_score(truth[rest, at], features[rest, found.feature[0, at]])
        own = frame[(frame["metric"] == "auroc") & (frame["emotion"] == kind)]
        own = own[own["control"] == ""].iloc[0]
        assert own["value"] == pytest.approx(value)
        assert found.reported[0, at] == pytest.approx(value)
    mean = frame[(frame["emotion"] == "") & (frame["control"] == "")].iloc[0]
    assert found.every.max(axis=1).mean() > 0.75  # what choosing alone gives
    assert mean["p"] > 0.05
    assert mean["ci_low"] < 0.5
    drawn = frame[(frame["emotion"] == "") & (frame["control"] == "shuffled")].iloc[0]
    assert drawn["value"] == pytest.approx(0.5, abs=0.03)
    told = said_of_features(
        table([
            {"method": "m", "n": 1, "metric": "explained", "value": 0.5},
            {"method": "m", "n": 1, "metric": "active_features", "value": 3.0},
            *({"method": "m", **row} for row in rows),
        ])
    )  # fmt: skip
    assert _ENDS[Verdict.NOT_FOUND] in told[1]


def test_many_emotions_are_one_map_and_few_are_dots():
    random = np.random.default_rng(0)
    for n in (3, 40):
        rows = [
            {"metric": "auroc", "method": "m", "task": "categorisation", "emotion": emotion, "n": 9,
             "control": control, "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1,
             "draw_low": 0.4, "draw_high": 0.6}
            for emotion in [*(f"emotion{at}" for at in range(n)), ""]
            for control in ("", "word", "tfidf", "shuffled")
            for value in [float(random.uniform(0.4, 0.9))]
        ]  # fmt: skip
        figure = feature_selectivity(table(rows))
        assert isinstance(figure, Figure)
        panel = figure.axes[0]
        assert bool(panel.images) == (n > 12)
        assert len(panel.get_yticks()) == n
