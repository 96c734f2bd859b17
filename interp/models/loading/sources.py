"""From a name to a Hugging Face model and its tokenizer: found, checked, read to its devices."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from interp.errors import ArtefactError, UsageError
from interp.models.loading import names
from interp.models.loading.belonging import (
    TRANSFORMERS_ERRORS,
    make_skeleton,
    no_model,
    read_config,
    refuse_larger,
    refuse_missing,
    refuse_unexpected,
)
from interp.models.loading.folder import check_description, check_folder, unsupported, weight_files
from interp.models.loading.gguf_model import ReadsOnce, open_gguf, reading
from interp.models.loading.headers import weight_shapes
from interp.models.loading.hub import fetch
from interp.models.loading.packaged import PACKAGED
from interp.models.placement import Placement, best_device, check_map, check_placement
from interp.models.quantised import method_of, missing_package, require_reader
from interp.models.quiet import first_line, quietly
from interp.models.texts.tokens import panics_told
from interp.testbeds.records import testbed


@dataclass(frozen=True)
class Source:
    """Where a model's parts come from: `weights` builds it anew at each call, where it is to run.

    `files` hold the weights (none where the model is built in memory), and `quantisation` is the
    method that they are quantised with. Of a GGUF file, `tensor_types` says how many tensors are of
    each type; `cautions` is what to warn of.
    """

    kind: str
    files: tuple[Path, ...]
    revision: str | None
    weights: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    quantisation: str | None = None
    tensor_types: Mapping[str, int] | None = None
    cautions: tuple[str, ...] = ()


def open_source(name: str, device: Placement, *, dtype: torch.dtype, offline: bool) -> Source:
    """Where the parts of the model called `name` come from; checked, and no weights are read yet.

    Raises as `load` does.
    """
    kind = names.resolve(name)
    if kind == "testbed":
        source = testbed(name).source
        if isinstance(source, Path):
            return _open_folder(source, kind, device, dtype)
        weights = partial(_built, name, source, device, dtype)
        return Source(kind, (), None, weights, source()[1])
    path, revision = find_files(name, kind, offline=offline)
    if path.is_file():
        return _open_file(path, kind, device, dtype)
    return _open_folder(path, "hub" if revision else kind, device, dtype, revision=revision)


def find_files(
    name: str,
    kind: names.Kind,
    *,
    offline: bool,
    weights: bool = True,
) -> tuple[Path, str | None]:
    """The folder or GGUF file of a model of that kind, and the commit of what the hub gave.

    Without `weights`, none are fetched. Raises as `load` does.
    """
    from_hub = partial(fetch, offline=offline, weights=weights)
    if kind == "hub":
        return from_hub(name)
    if kind != "packaged":
        return Path(name), None
    file = PACKAGED[name].find()
    return PACKAGED[name].or_from_hub(name, from_hub) if file is None else (file, None)


def read_description(path: Path) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Configuration and tokenizer of a folder, weights or none, or of a GGUF file; checked."""
    if path.is_file():
        opened = open_gguf(path)
        return opened.config, opened.tokenizer
    _require_causal(check_description(path), path)
    config = read_config(path)
    with quietly():
        return config, read_tokenizer(path)


def _open_folder(
    folder: Path,
    kind: str,
    device: Placement,
    dtype: torch.dtype,
    *,
    revision: str | None = None,
) -> Source:
    config = check_folder(folder)
    _require_causal(config, folder)
    method = method_of(config, folder)
    read_config(folder)
    device_map = _device_map(device, quantised=method is not None)
    require_reader(config, folder, device_map=device_map)
    weights = partial(_weights, folder, dtype, device_map, check_placement(device))
    files = tuple(weight_files(folder))
    with quietly():
        return Source(kind, files, revision, weights, read_tokenizer(folder), method)


def _open_file(path: Path, kind: str, device: Placement, dtype: torch.dtype) -> Source:
    opened = open_gguf(path)
    device_map = _device_map(device, quantised=False)
    target = check_placement(device)
    return Source(
        kind,
        (path,),
        None,
        partial(
            _weights,
            path,
            dtype,
            device_map,
            target,
            settings=opened.settings,
            reader=opened.reader,
        ),
        opened.tokenizer,
        quantisation=opened.header.quantisation,
        tensor_types=opened.header.tensor_types,
        cautions=opened.cautions,
    )


def _require_causal(config: Mapping[str, Any], folder: Path) -> None:
    if config["model_type"] not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported(folder, config["model_type"])


def _device_map(device: Placement, *, quantised: bool) -> Any:
    """What transformers is to be told of the placement.

    None where the model is read into CPU memory and moved afterwards. Quantised weights cannot be
    moved or cast once they are read.
    """
    target = check_placement(device)
    if target is None:
        return device if isinstance(device, str) else dict(device)
    return {"": target} if quantised else None


def _built(
    name: str,
    build: Callable[[], tuple[Any, Any]],
    device: Placement,
    dtype: torch.dtype,
) -> PreTrainedModel:
    """The Hugging Face model of a testbed that is built in memory, on one device."""
    if not isinstance(device, str):
        told = f"{name} is built in memory and fits on any device"
        raise UsageError(f"{told}: name one, or auto, instead of a map.")
    model = build()[0]
    return model.to(device=check_placement(device) or best_device(), dtype=dtype)


def _weights(
    path: Path,
    dtype: torch.dtype,
    device_map: Any,
    target: torch.device | None,
    *,
    settings: Mapping[str, Any] = MappingProxyType({}),
    reader: ReadsOnce | None = None,
) -> PreTrainedModel:
    """The plain Hugging Face model of a folder or a GGUF file, where it is to run.

    Raises `ArtefactError` when weights are broken, missing or of another shape, `ResourceError` for
    a missing package, `UsageError` for a device map that does not fit the model.
    """
    mapped = target is None and isinstance(device_map, dict)
    # What a GGUF file holds was held against its metadata when it was opened.
    shapes = {} if path.is_file() else weight_shapes(path)
    config = settings.get("config") or read_config(path)
    if shapes:
        refuse_larger(path, config, shapes)
    if mapped:
        check_map(device_map, make_skeleton(config, path))
    try:
        with quietly(), _address(path, reader) as (place, named):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                place,
                **named,
                **settings,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                output_loading_info=True,
                device_map=device_map,
            )
    except SafetensorError as error:
        told = f"the weights in {path} are corrupt ({error})"
        raise ArtefactError(f"{told}: download the model again.") from error
    except ImportError as error:
        raise missing_package(None, path, error) from error
    except TRANSFORMERS_ERRORS as error:
        if mapped:
            told = f"the model in {path} cannot be spread by this device map"
            raise UsageError(f"{told} ({first_line(error)}).") from error
        raise no_model(path, error) from error
    model, report = loaded
    refuse_missing(path, report)
    if shapes:
        refuse_unexpected(path, report["unexpected_keys"], model.config, shapes)
    model = model.eval()
    return model if device_map is not None else model.to(device=target, dtype=dtype)


@contextmanager
def _address(path: Path, reader: ReadsOnce | None) -> Iterator[tuple[Path | str, dict[str, Any]]]:
    """What `from_pretrained` takes for a folder, or for the GGUF file that `reader` reads: a
    folder, and settings. What was read of the file is not kept.
    """
    if reader is not None:
        with reading(path, reader) as told:
            yield told
        reader.cache_clear()
    else:
        yield path, {"local_files_only": True}


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder; raises `ArtefactError` when it cannot be read."""
    with panics_told(f"the tokenizer in {folder}"):
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the tokenizers library raises bare Exception on a broken file
            told = f"the tokenizer in {folder} cannot be read ({first_line(error)})"
            raise ArtefactError(f"{told}: download it again.") from error
