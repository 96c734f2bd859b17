"""Which template a model is loaded with: what is said, what the tokenizer has, and what a file
holds.
"""

import json
import shutil
import warnings

import pytest
from transformers import AutoModelForCausalLM

from interp.errors import UsageError
from interp.files import sha256_file
from interp.models import load
from support.chat_cases import TEXT, written
from support.tiny_models import CHAT


@pytest.fixture(scope="module")
def model(chat_folder):
    return load(str(chat_folder), chat_template="on", check=False)


def test_a_chat_model_given_plain_texts_unasked_is_warned_of(chat_folder, tiny_folder):
    with pytest.warns(
        UserWarning, match=r"is a chat model .* given to it plain: say --chat-template on"
    ):
        model = load(str(chat_folder), check=False)
    assert model.chat is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for said in ("on", "off"):
            load(str(chat_folder), chat_template=said, check=False)
        load(str(tiny_folder("llama")), check=False)


def test_provenance_has_the_template_in_use(chat_folder, tmp_path, model):
    off = load(str(chat_folder), chat_template="off", check=False)
    other = written(chat_folder, tmp_path, CHAT + " ")
    assert off.provenance["chat_template"] is None
    assert model.provenance["chat_template"] == model.chat.sha256
    assert (
        other.provenance["chat_template"]
        == sha256_file(tmp_path / "other.jinja")
        != model.chat.sha256
    )
    assert (
        off.provenance["chat_template_digest"]
        == other.provenance["chat_template_digest"]
        is not None
    )
    # the weights' function is the same
    assert off.provenance["digest"] == model.provenance["digest"]


def test_a_base_model_has_no_template_to_put_on(tiny_folder, tmp_path):
    with pytest.raises(
        UsageError, match=r"--chat-template on: .* has none .*--chat-template FILE"
    ) as error:
        load(str(tiny_folder("llama")), chat_template="on")
    assert error.value.exit_code == 2
    path = tmp_path / "plain.jinja"
    path.write_text(
        "{{ bos_token }}{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}",
        encoding="utf-8",
    )
    model = load(str(tiny_folder("llama")), chat_template=str(path), check=False)
    assert model.tokenize([TEXT]) == [model.tokenizer(f"user : {TEXT} . ")["input_ids"]]


def test_several_templates_need_a_default(chat_folder, tmp_path):
    folder = shutil.copytree(chat_folder, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    config = folder / "tokenizer_config.json"
    named = [{"name": "rag", "template": CHAT}, {"name": "tool_use", "template": CHAT}]
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": named}))
    with pytest.raises(UsageError, match="several, none of them the default"):
        load(str(folder), chat_template="on")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read the chat template .*No such file"),
        (b"", "is empty"),
        (b"\xff\xfe", "cannot read the chat template .*utf-8"),
        (b"{{ bos_token }}\n{% for m in messages %}", r"is no Jinja \(line 2: "),
        (b"{{ messages | nofilter }}", r"is no Jinja \(line 1: No filter named 'nofilter'"),
    ],
)
def test_a_file_that_is_no_template_is_refused_before_the_weights(
    chat_folder, tmp_path, monkeypatch, content, told
):
    monkeypatch.setattr(
        AutoModelForCausalLM,
        "from_pretrained",
        lambda *a, **k: pytest.fail("the weights were read"),
    )
    path = tmp_path / "other.jinja"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=told):
        load(str(chat_folder), chat_template=str(path))
    with pytest.raises(UsageError, match="--chat-template is on, off, or a file"):
        load(str(chat_folder), chat_template=str(tmp_path))


def test_a_template_that_reads_the_clock_is_warned_of(chat_folder, tmp_path):
    with pytest.warns(UserWarning, match=r"writes today's date.*fixed date"):
        model = written(
            chat_folder,
            tmp_path,
            "{{ bos_token }}{{ strftime_now('%Y') }} {{ messages[0].content }}",
        )
    assert len(model.tokenize(["the dog"])[0]) == 4
