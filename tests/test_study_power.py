"""Is there something to show: effects by dose, the pairs needed, and what a study says of it."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import stimuli
from interp.causal.effects import total_effects
from interp.causal.forward import encode_stimuli, run_forward
from interp.cli import cli
from interp.evaluation.readouts import readout_for
from interp.models import load
from interp.study.power import doubt, power_rows, told
from stimuli.battery import Battery, Stimulus


@pytest.fixture(scope="module")
def planted():
    return load("planted", check=False)


@pytest.fixture(scope="module")
def battery() -> Battery:
    whole = stimuli.load("planted")
    kept = {"joy", "fear"}
    groups = {item.group for item in whole if item.emotion in kept}
    return Battery("two", tuple(item for item in whole if item.group in groups))


def test_effects_are_those_of_single_passes(planted, battery):
    readout = readout_for("planted", battery.emotions)
    pairs = battery.doses()["keyword_free"][:3]
    bound = readout.bind(planted)
    own, contrast = total_effects(planted, pairs, readout)
    for i, pair in enumerate(pairs):
        scores = [
            bound.scores(run_forward(planted, encode_stimuli(planted, [text], readout)).logits)[0]
            for text in pair
        ]
        column = bound.column(pair.affective.emotion)
        assert own[i] == pytest.approx(float(scores[0][column] - scores[1][column]), abs=1e-4)
    assert (contrast > 0).all()


def test_the_planted_model_shows_it_and_the_null_model_does_not(planted, battery):
    shown = {
        row["emotion"]: row
        for row in power_rows(planted, battery)
        if row["metric"] == "total_effect"
    }
    assert set(shown) == {"joy", "fear", "all"}
    assert shown["all"]["ci_low"] > 0
    assert shown["all"]["share"] > 0.9
    assert 5 <= shown["joy"]["needed"] <= 24
    null = {
        row["emotion"]: row
        for row in power_rows(load("planted_null", check=False), battery)
        if row["metric"] == "total_effect"
    }
    assert not null["all"]["ci_low"] > 0.05


def test_a_study_is_told_where_its_pairs_cannot_show_it(planted, battery):
    readout = readout_for("planted", battery.emotions)
    pairs = battery.doses()["keyword_free"]

    def said(model):
        return doubt(total_effects(model, pairs, readout)[1], pairs)

    assert said(planted) is None
    null = load("planted_null", check=False)
    assert re.search(r"does not surely tell these \d+ twins apart", said(null) or "")


def test_few_noisy_pairs_are_told_how_many_would_do(battery):
    pairs = battery.doses()["keyword_free"][:12]
    noisy = np.array([2.2, -0.3, 1.9, 0.1, 0.4, 1.8, -0.2, 0.9, 0.2, 1.4, -0.1, 0.6])
    said = doubt(noisy, pairs) or ""
    found = re.search(
        r"with 12 scenarios, .* would be seen in (\d+) % of studies.* (\d+) scenarios would do",
        said,
    )
    assert found is not None, said
    assert 30 < int(found[1]) < 80
    assert 12 < int(found[2]) <= 64


def test_doses_find_their_twins():
    def item(name, emotion, arm, **more):
        return Stimulus(id=name, text=f"text {name}", emotion=emotion, arm=arm, **more)

    shared = {"group": "scene"}
    items = (
        item("n1", "neutral", "neutral", pair="p1", **shared),
        item("n2", "neutral", "neutral", pair="p2", **shared),
        item("a1", "joy", "keyword_free", pair="p1", **shared),
        item("a2", "fear", "keyword_free", pair="p2", **shared),
        item("s1", "joy", "strong", fields={"twin": "n1"}, **shared),
        item("m2", "fear", "moderate", **shared),  # two neutral texts, and none is named
        item("b", "joy", "moderate", group="other"),
        item("nb", "neutral", "neutral", group="other"),
        item("r1", "joy", "keyword_rich", **shared),
    )
    doses = Battery("b", items).doses()
    assert {arm: [(a.id, n.id) for a, n in pairs] for arm, pairs in doses.items()} == {
        "moderate": [("b", "nb")],
        "keyword_free": [("a1", "n1"), ("a2", "n2")],
        "strong": [("s1", "n1")],
    }


def test_the_command_prints_rows_and_a_sentence_per_dose():
    result = CliRunner().invoke(cli, ["stimuli", "power", "planted", "planted", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["dose"] for row in rows} == {"keyword_free"}
    assert "in the expected direction" in result.stderr
    refused = CliRunner().invoke(cli, ["stimuli", "power", "planted", "nobody"])
    assert refused.exit_code != 0


def test_nothing_to_compare_is_said_before_the_model_is_loaded(tmp_path):
    path = tmp_path / "alone.csv"
    path.write_text("text,emotion\nI ran home,joy\nI sat down,fear\n")
    result = CliRunner().invoke(cli, ["stimuli", "power", "no-such-model", str(path)])
    assert "has no twins" in str(result.exception or result.output)


def test_what_is_told_names_the_emotions_that_show():
    row = {
        "dose": "strong",
        "metric": "total_effect",
        "n": 9,
        "share": 0.8,
        "value": 0.5,
        "ci_high": 1.0,
        "p": 0.01,
    }
    rows = [
        {**row, "emotion": "joy", "ci_low": 0.1, "needed": 12},
        {**row, "emotion": "fear", "ci_low": -0.1, "needed": 0},
        {**row, "emotion": "all", "ci_low": 0.2, "needed": 24},
    ]
    (line,) = told(rows)
    assert "1 of 2 emotions, each by itself (joy)" in line
    assert "needs 24 scenarios" in line
    (line,) = told([*rows[:2], {**rows[2], "value": -0.1, "needed": 0}])
    assert line.endswith("there is no half of it to see.")
