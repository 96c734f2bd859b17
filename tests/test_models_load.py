"""Names, folders and what load refuses: the input alone decides, before weights are read or a
connection is opened.
"""

import json
import shutil
import socket
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.files import sha256_file
from interp.models import load
from interp.models.loading.names import HUB_ID, resolve
from interp.models.loading.provenance import tokenizer_digest
from support.tiny_models import edit_config, make_folder


@pytest.fixture
def connections(monkeypatch):
    """Connections that were tried; none gets through."""
    tried = []

    def refuse(self, address):
        tried.append(address)
        raise OSError("the test allows no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: refuse(None, host))
    return tried


@pytest.fixture
def broken(tiny_folder, tmp_path):
    """A copy of a tiny Llama's folder, to be damaged."""
    return shutil.copytree(tiny_folder("llama"), tmp_path / "model")


UNKNOWN = [
    "plantd",
    "story world",
    "gpt2",
    "a/b/c",
    "",
    "bad\0name",
    "../../no_such_folder",
    "x" * 5000,
]


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("offline", [True, False])
def test_unknown_names_get_the_nearest_and_no_connection(connections, name, offline):
    with pytest.raises(UsageError, match=r"planted.*org/name@revision") as error:
        load(name, offline=offline)
    assert not connections
    nearest = error.value.args[0].split("Did you mean ")[1].split("?")[0]
    assert len(nearest.split(", ")) == 3


def test_a_typo_of_a_folder_is_answered_with_the_folder(tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder("gpt2"), tmp_path / "my-gpt2")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="Did you mean my-gpt2"):
        load("my-gtp2")
    assert load("my-gpt2").dims.d_model == 32


def test_a_file_is_no_model(tiny_folder):
    with pytest.raises(UsageError, match="is a file; a model is"):
        load(str(tiny_folder("gpt2") / "model.safetensors"))


def test_offline_opens_no_connection(connections, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ResourceError, match=r"no copy in the cache .*Known here: .*, .*, .*while online"
    ):
        load("some-org/some-model", offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE"):
        load("some-org/some-model@main")
    assert not connections


@pytest.mark.parametrize(
    "name", ["org/../x", "../org/x", "-/x", "org/x@../..", "org/x@", "org/x y"]
)
def test_names_that_are_no_hub_id(name):
    with pytest.raises(UsageError):
        resolve(name)


def test_hub_ids_split():
    match = HUB_ID.fullmatch("org/na.me-1@refs/pr/3")
    assert (match["repository"], match["revision"]) == ("org/na.me-1", "refs/pr/3")


@pytest.mark.parametrize(
    ("settings", "error"), [({"dtype": "int8"}, UsageError), ({"device": "abacus"}, UsageError)]
)
def test_unknown_dtype_and_device(tiny_folder, settings, error):
    with pytest.raises(error, match="expected"):
        load(str(tiny_folder("gpt2")), **settings)


def test_a_device_that_is_not_there(tiny_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="'cuda' is not there: this machine offers cpu"):
        load(str(tiny_folder("gpt2")), device="cuda")


def test_code_that_comes_with_a_model_is_refused(broken):
    (broken / "evil.py").write_text("raise SystemExit('it ran')")
    edit_config(broken, auto_map={"AutoModelForCausalLM": "evil.Model"})
    with pytest.raises(ArtefactError, match=r"AutoModelForCausalLM.*interp runs none"):
        load(str(broken))


def test_code_that_comes_with_a_tokenizer_is_refused(broken):
    path = broken / "tokenizer_config.json"
    path.write_text(
        json.dumps(
            {**json.loads(path.read_text()), "auto_map": {"AutoTokenizer": ["evil.T", None]}}
        )
    )
    with pytest.raises(ArtefactError, match="AutoTokenizer"):
        load(str(broken))


def test_pickled_weights_are_refused(broken):
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ArtefactError, match=r"only as pytorch_model.bin, a pickle.*safetensors"):
        load(str(broken))


@pytest.mark.parametrize(
    "changes",
    [{"is_encoder_decoder": True, "model_type": "t5"}, {"architectures": ["BertForMaskedLM"]}],
)
def test_other_kinds_of_model_are_refused_with_the_list(broken, changes):
    edit_config(broken, **changes)
    with pytest.raises(UsageError, match=r"decoder-only language models: gpt2, gpt_neo, .*qwen3"):
        load(str(broken))


@pytest.mark.parametrize("model_type", ["no_such_family", "t5"])
def test_unknown_families_are_refused_with_the_list(broken, model_type):
    edit_config(broken, model_type=model_type)
    with pytest.raises(UsageError, match=rf"{model_type}.*gpt2, gpt_neo"):
        load(str(broken))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_a_broken_config(broken, content):
    (broken / "config.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"config\.json"):
        load(str(broken))


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("config.json", "config.json does not exist"),
        ("model.safetensors", "holds no weights: expected model.safetensors"),
        ("tokenizer.json", "holds no tokenizer"),
    ],
)
def test_a_missing_file(broken, missing, told):
    (broken / missing).unlink()
    with pytest.raises(ArtefactError, match=told):
        load(str(broken))


@pytest.mark.parametrize("keep", [0, 5, 1000])
def test_truncated_weights(broken, keep):
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtefactError, match="model"):
        load(str(broken))


def test_weights_that_lack_a_tensor_are_not_filled_with_noise(broken):
    path = broken / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ArtefactError, match=r"lack 1 tensors .*layers.1.mlp.down_proj"):
        load(str(broken))


def test_weights_of_another_shape(broken):
    edit_config(broken, intermediate_size=40)
    with pytest.raises(ArtefactError, match=str(broken)):
        load(str(broken))


@pytest.mark.parametrize("shard", ["../outside.safetensors", "part.bin", "absent.safetensors"])
def test_an_index_that_names_what_it_must_not(broken, shard):
    (broken / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": shard}}))
    with pytest.raises(ArtefactError, match=r"outside|part\.bin|missing or empty"):
        load(str(broken))


def test_a_tokenizer_of_another_model(broken):
    path = broken / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["serendipity"] = 5000
    path.write_text(json.dumps(content))
    with pytest.raises(
        ArtefactError, match=r"ids go up to 5000 and the model embeds 0\.\.350: .*another model"
    ):
        load(str(broken))


def test_attention_that_stays_as_it_is_is_refused(tiny_folder, monkeypatch):
    def stays(self, name):
        self.config._attn_implementation_internal = "sdpa"

    monkeypatch.setattr(PreTrainedModel, "set_attn_implementation", stays)
    with pytest.raises(UsageError, match="attention cannot be made eager"):
        load(str(tiny_folder("gpt2")), check=False)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json"])
def test_a_broken_tokenizer(broken, content):
    (broken / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtefactError, match="tokenizer"):
        load(str(broken))


def test_loading_says_nothing(broken, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(str(broken))
    assert capfd.readouterr() == ("", "")


def test_provenance_names_everything_that_computes(tiny_folder):
    folder = tiny_folder("gemma2")
    model = load(str(folder))
    found = model.provenance
    assert found["weights"] == {"model.safetensors": sha256_file(folder / "model.safetensors")}
    assert found["revision"] is None
    assert found["special_tokens"] == {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    assert (found["dtype"], found["attention"], found["device"]) == ("float32", "eager", "cpu")
    assert found["threads"] == torch.get_num_threads()
    assert {"python", "torch", "transformers", "transformer-lens"} <= set(found["software"])
    assert json.loads(json.dumps(found)) == found
    assert not any(weight.requires_grad for weight in model.bridge.original_model.parameters())
    assert not model.bridge.training


def test_digest_follows_weights_config_and_tokenizer_and_nothing_else(tiny_folder, broken):
    def digest():
        return load(str(broken), check=False).provenance["digest"]

    first = digest()
    # another path, the same model
    assert first == load(str(tiny_folder("llama")), check=False).provenance["digest"]
    edit_config(broken, rms_norm_eps=1e-4)
    second = digest()
    path = broken / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"][0, 0] += 1e-3
    save_file(tensors, path, metadata={"format": "pt"})
    assert len({first, second, digest()}) == 3


def test_tokenizer_digest_sees_a_swapped_pair_of_words(tiny_folder, broken):
    before = tokenizer_digest(load(str(broken), check=False).tokenizer)
    path = broken / "tokenizer.json"
    content = json.loads(path.read_text())
    vocab = content["model"]["vocab"]
    vocab["dog"], vocab["cat"] = vocab["cat"], vocab["dog"]
    path.write_text(json.dumps(content))
    assert tokenizer_digest(load(str(broken), check=False).tokenizer) != before


@pytest.mark.parametrize("name", ["planted", "planted_null"])
def test_testbeds_built_in_memory(name):
    assert resolve(name) == "testbed"
    model = load(name)
    assert model.provenance["source"] == "testbed"
    assert model.provenance == load(name).provenance


def test_sharded_weights(tmp_path, tiny_folder):
    folder = make_folder("llama", tmp_path / "sharded")
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for part, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, folder / part, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    weight_map = {key: part for part, keys in parts.items() for key in keys}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    model, whole = load(str(folder)), load(str(tiny_folder("llama")))
    assert set(model.provenance["weights"]) == set(parts)
    batch = model.pad([[5, 6, 7]])
    assert torch.equal(model.forward(batch), whole.forward(batch))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("blocks.0.hook_resid_pots", r"did you mean .*blocks\.0\.hook_resid_post"),
        ("blocks.3.hook_resid_post", r"layer 3 is out of range\. .* has layers 0\.\.2"),
        ("blocks.0.attn.hook_result", "no site 'blocks.0.attn.hook_result' to hook"),
        ("resid_post", "interp sites"),
    ],
)
def test_unknown_hooks_are_refused_with_the_nearest(tiny_model, name, told):
    model = tiny_model("llama")
    with pytest.raises(UsageError, match=told):
        model.forward(model.pad([[5]]), hooks=[(name, lambda tensor, hook: None)])
    assert model.hooks_clean()
    with pytest.raises(UsageError, match=r"has layers 0\.\.2"):
        model.W_O(-1)
