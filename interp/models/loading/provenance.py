"""Where a model came from: enough to load the same one again, and to refuse what was made with
another.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp.files import sha256_bytes, sha256_file
from interp.models.arithmetic import arithmetic
from interp.models.loading.names import GGUF_SUFFIX
from interp.models.loading.sources import Source
from interp.models.placement import home, spread
from interp.models.quantised import UNDONE, is_quantised
from interp.models.weights import working_dtype
from interp.records import software


def describe_model(name: str, source: Source, hf_model: PreTrainedModel) -> dict[str, Any]:
    """Identity of model, tokenizer and arithmetic, as plain JSON values.

    `digest` is one SHA-256 over weights, configuration and tokenizer: equal digests mean the same
    function on the same texts. `weights` has a digest per file (a GGUF file, which may have any
    name, is "model.gguf"), or one of all tensors for a model that is built in memory. `revision` is
    a hub commit (40 hex) or None. `quantisation` is the checkpoint's method, and says so where it
    was undone while loading; `tensor_types` counts the tensors of a GGUF file by type. `device_map`
    says where a model that is spread over several devices lies, which does not decide what it
    computes.
    """
    tokenizer = source.tokenizer
    config = _config_digest(hf_model)
    words = tokenizer_digest(tokenizer)
    weights = {_label(path): sha256_file(path) for path in source.files}
    weights = weights or {"memory": _tensor_digest(hf_model)}
    device = home(hf_model.get_input_embeddings())
    quantisation = source.quantisation
    undone = quantisation is not None and not is_quantised(hf_model)
    return {
        "model": name,
        "source": source.kind,
        "revision": source.revision,
        "digest": _digest({"weights": weights, "config": config, "tokenizer": words}),
        "weights": weights,
        "config_digest": config,
        "tokenizer_digest": words,
        "special_tokens": {key: str(token) for key, token in tokenizer.special_tokens_map.items()},
        "pad_token": "an arbitrary id, masked by length"
        if tokenizer.pad_token is None
        else tokenizer.pad_token,
        "chat_template_digest": _digest(tokenizer.chat_template)
        if tokenizer.chat_template
        else None,
        "architecture": type(hf_model).__name__,
        "dtype": str(working_dtype(hf_model)).removeprefix("torch."),
        "quantisation": f"{quantisation}{UNDONE}" if undone else quantisation,
        "tensor_types": source.tensor_types and dict(source.tensor_types),
        "attention": "eager",
        "device": str(device),
        "device_map": spread(hf_model),
        "arithmetic": arithmetic(device),
        "threads": torch.get_num_threads(),
        "software": software(),
    }


def _label(path: Path) -> str:
    return "model.gguf" if path.suffix.lower() == GGUF_SUFFIX else path.name


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of everything that decides how a text is tokenised."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return _digest(json.loads(backend.to_str()))
    return _digest(
        {
            "vocab": tokenizer.get_vocab(),
            "special": {k: str(v) for k, v in tokenizer.special_tokens_map.items()},
        }
    )


def _config_digest(hf_model: PreTrainedModel) -> str:
    content = hf_model.config.to_dict()
    for key in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        content.pop(key, None)
    return _digest(content)


def _tensor_digest(hf_model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(hf_model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _digest(content: Any) -> str:
    return sha256_bytes(json.dumps(content, sort_keys=True, default=str).encode())
