"""Quantised checkpoints: how they are told, what reading them takes, and what they cannot answer.

A checkpoint whose config.json has a `quantization_config` keeps its matrices in 4 or 8 bits.
Transformers runs it with the package of its method, and everything recorded is true of that
quantised model, not of the one it was made from. Its matrices are no plain tensors, so
contributions cannot be computed, and two runs agree only up to the kernels' own rounding.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.quantizers import AutoHfQuantizer

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models.quiet import first_line

KEY = "quantization_config"

UNDONE = ", undone while loading"
"""How the provenance says that matrices were turned back into plain ones."""

OTHERWISE = "use the checkpoint that it was made from, in float32, bfloat16 or float16."
"""How to go on without a quantised checkpoint."""


def method_of(config: Mapping[str, Any], where: Path | str) -> str | None:
    """The method that a checkpoint is quantised with (bitsandbytes, gptq, awq, fp8, ...), by its
    config.json; None for none.

    Raises `ArtefactError` for a `quantization_config` that names none.
    """
    told = config.get(KEY)
    if told is None:
        return None
    bits = isinstance(told, dict) and (told.get("load_in_4bit") or told.get("load_in_8bit"))
    method = (
        (told.get("quant_method") or (bits and "bitsandbytes")) if isinstance(told, dict) else None
    )
    if not isinstance(method, str):
        raise ArtefactError(
            f"{where}: config.json has a {KEY} that names no quant_method: download the model "
            "again."
        )
    return method


def require_reader(config: Mapping[str, Any], where: Path | str, *, device_map: Any) -> None:
    """Raise unless this machine can read and run a quantised checkpoint; nothing for one that is
    not quantised.

    `UsageError` for a method that transformers does not know, `ArtefactError` for settings that
    make no sense, `ResourceError` for a package or hardware that is missing.
    """
    method = method_of(config, where)
    if method is None:
        return
    if not AutoHfQuantizer.supports_quant_method(config[KEY]):
        raise UsageError(
            f"{where} is quantised by {method!r}, which transformers does not read: {OTHERWISE}"
        )
    try:
        quantiser = AutoHfQuantizer.from_config(copy.deepcopy(config[KEY]), pre_quantized=True)
    except ImportError as error:
        raise missing_package(method, where, error) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtefactError(
            f"{where}: the {KEY} in config.json cannot be read ({error}): download the model again."
        ) from error
    try:
        quantiser.validate_environment(device_map=device_map)
    except ImportError as error:
        raise missing_package(method, where, error) from error
    except (RuntimeError, ValueError) as error:
        told = f"{where} is quantised ({method}), and this machine cannot run it"
        raise ResourceError(f"{told} ({first_line(error, most=300)}): {OTHERWISE}") from error


def missing_package(method: str | None, where: Path | str, error: ImportError) -> ResourceError:
    """The error for a checkpoint whose package is not installed; transformers' own words name the
    package.
    """
    kind = f"is quantised ({method})" if method else "needs a package"
    told = first_line(error, most=300).rstrip(".")
    lacks = f"{where} {kind}, and what reads it is not installed: {told}"
    return ResourceError(f"{lacks}. Install that beside interp, or {OTHERWISE}")


def is_quantised(model: PreTrainedModel) -> bool:
    """Whether a loaded model computes with quantised matrices (some methods are undone while
    loading).
    """
    return getattr(model.config, KEY, None) is not None


def warn_if_undone(provenance: Mapping[str, Any]) -> None:
    """Warn where weights were rounded to few bits before they became plain numbers again."""
    method = str(provenance["quantisation"]).removesuffix(UNDONE)
    if method != str(provenance["quantisation"]):
        warnings.warn(
            f"{provenance['model']}: weights dequantised from {method}. What is found holds for "
            "these rounded weights, not for those that they were made from.",
            stacklevel=3,
        )


def warn_of_rounding(provenance: Mapping[str, Any], what: str) -> None:
    """Warn that comparing runs of a quantised model is not exact, in the name of `what` does it
    (patching, steering).
    """
    warnings.warn(
        f"{provenance['model']} is quantised ({provenance['quantisation']}): its matrices are "
        "rounded to few bits, so runs that should be equal are equal only up to that rounding, "
        f"and what {what} finds holds for this checkpoint, not for the one that it was made from.",
        stacklevel=3,
    )
