"""A GGUF file to what transformers makes of it: configuration, tokenizer, dequantised weights.

Transformers does the reading (`gguf_file=`). It is shown the file alone: a configuration, a
tokenizer or an adapter that lies beside the file would be read as well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    modeling_gguf_pytorch_utils,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models.loading.folder import unsupported
from interp.models.loading.gguf_checks import check_header
from interp.models.loading.gguf_header import Header, damaged, read_header
from interp.models.quiet import first_line, quietly

SPLIT_LIKE_GPT2 = ("gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "olmo", "mpt", "smollm")
"""What `tokenizer.ggml.pre` may say where texts are split into words as GPT-2 does it.

SmolLM parts digits as well; its vocabulary joins none, so that its tokens are the same.
"""


@runtime_checkable
class ReadsOnce(Protocol):
    """A reader of files that keeps what it read until it is cleared."""

    def __call__(self, path: str) -> Any:
        """What the file at `path` says, read once."""

    def cache_clear(self) -> None:
        """Keep nothing of what was read."""


@dataclass(frozen=True)
class GGUFModel:
    """A checked GGUF file without its weights.

    `cautions`: where transformers may misread it; `reader`: what has read its head, for `reading`.
    """

    header: Header
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    cautions: tuple[str, ...]
    reader: ReadsOnce

    @property
    def settings(self) -> dict[str, Any]:
        """What `from_pretrained` is told besides where the file is."""
        from transformers import GgufConfig

        return {"config": self.config, "quantization_config": GgufConfig(dequantize=True)}


def open_gguf(path: Path) -> GGUFModel:
    """Configuration and tokenizer of the file at `path`; it is checked, and no weight is read.

    Raises `UsageError` for another kind of file or an architecture that is not read,
    `ArtefactError` for a file that is damaged, contradicts itself or lacks a tokenizer,
    `ResourceError` for a package that is missing.
    """
    header = read_header(path)
    check_header(header)
    known = architectures(path)
    if _plain(header.architecture) not in map(_plain, known):
        raise UsageError(
            f"{path} is of the architecture {header.architecture!r}, which transformers does not "
            f"read from GGUF files. It reads {', '.join(known)}."
        )
    reader = fast_reader()
    with quietly(), reading(path, reader) as (folder, file):
        config, needed = _read_config(path, partial(AutoConfig.from_pretrained, folder, **file))
        if needed > header.numbers:
            told = f"its metadata describe a model of {needed} numbers"
            raise damaged(path, f"{told}, and its tensors hold {header.numbers}")
        tokenizer = _read_tokenizer(path, partial(AutoTokenizer.from_pretrained, folder, **file))
    cautions = (*_unread(header, needed), *_split_otherwise(header, tokenizer))
    return GGUFModel(header, config, tokenizer, cautions, reader)


def architectures(path: Path) -> list[str]:
    """What transformers reads from GGUF files; raises `ResourceError` where it is too old."""
    try:
        from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    except ImportError as error:
        told = "needs transformers 5.20 or later: pip install -U 'emotion-interp[gguf]'"
        raise ResourceError(f"reading {path} {told}.") from error
    older = set(modeling_gguf_pytorch_utils.GGUF_SUPPORTED_ARCHITECTURES)
    return sorted((older | set(GGUF_CONFIG_ARCHS)) - {"general", "tokenizer"})


@contextmanager
def reading(path: Path, reader: ReadsOnce) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `from_pretrained` takes for the file at `path`: an empty folder, and its name.

    Inside, transformers reads faster and shows no bar. `reader` is what `fast_reader` gave: where
    it has read the file before, it is not read again.

    By itself it reads the vocabulary anew for each part of a model, and makes gguf's table of names
    anew for each module: more than half of the time that a model of 135 million weights takes. Both
    are the same each time, so that inside they are made once. A word of the vocabulary is decoded
    from its bytes at once, and not from a list of numbers.
    """
    import gguf

    patched: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (gguf, "GGUFReader", lambda slow: reader),
        (gguf, "get_tensor_name_map", cache),
        (modeling_gguf_pytorch_utils, "_gguf_parse_value", _faster_strings),
        (modeling_gguf_pytorch_utils, "tqdm", _without_bar),
    ]
    before = [getattr(module, name) for module, name, _ in patched]
    for (module, name, change), made in zip(patched, before, strict=True):
        setattr(module, name, change(made))
    try:
        with TemporaryDirectory() as empty:
            yield empty, {"gguf_file": str(path.absolute()), "local_files_only": True}
    finally:
        for (module, name, _), made in zip(patched, before, strict=True):
            setattr(module, name, made)


def fast_reader() -> ReadsOnce:
    """gguf's reader, made once per file, over a plain array: it takes hundreds of thousands of
    small slices, and each slice of a memory map makes a memory map again. A vocabulary, which are
    arrays of words and of numbers, is cut in one loop; gguf asks a function for each element.
    """
    from gguf import GGUFReader, GGUFValueType

    class Fast(GGUFReader):
        @property
        def data(self) -> Any:
            return self._data

        @data.setter
        def data(self, mapped: np.ndarray) -> None:
            self._data = mapped.view(np.ndarray)

        def _get(
            self, offset: int, dtype: Any, count: Any = 1, override_order: str | None = None
        ) -> np.ndarray:
            kind = np.dtype(dtype)
            order = override_order or self.byte_order
            part = self._data[offset : offset + kind.itemsize * int(count)]
            return part.view(kind if order == "I" else kind.newbyteorder(order))

        def _get_field_parts(self, orig_offs: int, raw_type: Any) -> tuple[int, list, list, list]:
            if raw_type != GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            kind, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
            start, element = orig_offs + 12, GGUFValueType(int(kind[0]))
            if element == GGUFValueType.STRING:
                parts = self._words(start, int(count[0]))
                chosen = range(3, 2 + len(parts), 2)
            elif element in self.gguf_scalar_to_np:
                numbers = self._get(start, self.gguf_scalar_to_np[element], count[0])
                parts = [numbers[i : i + 1] for i in range(len(numbers))]
                chosen = range(2, 2 + len(parts))
            else:
                return super()._get_field_parts(orig_offs, raw_type)
            size = 12 + sum(part.nbytes for part in parts)
            types = [GGUFValueType.ARRAY, *[element] * (len(parts) > 0)]
            return size, [kind, count, *parts], list(chosen), types

        def _words(self, start: int, count: int) -> list[np.ndarray]:
            """The length of each of `count` words, and its bytes."""
            parts: list[np.ndarray] = []
            for _ in range(count):
                parts += self._get_str(start)
                start += 8 + len(parts[-1])
            return parts

    return cache(Fast)


def _faster_strings(parse: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """transformers' reader of a field's value, but for strings and arrays of them."""
    from gguf import GGUFValueType

    def value_of(part: np.ndarray, types: Any) -> Any:
        kind = types[-1] if isinstance(types, list) else types
        return bytes(part).decode() if kind == GGUFValueType.STRING else parse(part, types)

    return value_of


def _without_bar(tqdm: Any) -> Any:
    return partial(tqdm, disable=True)


def _read_config(path: Path, read: Callable[[], Any]) -> tuple[PreTrainedConfig, int]:
    """The configuration, and how many numbers the weights of such a model are."""
    try:
        config = read()
    except Exception as error:  # what a file says may lead transformers anywhere
        raise _unreadable(path, "metadata", error) from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported(path, config.model_type)
    try:
        with torch.device("meta"):
            shapes = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # as above: sizes that do not go together
        raise _unreadable(path, "metadata", error) from error
    return config, sum(weight.numel() for weight in shapes.parameters())


def _read_tokenizer(path: Path, read: Callable[[], Any]) -> PreTrainedTokenizerBase:
    try:
        return read()
    except Exception as error:  # the tokenizers library raises bare Exception
        raise _unreadable(path, "tokenizer", error) from error


def _unread(header: Header, needed: int) -> Iterator[str]:
    """Tensors that transformers leaves out: a model that scales its rotary positions needs them."""
    left = header.numbers - needed
    if left:
        usual = ("blk.", "token_embd", "position_embd", "output")
        rare = [entry.name for entry in header.tensors if not entry.name.startswith(usual)]
        named = f" ({', '.join(rare[:4])})" if rare else ""
        yield (
            f"transformers does not read {left} of the numbers in {header.path}{named}: what it "
            "computes may differ from what the file's maker meant. Compare it with the model's "
            "Hugging Face folder."
        )


def _split_otherwise(header: Header, tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Transformers splits a text as GPT-2 does where it does not know what the file asks for."""
    asked = header.facts.get("tokenizer.ggml.pre")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    like_gpt2 = isinstance(getattr(backend, "pre_tokenizer", None), ByteLevel)
    if like_gpt2 and asked is not None and asked not in SPLIT_LIKE_GPT2:
        yield (
            f"{header.path} asks that texts are split as {asked!r} (tokenizer.ggml.pre), which "
            "transformers does not know: it splits them as GPT-2 does, and some texts may become "
            "other tokens than the model was trained on."
        )


def _plain(architecture: str) -> str:
    """llama.cpp writes qwen2moe and gpt-oss, transformers qwen2_moe and gpt_oss."""
    return architecture.replace("_", "").replace("-", "")


def _unreadable(path: Path, what: str, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"{path}: transformers cannot read its {what} ({first_line(error)}). The file is damaged, "
        "or of a kind that transformers does not know: use the model's Hugging Face folder."
    )
