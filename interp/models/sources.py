"""From a name to a Hugging Face model and its tokenizer: found, checked, and read to where the model is to run."""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from interp.errors import ArtefactError, UsageError
from interp.models import names
from interp.models.folder import check_folder, unsupported
from interp.models.headers import Shape, count_layers, weight_shapes
from interp.models.hub import fetch
from interp.models.placement import Placement, best_device, check_map, check_placement
from interp.models.quantised import method_of, missing_package, require_reader
from interp.models.tokens import panics_told

_TRANSFORMERS_ERRORS = (
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


@dataclass(frozen=True)
class Source:
    """Where a model's parts come from: `weights` builds the Hugging Face model anew at each call, where it is to run.

    `quantisation` is the method its checkpoint is quantised with.
    """

    kind: str
    folder: Path | None
    revision: str | None
    weights: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    quantisation: str | None = None


def open_source(name: str, device: Placement, *, dtype: torch.dtype, offline: bool) -> Source:
    """Where the parts of the model called `name` come from; a folder is checked, and nothing of its weights is read yet.

    Raises as `load` does.
    """
    kind = names.resolve(name)
    if kind == "testbed":
        built = names.TESTBEDS[name]()
        if not isinstance(built, Path):
            return Source(kind, None, None, partial(_built, name, device, dtype), built[1])
        folder, revision = built, None
    elif kind == "folder":
        folder, revision = Path(name), None
    else:
        folder, revision = fetch(name, offline=offline)
    config = check_folder(folder)
    if config["model_type"] not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported(folder, config["model_type"])
    method = method_of(config, folder)
    read_config(folder)
    device_map = _device_map(device, quantised=method is not None)
    require_reader(config, folder, device_map=device_map)
    weights = partial(_weights, folder, dtype, device_map, check_placement(device))
    with quietly():
        return Source(kind, folder, revision, weights, read_tokenizer(folder), method)


def _device_map(device: Placement, *, quantised: bool) -> Any:
    """What transformers is to be told of the placement; None where the model is read into CPU memory and moved afterwards.

    Quantised weights cannot be moved or cast once they are read.
    """
    target = check_placement(device)
    if target is None:
        return device if isinstance(device, str) else dict(device)
    return {"": target} if quantised else None


def _built(name: str, device: Placement, dtype: torch.dtype) -> PreTrainedModel:
    """The Hugging Face model of a testbed that is built in memory; small enough for one device."""
    if not isinstance(device, str):
        raise UsageError(f"{name} is built in memory and fits on any device: name one, or auto, instead of a map.")
    model: Any = names.TESTBEDS[name]()[0]
    return model.to(device=check_placement(device) or best_device(), dtype=dtype)


def _weights(folder: Path, dtype: torch.dtype, device_map: Any, target: torch.device | None) -> PreTrainedModel:
    """The plain Hugging Face model of a folder, where it is to run.

    Raises `ArtefactError` when weights are broken, missing or of another shape, `ResourceError` for a missing package,
    `UsageError` for a device map that does not fit the model.
    """
    mapped = target is None and isinstance(device_map, dict)
    shapes = weight_shapes(folder)
    _refuse_larger(folder, shapes)
    if mapped:
        check_map(device_map, _skeleton(folder))
    try:
        with quietly():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                device_map=device_map,
            )
    except SafetensorError as error:
        raise ArtefactError(f"the weights in {folder} are corrupt ({error}): download the model again.") from error
    except ImportError as error:
        raise missing_package(None, folder, error) from error
    except _TRANSFORMERS_ERRORS as error:
        if mapped:
            raise UsageError(f"the model in {folder} cannot be spread by this device map ({first_line(error)}).") from error
        raise _unreadable(folder, error) from error
    model, report = loaded
    missing = sorted(report["missing_keys"]) + sorted(str(row) for row in report["mismatched_keys"])
    if missing:
        raise ArtefactError(
            f"the weights in {folder} lack {len(missing)} tensors of the right shape, the first {missing[0]}: they would "
            "be random. Download the model again."
        )
    _refuse_unexpected(folder, report["unexpected_keys"], shapes, model.config)
    return model.eval() if device_map is not None else model.eval().to(device=target, dtype=dtype)


def _refuse_larger(folder: Path, shapes: Mapping[str, Shape]) -> None:
    """Raise `ArtefactError` for a configuration that asks for more than the weights hold, before
    anything of that size is made.
    """
    config = read_config(folder)
    layers, held = _layers(config), count_layers(shapes) or len(shapes)
    if layers is not None and layers > held:
        raise ArtefactError(
            f"{folder}: config.json says {layers} layers, and the weights hold {held}: they belong to "
            "different models. Download the model again."
        )
    numbers = sum(tensor.numel() for tensor in _skeleton(folder).parameters())
    most = sum(map(math.prod, shapes.values()))
    if numbers > most * (_PACKED if getattr(config, "quantization_config", None) else _SLACK):
        raise ArtefactError(
            f"{folder}: config.json describes a model of {numbers:,} numbers, and the weights hold "
            f"{most:,}: they belong to different models. Download the model again."
        )


def _refuse_unexpected(folder: Path, names: Collection[str], shapes: Mapping[str, Shape], config: Any) -> None:
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
        f"for{cut}, the first {unexpected[0]}: they belong to different models, or the configuration "
        "was changed. Download the model again."
    )


def _is_buffer(name: str, shape: Shape | None) -> bool:
    """Whether a tensor is a mask or a table that older models kept beside their weights."""
    *_, owner, last = ("", *name.split("."))
    if last in ("inv_freq", "masked_bias"):
        return True
    mask = shape is not None and len(shape) == 4  # batch, head, query, key; a weight has two axes
    return mask and last == "bias" and owner in ("attn", "attention", "self_attn")


def read_config(folder: Path) -> Any:
    """The configuration of a folder as transformers reads it, with sizes that a model can have.

    Raises `ArtefactError` naming the field that has another type, or is no size.
    """
    try:
        with quietly():
            config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
        sizes = {name: getattr(config.get_text_config(), name, None) for name in _SIZES}
    except _TRANSFORMERS_ERRORS as error:
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise ArtefactError(
            f"{folder / 'config.json'} is no configuration that transformers reads ({told}): download the model again."
        ) from error
    wrong = [f"{name} {n}" for name, n in sizes.items() if isinstance(n, int) and n < 1]
    if wrong:
        raise ArtefactError(
            f"{folder / 'config.json'} gives {', '.join(wrong)}, expected at least 1: download the model again."
        )
    return config


def _layers(config: Any) -> int | None:
    """How many layers a configuration says; None where its family counts them otherwise."""
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    return layers if isinstance(layers, int) else None


def _skeleton(folder: Path) -> PreTrainedModel:
    """The model of a folder without its weights; raises `ArtefactError` for sizes that fit no model."""
    try:
        with quietly(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            return AutoModelForCausalLM.from_config(config)
    except ImportError as error:
        raise missing_package(None, folder, error) from error
    except _TRANSFORMERS_ERRORS as error:
        raise _unreadable(folder, error) from error


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder; raises `ArtefactError` when it cannot be read."""
    with panics_told(f"the tokenizer in {folder}"):
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the tokenizers library raises bare Exception on a broken file
            raise ArtefactError(
                f"the tokenizer in {folder} cannot be read ({first_line(error)}): download it again."
            ) from error


def _unreadable(folder: Path, error: BaseException) -> Exception:
    return ArtefactError(f"the model in {folder} cannot be loaded ({first_line(error)}): its files do not fit together.")


def first_line(error: BaseException) -> str:
    """What an error says in its first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def quietly() -> Iterator[None]:
    """Transformers' and accelerate's bars and advice stay off the terminal meanwhile; what matters is raised or recorded."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    placing = logging.getLogger("accelerate")
    level = placing.level
    placing.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        placing.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
