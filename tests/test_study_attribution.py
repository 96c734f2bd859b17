"""The stage attribution and its front doors: what is planted is claimed, and bad input refused."""

import json
from dataclasses import replace

import pandas as pd
import pytest

import interp
import stimuli
from interp.errors import StatisticsError
from interp.results import read_table
from stimuli.battery import Battery, Stimulus
from support.commands import outcome

EMOTIONS = ("joy", "fear")


@pytest.fixture(scope="module")
def battery() -> Battery:
    """Two emotions of the planted battery, without the arm that names them."""
    planted = stimuli.load("planted")
    pairs = [pair for pair in planted.pairs() if pair.affective.emotion in EMOTIONS]
    kept = {item.id for pair in pairs for item in pair}
    return replace(planted, items=tuple(item for item in planted if item.id in kept))


@pytest.fixture(scope="module")
def line(battery, tmp_path_factory):
    path = stimuli.save(battery, tmp_path_factory.mktemp("texts") / "two.jsonl")

    def made(out, *more):
        sites = ("--sites", "resid_post@3", "--positions", "last", "--preset", "quick")
        asked = ("attribute", "--model", "planted", "--stimuli", path, "--out", out)
        return (*asked, *sites, *more)

    return made


def test_the_planted_heads_and_neurons_are_claimed(line, tmp_path):
    code, output = outcome(*line(tmp_path / "run", "--json", "--pairs", "12"))
    assert code == 0
    told = {one["what"]: one for one in json.loads(output)["findings"]}
    claims = [f"the {one}s that the gradient ranks first carry the emotion" for one in _KINDS]
    assert set(told) == set(claims)
    assert {one["verdict"] for one in told.values()} == {"found"}
    rows = read_table(tmp_path / "run" / "tables" / "attribution.csv")
    assert rows[rows["metric"] == "chosen_effect"]["n"].unique().tolist() == [12]
    errors = rows[rows["metric"] == "rank_correlation"]
    assert set(errors["position"]) == {"last"}
    assert set(rows[rows["metric"] == "estimated_effect"]["method"]) == {"attribution"}


_KINDS = ("head", "neuron")


def test_the_method_and_its_steps_are_chosen(line, tmp_path):
    how = ("--attribute-with", "integrated", "--steps", "2", "--pairs", "2")
    assert outcome(*line(tmp_path / "run", *how))[0] == 0
    rows = read_table(tmp_path / "run" / "tables" / "attribution.csv")
    assert set(rows[rows["metric"] == "estimated_effect"]["method"]) == {"integrated"}
    config = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["config"]
    assert (config["steps"], config["pairs"]) == (2, 2)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--steps", "0"), "steps"),
        (("--pairs", "1"), "pairs"),
        (("--attribute-with", "taylor"), "taylor"),
        (("--dtype-error",), "dtype is float32"),
    ],
)
def test_what_no_option_may_be(line, tmp_path, option, told):
    code, message = outcome(*line(tmp_path / "run", *option))
    assert code == 2
    assert told in message
    assert not (tmp_path / "run").exists()


def test_the_verb_gives_a_table(battery):
    few = replace(battery, items=tuple(i for i in battery if i.group in _groups(battery)))
    found = interp.attribute(interp.load("planted", check=False), few)
    assert isinstance(found, pd.DataFrame)
    heads = found[(found["metric"] == "estimated_effect") & (found["component"] == "head")]
    assert set(heads["emotion"]) == {"all", *EMOTIONS}
    figure = interp.draw("head_effects", found)
    assert len(figure.axes[0].images) == 1


def _groups(battery: Battery) -> set[str]:
    """Three scenarios of each emotion."""
    return {
        group
        for emotion in EMOTIONS
        for group in sorted({p.affective.group for p in battery.pairs().of(emotion)})[:3]
    }


def test_one_scenario_cannot_both_rank_and_tell(battery):
    texts = [item for item in battery if item.emotion in ("joy", "neutral")]
    group = next(item.group for item in texts if item.emotion == "joy")
    one = replace(battery, items=tuple(item for item in texts if item.group == group))
    with pytest.raises(StatisticsError, match="'joy' has one group of pairs"):
        interp.attribute(interp.load("planted", check=False), one)
    alone = Battery("none", (Stimulus("a", "w", "joy", group="g"),))
    with pytest.raises(StatisticsError, match="each needs a pair"):
        interp.attribute(interp.load("planted", check=False), alone)
