"""Tiny random models of six families, as Hugging Face folders with a tokenizer: small enough to
build inside a test. They are those of `interp.testbeds.families`, with other words.

The tokenizer is word-level over about 300 common words (case is lost); other words become `<unk>`,
so any text tokenises. GPT-2 and GPT-Neo have neither BOS nor padding, as the real ones; the rest
put a BOS before each text.
"""

import json
from pathlib import Path

from interp.testbeds.families import N_CTX
from interp.testbeds.family_folders import make_model_folder as make_family
from interp.testbeds.family_folders import make_tokenizer

__all__ = [
    "CHAT",
    "FAMILIES",
    "N_CTX",
    "POST_NORMED",
    "TURNS",
    "WORDS",
    "edit_config",
    "make_folder",
]

FAMILIES = ("gpt2", "llama", "qwen3", "gemma2", "mistral", "gpt_neo")

POST_NORMED = ("gemma2", "gemma3", "olmo2")
"""Families that pass what a sublayer writes through a norm before they add it."""

WORDS = tuple((Path(__file__).parent / "tiny_words.txt").read_text(encoding="utf-8").split())

CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message.role not in ('system', 'user', "
    "'assistant') %}{{ raise_exception('no such role') }}{% endif %}<{{ message.role }}> {{ "
    "message.content | trim }} <end>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% "
    "endif %}"
)
"""A chat template: of each turn, `<role>` opens it and `<end>` closes it; white space around
contents goes.
"""

TURNS = ("<system>", "<user>", "<assistant>", "<end>")


def make_folder(family: str, path: Path, *, chat: str | None = None) -> Path:
    """A folder at `path` with config, safetensors weights and tokenizer of a random model of
    `family`.

    With a `chat` template the tokenizer carries it, and knows the tokens of `TURNS`.
    """
    tokenizer = make_tokenizer(family, WORDS)
    if chat is not None:
        tokenizer.add_tokens(list(TURNS), special_tokens=True)
        tokenizer.chat_template = chat
    return make_family(family, path, tokenizer=tokenizer)


def edit_config(folder: Path, **changes: object) -> None:
    """Overwrite keys of a folder's `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
