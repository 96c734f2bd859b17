"""Do a configuration and its weights belong together? Asked before and after the weights are read.

A configuration that asks for less than the weights hold gives another network without a word; one
that asks for more would be filled with random numbers, or with more memory than there is.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from interp.errors import ArtefactError
from interp.models.loading.headers import TensorShape, count_layers
from interp.models.quantised import missing_package
from interp.models.quiet import first_line, quietly

TRANSFORMERS_ERRORS = (
    StrictDataclassError,
    ValueError,
    LookupError,
    RuntimeError,
    OSError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
)
"""What transformers raises for a configuration or weights that it cannot make sense of."""

_SIZES = (
    "num_hidden_layers",
    "hidden_size",
    "vocab_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
)
"""Fields of a configuration that count something, as transformers calls them in every family."""

_SLACK, _PACKED = 2, 16
"""How many times the numbers in a checkpoint a model may have: some leave out what can be computed,
and quantised ones pack several into one.
"""


def read_config(folder: Path) -> Any:
    """The configuration of a folder as transformers reads it, with sizes that a model can have.

    Raises `ArtefactError` naming the field that has another type, or is no size.
    """
    try:
        with quietly():
            config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
        sizes = {name: getattr(config.get_text_config(), name, None) for name in _SIZES}
    except TRANSFORMERS_ERRORS as error:
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise ArtefactError(
            f"{folder / 'config.json'} is no configuration that transformers reads ({told}): "
            "download the model again."
        ) from error
    wrong = [f"{name} {n}" for name, n in sizes.items() if isinstance(n, int) and n < 1]
    if wrong:
        raise ArtefactError(
            f"{folder / 'config.json'} gives {', '.join(wrong)}, expected at least 1: download "
            "the model again."
        )
    return config


def make_skeleton(config: Any, path: Path) -> PreTrainedModel:
    """The model of a configuration without its weights; raises `ArtefactError` for sizes that fit
    no model.
    """
    try:
        with quietly(), torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except ImportError as error:
        raise missing_package(None, path, error) from error
    except TRANSFORMERS_ERRORS as error:
        raise no_model(path, error) from error


def refuse_larger(folder: Path, config: Any, shapes: Mapping[str, TensorShape]) -> None:
    """Raise `ArtefactError` for a configuration that asks for more than the weights hold, before
    anything of that size is made.
    """
    layers, held = _layers(config), count_layers(shapes) or len(shapes)
    if layers is not None and layers > held:
        raise ArtefactError(
            f"{folder}: config.json says {layers} layers, and the weights hold {held}: they "
            "belong to different models. Download the model again."
        )
    numbers = sum(tensor.numel() for tensor in make_skeleton(config, folder).parameters())
    most = sum(map(math.prod, shapes.values()))
    if numbers > most * (_PACKED if getattr(config, "quantization_config", None) else _SLACK):
        raise ArtefactError(
            f"{folder}: config.json describes a model of {numbers:,} numbers, and the weights hold "
            f"{most:,}: they belong to different models. Download the model again."
        )


def refuse_missing(where: Path | str, report: Mapping[str, Any]) -> None:
    """Raise `ArtefactError` for tensors that transformers did not find and filled with random
    numbers, as its `report` of the loading says.
    """
    missing = sorted(report["missing_keys"])
    missing += sorted(str(row) for row in report["mismatched_keys"])
    if missing:
        raise ArtefactError(
            f"the weights in {where} lack {len(missing)} tensors of the right shape, the first "
            f"{missing[0]}: they would be random. Download the model again."
        )


def refuse_unexpected(
    folder: Path, names: Collection[str], config: Any, shapes: Mapping[str, TensorShape]
) -> None:
    """Raise `ArtefactError` for tensors that the configuration has no place for: every number would
    be another network's. What older versions of transformers saved beside the weights is no weight.
    """
    unexpected = sorted(name for name in names if not _is_buffer(name, shapes.get(name)))
    if not unexpected:
        return
    said, held = _layers(config), count_layers(unexpected)
    cut = f" (it says {said} layers, they hold {held})" if said is not None and held > said else ""
    raise ArtefactError(
        f"the weights in {folder} hold {len(unexpected)} tensors that config.json has no place "
        f"for{cut}, the first {unexpected[0]}: they belong to different models, or the "
        "configuration was changed. Download the model again."
    )


def no_model(path: Path, error: BaseException) -> ArtefactError:
    """The error for a folder or file that transformers cannot make a model of."""
    what = "its tensors" if path.is_file() else "its files"
    told = f"the model in {path} cannot be loaded ({first_line(error)})"
    return ArtefactError(f"{told}: {what} do not fit together.")


def _is_buffer(name: str, shape: TensorShape | None) -> bool:
    """Whether a tensor is a mask or a table that older models kept beside their weights."""
    *_, owner, last = ("", *name.split("."))
    if last in ("inv_freq", "masked_bias"):
        return True
    mask = shape is not None and len(shape) == 4  # batch, head, query, key; a weight has two axes
    return mask and last == "bias" and owner in ("attn", "attention", "self_attn")


def _layers(config: Any) -> int | None:
    """How many layers a configuration says; None where its family counts them otherwise."""
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    return layers if isinstance(layers, int) else None
