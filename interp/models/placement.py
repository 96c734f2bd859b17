"""Where a model's weights lie: on one device, or spread over several by Hugging Face's `device_map`
(accelerate).

A spread model's modules get hooks from accelerate: each moves what it is called with to its own
device. Where the GPUs do not suffice, weights stay in CPU memory or on disk; such a parameter is on
the `meta` device, without values, except while its own module runs, and `materialised` gives it
values for longer.

Tried with maps over CPU memory and disk, and with two devices that a test makes up, which refuse to
mix; on no real GPU yet.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn
from transformers import PreTrainedModel

from interp.errors import ResourceError, UsageError

AUTO = "auto"
"""Spread over the machine's GPUs, then its CPU memory, then its disk, as accelerate sees fit."""

Placement = str | Mapping[str, int | str]
"""One device (`cpu`, `cuda:1`), `auto`, or a map from module names to devices: a GPU's number, a
device's name, or `disk`.
"""


def check_placement(device: Placement) -> torch.device | None:
    """The one device that `device` names, or None where it spreads a model over several.

    Raises `UsageError` for what is no device, `ResourceError` for one that this machine lacks.
    """
    if device == AUTO:
        return None
    if isinstance(device, str):
        return _present(device)
    if not device:
        raise UsageError(
            "the device map is empty: name a device for each module, '' standing for all."
        )
    for where in device.values():
        if where != "disk":
            _present(f"cuda:{where}" if isinstance(where, int) else where)
    return None


def check_map(device_map: Mapping[str, int | str], skeleton: PreTrainedModel) -> None:
    """Raise `UsageError` unless a map fits the model, of which `skeleton` has the modules and not
    the weights.

    It names the model's modules only, gives each weight a device, and modules that share a weight
    the same one.
    """
    unknown = sorted(set(device_map) - {name for name, _ in skeleton.named_modules()})
    if unknown:
        raise UsageError(f"the device map names {unknown[0]!r}, and the model has no such module.")
    for name, _ in skeleton.named_parameters(remove_duplicate=False):
        if _entry(device_map, name) is None:
            raise UsageError(
                f"the device map gives {name!r} no device: name its module, or '' for all that "
                "is not named."
            )
    for one, other in skeleton.all_tied_weights_keys.items():
        there, here = _entry(device_map, one), _entry(device_map, other)
        if there != here:
            raise UsageError(
                f"{one!r} and {other!r} are one weight, and the device map parts them ({there} "
                f"and {here})."
            )


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU: where `auto` puts a model that is not read from a
    folder.
    """
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def is_spread(model: nn.Module) -> bool:
    """Whether accelerate's hooks move data and weights while the model runs."""
    return any(hasattr(module, "_hf_hook") for module in model.modules())


def home(module: nn.Module) -> torch.device:
    """The device that a module computes on, where its inputs must lie (its weights may be kept
    elsewhere).
    """
    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return next(module.parameters()).device if device is None else torch.device(device)


@contextmanager
def materialised(module: nn.Module) -> Iterator[None]:
    """Inside, weights of `module` and of its parts that are kept in CPU memory or on disk are real
    tensors.
    """
    with ExitStack() as stack:
        for part in module.modules():
            stack.enter_context(align_module_device(part))
        yield


def spread(model: PreTrainedModel) -> dict[str, dict[str, Any]] | None:
    """{"modules": device of each part, "bytes": bytes of weights on each device} of a spread model;
    None for one device.
    """
    modules = getattr(model, "hf_device_map", None)
    if not modules:
        return None
    sizes: dict[str, int] = {}
    for name, weight in model.named_parameters():
        where = str(weight.device) if weight.device.type != "meta" else str(_entry(modules, name))
        sizes[where] = sizes.get(where, 0) + weight.numel() * weight.element_size()
    return {"modules": {name: str(where) for name, where in modules.items()}, "bytes": sizes}


def _entry(modules: Mapping[str, Any], weight: str) -> Any:
    """The device that a map gives to a weight: that of the longest name it stands below; None for
    none.
    """
    names = [
        name for name in modules if not name or weight == name or weight.startswith(f"{name}.")
    ]
    return modules[max(names, key=len)] if names else None


def _present(device: str) -> torch.device:
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise UsageError(
            f"unknown device {device!r}: expected cpu, cuda, cuda:1, mps or auto."
        ) from error
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {"cpu": 1, "cuda": gpus, "mps": int(torch.backends.mps.is_available())}
    if (target.index or 0) >= counts.get(target.type, 0):
        there = [kind if n == 1 else f"{kind}:0..{n - 1}" for kind, n in counts.items() if n]
        raise ResourceError(
            f"the device {device!r} is not there: this machine offers {', '.join(there)}."
        )
    return target
