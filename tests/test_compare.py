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
from interp.results import read_table
from support.commands import outcome


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The planted model and its twin without the circuit on the same texts, and one on others."""
    folder = tmp_path_factory.mktemp("runs")
    planted = stimuli.load("planted")
    emotions = ("joy", "fear")
    ids = {p.affective.pair for p in planted.pairs() if p.affective.emotion in emotions}
    two = replace(planted, items=tuple(item for item in planted if item.pair in ids))
    texts = stimuli.save(two, folder / "texts.jsonl")
    fewer = tuple(item for item in two if item.arm in ("keyword_free", "neutral"))
    others = stimuli.save(replace(two, items=fewer), folder / "others.jsonl")
    for name, model, path in (
        ("with", "planted", texts), ("without", "planted_null", texts), ("other", "planted", others)
    ):  # fmt: skip
        asked = study.Settings.of(
            model=model, stimuli=str(path), out=folder / name, sites=("resid_post",),
            positions=("last_content",), probe="lda",
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            study.run(asked, stages=["capture", "probes"])
    return folder


def test_runs_of_the_same_texts_are_compared_in_all(runs, tmp_path):
    out = tmp_path / "compared"
    code, told = outcome("compare", runs / "with", runs / "without", "--out", out, "--json")
    assert code == 0
    found = json.loads(told)
    assert [one["name"] for one in found["runs"]] == ["with", "without"]
    claims = {row["claim"]: row for row in found["verdicts"]}
    reception = next(row for claim, row in claims.items() if "probes" in claim)
    assert reception["with"].startswith("found")
    assert not reception["without"].startswith("found ")
    rows = read_table(out / "comparison.csv")
    assert set(rows["metric"]) == {"curve", "cka", "map_r2", "carried_auroc"}
    curves = rows[rows["metric"] == "curve"]
    assert set(curves["who"]) == {"with", "without"}
    assert curves["depth"].between(0, 1).all()
    cka = rows[rows["metric"] == "cka"]
    assert (cka["value"] <= 1.01).all()
    probes = rows[(rows["metric"] == "carried_auroc") & (rows["task"] == "reception")]
    assert set(probes["method"]) == {"own", "procrustes", "linear", "random", "shuffled"}
    # the second model has no circuit: its own probe finds nothing, and so none can be carried
    assert probes[probes["method"] == "own"]["value"].max() < 0.7
    page = (out / "comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64") == 2
    assert "Maps from one space into the other" in page
    again = tmp_path / "again"
    assert outcome("compare", runs / "with", runs / "without", "--out", again)[0] == 0
    assert (again / "comparison.html").read_bytes() == (out / "comparison.html").read_bytes()


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


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    copy = tmp_path / "with"
    shutil.copytree(runs / "with", copy)
    code, told = outcome("compare", runs / "with", copy, "--out", tmp_path / "out", "--json")
    assert code == 0
    found = json.loads(told)
    assert [one["name"] for one in found["runs"]] == [str(runs / "with"), str(copy)]
    same = [row for row in found["rows"] if row["metric"] == "cka"]
    assert all(
        row["value"] == pytest.approx(1) for row in same if row["layer"] == row["other_layer"]
    )
