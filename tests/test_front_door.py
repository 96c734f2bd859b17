"""`import interp`: its verbs give the study's numbers, find what is planted, refuse the rest."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

import interp
from interp.errors import StatisticsError, UsageError
from interp.results import read_table
from interp.testbeds import planted

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
EMOTIONS = ("fear", "joy")
pytestmark = pytest.mark.filterwarnings("ignore:(reception|categorisation).* fewer training items")
FINAL = f"blocks.{SPEC.neuron_layer}.hook_resid_post"


@pytest.fixture(scope="module")
def model():
    return interp.load("planted")


@pytest.fixture(scope="module")
def battery():
    return interp.battery("planted", emotions=EMOTIONS)


@pytest.fixture(scope="module")
def store(model, battery):
    return interp.record(model, battery)


@pytest.fixture(scope="module")
def directions(store, battery):
    return {one: interp.direction(store, battery, emotion=one, site=FINAL) for one in EMOTIONS}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        told = interp.run("planted", "planted", out, emotions=EMOTIONS, preset="quick")
    return out, told


KEY = ["task", "layer", "control", "target", "method", "metric"]


def measured(table):
    """The rows of the probes of the stream at the last token, each layer by itself."""
    here = (table.site == "resid_post") & (table.position == "last_content") & table.layer.notna()
    return table[here & ~table.metric.str.startswith(("nested", "above"))]


def test_probe_and_direction_give_the_numbers_of_the_study(ran, model, tmp_path):
    out, told = ran
    assert told["report"].endswith("report.html")
    asked = {"model": "planted", "stimuli": "planted", "emotions": EMOTIONS, "preset": "quick"}
    settings = interp.study.Settings.of(out=tmp_path, **asked)
    battery = settings.captured(settings.read_battery())
    store = interp.record(model, battery)
    known = read_table(out / "tables" / "probes.csv")
    for question in ("reception", "categorisation"):
        table = interp.probe(store, battery, question=question)
        ours, theirs = measured(table), measured(known[known.task == question])
        merged = ours.merge(theirs, on=KEY, validate="1:1", suffixes=("", "_study"))
        assert len(merged) == len(ours) > 20
        np.testing.assert_allclose(merged.value, merged.value_study, rtol=0, atol=1e-6)
        np.testing.assert_allclose(merged.ci_low, merged.ci_low_study, rtol=0, atol=1e-6)
        assert (merged.depth == merged.depth_study).all()
        assert list(table.columns[:14]) == list(known.columns[:14])
        assert set(table.model) == {"planted"}
    apart = read_table(out / "tables" / "directions.csv").query("metric == 'separation_auroc'")
    for number, emotion in enumerate(EMOTIONS):
        mine = interp.direction(store, battery, emotion=emotion)
        of_layer = apart[apart.emotion == emotion].set_index("layer").value
        assert mine.site.layer == of_layer[of_layer >= of_layer.max() - 0.01].index.min() > 0
        saved = f"{number:02d}-{emotion}-{mine.site.layer:02d}.safetensors"
        theirs = interp.Direction.load(out / "directions" / saved)
        np.testing.assert_allclose(mine.vector, theirs.vector, atol=1e-6)
        assert mine.length == pytest.approx(theirs.length, rel=1e-6)
        assert {**mine.provenance, "battery": ""} == {**theirs.provenance, "battery": ""}


def test_the_planted_direction_is_found_where_it_is_written(store, battery, directions):
    table = interp.probe(store, battery)
    told = table[(table.metric == "auroc") & (table.control == "")].dropna(subset=["layer"])
    assert told.set_index("layer").value[SPEC.neuron_layer] > 0.99
    assert (told.depth == (told.layer + 1) / 4).all()
    for emotion, found in directions.items():
        truth = TRUTH.direction(emotion, found.site)
        assert abs(float(found.vector @ truth)) / np.linalg.norm(truth) > 0.95
    chosen = interp.direction(store, battery.where(), emotion="joy", method="lda")
    assert (chosen.site.name, chosen.method) == ("resid_post", "lda")
    assert chosen.labels == ("joy", "neutral")
    assert chosen.provenance["battery"] == battery.sha256
    assert chosen.provenance["position"] == "last_content"


def test_patch_and_ablate_find_the_planted_cause(model, battery, directions):
    patched = interp.patch(model, battery, sites="resid_post")
    last = patched[(patched.metric == "restoration") & (patched.emotion == "all")]
    last = last[(last.position == "last") & (last.control == "") & (last["mode"] == "denoise")]
    assert last.set_index("layer").value[SPEC.n_layers - 1] == pytest.approx(1, abs=0.05)
    assert last.depth.notna().all()
    ablated = interp.ablate(model, battery, directions, ks=(1,))
    fall = ablated[(ablated.metric == "projection_drop") & (ablated.emotion == ablated.target)]
    top = fall[fall.control == ""].set_index(["component", "emotion"]).value
    random = fall[fall.control == "random"].set_index(["component", "emotion"]).value
    assert set(random.index) <= set(top.index)
    assert (top.loc["head"] > 0.1).all()
    assert (top.loc[random.index] > random + 0.1).loc["head"].all()
    for name, table in {"patching_curves": patched, "ablation_projection": ablated}.items():
        assert interp.draw(name, table).axes


@pytest.mark.filterwarnings("ignore:categorisation. too few scenarios")
def test_a_battery_without_twins_is_asked_for_its_emotions(model):
    alone = interp.battery("planted", emotions=EMOTIONS)
    items = tuple(dataclasses.replace(item, pair=None) for item in alone.where(arm="keyword_free"))
    single = interp.Battery("single", items)
    store = interp.record(model, single, positions=("last", "mean_content"))
    table = interp.probe(store, single, question="categorisation", probe="lda", folds=4)
    assert set(table.task) == {"categorisation"}
    assert {"last", "mean_content"} <= set(table.position)
    assert "lda" in set(table.method)
    with pytest.raises(StatisticsError, match="'single' has no pair whose activations are finite"):
        interp.probe(store, single)


def test_what_was_refused_by_the_capture_is_left_out_with_its_twin(store, battery, monkeypatch):
    lost = battery.pairs()[0].affective
    monkeypatch.setattr(store, "quarantined", {lost.id: "not finite"})
    with pytest.warns(UserWarning, match="left out 1 pairs: their activations are not finite"):
        found = interp.direction(store, battery, emotion=lost.emotion, site=FINAL)
    assert found.provenance["pairs"] == len(battery.pairs().of(lost.emotion)) - 1


def test_what_cannot_be_asked_is_refused_with_what_can(model, store, battery):
    with pytest.raises(UsageError, match="unknown question 'colour': ask one of reception, categ"):
        interp.probe(store, battery, question="colour")
    with pytest.raises(UsageError, match="'slot' holds numbers, and beside='mdl' is measured of"):
        interp.probe(store, battery, question="slot", beside="mdl")
    with pytest.raises(UsageError, match="unknown probe 'logistic' of a number"):
        interp.probe(store, battery, question="slot", probe="logistic")
    with pytest.raises(UsageError, match="the battery has the emotions fear, joy: name one"):
        interp.direction(store, battery)
    with pytest.raises(StatisticsError, match="no pair of the battery evokes 'envy'"):
        interp.direction(store, battery, emotion="envy")
    with pytest.raises(UsageError, match="was not captured"):
        interp.direction(store, battery, emotion="joy", site="blocks.0.hook_mlp_out")
    with pytest.raises(UsageError, match="has no item"):
        interp.probe(store, interp.battery("planted", emotions=["anger"]))
    heads = interp.record(model, battery.where(arm="neutral"), sites=["z"])
    with pytest.raises(UsageError, match=r"the store has z, and resid_pre or .* is read"):
        interp.probe(heads, battery)
    with pytest.raises(StatisticsError, match="directions are of no emotion"):
        interp.ablate(model, battery, {})


def test_twins_are_the_rows_of_the_pairs(store, battery):
    pairs = battery.pairs()[5:1:-1]
    read = store.read(FINAL)
    affective, neutral = read.twins(pairs)
    for row, pair in enumerate(pairs):
        np.testing.assert_array_equal(affective[row], read.of(pair.affective.id))
        np.testing.assert_array_equal(neutral[row], read.of(pair.neutral.id))
    stranger = interp.battery("planted", emotions=["anger"]).pairs()
    with pytest.raises(UsageError, match="has no item 'anger"):
        read.twins(stranger)


def test_a_notebook_shows_sites_shapes_and_lengths(model, battery, store, directions, tmp_path):
    few = interp.Battery("<few>", battery.items[:6])
    on_disk = interp.record(model, few, sites=["z", "resid_post"], out=tmp_path / "<run>")
    dims = model.dims
    shown = on_disk._repr_html_()
    assert f"<th>z</th><td>layers 0, 1, 2, 3; ({dims.n_heads}, {dims.d_head}) per row</td>" in shown
    assert "&lt;run&gt;" in shown
    assert f"({dims.d_model},) per row" in store._repr_html_()
    assert "in memory" in store._repr_html_()
    doubt = {"warnings": ["a & b"]}
    joy = dataclasses.replace(directions["joy"], labels=("<joy>", "neutral"), provenance=doubt)
    shown = joy._repr_html_()
    assert "Direction from neutral to &lt;joy&gt;" in shown
    assert "a &amp; b" in shown
    assert FINAL in shown
    low, high = joy.length_interval
    assert f"{joy.length:.3g} [{low:.3g}, {high:.3g}]" in shown


def test_a_store_of_before_leaves_the_depth_open(store, battery, monkeypatch):
    old = {name: value for name, value in store.provenance.items() if name != "n_layers"}
    monkeypatch.setattr(store, "provenance", old)
    assert pd.isna(interp.probe(store, battery).depth).all()


def test_a_run_of_an_unknown_stage_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UsageError, match="unknown stage 'probe': there are capture, probes"):
        interp.run("storyworld", "storyworld", tmp_path / "run", stages=["probe"])
    assert not (tmp_path / "run").exists()
