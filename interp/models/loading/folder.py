"""What a Hugging Face folder must hold before anything of it is loaded: checks on small files,
without torch.

Only safetensors weights and transformers' own architectures are accepted: a `.bin` file is a
pickle, and code that comes with a model would run on this machine.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError, UsageError
from interp.files import open_regular, read_regular

MODEL_TYPES = (
    "gpt2",
    "gpt_neo",
    "gpt_neox",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi",
    "olmo",
)
"""Families to name when another is refused; any decoder-only model that TransformerLens's bridge
takes will do.
"""

_GENERATIVE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How transformers ends the names of classes that write text."""

_MOST_BYTES = 64 << 20
"""The longest JSON file of a model that is read here."""

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SMALL = (".json", ".model", ".txt", ".jinja")
"""Endings of the files that lie beside the weights: configuration and tokenizer."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
)


def check_folder(folder: Path) -> dict[str, Any]:
    """The configuration of the model in `folder`, once it is known that the folder can be loaded.

    Raises `ArtefactError` (exit 4) for files that are missing, broken or not to be trusted,
    `UsageError` (exit 2) for a kind of model that interp does not read.
    """
    config = check_description(folder)
    check_weight_names({entry.name for entry in folder.iterdir()}, folder)
    weight_files(folder)
    return config


def check_description(folder: Path) -> dict[str, Any]:
    """The configuration of the model in `folder`, once configuration and tokenizer are known to be
    there, and all that lies beside them to be plain files; raises as `check_folder` does.
    """
    refuse_no_files(folder)
    if not (folder / "config.json").is_file():
        _refuse_other_folders(folder)
    otherwise = "name a Hugging Face model folder, which has one, or a GGUF file"
    config = read_json(folder / "config.json", otherwise)
    check_config(config, folder)
    tokenizer = folder / "tokenizer_config.json"
    if tokenizer.is_file():
        refuse_code(read_json(tokenizer, "it describes the tokenizer"), tokenizer)
    if not {entry.name for entry in folder.iterdir()} & set(TOKENIZER_FILES):
        raise ArtefactError(
            f"{folder} holds no tokenizer (looked for {', '.join(TOKENIZER_FILES)}): save it "
            "beside the model."
        )
    return config


def _refuse_other_folders(folder: Path) -> None:
    """Raise `UsageError` for an adapter's folder, and for one that holds GGUF files."""
    if (folder / "adapter_config.json").is_file():
        base = read_json(folder / "adapter_config.json", "").get("base_model_name_or_path")
        raise UsageError(
            f"{folder} holds an adapter (adapter_config.json), a change to the model {base!r}, and "
            "no model. Merge them with peft, and name the new folder: model = "
            f"AutoPeftModelForCausalLM.from_pretrained({str(folder)!r}).merge_and_unload(); "
            "model.save_pretrained(NEW), and the tokenizer's save_pretrained(NEW)."
        )
    files = sorted(entry for entry in folder.iterdir() if _is_gguf(entry.name) and entry.is_file())
    if files:
        named = ", ".join(entry.name for entry in files[:5])
        raise UsageError(f"{folder} holds GGUF files ({named}): name the file, {files[0]}.")


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def refuse_no_files(folder: Path) -> None:
    """Raise `ArtefactError` for a pipe, a device or a folder where a model's folder has a file.

    Whoever opened a pipe by its name would wait without end.
    """
    for path in small_files(folder, plain=False):
        try:
            open_regular(path).close()
        except OSError as error:
            raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error


def check_config(config: dict[str, Any], where: Path | str) -> None:
    """Raise unless `config` describes a decoder-only language model that needs no code of its
    own.
    """
    if not isinstance(config.get("model_type"), str):
        raise ArtefactError(
            f"{where}: config.json names no model_type; it must be one of transformers' own, "
            "such as gpt2."
        )
    refuse_code(config, where)
    if config.get("is_encoder_decoder"):
        raise unsupported(where, f"{config['model_type']}, an encoder-decoder")
    named = config.get("architectures") or []
    if not isinstance(named, list):
        raise ArtefactError(
            f"{where}: architectures in config.json holds a {type(named).__name__}, expected a "
            "list of names."
        )
    if named and not str(named[0]).endswith(_GENERATIVE):
        raise unsupported(where, str(named[0]))


def unsupported(where: Path | str, kind: str) -> UsageError:
    """The error for a kind of model that interp does not read."""
    return UsageError(
        f"{where} is of a kind that interp does not read ({kind}). It reads decoder-only "
        f"language models: {', '.join(MODEL_TYPES)} and others like them."
    )


def refuse_code(config: dict[str, Any], where: Path | str) -> None:
    """Raise `ArtefactError` when a configuration asks for Python code that comes with the model."""
    code = config.get("auto_map")
    if code:
        classes = sorted(map(str, code)) if isinstance(code, dict) else [str(code)[:80]]
        raise ArtefactError(
            f"{where} needs Python code that comes with it ({', '.join(classes)}), which would "
            "run on this machine with your rights. interp runs none: use a revision in one of "
            "transformers' own architectures."
        )


def check_weight_names(names: Collection[str], where: Path | str) -> None:
    """Raise unless safetensors weights are among the file `names`.

    `UsageError` where GGUF files are, else `ArtefactError`.
    """
    if SINGLE in names or INDEX in names:
        return
    pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickled:
        raise ArtefactError(
            f"{where} has its weights only as {pickled[0]}, a pickle, which can run code when it "
            "is read. Use a revision with safetensors (many hub models have one under refs/pr), "
            "or convert it in a sandbox."
        )
    files = sorted(filter(_is_gguf, names))
    if files:
        told = f"{where} has its weights only as GGUF files"
        raise UsageError(f"{told}: download one ({files[0]}), and name it.")
    raise ArtefactError(f"{where} holds no weights: expected {SINGLE} or {INDEX}.")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the model in `folder`; raises `ArtefactError` when one is
    missing or empty.
    """
    names = [SINGLE]
    if (folder / INDEX).exists():
        names = shard_names(read_json(folder / INDEX, "it lists the weight files"), folder / INDEX)
    for name in names:
        path = folder / name
        if not path.is_file() or path.stat().st_size == 0:
            raise ArtefactError(f"{path} is missing or empty: download the model again.")
    return [folder / name for name in names]


def small_files(folder: Path, *, plain: bool = True) -> list[Path]:
    """The files of a model's folder that say what its weights and its tokens are; with `plain`
    False also what only has such a name.
    """
    found = [path for path in folder.iterdir() if path.name.endswith(SMALL)]
    return sorted(path for path in found if path.is_file() or not plain)


def shard_names(index: dict[str, Any], where: Path | str) -> list[str]:
    """The weight files that an index names; raises `ArtefactError` for a name that leaves the
    folder.
    """
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ArtefactError(f"{where} has no weight_map: download the model again.")
    names = sorted({str(name) for name in shards.values()})
    outside = [
        name for name in names if Path(name).name != name or not name.endswith(".safetensors")
    ]
    if outside:
        raise ArtefactError(
            f"{where} names the weight file {outside[0]!r}: expected a .safetensors file beside "
            "the index."
        )
    return names


def read_json(path: Path, why: str) -> dict[str, Any]:
    """The object in a JSON file; raises `ArtefactError` when it is missing or no JSON object."""
    try:
        content = json.loads(read_regular(path, most=_MOST_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} does not exist: {why}.") from error
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ArtefactError(
            f"{path} is not valid JSON ({error}): download or write it again."
        ) from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} holds a {type(content).__name__}, expected a JSON object.")
    return content
