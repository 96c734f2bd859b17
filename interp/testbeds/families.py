"""Families of language models, each as a tiny random model: small enough to build within a test.

What a method says of a family does not depend on the weights that were learned, but on how its
blocks put the stream together: norms, parallel blocks, multipliers, shared keys and values,
sliding windows, experts. So a few random weights are enough to find out. They come from a fixed
seed; the tokenizer knows a list of words, and any other word becomes `<unk>`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

N_CTX = 128
N_LAYERS = 3
D_MODEL = 32
N_HEADS = 4
WORDS = tuple(f"w{number}" for number in range(60))
"""The words of a tokenizer that is not told of others."""

ConfigSettings = Mapping[str, Any]


class Family(NamedTuple):
    """A family: its `model_type` in transformers, what is peculiar to it, and its configuration."""

    model_type: str
    peculiar: str
    settings: ConfigSettings


_MAIN: ConfigSettings = {
    "hidden_size": D_MODEL,
    "num_attention_heads": N_HEADS,
    "num_hidden_layers": N_LAYERS,
    "max_position_embeddings": N_CTX,
}
_ENDS: ConfigSettings = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
_ALONE: ConfigSettings = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": None}
_WIDE: ConfigSettings = {**_MAIN, **_ENDS, "intermediate_size": 48}
_GROUPED: ConfigSettings = {**_WIDE, "num_key_value_heads": 2}
_EIGHT: ConfigSettings = {**_GROUPED, "head_dim": 8}
_UNTIED: ConfigSettings = {**_GROUPED, "tie_word_embeddings": False}
_GPT: ConfigSettings = {
    **_ALONE,
    "n_embd": D_MODEL,
    "n_head": N_HEADS,
    "n_layer": N_LAYERS,
    "n_positions": N_CTX,
}
_EXPERTS: ConfigSettings = {"num_local_experts": 4, "num_experts_per_tok": 2}
_QWEN_EXPERTS: ConfigSettings = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
_MULTIPLIERS: ConfigSettings = {
    "residual_multiplier": 0.4,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
    "logits_scaling": 2.0,
}
_LATENT: ConfigSettings = {
    "num_key_value_heads": N_HEADS,
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}
_WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]

FAMILIES: dict[str, Family] = {
    "gpt2": Family("gpt2", "learned positions", _GPT),
    "llama": Family("llama", "shared keys and values", {**_UNTIED, "head_dim": 8}),
    "qwen3": Family(
        "qwen3",
        "norms of queries and keys",
        {**_GROUPED, "head_dim": 16, "tie_word_embeddings": True},
    ),
    "gemma2": Family(
        "gemma2",
        "post-norms, capped logits, windows",
        {**_GROUPED, "head_dim": 16, "sliding_window": 16},
    ),
    "mistral": Family("mistral", "as Llama", {**_EIGHT, "sliding_window": None}),
    "gpt_neo": Family(
        "gpt_neo",
        "windows",
        {
            **_ALONE,
            "hidden_size": D_MODEL,
            "num_heads": N_HEADS,
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 16,
            "max_position_embeddings": N_CTX,
        },
    ),
    "mistral_windows": Family("mistral", "windows everywhere", {**_EIGHT, "sliding_window": 6}),
    "gptj": Family("gptj", "parallel block", {**_GPT, "rotary_dim": 4}),
    "gpt_neox": Family("gpt_neox", "parallel block, joint q, k, v", _WIDE),
    "pythia_serial": Family("gpt_neox", "joint q, k, v", {**_WIDE, "use_parallel_residual": False}),
    "gpt_bigcode": Family("gpt_bigcode", "one key for all heads", {**_GPT, "multi_query": True}),
    "codegen": Family("codegen", "parallel block, joint q, k, v", {**_GPT, "rotary_dim": 4}),
    "opt": Family(
        "opt",
        "no module around its MLP",
        {**_MAIN, **_ENDS, "ffn_dim": 48, "word_embed_proj_dim": D_MODEL},
    ),
    "opt_postnorm": Family(
        "opt",
        "norms on the stream",
        {
            **_MAIN,
            **_ENDS,
            "ffn_dim": 48,
            "word_embed_proj_dim": D_MODEL,
            "do_layer_norm_before": False,
        },
    ),
    "bloom": Family(
        "bloom",
        "ALiBi, adds inside its sublayers",
        {**_ENDS, "hidden_size": D_MODEL, "n_head": N_HEADS, "n_layer": N_LAYERS},
    ),
    "mpt": Family(
        "mpt",
        "ALiBi",
        {
            **_ENDS,
            "d_model": D_MODEL,
            "n_heads": N_HEADS,
            "n_layers": N_LAYERS,
            "max_seq_len": N_CTX,
        },
    ),
    "falcon": Family(
        "falcon",
        "parallel block, one key for all heads",
        {**_MAIN, **_ENDS, "multi_query": True, "parallel_attn": True, "bias": False},
    ),
    "falcon_alibi": Family(
        "falcon",
        "ALiBi",
        {
            **_MAIN,
            **_ENDS,
            "multi_query": False,
            "parallel_attn": False,
            "alibi": True,
            "bias": True,
        },
    ),
    "falcon_new": Family(
        "falcon",
        "parallel block with two norms",
        {**_MAIN, **_ENDS, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": False},
    ),
    "xglm": Family(
        "xglm",
        "computed positions",
        {
            **_ENDS,
            "d_model": D_MODEL,
            "ffn_dim": 48,
            "attention_heads": N_HEADS,
            "num_layers": N_LAYERS,
            "max_position_embeddings": N_CTX,
        },
    ),
    "openai_gpt": Family("openai-gpt", "norms on the stream", _GPT),
    "phi": Family("phi", "parallel block", {**_GROUPED, "partial_rotary_factor": 0.5}),
    "phi3": Family("phi3", "joint q, k, v; joint gate", _GROUPED),
    "phimoe": Family("phimoe", "experts", {**_GROUPED, **_EXPERTS}),
    "stablelm": Family("stablelm", "half of each head rotates", _GROUPED),
    "stablelm_parallel": Family(
        "stablelm",
        "parallel block",
        {**_GROUPED, "use_parallel_residual": True},
    ),
    "starcoder2": Family("starcoder2", "biases", _GROUPED),
    "qwen2": Family("qwen2", "biases of q, k, v", _GROUPED),
    "qwen2_moe": Family("qwen2_moe", "experts, one of them shared", {**_GROUPED, **_QWEN_EXPERTS}),
    "qwen3_moe": Family("qwen3_moe", "experts", {**_GROUPED, **_QWEN_EXPERTS, "head_dim": 8}),
    "mixtral": Family("mixtral", "experts", {**_GROUPED, **_EXPERTS}),
    "gpt_oss": Family(
        "gpt_oss",
        "experts, sinks of attention, windows",
        {**_GROUPED, **_EXPERTS, "head_dim": 8, "sliding_window": 16},
    ),
    "gemma": Family("gemma", "scaled embedding", {**_GROUPED, "head_dim": 16}),
    "gemma3": Family(
        "gemma3_text",
        "post-norms, windows",
        {**_GROUPED, "head_dim": 16, "sliding_window": 16, "layer_types": _WINDOWS},
    ),
    "olmo": Family("olmo", "norms without weights", _GROUPED),
    "olmo2": Family("olmo2", "post-norms only", _GROUPED),
    "olmo3": Family(
        "olmo3",
        "post-norms only, windows",
        {**_GROUPED, "sliding_window": 16, "layer_types": _WINDOWS},
    ),
    "olmoe": Family("olmoe", "experts", {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
    "cohere": Family("cohere", "parallel block, scaled logits", _GROUPED),
    "cohere2": Family(
        "cohere2",
        "parallel block, windows",
        {**_GROUPED, "sliding_window": 16, "layer_types": _WINDOWS},
    ),
    "granite": Family("granite", "multipliers", {**_GROUPED, **_MULTIPLIERS}),
    "granitemoe": Family(
        "granitemoe",
        "multipliers, experts",
        {**_GROUPED, **_MULTIPLIERS, **_EXPERTS},
    ),
    "smollm3": Family(
        "smollm3",
        "layers without rotation",
        {**_GROUPED, "no_rope_layers": [1, 0, 1]},
    ),
    "nemotron": Family("nemotron", "norms around one", _GROUPED),
    "glm": Family("glm", "joint gate", {**_EIGHT}),
    "glm4": Family("glm4", "post-norms, joint gate", {**_EIGHT}),
    "exaone4": Family(
        "exaone4",
        "post-norms only, windows",
        {**_GROUPED, "sliding_window": 16, "layer_types": _WINDOWS},
    ),
    "ernie4_5": Family("ernie4_5", "as Llama", {**_EIGHT}),
    "hunyuan": Family("hunyuan_v1_dense", "norms of queries and keys", {**_EIGHT}),
    "seed_oss": Family("seed_oss", "as Llama", {**_EIGHT}),
    "apertus": Family("apertus", "MLP without gate", _GROUPED),
    "arcee": Family("arcee", "MLP without gate", {**_EIGHT}),
    "deepseek_v3": Family(
        "deepseek_v3",
        "latent attention, experts",
        {
            **_WIDE,
            **_LATENT,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
        },
    ),
    "minicpm3": Family("minicpm3", "multipliers, latent attention", {**_WIDE, **_LATENT}),
    "mamba": Family(
        "mamba",
        "no attention",
        {**_ENDS, "hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS},
    ),
}
"""The families of the page on families, by name. A name that is no `model_type` is a variant."""
