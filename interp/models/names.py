"""Names of models: testbeds, folders, hub ids. Telling them apart needs neither torch nor the network."""

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from interp.errors import UsageError

HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)

FORMS = "a testbed (planted, planted_null, storyworld), a folder with config.json, or a hub id org/name@revision"


def _planted(name: str) -> Any:
    from interp.testbeds import planted

    return planted.build(planted.SPECS[name])


def _storyworld() -> Path:
    from interp.testbeds import storyworld

    return storyworld.folder()


TESTBEDS: dict[str, Callable[[], Any]] = {
    "planted": lambda: _planted("planted"),
    "planted_null": lambda: _planted("planted_null"),
    "storyworld": _storyworld,
}
"""Each testbed's builder, which gives a Hugging Face model and its tokenizer, or the folder that holds them."""


def resolve(name: str) -> Literal["testbed", "folder", "hub"]:
    """What kind of name this is. Raises `UsageError`, with the three nearest names known here, for none of them."""
    if name in TESTBEDS:
        return "testbed"
    if not name or not name.isprintable():
        raise UsageError(f"the model name {name!r} is empty or holds control characters. {_hint(name)}")
    try:
        path = Path(name)
        if path.is_dir():
            return "folder"
        if path.exists():
            raise UsageError(f"{name} is a file; a model is {FORMS}.")
    except OSError as error:
        raise UsageError(f"cannot look at {name[:80]!r} ({error.strerror}). {_hint(name)}") from error
    match = HUB_ID.fullmatch(name)
    if match and ".." not in name:
        return "hub"
    raise UsageError(f"unknown model {name!r}. {_hint(name)}")


def split_hub_id(name: str) -> tuple[str, str | None]:
    """Repository and revision (None: the default branch) of a hub id."""
    match = HUB_ID.fullmatch(name)
    if match is None:
        raise UsageError(f"{name!r} is no hub id. {_hint(name)}")
    return match["repository"], match["revision"]


def nearest(name: str) -> list[str]:
    """The three known names most like `name`: testbeds, model folders below the current folder, cached hub models."""
    return difflib.get_close_matches(name, _known(), n=3, cutoff=0.0)


def _hint(name: str) -> str:
    return f"Did you mean {', '.join(nearest(name))}? A model is {FORMS}."


def _known() -> list[str]:
    here = Path()
    folders = [str(config.parent) for pattern in ("*/config.json", "*/*/config.json") for config in here.glob(pattern)]
    cached = [
        entry.name.removeprefix("models--").replace("--", "/") for entry in cache_folder().glob("models--*") if entry.is_dir()
    ]
    return [*TESTBEDS, *sorted(folders)[:200], *sorted(cached)]


def cache_folder() -> Path:
    """Where Hugging Face keeps what it downloaded (its own environment variables are honoured)."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
