"""A study that asks everything of its probes: fields, what stands beside them, the twin with random
weights; and what it refuses before a model is loaded.
"""

import warnings
from dataclasses import replace

import pytest

import interp
import stimuli
from interp import study
from interp.analysis import site_probes
from interp.errors import DataError, UsageError
from interp.models.loading.random_weights import random_twin
from interp.records import read_record
from interp.results import read_table

ASKED = {"model": "planted", "stimuli": "planted", "preset": "quick", "emotions": ("joy", "fear")}
MORE = {"beside": "mdl,erased,rank,depth", "targets": ("slot",), "graded_probe": "ridge"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("asked") / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are recorded in run.json
        interp.run(
            **ASKED, **MORE, out=out, sites=("resid_post@0,2",), positions=("last",),
            control_model="random", stages=["capture", "probes"],
        )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def probes(ran):
    return read_table(ran / "tables" / "probes.csv")


def test_all_that_was_asked_is_in_the_table(probes):
    assert set(probes.task) == {"reception", "categorisation", "slot"}
    metrics = {"compression", "erased_change", "emergence", "saturation", "peak"}
    metrics |= {"emergence_later", "above_random_model", "nested_pearson", "pearson", "r2"}
    assert metrics <= set(probes.metric)
    codes = probes[(probes.metric == "compression") & (probes.control == "")]
    read = codes[(codes.task == "reception")].set_index("layer").value
    assert read[2] > 1.5 > read[0]


def test_what_is_planted_is_not_read_with_random_weights(probes):
    rows = probes[(probes.task == "reception") & (probes.layer == 2)]
    scores = rows[(rows.metric == "auroc")].set_index("control").value
    assert scores[""] == 1.0
    assert scores["random_model"] < 0.8
    above = rows[rows.metric == "above_random_model"].iloc[0]
    assert above.ci_low > 0


def test_what_was_told_of_each_text_is_a_table_of_its_own(ran, probes):
    kept = read_table(ran / "tables" / "probe_predictions.csv")
    own = kept[(kept.task == "reception") & (kept.metric == "probability")]
    assert own.text.is_unique
    accuracy = (own.emotion == own.target).mean()
    assert accuracy > 0.95
    assert (own["rank"] == 1).mean() == accuracy
    assert "probe_predictions" in read_record(ran / "run.json").provenance["tables"]


def test_the_figures_of_what_was_asked_are_drawn(probes):
    for name in ("graded_curves", "compression_curves", "erased_scores", "depth_intervals"):
        assert interp.draw(name, probes).axes
    told = [line.get_label() for line in interp.draw("probe_curves", probes).axes[0].lines]
    assert "resid_post, random weights" in told


@pytest.mark.usefixtures("few_baselines")
def test_soft_labels_are_read_where_the_circuit_has_written_them(tmp_path, monkeypatch):
    """Readers who hear the planted emotion in two thirds, and the other one in the rest."""
    monkeypatch.setattr(site_probes, "REFITS", 9)
    battery = interp.battery("planted", emotions=["joy", "fear"])
    items = tuple(
        replace(
            item, fields={"shares": {one: 1 + (item.emotion == one) for one in ("joy", "fear")}}
        )
        for item in battery
    )
    path = stimuli.save(replace(battery, items=items), tmp_path / "soft.jsonl")
    asked = {**ASKED, "stimuli": str(path), "out": tmp_path / "run", "sites": ("resid_post@0,2",)}
    asked["positions"] = ("last",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        interp.run(**asked, soft=("shares.joy", "shares.fear"), stages=["probes"])
    rows = read_table(tmp_path / "run" / "tables" / "probes.csv")
    soft = rows[(rows.task == "soft_labels") & (rows.metric == "kl_explained")]
    own = soft[soft.control == ""].set_index("layer").value
    assert own[2] > 0.8 > 0.2 > own[0]
    assert soft[soft.control == "bag_of_words"].value.max() < 0.3
    assert soft[soft.control == "shuffled"].value.max() < 0.1
    assert interp.draw("soft_curves", rows).axes


def test_a_twin_is_the_same_each_time_and_has_other_weights():
    model = interp.load("planted")
    one, same, other = (random_twin(model, seed=seed) for seed in (0, 0, 1))
    assert (one.W_E == same.W_E).all()
    assert not (one.W_E == other.W_E).all()
    assert not (one.W_E == model.W_E).all()
    assert one.dims == model.dims
    assert (
        len({model.provenance["digest"], one.provenance["digest"], other.provenance["digest"]}) == 3
    )
    model.quantised = True
    with pytest.raises(UsageError, match="planted is quantised: no twin with random weights"):
        random_twin(model)


def test_a_field_that_no_text_has_is_refused_before_anything_is_made(tmp_path):
    asked = study.Settings.of(**ASKED, out=tmp_path / "run", targets=("valence",))
    with pytest.raises(DataError, match="no text has the field 'valence'"):
        study.run(asked)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="beside is 'bits': expected one of mdl, erased"):
        interp.run(**ASKED, out=tmp_path / "run", beside="bits")
