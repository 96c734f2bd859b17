"""Judges and readouts: they read what is known to be there, abstain where nothing is, and agree
only where they should.
"""

import copy
from functools import cache

import numpy as np
import pytest
import torch

import stimuli
from interp.causal.readout import Readout
from interp.errors import StatisticsError, UsageError
from interp.evaluation.judges import JUDGES, MIXED, agreement, forced_choice, judge_for, word_judge
from interp.evaluation.readouts import readout_for
from interp.models import load
from interp.testbeds import planted, storyworld

model = cache(load)
BATTERY = planted.stimuli(planted.SPECS["planted"], n=5)
AFFECTIVE = [item for item in BATTERY if item.arm == "keyword_free"]
WORDS = Readout({"joy": ["glad", "joyful"], "fear": ["afraid"]}, "")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Glad, and again glad of the river; afraid once.", "joy"),
        ("afraid of joyful rivers", MIXED),
        ("a gladiator by the river", "neutral"),
        ("  ", None),
        ("", None),
    ],
)
def test_the_word_judge_counts_whole_words(text, verdict):
    assert word_judge(WORDS)([text]) == [verdict]


def test_the_story_oracle_reads_reactions_as_the_grammar_made_them():
    judge = judge_for("storyworld")
    for emotion in storyworld.EMOTIONS:
        assert set(
            judge([f" {reaction} Then it rained." for reaction in storyworld.reactions(emotion)])
        ) == {emotion}
    joy, anger = (
        storyworld.reactions(emotion)[0].removesuffix(".") for emotion in ("joy", "anger")
    )
    assert judge([f" {joy} and {anger}."]) == [MIXED]
    assert judge([f" {joy}", "gravel of of the.", ""]) == [None, None, None]


@pytest.mark.parametrize("name", JUDGES)
def test_every_judge_reads_the_emotion_the_planted_model_has(name):
    judge = JUDGES[name](
        model("planted"), readout_for("planted", planted.SPECS["planted"].emotions)
    )
    rich = [item for item in BATTERY if item.arm == "keyword_rich"]
    assert (
        np.mean([v == i.emotion for v, i in zip(judge([i.text for i in rich]), rich, strict=True)])
        > 0.95
    )
    assert judge([""]) == [None]


def test_forced_choice_asks_the_model_and_a_model_without_circuit_cannot_tell():
    readout = readout_for("planted", planted.SPECS["planted"].emotions)
    right = {
        name: np.mean(
            [
                verdict == item.emotion
                for verdict, item in zip(
                    forced_choice(model(name), readout)([i.text for i in AFFECTIVE]),
                    AFFECTIVE,
                    strict=True,
                )
            ]
        )
        for name in ("planted", "planted_null")
    }
    assert right["planted"] > 0.95
    assert right["planted_null"] < 0.4


def test_forced_choice_keeps_the_order_of_texts_of_unequal_length():
    judge = forced_choice(
        model("planted"), readout_for("planted", planted.SPECS["planted"].emotions)
    )
    texts = [item.text for item in AFFECTIVE] + [" ".join(item.text for item in AFFECTIVE[:3])]
    together = judge([texts[0], "", *texts[1:]])
    assert together == [judge([texts[0]])[0], None, *(judge([text])[0] for text in texts[1:])]


def test_forced_choice_is_not_won_by_frequent_words(monkeypatch):
    """Words of joy are 5 nats likelier whatever was written; a text lifts its own emotion by 3."""

    def scores(model, rows, bound):
        lifted = [
            ("fear" in model.decode(row.tokens), "joy" in model.decode(row.tokens)) for row in rows
        ]
        return torch.tensor([[3.0 * joy, -5.0 + 3.0 * fear] for fear, joy in lifted])

    monkeypatch.setattr("interp.evaluation.judges.text_scores", scores)
    readout = Readout(
        {e: planted.readout(planted.SPECS["planted"])[e] for e in ("joy", "fear")}, ""
    )
    judge = forced_choice(model("planted"), readout, neutral=["the river .", "a road ."])
    assert judge(["the joy river", "the fear river", "", "fear"]) == ["joy", "fear", None, "fear"]
    assert judge([]) == []
    # by a prompt that is not neutral
    lifted = forced_choice(model("planted"), readout, neutral=["fear"])
    assert lifted(["the river"]) == ["joy"]
    with pytest.raises(UsageError, match="neutral prompts"):
        forced_choice(model("planted"), readout, neutral=[])


def test_only_testbeds_have_an_oracle():
    assert judge_for("gpt2") is None
    renamed = copy.copy(model("planted"))
    renamed.name = "gpt2"
    assert judge_for(renamed) is not None
    renamed.provenance = {**renamed.provenance, "source": "hub", "weights": {"memory": "0" * 64}}
    with pytest.raises(UsageError, match="gpt2 has no oracle"):
        JUDGES["oracle"](renamed, WORDS)


class TestAgreement:
    def test_is_kappa_by_hand(self):
        first = ["joy"] * 5 + ["fear"] * 5
        second = ["joy"] * 4 + ["fear"] * 6
        # observed .9; by chance .5 * .4 + .5 * .6 = .5
        assert agreement(first, second) == {"metric": "kappa", "value": pytest.approx(0.8), "n": 10}

    def test_is_nothing_by_chance_however_often_they_coincide(self):
        rng = np.random.default_rng(0)
        first, second = (
            rng.choice(["joy", "fear"], p=[0.9, 0.1], size=2000).tolist() for _ in range(2)
        )
        assert np.mean([a == b for a, b in zip(first, second, strict=True)]) > 0.8
        assert abs(agreement(first, second)["value"]) < 0.05

    def test_counts_abstaining_as_a_verdict(self):
        assert agreement(["joy", None, None], ["joy", None, "fear"])["value"] == pytest.approx(0.5)

    @pytest.mark.parametrize(
        ("first", "second"), [([], []), (["joy"], ["joy", "joy"]), (["joy"] * 3, ["joy"] * 3)]
    )
    def test_refuses_what_has_no_kappa(self, first, second):
        with pytest.raises(StatisticsError):
            agreement(first, second)


class TestReadouts:
    def test_a_testbed_speaks_its_own_words(self):
        assert readout_for("planted_null", ["fear"]).words == {
            "fear": ["fear", "fearsome", "fearlike"]
        }
        story = readout_for("storyworld", ["joy", "anger"])
        assert story.suffix == " felt"
        assert story.words["anger"] == list(storyworld.feelings("anger"))
        assert readout_for("storyworld", ["boredom"]).words == {"boredom": ["boredom"]}

    def test_other_models_are_asked_as_the_package_words_it(self):
        readout = readout_for("org/some-model", ["joy", "boredom"])
        default = stimuli.prompts("readout")["default"]
        assert readout.suffix == default["suffix"]
        assert readout.words == {"joy": default["words"]["joy"], "boredom": ["boredom"]}
