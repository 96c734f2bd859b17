"""`interp run`: every stage on every family, resumed without computing again, and honest about what
it could not do.
"""

import json
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest

from interp import study
from interp.errors import ArtefactError
from interp.records import read_record
from interp.reporting.report import write_report
from interp.results import read_table
from interp.stages import STAGES
from support import matched_pairs
from support.tiny_models import FAMILIES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("all_stages")]
TABLES = ("probes", "directions", "cosines", "patching", "attribution", "contributions", "ablation")
TABLES += ("circuit", "steering")
SITES = ("resid_post", "attn_out", "z", "post")
DRAWN = "gemma2"
"""The family whose page is drawn: its norms behind the sublayers give it one figure more."""


def conduct(settings: study.Settings) -> dict:
    with warnings.catch_warnings():
        # they are recorded in run.json, where the tests read them
        warnings.simplefilter("ignore", UserWarning)
        return study.run(settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_goes_through_on_every_family(family, tiny_folder, tmp_path, request):
    if family != DRAWN:
        request.getfixturevalue("undrawn")
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl")
    asked = {"model": str(tiny_folder(family)), "stimuli": str(stimuli), "preset": "quick"}
    how = {"positions": ("last",), "sites": SITES}
    summary = conduct(study.Settings(**asked, **how, out=tmp_path / "run"))
    tables = {name: read_table(tmp_path / "run" / "tables" / f"{name}.csv") for name in TABLES}
    assert not matched_pairs.not_run(summary["warnings"])
    assert all(len(frame) for frame in tables.values())
    if family == DRAWN:
        assert Path(summary["report"]).read_text(encoding="utf-8").count("<img") >= 10
    assert {"reception", "categorisation"} == set(tables["probes"]["task"])


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_experts_leaves_out_their_neurons_and_nothing_else(tiny_folder, tmp_path):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl")
    asked = {"model": str(tiny_folder("mixtral")), "stimuli": str(stimuli), "preset": "quick"}
    summary = conduct(study.Settings(**asked, out=tmp_path / "run"))
    assert not matched_pairs.not_run(summary["warnings"])
    left_out = [warning for warning in summary["warnings"] if "post is left out" in warning]
    assert left_out
    assert all("its MLP shows no neurons there" in warning for warning in left_out)
    tables = {name: read_table(tmp_path / "run" / "tables" / f"{name}.csv") for name in TABLES}
    assert set(tables["contributions"]["component"]) == {"head"}
    assert set(tables["ablation"]["component"]) == {"head"}


@pytest.mark.usefixtures("undrawn")
def test_a_run_whose_parts_do_not_add_up_has_all_but_contributions(tiny_folder, tmp_path):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl")
    asked = {"model": str(tiny_folder("granite")), "stimuli": str(stimuli), "preset": "quick"}
    summary = conduct(study.Settings(**asked, sites=SITES, out=tmp_path / "run"))
    not_run = matched_pairs.not_run(summary["warnings"])
    stages = [warning.partition(" ")[0] for warning in not_run]
    assert stages == ["contributions", "ablation", "circuit"]
    assert all("do not add up to attn_out" in warning for warning in not_run)
    assert len(read_table(tmp_path / "run" / "tables" / "steering.csv"))


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("planted") / "run"
    conduct(study.Settings(model="planted", stimuli="planted", out=out))
    return out


def test_the_planted_truth_is_found(planted_run):
    probes = read_table(planted_run / "tables" / "probes.csv")
    reception = probes[(probes["task"] == "reception") & (probes["metric"] == "auroc")]
    stream = reception[
        (reception["site"] == "resid_post")
        & (reception["position"] == "last_content")
        & (reception["control"] == "")
    ]
    assert stream.set_index("layer")["value"][[1, 2, 3]].min() == 1.0
    texts = reception[reception["site"] == ""]
    assert texts["value"].max() < 0.7
    rivals = probes[probes["control"] == "nuisance"]
    assert set(rivals["metric"]) == {"auroc", "selectivity"}
    assert "length" in set(rivals["target"])
    # the planted directions are orthogonal
    cosines = read_table(planted_run / "tables" / "cosines.csv")
    corrected = cosines[cosines["metric"] == "cosine_corrected"]
    assert corrected["value"].abs().max() < 0.05
    assert (
        cosines[(cosines["metric"] == "cosine") & (cosines["emotion"] != cosines["target"])][
            "value"
        ]
        .abs()
        .max()
        < 0.05
    )
    assert (corrected["ci_low"] <= 0.05).all()
    assert (corrected["ci_high"] >= -0.05).all()
    steering = read_table(planted_run / "tables" / "steering.csv")
    success = steering[(steering["metric"] == "success") & (steering["half"] == "report")]
    means = success.groupby("control")["value"].mean()
    assert means[""] == 1.0
    assert means["unsteered"] == means["random"] == 0.0


def test_what_is_planted_is_claimed_and_the_record_says_so(planted_run):
    """Patching, ablation and the rest: each claim that is true of the planted model, in the report
    and in run.json.
    """
    record = read_record(planted_run / "run.json")
    told = {(one["stage"], one["what"]): one for one in record.verdict}
    found = {stage for (stage, _), one in told.items() if one["verdict"] == "found"}
    stages = {"probes", "transfer", "persistence", "directions", "patching", "contributions"}
    assert found == stages | {"attribution", "ablation", "circuit", "steering"}
    names = {"stage", "what", "verdict", "registered", "estimate", "interval", "p", "p_report", "n"}
    assert set(record.verdict[0]) == names
    reception = told[
        "probes", "a linear probe tells emotional texts from their neutral twins, beyond the words"
    ]
    assert (reception["verdict"], reception["estimate"]) == ("found", 1.0)
    # without an error in any scenario, and yet not certain
    assert 0.9 < reception["interval"][0] < 1.0
    assert reception["p"] <= 0.01
    badges = {one["question"]: one for one in record.answer["badges"]}
    assert {one["says"] for one in badges.values()} == {"yes"}
    assert badges["represented beyond the words"]["estimate"] == 1.0
    assert record.answer["sentence"].startswith("In planted, a linear probe tells emotional texts")
    page = (planted_run / "report.html").read_text(encoding="utf-8")
    assert record.answer["sentence"].split(" (")[0] in page
    examples = record.provenance["examples"]
    assert [one["emotion"] for one in examples] == ["anger", "anticipation"]
    assert all(one["affective"] != one["neutral"] for one in examples)
    ablation = told["ablation", "the top heads of each emotion are needed for its own words"]
    assert ablation["p"] <= 0.01  # twelve random choices per emotion are enough for all together


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_resumes_and_computes_nothing_again(planted_run, monkeypatch):
    before = {path: path.read_bytes() for path in (planted_run / "tables").glob("*.csv")}
    monkeypatch.setattr("interp.study.folder.load", None)  # nothing may need the model
    report = (planted_run / "report.html").read_bytes()
    conduct(study.Settings(model="planted", stimuli="planted", out=planted_run))
    assert {path: path.read_bytes() for path in before} == before
    assert write_report(planted_run).read_bytes() == report


@pytest.mark.usefixtures("undrawn")
def test_a_lost_stage_is_computed_to_the_same_numbers(planted_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(planted_run, copy)
    lost = copy / "tables" / "contributions.csv"
    before = lost.read_bytes()
    lost.unlink()
    conduct(study.Settings(model="planted", stimuli="planted", out=copy))
    assert lost.read_bytes() == before


@pytest.mark.usefixtures("undrawn")
def test_the_steered_texts_are_kept_and_come_again_when_they_are_lost(planted_run, tmp_path):
    texts = read_table(planted_run / "tables" / "steered_texts.csv")
    rows = read_table(planted_run / "tables" / "steering.csv")
    reported = texts[(texts["half"] == "report") & (texts["control"] == "")]
    share = rows[
        (rows["half"] == "report") & (rows["control"] == "") & (rows["metric"] == "success")
    ]
    means = reported.groupby("emotion")["value"].mean().to_dict()
    assert share[share["emotion"] != "all"].set_index("emotion")["value"].to_dict() == means
    copy = tmp_path / "run"
    shutil.copytree(planted_run, copy)
    lost = copy / "tables" / "steered_texts.csv"
    before = lost.read_bytes()
    lost.unlink()
    summary = conduct(study.Settings(model="planted", stimuli="planted", out=copy))
    assert lost.read_bytes() == before
    assert [one["emotion"] for one in summary["texts"]] == sorted(means)[:6]
    lost.write_bytes(before + b"#")
    with pytest.raises(ArtefactError, match=r"steered_texts.csv was changed"):
        conduct(study.Settings(model="planted", stimuli="planted", out=copy))


def test_one_emotion_is_received_but_not_categorised(tiny_folder, tmp_path):
    joy = [row for row in matched_pairs.rows(40) if int(row["pair"][1:]) % 4 == 0]
    stimuli = matched_pairs.write(tmp_path / "joy.jsonl", joy)
    settings = study.Settings(
        model=str(tiny_folder("gpt2")), stimuli=str(stimuli), out=tmp_path / "run"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary = study.run(settings, stages=["probes"])
    assert [warning for warning in summary["warnings"] if "only 'joy' present" in warning]
    probes = read_table(tmp_path / "run" / "tables" / "probes.csv")
    assert set(probes["task"]) == {"reception"}


def test_what_a_model_cannot_answer_is_recorded_as_not_run(tiny_folder, tmp_path):
    rows = [
        {**row, "emotion": {"joy": "zzq", "sadness": "qqz"}.get(row["emotion"], row["emotion"])}
        for row in matched_pairs.rows()
    ]
    kept = [
        row
        for row in rows
        if row["emotion"] in ("zzq", "qqz")
        or any(r["pair"] == row["pair"] and r["emotion"] in ("zzq", "qqz") for r in rows)
    ]
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl", kept)
    asked = {"model": str(tiny_folder("gpt2")), "stimuli": str(stimuli), "preset": "quick"}
    summary = conduct(study.Settings(**asked, sites=SITES, out=tmp_path / "run"))
    assert [
        warning
        for warning in summary["warnings"]
        if warning.startswith("patching was not run: the readout's words for")
    ]
    assert not (tmp_path / "run" / "tables" / "patching.csv").exists()
    assert "not run" in Path(summary["report"]).read_text(encoding="utf-8")


def test_the_record_says_what_made_the_run(planted_run):
    record = read_record(planted_run / "run.json")
    assert record.provenance["model"]["model"] == "planted"
    assert record.config["battery_sha256"] == record.provenance["battery"]["sha256"]
    seconds = record.provenance["seconds"]
    assert set(seconds) == {stage.name for stage in STAGES}
    assert json.loads((planted_run / "run.json").read_text(encoding="utf-8"))["schema"] == 1
    assert isinstance(read_table(planted_run / "tables" / "probes.csv"), pd.DataFrame)


def test_a_name_that_stands_for_another_revision_or_other_weights_is_told(
    tiny_folder, tmp_path, monkeypatch
):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl")
    settings = study.Settings(
        model=str(tiny_folder("gpt2")),
        stimuli=str(stimuli),
        out=tmp_path / "run",
        sites=("resid_post@2",),
    )
    load = study.folder.load

    def changed(field, value):
        def loaded(*args, **how):
            model = load(*args, **how)
            model.provenance[field] = value
            return model

        return loaded

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(study.folder, "load", changed("revision", "a" * 40))
        study.run(settings, stages=["capture"])
        study.run(settings, stages=["capture"])  # the same revision: nothing to tell
    monkeypatch.setattr(study.folder, "load", changed("revision", "b" * 40))
    with pytest.warns(
        UserWarning, match=f"another revision .*{'a' * 40} then, {'b' * 40} now.*pin it"
    ):
        again = study.run(settings, stages=["capture"])
    assert any("another revision" in warning for warning in again["warnings"])
    monkeypatch.setattr(study.folder, "load", changed("weights", {"memory": "other"}))
    with pytest.raises(ArtefactError, match="begun with other weights"):
        study.run(settings, stages=["capture"])


def test_a_new_run_begins_beside_one_with_other_settings_and_resumes_its_own(tiny_folder, tmp_path):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl")
    common = {
        "model": str(tiny_folder("gpt2")),
        "stimuli": str(stimuli),
        "out": tmp_path / "run",
        "sites": ("resid_post@2",),
    }
    first, second, third = (study.Settings(**common, seed=seed) for seed in range(3))
    assert study.new_run(first) == first
    study.run(first, stages=["capture"])
    assert study.new_run(first) == first
    with pytest.raises(ArtefactError, match=r"seed: 0 there, 1 now.*--new-run"):
        study.run(second, stages=["capture"])
    beside = study.new_run(second)
    assert beside.out == tmp_path / "run-2"
    study.run(beside, stages=["capture"])
    assert study.new_run(second) == beside
    assert study.new_run(third).out == tmp_path / "run-3"
