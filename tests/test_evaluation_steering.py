"""An evaluation of steering: finds what is planted, chooses on one half alone, and holds every arm
against what was counted by hand.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from matplotlib import collections
from matplotlib.patches import Rectangle

from interp.causal.generation import generate
from interp.causal.readout import Readout
from interp.causal.steering_sweep import split_prompts
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.evaluation.costs import Cost
from interp.evaluation.judges import judges_of
from interp.evaluation.relevance import Relevance
from interp.evaluation.steering import evaluate_steering
from interp.evaluation.steering_arms import SteeringTrial
from interp.evaluation.steering_rows import (
    Spoken,
    harmonic_of,
    measured_rows,
    overall_of,
    reached,
)
from interp.models import load
from interp.models.generation import Decoding
from interp.reporting.select import measured
from interp.reporting.steerability import steering_map
from interp.reporting.steering_pareto import steering_pareto
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from support.given_directions import given

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
SITE = Site("resid_post", SPEC.neuron_layer)
EMOTIONS = ("anger", "fear", "joy", "sadness")
NEUTRAL = [pair.neutral for pair in planted.stimuli(SPEC, n=2).pairs()][:10]
SHORT = Decoding(max_new_tokens=4)
READOUT = Readout({one: planted.readout(SPEC)[one] for one in EMOTIONS}, "")
ASKED = SteeringTrial(
    scales=(0.01, 1.0), unit="length", draws=3, decoding=SHORT, instruction="{emotion} {text}"
)


@cache
def model():
    return load("planted", check=False)


def true(emotion, sign=1.0):
    return given(sign * TRUTH.direction(emotion, SITE), SITE, 5.0, model().provenance)


@pytest.fixture(scope="module")
def found():
    wrong = {one: true(one, -1.0) for one in EMOTIONS}
    right = {one: true(one) for one in EMOTIONS}
    judges = judges_of("oracle,masked:lexicon", model(), READOUT)
    neutral = [replace(item, group="one scenario") for item in NEUTRAL[:3]]
    return evaluate_steering(model(), NEUTRAL, [wrong, right], judges, ASKED, neutral=neutral)


def values(found, **where):
    rows = table(found.rows)
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    return rows.set_index(["emotion"])["value"]


def test_the_planted_directions_win_against_every_arm(found):
    own = {"half": "report", "judge": "oracle", "metric": "success"}
    assert values(found, **own, control="").to_dict() == dict.fromkeys([*EMOTIONS, "all"], 1.0)
    for control in ("unsteered", "shuffled"):
        assert set(values(found, **own, control=control)) == {0.0}
    assert values(found, **own, control="random")["all"] < 0.2
    told = table(found.rows)
    above = told[(told.metric == "success_above") & (told.judge == "oracle")]
    assert set(above.target) == {"unsteered", "random", "shuffled", "instruction"}
    assert (above[above.target != "instruction"].ci_low > 0).all()
    dealt = told[(told.metric == "as_good_at_random") & (told.judge == "oracle")]
    dealt = dealt.set_index("emotion")
    assert dealt.p["all"] == pytest.approx(1 / 24)  # of 4! assignments the true one is the best
    assert (dealt.p[list(EMOTIONS)] >= 1 / (1 + ASKED.draws)).all()


def test_each_direction_brings_its_own_emotion_and_no_other(found):
    told = table(found.rows)
    effect = told[(told.metric == "effect") & (told.judge == "oracle")]
    square = effect.pivot(index="emotion", columns="target", values="value").to_numpy()
    np.testing.assert_array_equal(square, np.eye(len(EMOTIONS)))


def test_a_masked_judge_sees_that_nothing_but_the_words_is_there(found):
    own = {"half": "report", "judge": "masked:lexicon", "metric": "success", "control": ""}
    assert values(found, **own)["all"] == 0
    told = table(found.rows)
    (kappa,) = told[told.metric == "kappa"].itertuples()
    assert (kappa.judge, kappa.target) == ("oracle", "masked:lexicon")
    assert kappa.value < 0.1


def test_place_and_strength_are_chosen_on_the_other_half(found):
    rows, texts = table(found.rows), table(found.texts)
    tried = rows[(rows.half == "choose") & (rows.metric == "harmonic")]
    assert len(tried) == 2 * len(ASKED.scales)
    assert set(rows[rows.half == "report"].scale) == {1.0}
    parts = {half: set(texts[texts.half == half].item) for half in ("choose", "report")}
    assert not parts["choose"] & parts["report"]
    choose, report = split_prompts(model(), NEUTRAL, 0)
    assert parts == {"choose": set(choose.names), "report": set(report.names)}
    n = len(report.names)
    arms = texts[(texts.half == "report") & (texts.judge == "oracle")].groupby("control").size()
    assert arms.to_dict() == {
        "": 4 * n, "instruction": 4 * n, "random": ASKED.draws * n, "unsteered": n,
    }  # fmt: skip
    assert texts[texts.control == "random"].draw.nunique() == ASKED.draws


def test_every_place_and_strength_that_was_tried_is_told(found):
    """Both candidates share a layer here; only the second, at strength 1, does anything."""
    rows = table(found.rows)
    tried = rows[rows.half == "choose"]
    of = {metric: tried[tried.metric == metric] for metric in ("success", "perplexity_ratio")}
    oracle = of["success"][of["success"].judge == "oracle"]
    assert list(zip(oracle.scale, oracle.value, strict=True)) == [
        (0.01, 0),
        (1, 0),
        (0.01, 0),
        (1, 1),
    ]
    texts = table(found.texts)
    texts = texts[(texts.half == "choose") & (texts.judge == "oracle") & (texts.scale != 0.01)]
    before, after = (texts[texts.control == one] for one in ("unsteered", ""))
    usual = np.log(before.set_index("item").perplexity)
    for place, wanted in ((slice(0, len(after) // 2), 1), (slice(len(after) // 2, None), 3)):
        logged = np.log(after[place].perplexity) - usual[after[place].item].to_numpy()
        assert of["perplexity_ratio"].value.iloc[wanted] == pytest.approx(np.exp(logged.mean()))


def test_slopes_are_of_the_prompts_that_chose_nothing(found):
    """At strength .01 nothing is reached, at 1 everything: the slope is that of (0, .01, 1)."""
    rows, texts = table(found.rows), table(found.texts)
    dosed = rows[(rows.half == "dose") & (rows.judge == "oracle")]
    expected = np.polyfit([0, 0.01, 1], [0, 0, 1], 1)[0]
    slope = dosed[dosed.metric == "slope"].set_index(["control", "emotion"])["value"]
    assert slope[""].tolist() == pytest.approx([expected] * 5)
    assert slope["shuffled"].tolist() == [0] * 5
    turned = dosed[dosed.metric == "anti_steerable"]
    assert set(turned.value) == {0}
    each = dosed[(dosed.metric == "prompt_slope") & (dosed.emotion == "joy")]
    assert (
        set(each.item)
        == set(texts[texts.half == "report"].item)
        == set(texts[texts.half == "dose"].item)
    )
    assert set(texts[texts.half == "dose"].scale) == {0.01}


def test_the_three_scores_are_joined_beside_their_control(found):
    rows, texts = table(found.rows), table(found.texts)
    told = rows[(rows.half == "report") & (rows.emotion == "all") & (rows.control == "")]
    value = told.drop_duplicates("metric").set_index("metric")["value"]
    written = texts[(texts.half == "report") & (texts.judge == "oracle")]
    mine, usual = (written[written.control == one] for one in ("", "unsteered"))
    for metric in ("relevance", "relevance_shuffled"):
        assert value[metric] == pytest.approx(mine[metric].mean())
    before, by_hand = usual.set_index("item").perplexity, []
    for one in mine.itertuples():
        fluent = min(1, before[one.item] / one.perplexity) if one.distinct_2 >= 0.5 else 0
        scores = (one.value, fluent, max(0, 2 * one.relevance - 1))
        by_hand.append(3 / sum(1 / score for score in scores) if all(scores) else 0)
    assert value["overall"] == pytest.approx(np.mean(by_hand))
    assert value["overall"] > 0
    assert value["valid"] == 1


def test_a_success_that_has_left_its_prompt_is_worth_nothing():
    usual = spoken("unsteered", "all", ["fear"] * 4, [SOUND] * 4)
    fits = [Relevance(one, 0.5) for one in (1.0, 0.5, 1.0, np.nan)]
    costs = [SOUND, SOUND, BROKEN, DEAR]
    one = spoken("", "joy", ["joy"] * 4, costs)._replace(relevance=fits)
    found = overall_of(one, usual)
    np.testing.assert_array_equal(found[:3], [1, 0, 0])
    assert np.isnan(found[3])
    half = one._replace(relevance=[Relevance(0.75, 0.5)] * 4)
    assert overall_of(half, usual)[3] == pytest.approx(3 / (1 + 1 / 0.5 + 1 / 0.5))


def test_an_instruction_is_what_the_model_writes_when_it_is_asked(found):
    texts = table(found.texts)
    mine = texts[(texts.control == "instruction") & (texts.emotion == "joy")]
    for row in mine[mine.judge == "oracle"].itertuples():
        assert [row.text] == generate(model(), f"joy {row.prompt}", max_new_tokens=4)


def test_what_it_costs_texts_that_are_there_already(found):
    gain = values(found, metric="neutral_loss_gain")
    assert gain["all"] == pytest.approx(gain[list(EMOTIONS)].mean())
    assert (gain > 0).all()
    rows = table(found.rows)
    told = rows[rows.metric == "neutral_loss_gain"]
    assert set(told.n) == {3}
    assert told.ci_low.isna().all()  # three texts of one scenario are no evidence of others


def spoken(control, emotion, verdicts, costs, draw=None):
    return Spoken(control, emotion, 1.0, draw, {"a": verdicts}, costs)


SOUND, DEAR, BROKEN = Cost(4.0, 1.0, 0.0), Cost(8.0, 0.9, 0.1), Cost(2.0, 0.2, 0.8)


def test_rows_are_what_is_counted_by_hand():
    arms = [
        spoken("unsteered", "all", ["fear", "neutral"], [SOUND, SOUND]),
        spoken("", "joy", ["joy", "fear"], [DEAR, SOUND]),
        spoken("", "fear", ["fear", "joy"], [SOUND, BROKEN]),
        spoken("random", "all", ["joy", None], [SOUND, SOUND], 0),
        spoken("random", "all", ["joy", "fear"], [SOUND, SOUND], 1),
    ]
    hits = reached(arms, ("fear", "joy"), "a")
    expected = {
        "unsteered": [[1, 0], [0, 0]], "": [[1, 0], [1, 0]],
        "random": [[0, 0.5], [1, 0]], "shuffled": [[0, 1], [0, 1]],
    }  # fmt: skip
    assert {name: one.tolist() for name, one in hits.items()} == expected
    np.testing.assert_allclose(harmonic_of(arms[1], arms[0]), [2 / 3, 0])
    found = measured_rows(arms, ["one", "two"], ("fear", "joy"))
    rows = table({"method": "steering", **row} for row in found)
    rows = rows.set_index(["metric", "control", "emotion"])["value"]
    assert rows["success", "", "all"] == 0.5
    assert rows["success", "random", "joy"] == 0.5
    assert rows["as_good_at_random", "random", "joy"] == 1.0
    assert rows["as_good_at_random", "random", "fear"] == 0.5
    assert rows["perplexity_ratio", "", "joy"] == pytest.approx(np.sqrt(2))
    assert rows["broken", "", "all"] == 0.25
    assert rows["distinct_2", "", "fear"] == pytest.approx(0.6)
    assert rows["harmonic", "", "joy"] == pytest.approx(1 / 3)
    assert rows["valid", "random", "all"] == 0.75
    assert not {"overall", "relevance"} & set(rows.index.get_level_values("metric"))


def test_the_figure_shows_the_table(found):
    figure = steering_pareto(table(found.rows))
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == ["oracle", "masked:lexicon"]
    drawn = [
        tuple(point)
        for one in figure.axes[0].collections
        if isinstance(one, collections.PathCollection)
        for point in one.get_offsets().tolist()
    ]
    price = values(found, half="report", metric="perplexity_ratio", control="")["all"]
    assert any(np.allclose(point, (price, 1.0)) for point in drawn)
    assert any(np.allclose(point, (1.0, 0.0)) for point in drawn)


def test_the_map_frames_what_was_chosen_and_tells_the_other_half(found):
    rows = table(found.rows)
    right = rows[rows.half == "report"]
    # of the two candidates of one layer the map shows the mean: give the first another layer
    tried = rows.half == "choose"
    first = rows[tried].index[: tried.sum() // 2]
    rows.loc[first, "layer"] = 0
    figure = steering_map(rows)
    success, ratio = figure.axes[:2]
    cells = success.images[0].get_array()
    np.testing.assert_array_equal(cells, [[0, 1], [0, 0]])
    (frame,) = (one for one in success.patches if isinstance(one, Rectangle))
    assert frame.get_xy() == (0.5, -0.5)
    told = right[(right.metric == "perplexity_ratio") & (right.control == "")]
    told = told[told.emotion == "all"]
    texts = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert f"ratio {measured(told)}" in texts
    assert ratio.get_title(loc="left").startswith("log2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scales": ()}, "above 0"),
        ({"scales": (0.0,)}, "above 0"),
        ({"draws": 0}, "at least 1"),
        ({"instruction": "be glad"}, "must have {emotion} and {text}"),
    ],
)
def test_a_trial_that_cannot_be_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        SteeringTrial(**given)


def test_what_nothing_can_be_said_of_is_refused():
    judges, joy = judges_of("oracle", model(), READOUT), {"joy": true("joy")}
    for candidates, heard in (([], judges), ([joy], {}), ([joy, {"fear": true("fear")}], judges)):
        with pytest.raises(StatisticsError, match="at least one of each"):
            evaluate_steering(model(), NEUTRAL, candidates, heard, ASKED)
    with pytest.raises(StatisticsError, match="two prompts"):
        evaluate_steering(model(), NEUTRAL[:1], [joy], judges, ASKED)
    foreign = replace(joy["joy"], provenance={"model": "another"})
    with pytest.raises(ArtefactError, match="made for another"):
        evaluate_steering(model(), NEUTRAL, [{"joy": foreign}], judges, ASKED)
