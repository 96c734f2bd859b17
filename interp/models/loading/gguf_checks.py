"""Whether a GGUF file describes a whole language model with a tokenizer, without contradictions.

Looks at the head alone (`gguf_header`): a wrong file is refused before anything large is made.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError, UsageError
from interp.models.loading.gguf_header import Header, damaged

NO_MODEL = {
    "adapter": "a change to a model: merge it into its model first",
    "mmproj": "the part of a model that reads images or sound",
    "imatrix": "statistics that a model was rounded with",
    "vocab": "a tokenizer without a model",
    "controlvector": "a direction to steer a model with",
}
"""What `general.type` may say of a file that is no language model, or its architecture."""

_BLOCK = re.compile(r"blk\.(\d+)\.")


def check_header(header: Header) -> None:
    """Raise unless a file can be read as a language model.

    `UsageError` for a sound file of another kind (a part of several, an adapter, an image encoder),
    `ArtefactError` for one that lacks a tokenizer, or whose metadata and tensors do not agree.
    """
    _refuse_other_kinds(header.path, header.facts)
    kind = header.facts.get("general.architecture")
    if not isinstance(kind, str) or not kind:
        raise damaged(header.path, "its metadata names no architecture (general.architecture)")
    _check_sizes(header, kind)
    _check_tokenizer(header.path, header.facts)


def _refuse_other_kinds(path: Path, facts: Mapping[str, Any]) -> None:
    parts = facts.get("split.count", 1)
    if parts != 1:
        raise UsageError(
            f"{path} is one of the {parts} parts of a model (split.count). Join them with "
            "`llama-gguf-split --merge FIRST-PART WHOLE.gguf`, and name the whole."
        )
    kind, architecture = facts.get("general.type", "model"), facts.get("general.architecture")
    if architecture == "clip":  # what older files of image encoders say
        kind = "mmproj"
    elif architecture in NO_MODEL:
        kind = architecture
    if kind != "model":
        what = NO_MODEL.get(kind, "no language model")
        raise UsageError(f"{path} is of the kind {kind!r}, {what}. Name the file of the model.")


def _check_sizes(header: Header, kind: str) -> None:
    """The sizes in the metadata are counts, and the tensors have them."""
    path, facts = header.path, header.facts
    for key in ("block_count", "context_length", "embedding_length"):
        value = facts.get(f"{kind}.{key}")
        if type(value) is not int or not 1 <= value < 1 << 31:
            raise damaged(path, f"{kind}.{key} is {value!r}, expected a number of at least 1")
    told = facts[f"{kind}.block_count"]
    found = {int(match[1]) for entry in header.tensors if (match := _BLOCK.match(entry.name))}
    if len(found) != told or max(found) >= told:
        raise damaged(path, f"{kind}.block_count is {told}, and {len(found)} blocks have tensors")
    width = facts[f"{kind}.embedding_length"]
    table = next((e.shape for e in header.tensors if e.name == "token_embd.weight"), None)
    if table is None or len(table) != 2 or table[0] != width:
        what = "is not there" if table is None else f"has the shape {list(table)}"
        raise damaged(path, f"{kind}.embedding_length is {width}, and token_embd.weight {what}")


def _check_tokenizer(path: Path, facts: Mapping[str, Any]) -> None:
    """There are tokens, and what is said of tokens speaks of these."""
    model, tokens = (facts.get(f"tokenizer.ggml.{key}") for key in ("model", "tokens"))
    if not isinstance(model, str) or type(tokens) is not int or tokens < 1:
        raise ArtefactError(
            f"{path} holds no tokenizer (tokenizer.ggml.model, tokenizer.ggml.tokens): it cannot "
            "read a text. Use a file that has one, or the model's Hugging Face folder."
        )
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        if facts.get(key, tokens) != tokens:
            raise damaged(path, f"{key} has {facts[key]!r} elements, and there are {tokens} tokens")
    for key in facts:
        if not (key.startswith("tokenizer.ggml.") and key.endswith("_token_id")):
            continue
        if type(facts[key]) is not int or not 0 <= facts[key] < tokens:
            raise damaged(path, f"{key} is {facts[key]!r}, and the tokens are 0..{tokens - 1}")
