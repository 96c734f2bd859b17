"""Names of models: testbeds, packaged models, folders, GGUF files, hub ids.

Telling them apart needs neither torch nor the network.
"""

import difflib
import os
import re
from pathlib import Path
from typing import Literal

from interp.errors import UsageError
from interp.files import caches
from interp.models.loading.packaged import PACKAGED
from interp.testbeds.records import TESTBEDS

HUB_ID = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?",
    re.ASCII,
)

FORMS = (
    f"a testbed ({', '.join(TESTBEDS)}), {', '.join(PACKAGED)}, a folder with config.json, "
    "a .gguf file, or a hub id org/name@revision"
)

GGUF_SUFFIX = ".gguf"

Kind = Literal["testbed", "packaged", "folder", "gguf", "hub"]


def resolve(name: str) -> Kind:
    """What kind of name this is. Raises `UsageError`, with the three nearest names, for none."""
    if name in TESTBEDS:
        return "testbed"
    if name in PACKAGED:
        return "packaged"
    if not name or not name.isprintable():
        what = "is empty or holds control characters"
        raise UsageError(f"the model name {name!r} {what}. {_hint(name)}")
    kind = _on_disk(name)
    if kind is not None:
        return kind
    if name.lower().endswith(GGUF_SUFFIX):
        raise UsageError(f"there is no file {name}. {_hint(name)}")
    match = HUB_ID.fullmatch(name)
    if match and ".." not in name:
        return "hub"
    raise UsageError(f"unknown model {name!r}. {_hint(name)}")


def _on_disk(name: str) -> Literal["folder", "gguf"] | None:
    """What lies at the path `name`; None for nothing. Raises `UsageError` for what is no model."""
    try:
        path = Path(name)
        if path.is_dir():
            return "folder"
        if not path.exists():
            return None
        plain = path.is_file()
    except OSError as error:
        told = f"cannot look at {name[:80]!r} ({error.strerror})"
        raise UsageError(f"{told}. {_hint(name)}") from error
    if not plain:
        raise UsageError(f"{name} is no ordinary file but a pipe or a device; a model is {FORMS}.")
    if path.suffix.lower() != GGUF_SUFFIX:
        raise UsageError(f"{name} is a file; a model is {FORMS}.")
    return "gguf"


def split_hub_id(name: str) -> tuple[str, str | None]:
    """Repository and revision (None: the default branch) of a hub id."""
    match = HUB_ID.fullmatch(name)
    if match is None:
        raise UsageError(f"{name!r} is no hub id. {_hint(name)}")
    return match["repository"], match["revision"]


def nearest_names(name: str) -> list[str]:
    """The three known names most like `name`.

    Known are testbeds, packaged models, model folders and GGUF files below the current folder, and
    cached hub models.
    """
    return difflib.get_close_matches(name, _known(), n=3, cutoff=0.0)


def _hint(name: str) -> str:
    return f"Did you mean {', '.join(nearest_names(name))}? A model is {FORMS}."


def _known() -> list[str]:
    configs = [path for depth in ("*", "*/*") for path in Path().glob(f"{depth}/config.json")]
    folders = [str(path.parent) for path in configs]
    found = [path for depth in ("", "*/", "*/*/") for path in Path().glob(f"{depth}*{GGUF_SUFFIX}")]
    files = [str(path) for path in found if path.is_file()]
    cached = [entry.name for entry in cache_folder().glob("models--*") if entry.is_dir()]
    cached = [name.removeprefix("models--").replace("--", "/") for name in cached]
    return [*TESTBEDS, *PACKAGED, *sorted(folders)[:200], *sorted(files)[:200], *sorted(cached)]


def cache_folder() -> Path:
    """Where Hugging Face keeps what it downloaded (its own environment variables are honoured)."""
    home = os.environ.get("HF_HOME") or caches() / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
