"""load: from a name to a checked LanguageModel. The name is a testbed, a Hugging Face folder, or a hub id.

1. `names.resolve` says which of the three it is, without the network.
2. A hub id becomes a folder of the local cache at a pinned revision (`hub.fetch`); a folder is checked before it is read.
3. Transformers reads weights and tokenizer; TransformerLens's bridge is put on, in the raw basis.
4. The doctor's brief checks run, so that a model whose sites cannot be trusted is refused here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models import names
from interp.models.doctor import confirm
from interp.models.folder import check_folder, unsupported
from interp.models.hub import fetch
from interp.models.language_model import LanguageModel
from interp.models.provenance import describe
from interp.models.sizes import Dims

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

NEEDED = ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
"""Sites that a block must have for any analysis here."""


@dataclass(frozen=True)
class _Source:
    """Where a model's parts come from: `weights` builds the Hugging Face model anew at each call."""

    kind: str
    folder: Path | None
    revision: str | None
    weights: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase


def load(name: str, *, device: str = "cpu", dtype: str = "float32", offline: bool = False, check: bool = True) -> LanguageModel:
    """The model called `name`: a testbed (planted, planted_null, storyworld), a folder, or a hub id `org/name@revision`.

    In evaluation mode, raw basis, without gradients, eager attention. `offline` never touches the network; `check` runs the
    doctor's brief checks. Raises `UsageError` for an unknown name, device, dtype or kind of model, `ArtefactError` for a
    folder that is broken or not to be trusted, `ResourceError` when the hub cannot serve, `InternalError` when a check fails.
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    target = _device(device)
    source = _source(name, dtype=DTYPES[dtype], offline=offline)
    hf_model: Any = source.weights()
    hf_model.to(device=target, dtype=DTYPES[dtype])
    _check_vocabulary(source.tokenizer, hf_model, name)
    folder, revision = source.folder, source.revision
    provenance = describe(name, source.kind, hf_model, source.tokenizer, folder=folder, revision=revision)
    bridge = _bridge(hf_model, name)
    dims = _dims(bridge, hf_model)
    model = LanguageModel(name, bridge, source.tokenizer, dims=dims, provenance=provenance, plain=source.weights)
    if check:
        confirm(model)
    return model


def _source(name: str, *, dtype: torch.dtype, offline: bool) -> _Source:
    kind = names.resolve(name)
    if kind == "testbed":
        built = names.TESTBEDS[name]()
        if not isinstance(built, Path):
            return _Source(kind, None, None, lambda: names.TESTBEDS[name]()[0], built[1])
        folder, revision = built, None
    elif kind == "folder":
        folder, revision = Path(name), None
    else:
        folder, revision = fetch(name, offline=offline)
    config = check_folder(folder)
    if config["model_type"] not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported(folder, config["model_type"])
    with _quiet():
        return _Source(kind, folder, revision, partial(_weights, folder, dtype), _tokenizer(folder))


def _weights(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The plain Hugging Face model of a folder. Raises `ArtefactError` when weights are broken, missing or of another shape."""
    try:
        with _quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise ArtefactError(f"the weights in {folder} are corrupt ({error}): download the model again.") from error
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise _unreadable(folder, error) from error
    model, report = loaded
    missing = sorted(report["missing_keys"]) + sorted(str(row) for row in report["mismatched_keys"])
    if missing:
        raise ArtefactError(
            f"the weights in {folder} lack {len(missing)} tensors of the right shape, the first {missing[0]}: they would "
            "be random. Download the model again."
        )
    return model.eval()


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception on a broken file
        raise ArtefactError(f"the tokenizer in {folder} cannot be read ({_first_line(error)}): download it again.") from error


def _bridge(hf_model: PreTrainedModel, name: str) -> TransformerBridge:
    """TransformerLens's bridge around `hf_model`, which it changes in place (its modules get hooks; weights stay)."""
    hf_model.set_attn_implementation("eager")
    hf_model.requires_grad_(False)
    config = hf_model.config
    try:
        bridge = build_bridge_from_module(hf_model, type(hf_model).__name__, hf_config=config, model_name=name)
    except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise unsupported(name, config.model_type) from error
    bridge.eval()
    known = bridge.hook_dict
    blocks = getattr(bridge, "blocks", None)
    if blocks is None or any(f"blocks.{layer}.{hook}" not in known for layer in range(len(blocks)) for hook in NEEDED):
        raise unsupported(name, config.model_type)
    return bridge


def _dims(bridge: TransformerBridge, hf_model: PreTrainedModel) -> Dims:
    cfg = bridge.cfg
    mlp = getattr(bridge.blocks[0], "mlp", None)
    matrix = getattr(mlp, "W_out", None)
    return Dims(
        n_layers=len(bridge.blocks),
        d_model=int(cfg.d_model),
        n_heads=int(cfg.n_heads),
        n_key_value_heads=int(cfg.n_key_value_heads or cfg.n_heads),
        d_head=int(cfg.d_head),
        d_mlp=int(matrix.shape[0] if matrix is not None else cfg.d_mlp or 0),
        d_vocab=_rows(hf_model),
        n_ctx=int(cfg.n_ctx),
    )


def _rows(hf_model: PreTrainedModel) -> int:
    embedding: Any = hf_model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def _check_vocabulary(tokenizer: PreTrainedTokenizerBase, hf_model: PreTrainedModel, name: str) -> None:
    rows, largest = _rows(hf_model), max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise ArtefactError(
            f"{name}: the tokenizer's ids go up to {largest} and the model embeds 0..{rows - 1}: this tokenizer belongs to "
            "another model. Put the model's own tokenizer beside its weights."
        )


def _device(device: str) -> torch.device:
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"unknown device {device!r}: expected cpu, cuda, cuda:1 or mps.") from error
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable.get(target.type, False):
        raise ResourceError(
            f"the device {device!r} is not there: this machine offers {', '.join(k for k, v in usable.items() if v)}."
        )
    return target


def _unreadable(folder: Path, error: BaseException) -> Exception:
    return ArtefactError(f"the model in {folder} cannot be loaded ({_first_line(error)}): its files do not fit together.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers' progress bars and advice stay off the terminal meanwhile; what matters is raised or recorded."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
