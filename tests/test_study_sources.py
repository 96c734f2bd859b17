"""Where directions come from: fitted ones find what is planted, kept ones are the fresh ones, and
none is used for another model.
"""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import interp
from interp.analysis.emotion_directions import fit_centred, usual_layer
from interp.errors import ArtefactError, ResourceError, StatisticsError, UsageError
from interp.models import load
from interp.sites import Site
from interp.study import sources
from interp.study.sources import Wanted, default_battery, fitted, from_file, from_run, kept_folder
from interp.testbeds import planted
from support import crossed_texts

SITE = Site("resid_post", 1)
SPEC = planted.SPECS["planted"]


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model("llama")


def told(n=20, d=6, *, crossed):
    """Rows of three emotions: an axis each, under what is large and a scene's own."""
    rng = np.random.default_rng(0)
    rows = []
    for scene in range(n):
        own = 50 * rng.standard_normal(d)
        for place, emotion in enumerate(("anger", "fear", "joy")):
            if not crossed:
                own = 0.1 * rng.standard_normal(d)
            x = own + np.eye(d)[place] + 0.05 * rng.standard_normal(d)
            group = f"{scene}" if crossed else f"{scene} {emotion}"
            rows.append((x, emotion, group))
    x, emotions, groups = zip(*rows, strict=True)
    return np.array(x), emotions, groups


@pytest.mark.parametrize("crossed", [True, False])
def test_centring_takes_the_scene_away_or_the_mean_of_all(crossed):
    x, emotions, groups = told(crossed=crossed)
    found = fit_centred(x, emotions, groups, site=SITE, origin={"model": "m"})
    truth = np.eye(6)[:3] - np.eye(6)[:3].mean(axis=0)
    means = np.array([x[np.array(emotions) == one].mean(axis=0) for one in sorted(found)])
    for place, one in enumerate(sorted(found)):
        aim = truth[place] / np.linalg.norm(truth[place])
        assert found[one].vector @ aim > 0.99
        expected = means[place] - means.mean(axis=0)
        np.testing.assert_allclose(
            found[one].vector, expected / np.linalg.norm(expected), atol=1e-9
        )
        assert found[one].length == pytest.approx(np.linalg.norm(truth[place]), rel=0.1)
        assert found[one].stream_norm == pytest.approx(
            np.sqrt((x**2).sum(axis=1).mean()), rel=1e-12
        )
        assert found[one].labels == (one, "mean")
    centred = {one.provenance["centred"] for one in found.values()}
    assert centred == {
        "within the scenario" if crossed else "over scenarios dealt together",
    }


def test_one_emotion_has_no_centre():
    x, emotions, groups = told(crossed=False)
    joy = np.array(emotions) == "joy"
    with pytest.raises(StatisticsError, match="need >= 2 groups and emotions"):
        fit_centred(x[joy], ["joy"] * 20, [g for g in groups if "joy" in g], site=SITE, origin={})


def test_the_usual_layer_lies_two_thirds_up():
    assert [usual_layer(n) for n in (1, 2, 3, 4, 6, 12, 30, 80)] == [0, 1, 2, 3, 4, 8, 20, 53]


def test_the_planted_emotion_is_what_the_texts_of_an_arm_give():
    """The circuit's emotion axes, less their mean: nothing else tells one emotion from the others
    behind the layer that writes them.
    """
    model = load("planted", check=False)
    battery = interp.battery("planted")
    layer = SPEC.neuron_layer
    found = fitted(model, battery, arm="keyword_rich", layer=layer, keep=False)
    truth = planted.truth(SPEC)
    site = Site("resid_post", layer)
    axes = {one: np.asarray(truth.direction(one, site)) for one in SPEC.emotions}
    mean = np.mean(list(axes.values()), axis=0)
    for one, axis in axes.items():
        aim = (axis - mean) / np.linalg.norm(axis - mean)
        assert found.directions[one].vector @ aim > 0.95
    store = interp.record(model, battery.where(arm="keyword_rich"))
    asked = {"emotion": "joy", "method": "group_centred", "arm": "keyword_rich"}
    alone = interp.direction(store, battery, site=site, **asked)
    np.testing.assert_allclose(alone.vector, found.directions["joy"].vector, atol=1e-6)
    assert interp.direction(store, battery, **asked).site == Site("resid_post", usual_layer(4))
    assert alone.provenance["arm"] == "keyword_rich"
    with pytest.raises(UsageError, match="no twins, which 'paired' needs"):
        interp.direction(store, battery, emotion="joy", arm="keyword_rich")
    with pytest.raises(UsageError, match=r"offers anger, .* there is no 'joyy'. Did you mean 'joy"):
        interp.direction(store, battery, **{**asked, "emotion": "joyy"})
    with pytest.raises(UsageError, match="no text of the arm 'moderate'"):
        interp.direction(store, battery, **{**asked, "arm": "moderate"})


def same(one, other):
    for emotion, direction in one.directions.items():
        twin = other.directions[emotion]
        np.testing.assert_array_equal(direction.vector, twin.vector)
        assert (direction.length, direction.stream_norm) == (twin.length, twin.stream_norm)
        assert dict(direction.provenance) == json.loads(json.dumps(dict(twin.provenance)))
    return one.directions.keys() == other.directions.keys()


def test_kept_directions_are_the_fresh_ones_at_every_layer(model, caches, monkeypatch):
    battery = crossed_texts.battery()
    fresh = [fitted(model, battery, arm="keyword_rich", layer=at, keep=False) for at in range(3)]
    assert not caches.exists()
    first = fitted(model, battery, arm="keyword_rich", layer=None, keep=True)
    assert first.layer == usual_layer(model.dims.n_layers)
    assert "fitted now and kept in" in first.told

    def fail(*_, **__):
        raise AssertionError("texts were read again")

    monkeypatch.setattr(sources, "capture", fail)
    for layer, one in enumerate(fresh):
        kept = fitted(model, battery, arm="keyword_rich", layer=layer, keep=True)
        assert kept.told.endswith(f"kept in {kept_folder(model, battery, 'keyword_rich')}")
        assert same(kept, one)
    with pytest.raises(UsageError, match=r"layer 3 is out of range: .* has layers 0\.\.2"):
        fitted(model, battery, arm="keyword_rich", layer=3, keep=True)


def test_other_weights_other_texts_or_another_arm_are_other_directions(
    tiny_folder, model, tmp_path
):
    battery = crossed_texts.battery()
    one = fitted(model, battery, arm="keyword_rich", layer=1, keep=True)
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    weights = load_file(folder / "model.safetensors")
    changed = "model.layers.0.mlp.down_proj.weight"
    weights[changed] = weights[changed] * 1.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    other = load(str(folder), check=False)
    assert kept_folder(other, battery, "keyword_rich") != kept_folder(
        model, battery, "keyword_rich"
    )
    found = fitted(other, battery, arm="keyword_rich", layer=1, keep=True)
    assert not np.allclose(found.directions["joy"].vector, one.directions["joy"].vector)
    with pytest.raises(ArtefactError, match="was made for"):
        interp.steer(other, "the dog", one.directions["joy"])
    fewer = interp.Battery("crossed", battery.items[:-3])
    folders = {
        kept_folder(model, texts, arm)
        for texts in (battery, fewer)
        for arm in ("keyword_rich", "strong")
    }
    assert len(folders) == 4


def test_a_kept_file_that_was_changed_is_refused(model):
    battery = crossed_texts.battery()
    fitted(model, battery, arm="keyword_rich", layer=1, keep=True)
    folder = kept_folder(model, battery, "keyword_rich")
    path = sorted(folder.glob("*-01.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtefactError, match=r"was changed.* Or delete .*--no-cache"):
        fitted(model, battery, arm="keyword_rich", layer=1, keep=True)
    fitted(model, battery, arm="keyword_rich", layer=1, keep=False)
    path.unlink()  # gone: made again
    assert "fitted now" in fitted(model, battery, arm="keyword_rich", layer=1, keep=True).told
    assert path.exists()


def test_where_nothing_can_be_kept_that_is_told(model, caches):
    caches.write_text("a file")
    with pytest.raises(ResourceError, match=r"cannot keep directions in .*say --no-cache"):
        fitted(model, crossed_texts.battery(), arm="keyword_rich", layer=1, keep=True)


def test_files_and_runs_give_their_directions(model, tmp_path):
    source = fitted(model, crossed_texts.battery(), arm="keyword_rich", layer=1, keep=False)
    run = tmp_path / "run"
    (run / "directions").mkdir(parents=True)
    for emotion, one in source.directions.items():
        one.save(run / "directions" / f"{emotion}-01.safetensors")
    path = run / "directions" / "joy-01.safetensors"
    alone = from_file(path)
    assert (alone.layer, list(alone.directions)) == (1, ["joy"])
    with pytest.raises(UsageError, match="was fitted at layer 1, and acts there"):
        from_file(path, layer=2)
    found = from_run(run, layer=None, n_layers=30)
    assert (found.layer, sorted(found.directions)) == (1, ["anger", "fear", "joy"])
    with pytest.raises(UsageError, match=r"layer 0: the run .* has directions at the layers 1"):
        from_run(run, layer=0, n_layers=3)
    with pytest.raises(ArtefactError, match="holds no directions"):
        from_run(tmp_path, layer=None, n_layers=3)
    for wanted in (
        Wanted(model="storyworld", direction=path),
        Wanted(model="storyworld", run=run),
    ):
        assert "joy" in wanted.emotions()
        assert wanted.source(model, 1).directions["joy"].vector @ alone.directions[
            "joy"
        ].vector == pytest.approx(1)
        with pytest.raises(UsageError, match="there is no 'envy'"):
            wanted.check(["envy"])
        assert {"joy", "anticipation"} <= set(wanted.choices())
    with pytest.raises(UsageError, match="name one of them"):
        Wanted(model="storyworld", direction=path, run=run)


def test_a_model_is_given_texts_in_its_own_words():
    known = ["plain", "planted", "storyworld"]
    models = ("storyworld", "planted_null", "smollm2", "a/b", "folder")
    assert [default_battery(one, known) for one in models] == [
        "storyworld", "planted", "plain", "plain", "plain",
    ]  # fmt: skip
