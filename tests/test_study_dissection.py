"""`interp dissect`: one run that asks everything, and what it refuses before a model is loaded."""

import json

import pytest

import interp
from interp.analysis.elicited import ELICITED
from interp.reporting.dissection import knockout_map
from interp.reporting.dissection_told import dissection_sentences
from interp.reporting.figures import FIGURES, as_bytes
from interp.reporting.trial_figures import TRIAL_FIGURES
from interp.results import read_table
from interp.study.dissection import DISSECTIONS
from interp.study.dynamics_trial import DYNAMICS
from interp.study.features import FEATURES
from interp.study.framing_trial import FRAMINGS
from interp.study.introspection_trial import ANSWERS
from interp.study.malleability_trial import MALLEABILITY
from interp.study.path_trial import PATHS
from interp.study.release_trial import RELEASE
from interp.study.steering_trial import SCORES
from interp.study.stories import STORIES
from interp.study.trajectories import TRAJECTORIES
from interp.study.zero_shot_trial import ZERO_SHOT
from interp.testbeds import planted
from support.commands import outcome

SPEC = planted.SPECS["planted"]
ASKED = ("dissect", "--model", "planted", "--stimuli", "planted", "--emotions", "joy,trust")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("dissect") / "run"
    more = ("--pairs", 3, "--draws", 5, "--ks", "1,2", "--enhance-by", "scale", "--factor", 4)
    more = (*more, "--ablate-with", "mean", "--layer", 3, "--seed", 1)
    code, told = outcome(*ASKED, *more, "--out", out)
    assert code == 0
    return out, told


def test_everything_is_asked_and_answered_by_the_planted_truth(ran):
    out, told = ran
    heads, neurons = f"in layer {SPEC.head_layer} (of 4)", f"in layer {SPEC.neuron_layer} (of 4)"
    lines = told.splitlines()
    assert lines[0].startswith("Knocking out a layer's attention")
    assert heads in lines[0]
    assert neurons in lines[1]
    assert "after layer 3 lowers its own words more than random directions" in told
    assert "at all layers lowers its own words" in told
    assert "in layers 2, 3 (of 4)" in told
    assert "0 of them more than in the neutral twin" in told
    tables = {path.stem for path in (out / "tables").iterdir()}
    assert tables == {"knockout", "direction_ablation", "parts", "attention", "lens"}
    figures = {path.stem for path in (out / "figures").iterdir()}
    assert figures == {
        "knockout_map", "direction_ablation_dots", "ablated_parts", "enhanced_parts",
        "attention_map", "lens_curves",
    }  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["factor"] == 4
    assert set(record["provenance"]["tables"]) == tables


def test_the_options_reach_the_tables(ran):
    out, _ = ran
    parts = read_table(out / "tables" / "parts.csv")
    modes = set(zip(parts["method"], parts["mode"], strict=True))
    assert modes == {("ablation", "mean"), ("enhancement", "scale")}
    assert set(parts["k"]) == {1, 2}
    assert {"", "random", "bottom"} <= set(parts["control"])
    assert set(parts["metric"]) == {
        "projection_drop", "projection_rise", "label_logprob_change", "neutral_loss_rise",
    }  # fmt: skip
    ablated = read_table(out / "tables" / "direction_ablation.csv")
    assert set(ablated["reach"].astype(str)) == {"3", "all"}
    assert set(ablated["seed"]) == {1}
    knocked = read_table(out / "tables" / "knockout.csv")
    own = knocked[(knocked.emotion == "joy") & (knocked.control == "")]
    assert set(own["n"]) == {3}


def test_the_map_shows_each_reading_layer_by_layer(ran):
    out, _ = ran
    knocked = read_table(out / "tables" / "knockout.csv")
    figure = knockout_map(knocked)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == 5
    shown = panels[0].images[0].get_array()
    wanted = (knocked.metric == "label_logprob_change_above_random") & (knocked.emotion == "all")
    rows = knocked[wanted & (knocked.component == "attention")].set_index("layer")["value"]
    assert shown[0].tolist() == pytest.approx(rows.tolist())
    assert int(shown[0].argmax()) == SPEC.head_layer


def test_too_few_scenarios_for_a_small_p_decide_nothing(ran):
    out, _ = ran
    knocked = read_table(out / "tables" / "knockout.csv").assign(p_corrected=0.25)
    few = dissection_sentences({"knockout": knocked.assign(least_p=0.25)})
    enough = dissection_sentences({"knockout": knocked.assign(least_p=0.04)})
    rest = "cannot be said of layer {}, not found in the others (of 4)."
    assert few[0].endswith(rest.format(SPEC.head_layer))
    assert few[1].endswith(rest.format(SPEC.neuron_layer))
    assert all(one.endswith("not found in any of 4 layers.") for one in enough)


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (("--emotions", "envy"), 2, "envy has no twins; of 'planted'"),
        (("--ask", "lens,smell"), 2, "'smell' is not one of"),
        (("--ks", "1,two"), 2, "'1,two' is no list of counts, such as 1,2,4"),
        (("--ks", "0"), 2, "give counts from 1 on"),
        (("--draws", "2"), 2, "x>=5"),
        (("--layer", "9", "--ask", "lens"), 2, "layer 9 is out of range"),
    ],
)
def test_what_cannot_be_asked(tmp_path, more, code, told):
    found = outcome(*ASKED, *more, "--out", tmp_path / "run")
    assert found[0] == code
    assert told in found[1]
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_left_alone(ran):
    out, _ = ran
    code, told = outcome(*ASKED, "--out", out)
    assert (code, "choose another --out" in told) == (4, True)


def test_its_figures_are_drawn_again_as_a_paper_wants_them(ran, tmp_path):
    out, _ = ran
    before = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    code, told = outcome("figures", out, "--width", "3.3in", "--no-titles", "--out", tmp_path)
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == set(before)
    assert "skipped" not in told
    assert (tmp_path / "lens_curves.svg").read_bytes() != before["lens_curves.svg"]
    assert outcome("figures", out)[0] == 0
    assert {path.name: path.read_bytes() for path in (out / "figures").iterdir()} == before


def test_a_figure_of_a_command_beside_a_study_is_drawn_by_its_name(ran):
    out, _ = ran
    table = read_table(out / "tables" / "knockout.csv")
    named, own = (draw(table) for draw in (lambda t: interp.draw("knockout_map", t), knockout_map))
    assert as_bytes(named, "svg") == as_bytes(own, "svg")


def test_a_name_stands_for_one_figure():
    for name, one in TRIAL_FIGURES.items():
        assert FIGURES.get(name, one).draw is one.draw
    assert {name for name in FIGURES if name in TRIAL_FIGURES} == {"steering_slopes"}


def test_every_figure_belongs_to_a_table_that_a_command_writes():
    tables = {one.table for one in DISSECTIONS.values()} | {
        ANSWERS, DYNAMICS, ELICITED, FEATURES, FRAMINGS, MALLEABILITY, PATHS, RELEASE, SCORES,
        STORIES, TRAJECTORIES, ZERO_SHOT,
    }  # fmt: skip
    assert {one.table for one in TRIAL_FIGURES.values()} == tables
