"""GGUF files that are sound and no model, or contradict themselves, or that transformers
misreads.
"""

import sys

import numpy as np
import pytest

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models import load, outline
from interp.models.loading import gguf_model
from support.tiny_gguf import LAYERS, TOKENS, write

ARCHITECTURE = "general.architecture"
OTHERS = {
    "part": (lambda w: w.add_uint16("split.count", 3), "one of the 3 parts .*-split --merge"),
    "adapter": (lambda w: w.add_type("adapter"), "of the kind 'adapter', a change to a model"),
    "mmproj": (lambda w: w.add_type("mmproj"), "of the kind 'mmproj', the part .* images"),
    "older mmproj": (lambda w: w.add_string(ARCHITECTURE, "clip"), "of the kind 'mmproj'"),
    "controlvector": (lambda w: w.add_type("controlvector"), "of the kind .*, a direction"),
    "older control vector": (
        lambda w: w.add_string(ARCHITECTURE, "controlvector"),
        "of the kind 'controlvector'",
    ),
    "imatrix": (lambda w: w.add_type("imatrix"), "of the kind 'imatrix'"),
    "something new": (lambda w: w.add_type("cake"), "of the kind 'cake', no language model"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_kinds_of_gguf_files(what, tmp_path):
    change, told = OTHERS[what]
    with pytest.raises(UsageError, match=rf"model\.gguf is {told}"):
        load(str(write(tmp_path / "model.gguf", change=change)))


OTHER_MODELS = {"frobnicate": r"'frobnicate'.*It reads", "t5": r"\(t5\).*decoder-only"}


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_unknown_architectures_are_refused_with_the_known_ones(name, tmp_path):
    path = write(tmp_path / "model.gguf", architecture=name)
    told = rf"model\.gguf is of .*{OTHER_MODELS[name]}.*llama.*qwen3"
    with pytest.raises(UsageError, match=told):
        load(str(path))


def test_known_architectures_are_found_in_llama_cpps_spelling(tmp_path):
    known = [name.replace("_", "") for name in gguf_model.architectures(tmp_path)]
    assert {"llama", "qwen2moe", "qwen3", "gemma3", "gpt2", "phi3"} <= set(known)
    assert gguf_model._plain("gpt-oss") in known


def drop(name):
    return lambda writer: writer.kv_data[0].pop(name)


FACTS = {
    "no tokenizer": (None, r"holds no tokenizer"),
    "no tokens": (drop("tokenizer.ggml.tokens"), "holds no tokenizer"),
    "no architecture": (drop("general.architecture"), "names no architecture"),
    "no block count": (drop("llama.block_count"), "llama.block_count is None"),
    "2^31 - 1 blocks": (lambda w: w.add_block_count(2**31 - 1), f"and {LAYERS} blocks have"),
    "one block": (lambda w: w.add_block_count(1), f"block_count is 1, and {LAYERS} blocks"),
    "blocks of words": (lambda w: w.add_string("llama.block_count", "two"), "block_count is 'two'"),
    "half a block": (lambda w: w.add_float32("llama.block_count", 0.5), "block_count is 0.5"),
    "no context": (lambda w: w.add_context_length(0), "context_length is 0"),
    "another width": (lambda w: w.add_embedding_length(128), r"128, and token_embd.weight has"),
    "a wide MLP": (lambda w: w.add_feed_forward_length(2**30), "numbers, and its tensors hold"),
    "no heads": (lambda w: w.add_head_count(0), "cannot read its metadata"),
    "more words": (lambda w: w.add_vocab_size(10**9), "numbers, and its tensors hold"),
    "a token outside": (lambda w: w.add_bos_token_id(len(TOKENS)), r"the tokens are 0\.\.271"),
    "too few types": (lambda w: w.add_token_types([1] * 5), "token_type has 5 elements"),
    "a foreign tokenizer": (lambda w: w.add_tokenizer_model("rwkv"), "its tokenizer .*'rwkv'"),
    "merges of one": (lambda w: w.add_token_merges(["a"]), "cannot read its tokenizer"),
}


@pytest.mark.parametrize("what", FACTS)
def test_metadata_that_do_not_describe_the_tensors(what, tmp_path):
    change, told = FACTS[what]
    path = write(tmp_path / "model.gguf", change=change, tokenizer=what != "no tokenizer")
    for use in (load, outline):
        with pytest.raises(ArtefactError, match=rf"model\.gguf.*{told}"):
            use(str(path))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.embed_tokens.weight", "token_embd.weight is not there"),
        ("model.layers.1.mlp.down_proj.weight", "and its tensors hold"),
        ("model.norm.weight", "and its tensors hold"),
    ],
)
def test_a_tensor_that_is_missing_is_not_filled_with_noise(name, told, tmp_path):
    with pytest.raises(ArtefactError, match=told):
        load(str(write(tmp_path / "model.gguf", leave_out=name)))


def test_a_tensor_under_another_name_is_not_filled_with_noise(tmp_path):
    def rename(writer):
        writer.add_tensor("blk.0.surprise.weight", np.ones((64, 96), np.float32))

    left_out = "model.layers.0.mlp.down_proj.weight"
    path = write(tmp_path / "model.gguf", leave_out=left_out, change=rename)
    with pytest.raises(ArtefactError, match=r"lack 1 tensors .*down_proj"):
        load(str(path))


def test_tensors_that_transformers_leaves_out_are_told(tmp_path):
    """As llama.cpp keeps the scaling of Llama 3's rotary positions."""
    scaling = lambda w: w.add_tensor("rope_freqs.weight", np.ones(8, np.float32))  # noqa: E731
    path = write(tmp_path / "model.gguf", change=scaling)
    told = r"does not read 8 of the numbers in .*\(rope_freqs\.weight\)"
    with pytest.warns(UserWarning, match=told):
        load(str(path))


SPLITS = {"falcon": True, "smollm": False, "llama-bpe": False}


@pytest.mark.parametrize("asked", SPLITS)
def test_a_way_to_split_texts_that_transformers_does_not_know_is_told(asked, tmp_path, recwarn):
    path = write(tmp_path / "model.gguf", change=lambda w: w.add_tokenizer_pre(asked))
    load(str(path))
    told = [str(warning.message) for warning in recwarn]
    assert any(f"are split as '{asked}'" in line for line in told) == SPLITS[asked]


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "model.gguf")
    monkeypatch.setitem(sys.modules, "gguf.constants", None)
    with pytest.raises(ResourceError, match=r"package gguf: pip install 'emotion-interp\[gguf\]'"):
        load(str(path))


def test_a_transformers_that_is_too_old_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "model.gguf")
    monkeypatch.setitem(sys.modules, "transformers.integrations.gguf", None)
    with pytest.raises(ResourceError, match=r"transformers 5\.20 or later: pip install -U"):
        load(str(path))
