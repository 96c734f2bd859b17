"""`interp compare`: runs of the same texts are mapped onto each other, others are not, and what is
no finished run is refused.
"""

import json
import shutil
import warnings
from dataclasses import replace

import pytest

import stimuli
from interp import study
from interp.reporting.comparison import CURVES, curve_rows
from interp.results import read_table
from support.commands import outcome
from support.reporting_tables import MAKERS, N_LAYERS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The planted model and its twin without the circuit on the same texts, and one on others."""
    folder = tmp_path_factory.mktemp("runs")
    planted = stimuli.load("planted")
    groups: dict[str, set[str]] = {}
    for pair in planted.pairs():
        groups.setdefault(pair.affective.emotion, set()).add(pair.affective.group)
    kept = {group for own in groups.values() for group in sorted(own)[:6]}
    few = tuple(i for i in planted if i.group in kept and i.arm != "keyword_rich")
    texts = stimuli.save(replace(planted, items=few), folder / "texts.jsonl")
    less = {group for own in groups.values() for group in sorted(own)[:5]}
    fewer = tuple(item for item in few if item.group in less)
    others = stimuli.save(replace(planted, items=fewer), folder / "others.jsonl")
    for name, model, path in (
        ("with", "planted", texts), ("without", "planted_null", texts), ("other", "planted", others)
    ):  # fmt: skip
        asked = study.Settings.of(
            model=model, stimuli=str(path), out=folder / name, sites=("resid_post",),
            positions=("last_content",),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            study.run(asked, stages=["capture", "geometry"])
    return folder


def test_runs_of_the_same_texts_are_compared_in_all(runs, tmp_path):
    out = tmp_path / "compared"
    code, told = outcome("compare", runs / "with", runs / "without", "--out", out, "--json")
    assert code == 0
    found = json.loads(told)
    assert [one["name"] for one in found["runs"]] == ["with", "without"]
    claims = {row["claim"]: row for row in found["verdicts"]}
    assert len(claims) == 2  # the wheel, the ratings
    assert all({"with", "without"} < set(row) for row in claims.values())
    rows = read_table(out / "comparison.csv")
    assert set(rows["metric"]) == {"curve", "cka", "map_r2", "carried_auroc"}
    curves = rows[rows["metric"] == "curve"]
    assert set(curves["who"]) == {"with", "without"}
    assert curves["depth"].between(0, 1).all()
    cka = rows[rows["metric"] == "cka"]
    assert (cka["value"] <= 1.01).all()
    probes = rows[(rows["metric"] == "carried_auroc") & (rows["task"] == "reception")]
    assert set(probes["method"]) == {"own", "procrustes", "linear", "random", "shuffled"}
    page = (out / "comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64") == 2
    assert "Maps from one space into the other" in page
    pages = []
    for name in ("once", "again"):
        line = ("compare", runs / "with", runs / "without", "--no-maps", "--out", tmp_path / name)
        assert outcome(*line)[0] == 0
        pages.append((tmp_path / name / "comparison.html").read_bytes())
    assert pages[0] == pages[1]


def test_runs_of_other_texts_are_compared_by_their_curves_alone(runs, tmp_path):
    both = (runs / "with", runs / "other")
    code, told = outcome("compare", *both, "--out", tmp_path / "out", "--json")
    assert code == 0
    found = json.loads(told)
    assert {row["metric"] for row in found["rows"]} == {"curve"}
    assert any("read different texts" in note for note in found["notes"])
    assert any("are not the same texts" in note for note in found["notes"])
    code, told = outcome("compare", *both, "--out", tmp_path / "out", "--maps")
    assert code == 3
    assert "Run both on one battery." in told
    code, told = outcome("compare", runs / "with", runs / "without", "--no-maps",
                         "--out", tmp_path / "plain", "--json")  # fmt: skip
    assert {row["metric"] for row in json.loads(told)["rows"]} == {"curve"}


def test_what_is_no_finished_run_is_refused(runs, tmp_path):
    good = runs / "with"
    cases = [
        ((good,), 2, "needs two runs or more"),
        ((good, good), 2, "is named twice"),
        ((good, good.parent / "." / "with"), 2, "is named twice"),
        ((good, tmp_path), 4, "no results folder"),
    ]
    begun = tmp_path / "begun"
    begun.mkdir()
    record = json.loads((good / "run.json").read_text())
    record["provenance"]["seconds"] = {}
    (begun / "run.json").write_text(json.dumps(record))
    cases.append(((good, begun), 4, "not finished: its texts were not all captured"))
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(good / "run.json", bare / "run.json")
    cases.append(((good, bare), 4, "it has no table yet"))
    for paths, expected, told in cases:
        code, message = outcome("compare", *paths, "--out", tmp_path / "out")
        assert (code, told in message) == (expected, True), message
    code, message = outcome("compare", good, runs / "without", "--out", good)
    assert (code, "holds a run: choose another --out" in message) == (2, True)


def test_a_probe_of_the_circuit_is_carried_from_a_copy_and_by_no_control(runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(runs / "with", copy)
    code, told = outcome("compare", copy, runs / "with", "--out", tmp_path / "out", "--json")
    assert code == 0
    every = json.loads(told)["rows"]
    same = [row for row in every if row["metric"] == "cka" and row["layer"] == row["other_layer"]]
    assert all(row["value"] == pytest.approx(1) for row in same)
    rows = [row for row in every if row["metric"] == "carried_auroc"]
    found = {row["method"]: row["value"] for row in rows if row["task"] == "reception"}
    assert found["own"] == found["procrustes"] > 0.95
    assert max(found["random"], found["shuffled"]) < 0.85


def test_a_curve_is_the_stream_s_under_one_position():
    reception = CURVES[0]
    rows = list(curve_rows(MAKERS["probes"](), reception))
    assert [row["layer"] for row in rows] == list(range(N_LAYERS))
    assert {row["site"] for row in rows} == {"resid_post"}
    assert list(curve_rows(MAKERS["cosines"](), reception)) == []


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    copy = tmp_path / "with"
    shutil.copytree(runs / "with", copy)
    line = ("compare", runs / "with", copy, "--no-maps", "--out", tmp_path / "out", "--json")
    code, told = outcome(*line)
    assert code == 0
    assert [one["name"] for one in json.loads(told)["runs"]] == [str(runs / "with"), str(copy)]
