"""Under a chat template: texts that are read out stay in their open turn, texts that are continued
open the next one.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from interp.causal.forward import encode_stimuli
from interp.causal.readout import Readout
from interp.causal.steering import steer
from interp.causal.steering_sweep import Place, sweep
from interp.directions import Direction
from interp.models import load
from interp.models.generation import Decoding
from interp.sites import Site
from stimuli.battery import Stimulus
from support.chat_cases import TALK, TEXT, turn

pytestmark = pytest.mark.filterwarnings("ignore:the vocabulary of .* lacks 1 of the words")


@pytest.mark.parametrize("talk", [False, True])
def test_texts_that_are_read_out_stay_in_their_open_turn(chat_model, chat_tokenizer, talk):
    """The turn is not closed behind the suffix, and the text ends where it does, not where the
    template does.
    """
    fields = {"messages": TALK} if talk else {}
    (found,) = encode_stimuli(
        chat_model,
        [Stimulus("s", TEXT, "joy", fields=fields)],
        Readout({"joy": ["happy"]}, " She felt"),
    )
    ids = chat_tokenizer.convert_tokens_to_ids
    if talk:
        before = chat_tokenizer.apply_chat_template(TALK[:3], tokenize=True)["input_ids"]
        words = [*before, ids("<user>"), *ids(["the", "dog", "ran", "away"])]
    else:
        words = [ids("<bos>"), ids("<user>"), *ids(TEXT.lower().split())]
    assert list(found.tokens) == [*words, ids("she"), ids("felt")]
    assert found.story == tuple(words)


def test_steered_texts_are_the_assistants_turn(chat_model, chat_folder, chat_tokenizer):
    """At strength 0, what `steer` writes is what Hugging Face's own greedy generation writes after
    its own template.
    """
    direction = Direction(
        np.eye(32)[0],
        Site("resid_post", 1),
        "paired",
        ("joy", "neutral"),
        1.0,
        0.1,
        chat_model.provenance,
    )
    plain = AutoModelForCausalLM.from_pretrained(chat_folder)
    for prompt in (TEXT, TALK):
        messages = turn(prompt) if isinstance(prompt, str) else prompt
        ids = chat_tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt"
        )["input_ids"]
        whole = plain.generate(ids, max_new_tokens=6, do_sample=False)
        expected = chat_tokenizer.decode(
            whole[0, ids.shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert steer(chat_model, [prompt], direction, scale=0, max_new_tokens=6) == [expected]


def test_a_sweep_continues_open_turns(chat_model, chat_tokenizer, monkeypatch):
    seen = []
    generate = chat_model.generate
    monkeypatch.setattr(
        chat_model,
        "generate",
        lambda rows, *how, **more: (seen.extend(rows), generate(rows, *how, **more))[1],
    )
    direction = Direction(
        np.eye(32)[0],
        Site("resid_post", 1),
        "paired",
        ("joy", "neutral"),
        1.0,
        0.1,
        chat_model.provenance,
    )
    sweep(
        chat_model,
        [TEXT, TALK],
        [Place({"joy": direction})],
        {"deaf": lambda texts: [None] * len(texts)},
        scales=(1.0,),
        decoding=Decoding(max_new_tokens=2),
    )
    assert {row[-1] for row in seen} == {chat_tokenizer.convert_tokens_to_ids("<assistant>")}


def test_a_chat_models_end_of_turn_ends_its_text(chat_folder, tmp_path, chat_tokenizer):
    folder = shutil.copytree(chat_folder, tmp_path / "model")
    end = chat_tokenizer.convert_tokens_to_ids("<end>")
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [2, end]}))
    assert load(str(folder), chat_template="on", check=False).end_tokens == {2, end}
    assert load(str(chat_folder), chat_template="on", check=False).end_tokens == {2}


@pytest.mark.parametrize(
    ("where", "first", "stop"),
    [("last", -3, -2), (("last", "generated"), -3, None), ("opening", -1, None)],
    ids=["last", "onward", "opening"],
)
def test_steering_acts_where_directions_are_fitted_unless_asked(
    chat_model, chat_folder, chat_tokenizer, where, first, stop
):
    """The user's last word stands before `<end>` and `<assistant>`; by a hook on the plain
    model.
    """
    vector = 20 * torch.eye(32)[5]
    direction = Direction(
        np.eye(32)[5],
        Site("resid_post", 1),
        "paired",
        ("joy", "neutral"),
        20.0,
        0.1,
        chat_model.provenance,
    )
    plain = AutoModelForCausalLM.from_pretrained(chat_folder)
    ids = chat_tokenizer.apply_chat_template(
        turn(TEXT), add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    assert chat_tokenizer.convert_ids_to_tokens(ids[0, -3:]) == [".", "<end>", "<assistant>"]

    def push(module, inputs, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, slice(first, stop)] += vector
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = plain.model.layers[1].register_forward_hook(push)
    with torch.no_grad():
        expected = int(plain(ids).logits[0, -1].argmax())
    handle.remove()
    (found,) = steer(chat_model, [TEXT], direction, where=where, max_new_tokens=1)
    assert found == chat_tokenizer.decode([expected], skip_special_tokens=True)


def test_the_table_says_where_a_direction_acts(chat_model):
    direction = Direction(
        np.eye(32)[0],
        Site("resid_post", 1),
        "paired",
        ("joy", "neutral"),
        1.0,
        0.1,
        chat_model.provenance,
    )
    for where, position in ((("last",), "last_content"), (("opening", "generated"), "opening")):
        rows = sweep(
            chat_model,
            [TEXT, TALK],
            [Place({"joy": direction}, where)],
            {"glad": lambda texts: ["joy"] * len(texts)},
            scales=(1.0,),
            decoding=Decoding(max_new_tokens=1),
        ).rows
        assert {row["position"] for row in rows} == {position}
