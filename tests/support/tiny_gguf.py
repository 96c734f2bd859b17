"""A tiny Llama as a GGUF file, written with gguf's own writer as llama.cpp's converter would.

Weights come from a fixed seed, so that `weights()` and each file hold the same model. Its tokenizer
is byte-level BPE: 256 bytes, some merges, three control tokens.
"""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from transformers.convert_slow_tokenizer import bytes_to_unicode

WIDTH, HEADS, KEY_HEADS, MLP, LAYERS, N_CTX = 64, 4, 2, 96, 2, 256
MERGES = (
    *("t h", "th e", "Ġ the", "a n", "an d", "Ġ and", "i n"),
    *("h a", "p p", "ha pp", "happ y", "s a", "sa d"),
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TOKENS = (*CONTROL, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES))
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The chat template, as SmolLM2 has it without its system turn."""

Change = Callable[[gguf.GGUFWriter], None]


def weights() -> dict[str, np.ndarray]:
    """The weights under transformers' names, but for the norms all of one spread; float32."""
    draw = np.random.default_rng(7)
    keys = WIDTH // HEADS * KEY_HEADS
    rows = {"q_proj": WIDTH, "k_proj": keys, "v_proj": keys, "o_proj": WIDTH}
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"self_attn.{name}": (n, WIDTH) for name, n in rows.items()}
    shapes |= {f"mlp.{name}": (MLP, WIDTH) for name in ("gate_proj", "up_proj")}
    shapes |= {"mlp.down_proj": (WIDTH, MLP)}
    shapes |= {"input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
    wanted = {"model.embed_tokens.weight": (len(TOKENS), WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        wanted |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in shapes.items()}
    found = {name: draw.normal(0, 0.2, shape) for name, shape in wanted.items()}
    return {name: (w + (w.ndim == 1)).astype(np.float32) for name, w in found.items()}


NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.layers": "blk",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
"""llama.cpp's words for transformers'."""


def write(
    path: Path,
    *,
    kind: Type = Type.F32,
    tokenizer: bool = True,
    chat: bool = False,
    change: Change | None = None,
    leave_out: str | None = None,
    architecture: str = "llama",
) -> Path:
    """The model at `path`, its matrices in the type `kind`.

    `change` may add to the metadata before they are written; the tensor `leave_out` is not there.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(TOKENS))
    if tokenizer:
        _add_tokenizer(writer)
    if chat:
        writer.add_chat_template(CHAT)
    if change is not None:
        change(writer)
    for name, weight in weights().items():
        if name != leave_out:
            _add(writer, name, weight, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(TOKENS))
    writer.add_token_types([control if token in CONTROL else normal for token in TOKENS])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)


def _add(writer: gguf.GGUFWriter, name: str, weight: np.ndarray, kind: Type) -> None:
    """A weight as llama.cpp keeps it: heads' rows in its own order, matrices rounded."""
    heads = {"q_proj": HEADS, "k_proj": KEY_HEADS}.get(name.split(".")[-2])
    if heads is not None:
        halves = weight.reshape(heads, 2, len(weight) // heads // 2, -1)
        weight = halves.swapaxes(1, 2).reshape(weight.shape)
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    if kind == Type.F32 or weight.ndim == 1:
        writer.add_tensor(name, weight)
    else:
        writer.add_tensor(name, gguf.quantize(weight, kind), raw_dtype=kind)
