"""The stage transfer: found in the testbed that holds the circuit, told where an arm is missing."""

import json
import warnings
from dataclasses import replace

import pytest

import stimuli
from interp import study
from interp.analysis import across, baselines
from interp.analysis import transfer as carrying
from interp.errors import InterpError, StatisticsError
from interp.reporting.figures import draw
from interp.results import read_table
from interp.study.arms import arms_of
from interp.study.folder import Study
from interp.study.transfer import transfer
from stimuli.battery import Battery
from support.commands import outcome

EMOTIONS = ("joy", "fear")


@pytest.fixture(scope="module")
def battery() -> Battery:
    """Two emotions of the planted battery."""
    planted = stimuli.load("planted")
    items = [item for item in planted if item.emotion in EMOTIONS or item.pair in _pairs(planted)]
    return replace(planted, items=tuple(items))


def _pairs(battery: Battery) -> set[str | None]:
    return {item.pair for item in battery if item.emotion in EMOTIONS}


def conduct(battery: Battery, out, **how) -> dict:
    path = stimuli.save(battery, out.with_suffix(".jsonl"))
    asked = study.Settings.of(
        model="planted", stimuli=str(path), out=out, sites=("resid_post",), probe="lda"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the record keeps them
        return study.run(asked, **how)


def test_what_is_planted_is_carried_between_the_arms(battery, tmp_path):
    told = conduct(battery, tmp_path / "run", stages=["transfer"])
    rows = read_table(tmp_path / "run" / "tables" / "transfer.csv")
    across = rows[(rows["train_arm"] != rows["test_arm"]) & (rows["metric"] == "auroc")]
    probe = across[across["control"] == ""]
    assert set(probe["task"]) == {"reception", "categorisation"}
    assert set(probe["train_arm"]) == set(probe["test_arm"]) == {"keyword_rich", "keyword_free"}
    assert probe["value"].min() == 1.0
    assert across[across["control"] == "bag_of_words"]["value"].max() < 0.7
    assert {one["verdict"] for one in told["findings"]} == {"found"}


def test_a_layer_that_reads_the_circuit_calls_no_plain_scene_emotional(
    battery, tmp_path, monkeypatch
):
    """Scenes of other emotions' neutral twins, as texts that only sound emotional."""
    monkeypatch.setattr(carrying, "CARRIED_REFITS", 9)
    monkeypatch.setattr(baselines, "BASELINES", {"length": baselines.BASELINES["length"]})
    kept = _pairs(battery)
    scenes = [i for i in stimuli.load("planted") if i.emotion == "neutral" and i.pair not in kept]
    plain = [
        replace(i, id=f"c{i.id}", group=f"c{i.group}", pair=None, arm="complex_neutral")
        for i in scenes[:20]
    ]
    conduct(replace(battery, items=(*battery, *plain)), tmp_path / "run", stages=["transfer"])
    rows = read_table(tmp_path / "run" / "tables" / "transfer.csv")
    called = rows[(rows["metric"] == "called_at_layer") & (rows["train_arm"] == "keyword_free")]
    by_set = called.pivot_table(index="depth", columns="test_arm", values="value")
    assert by_set["keyword_free"].iloc[-1] == 1.0
    assert by_set[["neutral", "complex_neutral"]].iloc[-1].max() == 0.0
    assert (called[called["test_arm"] == "complex_neutral"]["n"] == len(plain)).all()
    draw("alarm_trajectory", rows)


def test_an_arm_that_is_missing_is_told(battery, tmp_path):
    one_arm = replace(battery, items=tuple(i for i in battery if i.arm != "keyword_rich"))
    with pytest.raises(StatisticsError, match="and there is keyword_free alone"):
        conduct(one_arm, tmp_path / "asked", stages=["transfer"])
    path = stimuli.save(one_arm, tmp_path / "one.jsonl")
    line = ("run", "--model", "planted", "--stimuli", path, "--out", tmp_path / "run")
    code, told = outcome(*line, "--dry-run", "--json")
    assert code == 0
    (stages,) = [row["value"] for row in json.loads(told) if row["what"] == "stages to run"]
    assert "probes" in stages
    assert "transfer" not in stages


def test_arms_with_too_few_scenarios_are_left_out_by_name(battery):
    few = tuple(i for i in battery if i.arm != "keyword_rich" or i.group in {"joy-00", "fear-01"})
    kept, told = arms_of(replace(battery, items=few), EMOTIONS, folds=5)
    assert list(kept) == ["keyword_free"]
    assert told == "keyword_rich has fewer than 5 scenarios of 'joy' 1, 'fear' 1."
    kept, told = arms_of(battery, EMOTIONS, folds=5)
    assert (set(kept), told) == ({"keyword_rich", "keyword_free"}, "")
    assert all(
        pair.neutral.group == pair.affective.group for pairs in kept.values() for pair in pairs
    )


@pytest.mark.usefixtures("few_baselines")
def test_the_values_of_a_field_are_left_out_where_there_is_one_arm(battery, tmp_path, monkeypatch):
    """The planted circuit reads an emotion in texts of any domain; fields of which no value can be
    left out are told by name before anything is made.
    """
    monkeypatch.setattr(across, "CARRIED_REFITS", 19)
    items = tuple(
        replace(
            i, domain=("even", "odd")[int(i.group[-1]) % 2], fields={**i.fields, "tense": "past"}
        )
        for i in battery
        if i.arm != "keyword_rich"
    )
    path = stimuli.save(replace(battery, items=items), tmp_path / "one_arm.jsonl")

    def opened(field: str) -> Study:
        named = {"model": "planted", "stimuli": str(path), "across": (field,)}
        return Study(
            study.Settings.of(**named, out=tmp_path / field, sites=("resid_post",), probe="lda")
        )

    asked = opened("domain")
    assert "transfer" not in asked.conditions.closed
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        rows = [row for row in transfer(asked) if row["metric"] == "auroc"]
    asked.leave()
    assert any("no probe was carried between arms" in str(one.message) for one in heard)
    probe = [row for row in rows if row["method"] == "lda"]
    assert {(row["across"], row["test_arm"]) for row in probe} == {
        ("domain", ""), ("domain", "even"), ("domain", "odd"),
    }  # fmt: skip
    assert {row["task"] for row in probe} == {"reception", "categorisation"}
    assert min(row["value"] for row in probe) == 1.0
    assert max(row["value"] for row in rows if row["control"] == "bag_of_words") < 0.8
    for field, message in (
        ("tense", "have the same"), ("person", "no text has the field"), ("slot", "numbers or"),
    ):  # fmt: skip
        with pytest.raises(InterpError, match=message):
            opened(field)
        assert not (tmp_path / field).exists()
