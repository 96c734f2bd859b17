"""The stage geometry: what is in the words is not claimed of the model; what cannot be asked is
told.
"""

import json
import warnings
from dataclasses import replace

import pytest

import stimuli
from interp import study
from interp.errors import StatisticsError
from interp.results import read_table
from interp.sites import Site
from interp.study.conditions import conditions
from interp.study.geometry import DEPTHS, mapped
from support.commands import outcome


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Six scenarios of every emotion of the planted model's battery, at three sites."""
    planted = stimuli.load("planted")
    groups: dict[str, list[str]] = {}
    for pair in planted.pairs():
        own = groups.setdefault(pair.affective.emotion, [])
        if pair.affective.group not in own:
            own.append(pair.affective.group)
    kept = {group for own in groups.values() for group in own[:6]}
    few = replace(planted, items=tuple(item for item in planted if item.group in kept))
    out = tmp_path_factory.mktemp("geometry") / "run"
    path = stimuli.save(few, out.with_suffix(".jsonl"))
    asked = study.Settings.of(
        model="planted", stimuli=str(path), out=out, sites=("resid_post", "attn_out", "mlp_out")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        told = study.run(asked, stages=["geometry"])
    return told, read_table(out / "tables" / "geometry.csv")


def test_every_part_of_the_geometry_is_told(ran):
    told, rows = ran
    assert set(rows["metric"]) == {
        "rsa", "above_text", "explained", "axis_place", "axis_rating", "centred_cosine",
        "reliability", "site_cosine", "silhouette",
    }  # fmt: skip
    rsa = rows[(rows["metric"] == "rsa") & (rows["control"] == "")]
    assert set(rsa["reference"]) == {"wheel", "ratings", "valence", "arousal", "dominance"}
    assert (rsa["least_p"] <= rsa["p"]).all()
    words = rows[(rows["metric"] == "rsa") & (rows["control"] != "")]
    assert "char" in set(words["control"])  # its twins differ in a word that no other text has
    above = rows[rows["metric"] == "above_text"]
    assert len(above) == len(rsa) * words["control"].nunique()
    sites = rows[rows["metric"] == "site_cosine"]
    assert set(sites["site"]) == set(sites["other_site"]) == {"attn_out", "mlp_out"}
    by = rows[rows["metric"] == "silhouette"]
    assert set(by["by"]) == {"emotion", "arm", "scenario"}
    claims = {one["about"]: one for one in told["findings"]}
    assert set(claims) == {"wheel", "ratings"}
    # the planted emotions' directions are orthogonal: no two are nearer than others
    assert not {one["verdict"] for one in claims.values()} & {"found", "found inverted"}


def test_the_depths_are_chosen_beforehand():
    stream = [Site("resid_post", layer) for layer in range(30)]
    assert [site.layer for site in mapped(stream, 30)] == [9, 14, 19]
    assert [site.layer for site in mapped(stream[:1], 30)] == [0]
    assert len(DEPTHS) == 3


def test_too_few_emotions_are_told_before_the_model_is_loaded(tmp_path):
    planted = stimuli.load("planted")
    ids = {p.affective.pair for p in planted.pairs() if p.affective.emotion in ("joy", "fear")}
    two = replace(planted, items=tuple(item for item in planted if item.pair in ids))
    closed = conditions(two, folds=5, model="planted").closed["geometry"]
    assert closed == (
        "a geometry needs 4 emotions or more, and there are 2 with 4 scenarios or more "
        "('fear', 'joy')."
    )
    path = stimuli.save(two, tmp_path / "two.jsonl")
    asked = study.Settings.of(model="planted", stimuli=str(path), out=tmp_path / "run")
    with pytest.raises(StatisticsError, match="a geometry needs 4 emotions"):
        study.run(asked, stages=["geometry"])
    line = ("run", "--model", "planted", "--stimuli", path, "--out", tmp_path / "run")
    code, told = outcome(*line, "--dry-run", "--json")
    assert code == 0
    (stages,) = [row["value"] for row in json.loads(told) if row["what"] == "stages to run"]
    assert "geometry" not in stages
