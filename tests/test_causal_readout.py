"""The readout's scores against sums of probabilities by hand, and its words against tokenizers that
make it hard.
"""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interp.causal.forward import Encoded, batches, encode_stimuli, run_forward
from interp.causal.readout import Readout
from interp.errors import DataError, UsageError
from interp.models import LanguageModel, load
from stimuli.battery import Stimulus

WORDS = {"joy": ["joy", "happy", "xylophone"], "sadness": ["sad", "sadness"], "anger": ["angry"]}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request, tiny_folder):
    return load(str(tiny_folder(request.param)), check=False)


def spelled(*pieces: str) -> Mock:
    """A model whose tokenizer splits words into characters, merged where `pieces` are in the
    vocabulary.
    """
    letters = [*"abcdefghijklmnopqrstuvwxyz.", "<unk>"]
    merges = [(piece[:i], piece[i]) for piece in pieces for i in range(1, len(piece))]
    names = dict.fromkeys([*letters, *(a + b for a, b in merges)])
    bpe = models.BPE(
        {name: i for i, name in enumerate(names)}, list(dict.fromkeys(merges)), unk_token="<unk>"
    )
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = Mock(spec=LanguageModel)
    made.name, made.tokenizer = (
        "spelled",
        PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"),
    )
    return made


def ids(model, bound):
    return {
        e: [model.tokenizer.convert_ids_to_tokens(t) for t in found]
        for e, found in bound.tokens.items()
    }


def test_scores_are_log_probabilities_of_the_words(model):
    bound = Readout(WORDS, " . he feels").bind(model)
    assert ids(model, bound)["joy"] == sorted(
        ["joy", "happy"], key=model.tokenizer.convert_tokens_to_ids
    )
    logits = torch.randn(4, model.dims.d_vocab)
    probability = logits.double().softmax(-1)
    for column, emotion in enumerate(bound.emotions):
        expected = probability[:, list(bound.tokens[emotion])].sum(-1).log()
        assert torch.allclose(bound.scores(logits)[:, column].double(), expected, atol=1e-5)
    assert bound.emotions == ("joy", "sadness", "anger")


def words(model, bound):
    return {
        e: [" ".join(model.tokenizer.convert_ids_to_tokens(list(w))) for w in found]
        for e, found in bound.scored.items()
    }


def test_words_of_several_tokens_are_kept_whole():
    model = spelled("joy", "sad", "fe")
    bound = Readout(
        {"joy": ["joy", "glee"], "fear": ["fear"], "sadness": ["sad", "sadden"]}, " he felt"
    ).bind(model)
    assert words(model, bound) == {"joy": ["joy"], "fear": ["fe a r"], "sadness": ["sad"]}
    assert bound.described(model)["words"] == {
        "joy": {"joy": "joy"},
        "fear": {"fear": "fe a r"},
        "sadness": {"sad": "sad"},
    }
    assert not bound.whole
    assert bound.beginnings("fear") == tuple(
        sorted([bound.scored["fear"][0][:1], bound.scored["fear"][0][:2]], key=len)
    )


def test_a_blank_that_is_a_token_of_its_own_belongs_to_the_word():
    bpe = models.BPE({letter: i for i, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz.")}, [])
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    model = spelled()
    model.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    bound = Readout({"joy": ["joy"], "fear": ["fear"]}, " he felt").bind(model)
    assert words(model, bound) == {"joy": ["▁ j o y"], "fear": ["▁ f e a r"]}


def test_words_that_collide_are_told():
    model = spelled("di")
    readout = Readout(
        {"disgust": ["disgust", "gross"], "distrust": ["distrust", "gross", "wary"]}, "."
    )
    with pytest.warns(UserWarning, match="the words gross are the same tokens for two emotions"):
        bound = readout.bind(model)
    assert words(model, bound) == {
        "disgust": ["di s g u s t"],
        "distrust": ["w a r y", "di s t r u s t"],
    }
    assert bound.readout.bind(model) == bound  # with nothing left to be told
    with pytest.warns(
        UserWarning, match=r"saddle \(anger\) begins with sad \(sadness\): where the longer"
    ):
        Readout({"sadness": ["sad", "sadness"], "anger": ["saddle"]}, ".").bind(spelled("sad"))


def test_an_emotion_without_a_word_is_left_out_and_the_others_stay(model):
    with pytest.warns(UserWarning, match=r"for fear have no tokens of their own .* left out"):
        bound = Readout({**WORDS, "fear": ["xylophone", "zither"]}, "").bind(model)
    assert bound.emotions == ("joy", "sadness", "anger")
    with pytest.raises(
        UsageError, match=r"for fear have no tokens of their own .*: give other words"
    ):
        Readout({"fear": ["xylophone", "zither"]}, "").bind(model)
    with pytest.raises(UsageError, match="no words for fear"):
        Readout({"fear": []}, "")
    with pytest.raises(UsageError, match="any emotion"):
        Readout({}, "")
    with pytest.raises(UsageError, match="'envy'; it knows joy"):
        Readout(WORDS, "").bind(model).column("envy")


def test_the_contrast_is_with_neutral_words_or_with_the_mean_of_the_others(model):
    scores = np.array([[1.0, 4.0, 10.0], [2.0, 3.0, 7.0]])
    bound = Readout(WORDS, "").bind(model)
    assert bound.contrast(scores, ["joy", "anger"]).tolist() == [1 - 7.0, 7 - 2.5]
    calm = Readout({"joy": ["joy"], "neutral": ["calm"], "anger": ["angry"]}, "").bind(model)
    assert calm.contrast(scores, ["joy", "anger"]).tolist() == [1 - 4.0, 7 - 3.0]
    assert Readout({"joy": ["joy"]}, "").bind(model).contrast(
        scores[:, :1], ["joy"] * 2
    ).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("suffix", [" The feeling here is ", " felt\n", " "])
def test_a_suffix_that_ends_in_white_space_is_refused_with_the_remedy(suffix):
    with pytest.raises(UsageError, match=f"ends in white space.*write {suffix.rstrip()!r}"):
        Readout(WORDS, suffix)


def test_a_field_that_ends_the_suffix_in_white_space_is_refused():
    told = Stimulus("s1", "the dog ran .", "joy", fields={"who": "anna "})
    with pytest.raises(DataError, match=r"'s1'.*ends the readout's suffix in white space"):
        Readout(WORDS, " {who}").suffix_for(told)


def test_the_suffix_takes_fields_of_the_stimulus(model):
    readout = Readout(WORDS, " {who} felt")
    told = Stimulus("s1", "the dog ran home .", "joy", fields={"who": "anna"})
    [row] = encode_stimuli(model, [told], readout)
    assert model.tokenizer.convert_ids_to_tokens(list(row.tokens))[-2:] == ["anna", "felt"]
    assert model.tokenizer.convert_ids_to_tokens(list(row.story))[-1] == "."
    with pytest.raises(DataError, match="'s2' has no field 'who'"):
        encode_stimuli(model, [Stimulus("s2", "the dog ran .", "joy")], readout)
    with pytest.raises(DataError, match="before the suffix"):
        encode_stimuli(model, [Stimulus("s3", "home", "joy")], Readout(WORDS, "coming now"))


def test_run_gives_the_logits_behind_each_row_and_the_sites(model):
    rows = encode_stimuli(
        model,
        [Stimulus(str(i), text, "joy") for i, text in enumerate(("the cold dog ran", "anna"))],
        Readout(WORDS, " ."),
    )
    found = run_forward(model, rows)
    for row, logits in zip(rows, found.logits, strict=True):
        expected = model.plain().eval()(torch.tensor([row.tokens])).logits[0, -1]
        assert torch.allclose(logits, expected, atol=1e-4)


def test_logits_that_are_not_finite_stop_the_run(model, monkeypatch):
    monkeypatch.setattr(model, "last_logits", lambda batch, hooks: torch.full((1, 3), torch.nan))
    with pytest.raises(DataError, match="not finite on 1 texts"):
        run_forward(model, [Encoded((5, 6), 1)])


def test_batches_hold_every_row_once_within_the_budget():
    rows = [
        Encoded(tuple(range(1, n + 2)), n)
        for n in np.random.default_rng(0).integers(1, 40, 50).tolist()
    ]
    found = batches(rows, budget=100)
    assert sorted(int(i) for batch in found for i in batch) == list(range(50))
    assert all(len(batch) * max(len(rows[i].tokens) for i in batch) <= 100 for batch in found)
    assert [len(b) for b in batches(rows[:3], budget=1)] == [1, 1, 1]
