"""One idea of a text's last token: capture, readout, patching and steering agree on it under every
kind of tokenizer.
"""

import numpy as np
import pytest
import torch

from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.causal.forward import encode_stimuli, open_prompts
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.causal.steering import dose_response, steer
from interp.errors import ArtefactError, DataError
from interp.models import load, outline
from interp.models.generation import Decoding
from interp.models.texts.ends import content_positions, last_content
from interp.models.texts.tokens import Reading, added_specials
from interp.results import table
from interp.sites import Site
from stimuli.battery import Battery, Pair, Stimulus
from support.given_directions import given
from support.tiny_endings import KINDS, make_ending
from support.tiny_models import N_CTX

READOUT = Readout({"joy": ["joy"], "sadness": ["sad"]}, " felt")
TEXTS = (
    "the dog ran",
    "the dog ran ",
    "the dog ran \n\n",
    "the dog ran.",
    " the dog cried   ",
    "the dog é",
)
LETTERS = {"the dog ran": "Ġran", "the dog ran ": "Ġran", "the dog ran \n\n": "Ġran", "the dog "
                                                                                      "ran.": ".",
           " the dog cried   ": "Ġcried", "the dog é": "©"}  # fmt: skip
LONG = "the dog ran and " * 60
SITE = Site("resid_post", 1)


def told(texts=TEXTS):
    return [Stimulus(str(i), text, "joy") for i, text in enumerate(texts)]


@pytest.fixture(
    scope="module", params=[(kind, trim) for kind in KINDS for trim in (False, True)], ids=str
)
def model(request, tmp_path_factory):
    kind, trim = request.param
    return load(str(make_ending(tmp_path_factory.mktemp("model"), kind, trim=trim)), check=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of each kind, the weights the same."""
    return {
        kind: load(str(make_ending(tmp_path_factory.mktemp(kind), kind)), check=False)
        for kind in KINDS
    }


def planned(model, texts=TEXTS, **options):
    """Each text's tokens in a capture, and the position of its last one."""
    battery = Battery("told", tuple(told(texts)))
    plan = make_plan(
        model,
        battery,
        sites=("resid_post",),
        positions=("last_content",),
        options=Options(**options),
    )
    return [(text.tokens, int(text.selected[0][0])) for text in plan.texts]


def test_all_rooms_mean_the_same_token(model):
    rows, prompts = encode_stimuli(model, told(), READOUT), open_prompts(model, TEXTS)
    for text, (tokens, place), row, prompt in zip(
        TEXTS, planned(model), rows, prompts, strict=True
    ):
        assert model.tokenizer.convert_ids_to_tokens(tokens[place]) == LETTERS[text]
        assert (row.end, prompt.end) == (place, place)
        assert row.story == tokens[: place + 1] == prompt.story


def test_nothing_that_is_continued_is_closed(model):
    felt = model.tokenizer.convert_tokens_to_ids("Ġfelt")
    leading, trailing = added_specials(model.tokenizer)
    assert {row.tokens[-1] for row in encode_stimuli(model, told(), READOUT)} == {felt}
    for text, row in zip(TEXTS, open_prompts(model, TEXTS), strict=True):
        own = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert list(row.tokens) == [*leading, *own]
        assert model.tokenize([text]) == [[*leading, *own, *trailing]]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("room", [0, 32])
def test_cut_texts_have_the_same_last_token_in_all_rooms(model, side, room):
    model.reading = Reading(truncate=side, room=room)
    try:
        ((tokens, place),) = planned(model, [LONG], truncate=side)
        (prompt,) = open_prompts(model, [LONG])
        leading, trailing = added_specials(model.tokenizer)
        assert len(tokens) == N_CTX - room
        assert (list(tokens[: len(leading)]), list(tokens[len(tokens) - len(trailing) :])) == (
            leading,
            trailing,
        )
        own = model.tokenizer(LONG, add_special_tokens=False)["input_ids"]
        kept = N_CTX - room - len(leading) - len(trailing)
        assert list(prompt.tokens[len(leading) :]) == (
            own[:kept] if side == "right" else own[-kept:]
        )
        assert prompt.story == tokens[: place + 1]
        if room:
            (row,) = encode_stimuli(model, told([LONG]), READOUT)
            assert row.story == tokens[: place + 1]
            assert model.tokenizer.convert_ids_to_tokens(row.tokens[-1]) == "Ġfelt"
    finally:
        model.reading = Reading()


def test_a_suffix_that_finds_no_room_is_told(models):
    model = models["both"]
    model.reading = Reading(truncate="left")
    try:
        with pytest.raises(
            DataError, match=r"0: the text has 129 tokens .* \(n_ctx\): shorten it\.$"
        ):
            encode_stimuli(model, told([LONG]), READOUT)
    finally:
        model.reading = Reading()


@pytest.mark.parametrize(("closed", "open_"), [("append", "neither"), ("both", "prepend")])
def test_an_end_token_behind_texts_changes_no_number(models, closed, open_):
    """The same weights, the same texts: whether the tokenizer closes them decides nothing."""
    v = np.random.default_rng(0).standard_normal(32)
    twins = [
        ("the dog ran", "the dog sat "),
        ("the dog cried ", "the dog hid"),
        ("the joy ran", "the sad ran"),
    ]
    pairs = [
        Pair(*(Stimulus(f"{i}{arm}", text, label, pair=str(i), group=str(i))
               for arm, text, label in zip("an", two, ("joy", "neutral"), strict=True)))
        for i, two in enumerate(twins)
    ]  # fmt: skip
    found = []
    for model in (models[closed], models[open_]):
        made = given(v / np.linalg.norm(v), SITE, 3.0, model.provenance)
        rows = [
            *patch_pairs(model, pairs, READOUT, Patches(sites=("resid_post@1",))),
            *dose_response(model, told(), {"joy": made}, READOUT),
        ]
        found.append(
            (
                table(rows),
                steer(model, TEXTS, made, max_new_tokens=4),
                steer(model, TEXTS, made, where="last", max_new_tokens=4),
            )
        )
    np.testing.assert_array_equal(found[0][0]["value"], found[1][0]["value"])
    assert found[0][1:] == found[1][1:]


def test_steering_pushes_the_token_that_directions_are_read_at(models):
    """At a text that ends in blanks: `last` is the text's token, by a hook on the plain model."""
    model = models["both"]
    hf, v = model.plain().eval(), torch.eye(32)[4] * 30
    made = given(np.eye(32)[4], SITE, 30.0, model.provenance)
    ((tokens, place),) = planned(model, ["the dog ran  "])
    ids = torch.tensor([tokens[:-1]])  # without <eos>

    def push(module, inputs, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, place] += v
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = hf.model.layers[SITE.layer].register_forward_hook(push)
    with torch.no_grad():
        expected = int(hf(ids).logits[0, -1].argmax())
    handle.remove()
    assert place == len(tokens) - 4
    assert steer(model, ["the dog ran  "], made, where="last", max_new_tokens=1) == [
        model.decode([expected])
    ]
    assert steer(model, ["the dog ran  "], made, where="opening", max_new_tokens=1) != [
        model.decode([expected])
    ]


def test_a_prompt_that_ends_in_an_end_token_is_refused(models):
    model = models["neither"]
    rows = model.tokenize(["the dog <eos>"], allow_special=True)
    with pytest.raises(DataError, match="prompt 0 ends in the end token '<eos>'"):
        model.generate(rows, Decoding(max_new_tokens=2))
    assert model.generate([[2]], Decoding(max_new_tokens=1))  # alone it begins a text
    model.reading = Reading(allow_special=True)
    try:
        with pytest.raises(DataError, match="stimulus '0' ends in the end token"):
            encode_stimuli(model, told(["the dog"]), Readout({"joy": ["joy"]}, " felt <eos>"))
    finally:
        model.reading = Reading()


def test_a_special_token_without_embedding_is_told_and_refused_where_it_stands(tmp_path):
    folder = make_ending(tmp_path / "model", "both", extra=("<image>",))
    for opened in (load, outline):
        with pytest.warns(
            UserWarning, match=r"1 special tokens that the model does not embed \('<image>'\)"
        ):
            model = opened(str(folder))
    assert model.tokenize(["the dog"])
    with pytest.raises(DataError, match=r"text 0: the token '<image>' \(id 351\) .* 0\.\.350"):
        model.tokenize(["the dog <image>"], allow_special=True)


def test_words_or_ends_without_embedding_belong_to_another_model(tmp_path, monkeypatch):
    folder = make_ending(tmp_path / "model", "both", extra=("<image>",))
    monkeypatch.setattr("interp.models.loading.loader.special_strings", lambda tokenizer: [])
    with pytest.raises(
        ArtefactError, match=r"such as '<image>'\. This tokenizer belongs to another model"
    ):
        load(str(folder))
    monkeypatch.undo()
    monkeypatch.setattr(
        "interp.models.loading.loader.added_specials", lambda tokenizer: ([1], [351])
    )
    with pytest.raises(ArtefactError, match="belongs to another model"):
        load(str(folder))


def test_what_no_token_ends_is_refused():
    with pytest.raises(DataError, match="text 3: no token of the text ends before"):
        last_content("joy", [(0, 4)], name="text 3")
    assert content_positions("a b ", [(0, 0), (0, 1), (1, 1), (2, 3), (3, 4), (0, 0)]).tolist() == [
        1,
        3,
    ]
