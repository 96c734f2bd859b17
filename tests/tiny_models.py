"""Tiny random models of six families, as Hugging Face folders with a tokenizer: small enough to build inside a test.

Weights come from a fixed seed. The tokenizer is word-level over about 300 common words (case is lost); other words become
`<unk>`, so any text tokenises. GPT-2 and GPT-Neo have neither BOS nor padding, as the real ones; the rest put a BOS before
each text.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.utils import logging

FAMILIES = ("gpt2", "llama", "qwen3", "gemma2", "mistral", "gpt_neo")

POST_NORMED = ("gemma2", "gemma3", "olmo2")
"""Families that pass what a sublayer writes through a norm before they add it."""

N_CTX = 128

WORDS = tuple((Path(__file__).parent / "tiny_words.txt").read_text(encoding="utf-8").split())

CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role not in ('system', 'user', 'assistant') %}{{ raise_exception('no such role') }}{% endif %}"
    "<{{ message.role }}> {{ message.content | trim }} <end>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A chat template: of each turn, `<role>` opens it and `<end>` closes it; white space around contents goes."""

TURNS = ("<system>", "<user>", "<assistant>", "<end>")

_BOTH = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3, "max_position_embeddings": N_CTX}
_GROUPED = {**_BOTH, "intermediate_size": 48, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
_GPT = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": None}

_CONFIGS: dict[str, Callable[[int], PretrainedConfig]] = {
    "gpt2": lambda vocab: GPT2Config(vocab_size=vocab, n_embd=32, n_head=4, n_layer=3, n_positions=N_CTX, **_GPT),
    "llama": lambda vocab: LlamaConfig(vocab_size=vocab, head_dim=8, tie_word_embeddings=False, **_GROUPED),
    "qwen3": lambda vocab: Qwen3Config(vocab_size=vocab, head_dim=16, tie_word_embeddings=True, **_GROUPED),
    "gemma2": lambda vocab: Gemma2Config(vocab_size=vocab, head_dim=16, sliding_window=16, **_GROUPED),
    "mistral": lambda vocab: MistralConfig(vocab_size=vocab, head_dim=8, sliding_window=None, **_GROUPED),
    "gpt_neo": lambda vocab: GPTNeoConfig(
        vocab_size=vocab, hidden_size=32, num_heads=4, num_layers=2, attention_types=[[["global", "local"], 1]], window_size=16,
        max_position_embeddings=N_CTX, **_GPT,
    ),
    "gemma3": lambda vocab: Gemma3TextConfig(vocab_size=vocab, head_dim=16, sliding_window=16, **_GROUPED),
    "olmo2": lambda vocab: Olmo2Config(vocab_size=vocab, tie_word_embeddings=False, **_GROUPED),
}  # fmt: skip


def make_folder(family: str, path: Path, *, chat: str | None = None) -> Path:
    """A folder at `path` with config, safetensors weights and tokenizer of a random model of `family`.

    With a `chat` template the tokenizer carries it, and knows the tokens of `TURNS`.
    """
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(family)
    if chat is not None:
        tokenizer.add_tokens(list(TURNS), special_tokens=True)
        tokenizer.chat_template = chat
    tokenizer.save_pretrained(path)
    config = _CONFIGS[family](len(tokenizer))
    generator = torch.Generator().manual_seed(20 + list(_CONFIGS).index(family))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.3 * noise if weight.ndim > 1 else weight + 0.1 * noise)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    model.save_pretrained(path)
    if bars:
        logging.enable_progress_bar()
    return path


def edit_config(folder: Path, **changes: object) -> None:
    """Overwrite keys of a folder's `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _tokenizer(family: str) -> PreTrainedTokenizerFast:
    gpt = family in ("gpt2", "gpt_neo")
    special = ["<unk>", "<|endoftext|>"] if gpt else ["<unk>", "<bos>", "<eos>", "<pad>"]
    vocab = {word: place for place, word in enumerate([*special, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    if gpt:
        names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    else:
        names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", clean_up_tokenization_spaces=False, **names)
