"""outline: a model without its weights: tokenizer, sizes and sites, to plan with before anything large is read or fetched."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from interp.errors import UsageError
from interp.models import names
from interp.models.chat import choose_template, read_template
from interp.models.folder import check_description, unsupported
from interp.models.hub import fetch
from interp.models.language_model import LanguageModel
from interp.models.loading import DTYPES, check_vocabulary, load, put_bridge, sizes
from interp.models.sources import quietly, read_config, read_tokenizer


def outline(name: str, *, dtype: str = "float32", offline: bool = False, chat_template: str | None = None) -> LanguageModel:
    """The model called `name`, its weights shapes without values (torch's fake tensors).

    It tokenises, has `dims` and says which sites it offers; it cannot run. Of a hub id only configuration and tokenizer are
    fetched, and a folder needs to hold no more than these. A testbed is small and comes whole. Raises as `load` does.
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    kind = names.resolve(name)
    if kind == "testbed":
        return load(name, check=False, offline=offline, chat_template=chat_template)
    folder = Path(name) if kind == "folder" else fetch(name, offline=offline, weights=False)[0]
    config = check_description(folder)
    if config["model_type"] not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported(folder, config["model_type"])
    read_config(folder)
    written = read_template(chat_template)
    tokenizer = read_tokenizer(folder)
    chat = choose_template(chat_template, written, tokenizer, name=name)
    shapes = partial(_shapes, folder, DTYPES[dtype])
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


def _shapes(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    with quietly():
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager").eval()
