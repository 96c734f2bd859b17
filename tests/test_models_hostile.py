"""Model folders made to hurt: what configuration and weights say of each other is checked first."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from interp.errors import ArtefactError, UsageError
from interp.models import load, outline
from interp.models.loading.belonging import read_config
from interp.models.loading.headers import weight_shapes
from interp.models.texts.tokens import panics_told
from support.tiny_models import edit_config


@pytest.fixture
def broken(tiny_folder, tmp_path) -> Callable[[str], Path]:
    """`broken(family)` is a copy of a tiny model's folder, to be damaged."""
    return lambda family: shutil.copytree(tiny_folder(family), tmp_path / family)


def add(folder: Path, **shapes: tuple[int, ...]) -> None:
    """Put tensors of zeros among a folder's weights; `__` stands for a dot in a name."""
    tensors = load_file(folder / "model.safetensors")
    more = {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}
    save_file({**tensors, **more}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(("family", "field"), [("gpt2", "n_layer"), ("llama", "num_hidden_layers")])
def test_weights_of_a_deeper_model_are_not_run_cut_short(broken, family, field):
    folder = broken(family)
    edit_config(folder, **{field: 2})
    with pytest.raises(ArtefactError, match=r"no place for \(it says 2 layers, they hold 3\)"):
        load(str(folder))


@pytest.mark.parametrize(
    ("family", "tensor", "shape"),
    [
        ("gpt2", "surprise", (3,)),
        ("llama", "model__layers__0__self_attn__q_proj__bias", (32,)),
        ("llama", "model__layers__1__self_attn__q_norm__weight", (8,)),
        ("llama", "model__layers__0__self_attn__bias", (32,)),
        ("gpt2", "lm_head__bias", (300,)),
    ],
)
def test_a_tensor_that_the_configuration_has_no_place_for_is_named(broken, family, tensor, shape):
    folder = broken(family)
    add(folder, **{tensor: shape})
    with pytest.raises(ArtefactError, match=tensor.replace("__", r"\.") + ".*different models"):
        load(str(folder))


def test_what_older_versions_saved_beside_the_weights_is_no_weight(broken, tiny_model):
    mask = {f"transformer__h__{n}__attn__bias": (1, 1, 128, 128) for n in range(3)}
    least = {f"transformer__h__{n}__attn__masked_bias": () for n in range(3)}
    folders = {
        "gpt2": {**mask, **least},
        "llama": {"model__layers__0__self_attn__rotary_emb__inv_freq": (4,)},
    }
    for family, tensors in folders.items():
        folder = broken(family)
        add(folder, **tensors)
        ids = torch.tensor([[5, 6, 7]])
        found = load(str(folder), check=False).plain()(ids).logits
        assert torch.equal(found, tiny_model(family).plain()(ids).logits)


def test_a_head_of_its_own_beside_a_tied_configuration_is_used(broken):
    """The configuration asks for less than the weights hold, and transformers believes the
    weights.
    """
    folder = broken("llama")
    ids = torch.tensor([[5, 6, 7]])
    before = load(str(folder), check=False).plain()(ids).logits
    edit_config(folder, tie_word_embeddings=True)
    told = r"transformers warns: .*different values.*NOT tie"
    with pytest.warns(UserWarning, match=told):
        model = load(str(folder), check=False)
    with pytest.warns(UserWarning, match=told):
        plain = model.plain()
    assert torch.equal(plain(ids).logits, before)


SMALLER = {"rope_type": "linear", "factor": 0.5, "rope_theta": 1e4}
OTHER_RATIO = {
    "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64,
}  # fmt: skip


@pytest.mark.parametrize("use", [partial(load, check=False), outline])
@pytest.mark.parametrize(
    ("positions", "told"),
    [(SMALLER, "factor field must be a float or int >= 1"), (OTHER_RATIO, "does not match")],
)
def test_what_transformers_warns_of_is_told_and_not_printed(broken, use, positions, told, capfd):
    folder = broken("llama")
    edit_config(folder, rope_parameters=positions)
    for _ in range(2):  # transformers says some things once only: of the next model, too
        with pytest.warns(UserWarning, match=f"transformers warns: .*{told}"):
            use(str(folder))
    assert capfd.readouterr() == ("", "")


SIZES: list[tuple[str, dict[str, Any], str]] = [
    ("gpt2", {"n_layer": 0}, "num_hidden_layers 0"),
    ("gpt2", {"n_layer": -1}, "num_hidden_layers -1"),
    ("gpt2", {"n_layer": "3"}, "n_layer"),
    ("gpt2", {"n_layer": None}, "n_layer"),
    ("gpt2", {"n_layer": 10**9}, "says 1000000000 layers, and the weights hold 3"),
    ("llama", {"num_hidden_layers": 4}, "says 4 layers, and the weights hold 3"),
    ("gpt2", {"n_head": 0}, "num_attention_heads 0"),
    ("gpt2", {"n_head": -4}, "num_attention_heads -4"),
    ("llama", {"num_key_value_heads": 0}, "num_key_value_heads 0"),
    ("llama", {"max_position_embeddings": -1}, "max_position_embeddings -1"),
    ("llama", {"hidden_size": 10**6}, "describes a model of"),
    ("gpt2", {"vocab_size": 10**9}, "describes a model of"),
    ("llama", {"intermediate_size": 10**9}, "describes a model of"),
    ("llama", {"head_dim": 10**9}, "describes a model of"),
    ("llama", {"pad_token_id": 99_999}, "adding_idx"),
    ("llama", {"hidden_act": "nope"}, "nope"),
    ("llama", {"rms_norm_eps": "x"}, "rms_norm_eps"),
    ("llama", {"rope_parameters": 5}, "rope_parameters"),
    ("gpt2", {"id2label": 5}, "no configuration that transformers reads"),
    ("gpt2", {"dtype": 5}, "floating_point"),
    ("gpt2", {"architectures": 5}, "architectures in config.json holds a int, expected a list"),
    ("gpt2", {"architectures": "GPT2LMHeadModel"}, "architectures in config.json holds a str"),
    ("gpt2", {"auto_map": 5}, "Python code that comes with it"),
]


@pytest.mark.filterwarnings("ignore:transformers warns")  # and then it is refused
@pytest.mark.parametrize(("family", "changes", "told"), SIZES, ids=[str(case[1]) for case in SIZES])
def test_a_size_that_no_model_has_is_named_before_memory_is_taken(broken, family, changes, told):
    folder = broken(family)
    edit_config(folder, **changes)
    with pytest.raises(ArtefactError, match=told):
        load(str(folder))


@pytest.mark.parametrize(
    "changes", [{"n_layer": 0}, {"n_layer": "3"}, {"n_head": 0}, {"architectures": 5}]
)
def test_an_outline_refuses_such_sizes_too(broken, changes):
    folder = broken("gpt2")
    edit_config(folder, **changes)
    with pytest.raises(ArtefactError, match=r"config\.json"):
        outline(str(folder))


def test_a_configuration_of_a_number_of_many_digits(broken):
    folder = broken("gpt2")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"n_layer": 3', '"n_layer": ' + "9" * 5000))
    with pytest.raises(ArtefactError, match=r"config\.json is not valid JSON"):
        load(str(folder))


FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "chat_template.jinja",
)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_not_opened(broken, name, make):
    folder = broken("llama")
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(
        ArtefactError, match=f"{name} (cannot be read: it is a|is missing or empty)"
    ):
        load(str(folder))


def header(changes: dict[str, Any]) -> Callable[[dict], dict]:
    """What changes the entry of the first tensor."""

    def change(content: dict) -> dict:
        name = next(name for name in content if name != "__metadata__")
        return {**content, name: {**content[name], **changes}}

    return change


HEADERS: dict[str, Callable[[dict], Any]] = {
    "a shape of text": header({"shape": "ab"}),
    "a shape of more than memory": header({"shape": [2**40, 2**40]}),
    "a negative shape": header({"shape": [-1, -5]}),
    "an unknown type": header({"dtype": "X9"}),
    "another type": header({"dtype": "F64"}),
    "data beyond the file": header({"data_offsets": [0, 2**60]}),
    "data from end to start": header({"data_offsets": [8, 4]}),
    "three ends": header({"data_offsets": [0, 1, 2]}),
    "ends of text": header({"data_offsets": "ab"}),
    "a list": lambda content: [1],
    "tensors of numbers": lambda content: dict.fromkeys(content, 5),
    "nested": lambda content: b"[" * 1_000_000,
    "a number of many digits": lambda content: b'{"a": ' + b"9" * 5000 + b"}",
    "no text": lambda content: b'{"\xff": 1}',
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_lies_is_told_within_a_moment(broken, what):
    folder = broken("llama")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    made = HEADERS[what](json.loads(whole[8 : 8 + length]))
    text = made if isinstance(made, bytes) else json.dumps(made).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])
    with pytest.raises(ArtefactError, match=r"the weights in .* are corrupt .*download"):
        load(str(folder))


@pytest.mark.parametrize("length", [0, 2**25 + 1, 2**62, 2**64 - 1])
def test_a_header_longer_than_its_file_is_not_read(broken, length):
    folder = broken("llama")
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.write(struct.pack("<Q", length))
    with pytest.raises(ArtefactError, match="its header claims"):
        load(str(folder))


def test_the_header_says_what_the_library_reads(tiny_folder):
    for family in ("gpt2", "llama", "qwen3"):
        tensors = load_file(tiny_folder(family) / "model.safetensors")
        assert weight_shapes(tiny_folder(family)) == {k: tuple(v.shape) for k, v in tensors.items()}
        assert read_config(tiny_folder(family)).num_hidden_layers == 3


def hostile_tokenizer(folder: Path) -> Path:
    """A pattern that tries every way of reading a run of one letter."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    pattern = {"Regex": "(a|a|aa)+$"}
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": pattern,
        "behavior": "Isolated",
        "invert": False,
    }
    path.write_text(json.dumps(content))
    return folder


def test_a_tokenizer_that_breaks_down_is_told_with_the_text(broken):
    model = load(str(hostile_tokenizer(broken("llama"))), check=False)
    with pytest.raises(ArtefactError, match=r"given the texts 'long', broke down .*retry-limit"):
        model.tokenize(["a" * 60 + "b"], ids=["long"])


def test_other_ends_of_a_program_pass_through():
    with pytest.raises(KeyboardInterrupt), panics_told("the tokenizer"):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), panics_told("the tokenizer"):
        _ = 1 // 0


TEMPLATES = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops that write": "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% "
    "endfor %}",
    "calls": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ "
    "m(40) }}",
    "a large number": "{{ 'a' * 200000000 }}",
    "a wide field": "{{ 'a'.center(10000000000) }}",
    "a long text": "{{ 'a' * 9999999 }}",
    "doubling": (
        "{% set ns = namespace(x='a') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% "
        "endfor %}"
    ),
}


@pytest.mark.parametrize("what", TEMPLATES)
def test_a_template_that_would_not_end_is_ended(what, chat_folder, tmp_path):
    path = tmp_path / "template.jinja"
    path.write_text(TEMPLATES[what] + "{{ messages[0].content }}")
    with pytest.raises(
        UsageError, match=r"the chat template \(.*template.jinja\) (takes more|computes with)"
    ):
        load(str(chat_folder), check=False, chat_template=str(path))


def test_a_template_may_write_large_numbers_and_long_conversations(chat_folder, tmp_path):
    """Only what it computes with is bounded; `most` grows with the texts."""
    path = tmp_path / "template.jinja"
    path.write_text("call 123456789012 {{ messages[0].content }}{# 99999999999 #}")
    model = load(str(chat_folder), check=False, chat_template=str(path))
    string = model.chat.render([{"role": "user", "content": "river " * 400_000}])
    assert string.startswith("call 123456789012 river river")
    assert len(string) > 2_000_000


def test_a_template_file_that_is_no_file(chat_folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_text("x" * (1 << 21))
    for name, told in (("pipe", "it is a pipe"), ("long", "more than 1,048,576 bytes")):
        with pytest.raises(UsageError, match=told):
            load(str(chat_folder), check=False, chat_template=str(tmp_path / name))
