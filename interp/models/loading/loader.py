"""load: from a name to a checked LanguageModel.

1. `names.resolve` says what the name is, without the network: a testbed, a packaged model, a
   Hugging Face folder, a GGUF file, or a hub id.
2. A hub id becomes a folder of the local cache at a pinned revision (`hub.fetch`); a folder or file
   is checked before it is read.
3. Transformers reads weights and tokenizer; TransformerLens's bridge is put on, in the raw basis.
4. The doctor's brief checks run, so that a model whose sites cannot be trusted is refused here.
"""

import warnings
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models.arithmetic import doubt_arithmetic
from interp.models.cache import carry_cache
from interp.models.checks.doctor import confirm
from interp.models.checks.model_checks import plain_logits
from interp.models.language_model import LanguageModel
from interp.models.loading.folder import unsupported
from interp.models.loading.provenance import describe_model
from interp.models.loading.rotation import keep_dtype
from interp.models.loading.sources import open_source
from interp.models.placement import Placement, check_placement, home
from interp.models.quantised import OTHERWISE, is_quantised, warn_if_undone
from interp.models.quiet import first_line
from interp.models.sizes import Dims
from interp.models.texts.chat import choose_template, read_template
from interp.models.texts.tokens import added_specials, special_strings
from interp.models.unembedding import unembed_together
from interp.models.weights import weight_of, working_dtype

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

NEEDED = ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
"""Sites that a block must have for any analysis here."""


def load(
    name: str,
    *,
    device: Placement = "cpu",
    dtype: str = "float32",
    offline: bool = False,
    check: bool = True,
    chat_template: str | None = None,
) -> LanguageModel:
    """The model called `name`: a testbed (planted, planted_null, storyworld), smollm2, a folder, a
    GGUF file (its weights are dequantised), or a hub id `org/name@revision`.

    In evaluation mode, raw basis, without gradients, eager attention. `device` is cpu, cuda,
    cuda:1, mps, or auto: the model is spread over the machine's GPUs and, where they do not
    suffice, its CPU memory and disk (a map from modules to devices says it in full). `offline`
    never touches the network; `check` runs the doctor's brief checks. `chat_template`: "on" (the
    tokenizer's own), a file with a Jinja template, or "off" (texts are given plain, as when nothing
    is said).

    Raises `UsageError` for an unknown name, device, dtype, kind of model or chat template,
    `ArtefactError` for a folder that is broken or not to be trusted, `ResourceError` for a device
    or package that is missing or a hub that cannot serve, `InternalError` when a check fails. Warns
    when a GPU's float32 is not float32 (TF32), when a chat model is given plain texts without
    having been told to, and when weights were dequantised.
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    check_placement(device)
    written = read_template(chat_template)
    source = open_source(name, device, dtype=DTYPES[dtype], offline=offline)
    chat = choose_template(chat_template, written, source.tokenizer, name=name)
    hf_model = source.weights()
    check_vocabulary(source.tokenizer, hf_model, name)
    chosen = {"chat_template": chat and chat.sha256}
    provenance = describe_model(name, source, hf_model) | chosen
    warn_if_undone(provenance)
    for caution in source.cautions:
        warnings.warn(caution, stacklevel=2)
    doubtful = doubt_arithmetic(home(hf_model.get_input_embeddings()), working_dtype(hf_model))
    if doubtful is not None:
        warnings.warn(doubtful, stacklevel=2)
    known = plain_logits(hf_model, _rows(hf_model))
    bridge = put_bridge(hf_model, name)
    model = LanguageModel(
        name,
        bridge,
        source.tokenizer,
        dims=sizes(bridge, hf_model),
        provenance=provenance,
        plain=source.weights,
        placement=device,
        chat=chat,
        known=known,
    )
    if check:
        confirm(model)
    return model


def put_bridge(hf_model: PreTrainedModel, name: str) -> TransformerBridge:
    """TransformerLens's bridge around `hf_model`, which it changes in place (its modules get hooks;
    weights stay).
    """
    config = hf_model.config
    hf_model.set_attn_implementation("eager")
    if config._attn_implementation != "eager":  # where it cannot, it says so in its log alone
        raise unsupported(name, f"{config.model_type}: its attention cannot be made eager")
    hf_model.requires_grad_(False)
    device = str(home(hf_model.get_input_embeddings()))
    try:
        bridge = build_bridge_from_module(
            hf_model,
            type(hf_model).__name__,
            hf_config=config,
            model_name=name,
            dtype=working_dtype(hf_model),
            device=device,
        )
    except torch.OutOfMemoryError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        if is_quantised(hf_model):
            raise UsageError(
                f"{name} is quantised, and TransformerLens cannot take it apart "
                f"({first_line(error)}): {OTHERWISE}"
            ) from error
        told = f"{config.model_type}: TransformerLens says {first_line(error)}"
        raise unsupported(name, told) from error
    bridge.eval()
    carry_cache(bridge)
    unembed_together(bridge.original_model)
    known = bridge.hook_dict
    blocks = getattr(bridge, "blocks", None)
    if blocks is None or any(
        f"blocks.{layer}.{hook}" not in known for layer in range(len(blocks)) for hook in NEEDED
    ):
        raise unsupported(name, config.model_type)
    keep_dtype(bridge)
    return bridge


def sizes(bridge: TransformerBridge, hf_model: PreTrainedModel) -> Dims:
    """The sizes of a model that has its bridge."""
    cfg = bridge.cfg
    return Dims(
        n_layers=len(bridge.blocks),
        d_model=int(cfg.d_model),
        n_heads=int(cfg.n_heads),
        n_key_value_heads=int(cfg.n_key_value_heads or cfg.n_heads),
        d_head=int(cfg.d_head),
        d_mlp=_mlp_width(bridge),
        d_vocab=_rows(hf_model),
        n_ctx=int(cfg.n_ctx),
    )


def _mlp_width(bridge: TransformerBridge) -> int:
    """Neurons of the first block's MLP; what the configuration says where its matrix cannot be
    read.
    """
    mlp = getattr(bridge.blocks[0], "mlp", None)
    try:
        matrix = weight_of(mlp, "W_out") if mlp is not None else None
    except (UsageError, ResourceError):
        matrix = None
    return int(matrix.shape[0] if matrix is not None else bridge.cfg.d_mlp or 0)


def _rows(hf_model: PreTrainedModel) -> int:
    embedding: Any = hf_model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, hf_model: PreTrainedModel, name: str
) -> None:
    """Warn of special tokens that the model does not embed (some are shipped so); a text with one
    is refused where it is read.

    Raises `ArtefactError` for other tokens that it does not embed, and for a special one that the
    tokenizer puts around every text.
    """
    rows = _rows(hf_model)
    beyond = {token: id_ for token, id_ in tokenizer.get_vocab().items() if id_ >= rows}
    special, everywhere = (
        special_strings(tokenizer),
        {id_ for part in added_specials(tokenizer) for id_ in part},
    )
    wrong = [token for token, id_ in beyond.items() if token not in special or id_ in everywhere]
    if wrong:
        raise ArtefactError(
            f"{name}: the tokenizer's ids go up to {max(beyond.values())} and the model embeds "
            f"0..{rows - 1}: it lacks {len(wrong)} tokens that texts need, such as {wrong[0]!r}. "
            "This tokenizer belongs to another model: put the model's own tokenizer beside its "
            "weights."
        )
    if beyond:
        warnings.warn(
            f"{name}: the tokenizer has {len(beyond)} special tokens that the model does not embed "
            f"({', '.join(map(repr, sorted(beyond)[:5]))}): a text with one of them is refused.",
            stacklevel=3,
        )
