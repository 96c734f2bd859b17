"""Rotary positions in half precision: queries and keys keep the model's dtype.

OLMo and OLMo-2 turn queries and keys in float32 and round them back to the dtype of the model. The
attention of TransformerLens 4.3 leaves them in float32, and then cannot multiply them with values
in bfloat16. A hook behind the rotation rounds them as Hugging Face does.
"""

from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.models.weights import working_dtype


def keep_dtype(bridge: TransformerBridge) -> None:
    """Let queries and keys leave their rotation in the model's dtype; float32 needs no help."""
    dtype = working_dtype(bridge.original_model)
    if dtype == torch.float32:
        return

    def rounded(tensor: Tensor, hook: Any) -> Tensor | None:
        return None if tensor.dtype == dtype else tensor.to(dtype)

    for block in bridge.blocks:
        for name in ("hook_rot_q", "hook_rot_k"):
            point = getattr(getattr(block, "attn", None), name, None)
            if point is not None:
                point.add_hook(rounded, is_permanent=True)
