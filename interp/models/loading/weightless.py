"""outline: a model without its weights: tokenizer, sizes and sites, to plan with.

Nothing large is read or fetched.
"""

from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from interp.errors import UsageError
from interp.models.language_model import LanguageModel
from interp.models.loading import names
from interp.models.loading.loader import DTYPES, check_vocabulary, load, put_bridge, sizes
from interp.models.loading.sources import find_files, read_description
from interp.models.quiet import quietly
from interp.models.texts.chat import choose_template, read_template


def outline(
    name: str, *, dtype: str = "float32", offline: bool = False, chat_template: str | None = None
) -> LanguageModel:
    """The model called `name`; its weights are shapes without values (torch's fake tensors).

    It tokenises, has `dims` and says which sites it offers; it cannot run. Of a hub id only
    configuration and tokenizer are fetched, and a folder needs to hold no more than these; of a
    GGUF file the head is read. A testbed is small and comes whole. Raises as `load` does.
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    kind = names.resolve(name)
    if kind == "testbed":
        return load(name, check=False, offline=offline, chat_template=chat_template)
    written = read_template(chat_template)
    path, _ = find_files(name, kind, offline=offline, weights=False)
    config, tokenizer = read_description(path)
    chat = choose_template(chat_template, written, tokenizer, name=name)
    shapes = partial(_shapes, config, DTYPES[dtype])
    with FakeTensorMode():
        hf_model = shapes()
        check_vocabulary(tokenizer, hf_model, name)
        bridge = put_bridge(hf_model, name)
        return LanguageModel(
            name,
            bridge,
            tokenizer,
            dims=sizes(bridge, hf_model),
            provenance={"model": name, "dtype": dtype, "chat_template": chat and chat.sha256},
            plain=shapes,
            placement="cpu",
            chat=chat,
        )


def _shapes(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    with quietly():
        settings: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager"}
        return AutoModelForCausalLM.from_config(config, **settings).eval()
