"""A tiny Llama under tokenizers that differ only in what they put around a text: before it, behind
it, both, nothing.

The weights are the same. Tokens are bytes and a few words, and a blank at a text's end is a token
of its own, with or without characters in its span, as in GPT-2 and Llama-3.
"""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from support.tiny_models import make_folder

KINDS = {"neither": "$A", "prepend": "<bos> $A", "append": "$A <eos>", "both": "<bos> $A <eos>"}

SPECIAL = ("<unk>", "<bos>", "<eos>", "<pad>")
WORDS = ("Ġdog", "Ġran", "Ġfelt", "Ġjoy", "Ġsad", "Ġthe", "Ġand", "Ġcried")


def make_ending(path: Path, kind: str, *, trim: bool = False, extra: tuple[str, ...] = ()) -> Path:
    """A folder with the tiny Llama under a tokenizer of this kind; `extra` special tokens have no
    row in the embedding.
    """
    make_folder("llama", path)
    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        merges += [(word[:i], word[i]) for i in range(1, len(word))]
    merges = list(dict.fromkeys(merges))
    names += dict.fromkeys(a + b for a, b in merges)
    backend = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    around = processors.TemplateProcessing(
        single=KINDS[kind], special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=trim), around])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
    )
    rows = AutoTokenizer.from_pretrained(path).vocab_size  # the embedding has as many
    filler = (
        [AddedToken(f"<{i}>", special=True) for i in range(rows - len(tokenizer))] if extra else []
    )
    tokenizer.add_tokens(
        [*filler, *(AddedToken(token, special=True) for token in extra)], special_tokens=True
    )
    tokenizer.save_pretrained(path)
    return path
