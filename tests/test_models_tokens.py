"""Tokenising and padding: nothing is cut, added or masked behind the caller's back."""

import pytest
import torch

from interp.errors import DataError, UsageError
from interp.models import Batch
from interp.models.generation import Decoding, choose
from support.tiny_models import N_CTX

LONG = "the dog cried . " * 60


@pytest.fixture
def llama(tiny_model):
    return tiny_model("llama")


@pytest.fixture
def gpt2(tiny_model):
    return tiny_model("gpt2")


def test_long_text_is_refused_by_name_and_never_cut_silently(llama):
    with pytest.raises(
        DataError, match=rf"joy_7: the text has 241 tokens .* holds {N_CTX} \(n_ctx\).*--truncate"
    ):
        llama.tokenize(["the dog", LONG], ids=["joy_6", "joy_7"])
    with pytest.raises(DataError, match="text 0: the text has 241"):
        [row.spans for row in llama.encode([LONG])]


@pytest.mark.parametrize("side", ["left", "right"])
def test_cutting_keeps_bos_and_the_other_end(llama, side):
    whole = [1, *llama.tokenizer(LONG, add_special_tokens=False)["input_ids"]]
    (cut,) = llama.tokenize([LONG], truncate=side)
    expected = whole[:N_CTX] if side == "right" else [1, *whole[-(N_CTX - 1) :]]
    assert cut == expected
    (spans,) = [row.spans for row in llama.encode([LONG], truncate=side)]
    last = len(LONG.rstrip()) if side == "left" else spans[-2][1]
    assert len(spans) == N_CTX
    assert spans[0] == (0, 0)
    assert spans[-1][1] >= last


def test_an_unknown_way_to_cut(llama):
    with pytest.raises(UsageError, match="'left' or 'right'"):
        llama.tokenize(["the dog"], truncate="middle")
    with pytest.raises(UsageError, match="a list of texts"):
        llama.tokenize("the dog")


@pytest.mark.parametrize(
    ("family", "token"), [("gpt2", "<|endoftext|>"), ("llama", "<eos>"), ("llama", "<pad>")]
)
def test_special_tokens_in_the_text(tiny_model, family, token):
    model = tiny_model(family)
    text = f"the dog {token} cried"
    with pytest.raises(
        DataError, match=r"joy_1: the text holds the special token .*--allow-special"
    ):
        model.tokenize([text], ids=["joy_1"])
    (row,) = model.tokenize([text], allow_special=True)
    assert model.tokenizer.convert_tokens_to_ids(token) in row
    assert model.pad([row]).mask.all()  # a padding token that the text means is no padding


def test_a_doubled_bos_is_shown(llama):
    with pytest.raises(DataError, match=r"two BOS tokens.*\['<bos>', '<bos>', 'the', 'dog'\]"):
        llama.tokenize(["<bos> the dog"], allow_special=True)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_text_without_tokens(llama, gpt2, text):
    for model in (llama, gpt2):
        with pytest.raises(DataError, match="sad_3: the text has no token"):
            model.tokenize([text], ids=["sad_3"])


def test_no_texts_are_no_rows(llama):
    assert llama.tokenize([]) == []


def test_offsets_are_the_words(llama):
    text = "Anna lost the zyzzyva , and cried ."
    (row,), (spans,) = llama.tokenize([text]), [row.spans for row in llama.encode([text])]
    assert len(row) == len(spans)
    assert [text[start:end] for start, end in spans[1:]] == text.split()
    assert row[spans.index((14, 21))] == llama.tokenizer.unk_token_id


def test_padding_without_a_pad_token_uses_an_id_that_does_not_matter(gpt2):
    assert gpt2.tokenizer.pad_token is None
    assert gpt2.provenance["pad_token"] == "an arbitrary id, masked by length"
    batch = gpt2.pad([[5, 6, 7], [8]])
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    other = Batch(torch.where(batch.mask, batch.ids, torch.tensor(33)), batch.mask, batch.lengths)
    assert torch.equal(gpt2.forward(batch)[batch.mask], gpt2.forward(other)[batch.mask])
    assert gpt2.dims.d_vocab == len(gpt2.tokenizer)  # the vocabulary was not resized


def test_pads_and_last_positions(llama):
    rows = [[5, 6, 7], [8]]
    right, left = llama.pad(rows), llama.pad(rows, side="left")
    assert (right.pads.tolist(), right.last.tolist()) == ([0, 0], [2, 0])
    assert (left.pads.tolist(), left.last.tolist()) == ([0, 2], [2, 2])
    assert left.ids[1].tolist()[2:] == [8]


def test_ids_of_another_vocabulary(llama):
    with pytest.raises(
        UsageError, match=r"run from 5 to 9999: the model's vocabulary has ids 0\.\.350"
    ):
        llama.pad([[5, 9999]])
    for rows in ([], [[5], []]):
        with pytest.raises(UsageError, match="cannot pad"):
            llama.pad(rows)


def test_a_batch_that_contradicts_itself():
    ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(UsageError, match="does not agree"):
        Batch(ids, torch.tensor([[True, True, True]]), (2,))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_new_tokens": 0}, "at least 1"),
        ({"max_new_tokens": 3, "temperature": -1.0}, "temperature -1.0"),
        ({"max_new_tokens": 3, "temperature": float("nan")}, "nan"),
        ({"max_new_tokens": 3, "temperature": float("inf")}, "inf"),
    ],
)
def test_settings_that_generate_nothing(settings, told):
    with pytest.raises(UsageError, match=told):
        Decoding(**settings)


def test_sampling_draws_from_the_softmax():
    logits, draw = (
        torch.tensor([[0.0, 1.0, 2.0]]).repeat(20_000, 1),
        torch.Generator().manual_seed(3),
    )
    for temperature in (1.0, 0.5):
        share = torch.bincount(
            choose(logits, temperature=temperature, draw=draw), minlength=3
        ) / len(logits)
        assert torch.allclose(share, torch.softmax(logits[0] / temperature, 0), atol=0.015)
    never = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).repeat(100, 1)
    assert set(choose(never, temperature=1.0, draw=draw).tolist()) == {1}


def test_a_seed_means_a_text(llama):
    prompts = llama.tokenize(["the dog", "Anna lost the old key and"])

    def sample(seed, **settings):
        sampled = Decoding(max_new_tokens=10, temperature=1.0, seed=seed)
        return llama.generate(prompts, sampled, **settings)

    torch.manual_seed(1)
    first = sample(7)
    torch.manual_seed(2)
    assert sample(7) == first
    assert sample(7, use_cache=False) == first
    assert sample(8) != first


def test_text_ends_at_the_end_token(llama):
    """With its end token made certain from the third step on, each row has two new tokens, and the
    end token is left out.
    """
    calls = []

    def end(tensor, hook):
        calls.append(1)
        return (
            torch.where(torch.arange(tensor.shape[-1]) == 2, 1e4, tensor)
            if len(calls) > 2
            else tensor
        )

    rows = llama.generate(
        [[5, 6], [7]], Decoding(max_new_tokens=9), hooks=[("unembed.hook_out", end)]
    )
    assert [len(row) for row in rows] == [2, 2]
    assert len(calls) == 3
