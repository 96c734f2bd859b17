"""A twin of a model with random weights: what the shape and the words alone give a probe.

A probe of an untrained model says what is read without anything having been learned: Zhang & Bowman
(2018).
"""

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from interp.errors import UsageError
from interp.files import sha256_bytes
from interp.models.language_model import LanguageModel
from interp.models.loading.loader import put_bridge, sizes

TWIN = "random"


def random_twin(model: LanguageModel, *, seed: int = 0) -> LanguageModel:
    """A model of the same configuration, tokenizer, device and dtype, whose weights are those that
    transformers begins training with, drawn by `seed`.

    Raises `UsageError` for a model that is quantised or spread over several devices.
    """
    if model.quantised or model.spread:
        kind = "is quantised" if model.quantised else "is spread over several devices"
        raise UsageError(
            f"{model.name} {kind}: no twin with random weights can be made of it. Leave out "
            "--control-model, or load it whole on one device."
        )
    trained: Any = model.bridge.original_model
    config: Any = copy.deepcopy(trained.config)
    kind_of: type[PreTrainedModel] = type(trained)

    def plain() -> PreTrainedModel:
        with torch.random.fork_rng(), torch.device("cpu"):
            torch.manual_seed(seed)
            drawn = kind_of(copy.deepcopy(config))
        moved: Any = drawn  # transformers gives `to` no signature that mypy can read
        moved.to(device=model.device, dtype=model.dtype)
        return drawn.eval()

    hf_model = plain()
    bridge = put_bridge(hf_model, model.name)
    known = f"{model.provenance['digest']} {TWIN} {seed}"
    provenance = {
        **model.provenance,
        "weights": {"random": f"drawn with seed {seed}"},
        "digest": sha256_bytes(known.encode()),
    }
    twin = LanguageModel(
        model.name,
        bridge,
        model.tokenizer,
        dims=sizes(bridge, hf_model),
        provenance=provenance,
        plain=plain,
        placement=model.placement,
        chat=model.chat,
    )
    twin.reading = model.reading
    return twin
