"""The arithmetic that a device does: which of torch's flags decide the last digits, and a warning
where they cost more.

On the CPU float32 is float32. A CUDA GPU may multiply float32 matrices in TF32, with 10 bits behind
the point instead of 23; Apple's GPUs (mps) lack some operations, which run on the CPU where
PYTORCH_ENABLE_MPS_FALLBACK allows it.
"""

import os
from typing import Any

import torch

FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"


def arithmetic(device: torch.device) -> dict[str, Any] | None:
    """The flags that a GPU's results depend on, for the provenance; None for the CPU.

    {"tf32", "matmul_precision", "deterministic"}, and for mps "mps_fallback". `matmul_precision` is
    torch's word: highest, high or medium.
    """
    if device.type not in ("cuda", "mps"):
        return None
    flags = {
        "tf32": device.type == "cuda" and _tf32(),
        "matmul_precision": _precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    return (
        {**flags, "mps_fallback": os.environ.get(FALLBACK) == "1"}
        if device.type == "mps"
        else flags
    )


def doubt_arithmetic(device: torch.device, dtype: torch.dtype) -> str | None:
    """What to warn of before float32 activations are trusted: TF32 on a CUDA GPU; None where there
    is nothing to say.
    """
    flags = arithmetic(device)
    if flags is None or not flags["tf32"] or dtype != torch.float32:
        return None
    return (
        f"TF32 is on (float32 matmul precision {flags['matmul_precision']!r}): float32 products "
        f"on {device} carry an error of about 1e-3 relative, a hundred times what interp's "
        "float32 checks allow. Turn it off with torch.set_float32_matmul_precision('highest'), "
        "or load in bfloat16 if that is precise enough."
    )


def coarsest(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The precision that products of `dtype` really have on a device: TF32 has the 10 bits behind
    the point of float16.
    """
    flags = arithmetic(device)
    return (
        torch.float16 if dtype == torch.float32 and flags is not None and flags["tf32"] else dtype
    )


def _tf32() -> bool:
    """torch 2.9 put one word for each backend in place of two flags, and refuses to read flags that
    disagree with it.
    """
    word = getattr(torch.backends.cuda.matmul, "fp32_precision", None)
    return torch.backends.cuda.matmul.allow_tf32 if word is None else word == "tf32"


def set_precision(told: str) -> None:
    """Set what `arithmetic` told as `matmul_precision`, so that another process computes alike."""
    word = told.removeprefix("fp32_precision=")
    if word != told:
        torch.backends.cuda.matmul.fp32_precision = word
    else:
        torch.set_float32_matmul_precision(told)


def _precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    # the flags were set through both of torch's interfaces, and it will not say which of them holds
    except RuntimeError:
        return f"fp32_precision={torch.backends.cuda.matmul.fp32_precision}"
