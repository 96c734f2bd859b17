"""A tiny model of a family with random weights, and its folder as Hugging Face has it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from interp.testbeds.families import FAMILIES, WORDS


def make_config(family: str, n_words: int) -> PreTrainedConfig:
    """The tiny configuration of `family`, for a vocabulary of `n_words`."""
    chosen = FAMILIES[family]
    return AutoConfig.for_model(chosen.model_type, vocab_size=n_words, **chosen.settings)


def make_model(family: str, n_words: int) -> PreTrainedModel:
    """A random model of `family` in float32; the same each time."""
    generator = torch.Generator().manual_seed(20 + list(FAMILIES).index(family))
    config = make_config(family, n_words)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.3 * noise if weight.ndim > 1 else weight + 0.1 * noise)
    return model.eval()


def make_tokenizer(family: str, words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; where the family begins each text with a token, it puts one."""
    alone = FAMILIES[family].settings["bos_token_id"] == FAMILIES[family].settings["eos_token_id"]
    special = ["<unk>", "<|endoftext|>"] if alone else ["<unk>", "<bos>", "<eos>", "<pad>"]
    vocab = {word: place for place, word in enumerate([*special, *words])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    parts = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if alone:
        names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    else:
        names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 1)]
        )
    settings: dict[str, Any] = {"clean_up_tokenization_spaces": False, "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **settings, **names)


def make_model_folder(
    family: str,
    path: Path,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Path:
    """A Hugging Face folder at `path` with a random model of `family` and a tokenizer."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(family) if tokenizer is None else tokenizer
    tokenizer.save_pretrained(path)
    model = make_model(family, len(tokenizer))
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(path)
    finally:
        if bars:
            logging.enable_progress_bar()
    return path
