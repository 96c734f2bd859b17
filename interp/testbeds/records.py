"""One record per testbed: how it is made, asked and judged, and which texts belong to it.

To add a testbed, write its package with a `RECORDS` of its own, and its line in `TESTBEDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from interp.files import sha256_file
from stimuli.battery import Battery

_WEIGHTS = "*.safetensors"

MIXED = "mixed"
"""The verdict on a sentence that speaks of several emotions, or of somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Testbed:
    """A model whose truth is known.

    `source` is its Hugging Face folder, or builds the model and its tokenizer in memory. `words`
    names each emotion in its vocabulary; an emotion that has none cannot be asked for. They are
    expected behind a text and `suffix`. `continuations` are neutral texts of its language that can
    stand behind any of its texts. `battery` makes its texts from a seed. `judge` gives the
    emotion of each continuation, `MIXED`, or None for what is no sentence of the model's language;
    without it, `words` decide.
    """

    source: Path | Callable[[], tuple[Any, Any]]
    words: Mapping[str, Sequence[str]]
    suffix: str
    battery: Callable[[int], Battery]
    continuations: Sequence[str] = ()
    judge: Callable[[Sequence[str]], list[str | None]] | None = None


TESTBEDS = {"planted": "planted", "planted_null": "planted", "storyworld": "storyworld"}
"""Each testbed's name, as `--model` takes it, and the package that has its record."""


def testbed(name: str) -> Testbed:
    """The record of the testbed of this name."""
    package = import_module(f"interp.testbeds.{TESTBEDS[name]}")
    record: Testbed = package.RECORDS[name]
    return record


def testbed_called(name: str) -> Testbed | None:
    """The testbed that `name` loads: its own name, or a folder with its weights; else None.

    Nothing is loaded, and weights are read only where they are as large as a testbed's.
    """
    if name in TESTBEDS:
        return testbed(name)
    return next((bed for folder, bed in _in_folders() if _same_weights(Path(name), folder)), None)


def testbed_of(provenance: Mapping[str, Any]) -> Testbed | None:
    """The testbed that a loaded model is, by the digests of its weights; None for another model.

    Where the model lies and how it is called does not matter.
    """
    if provenance.get("source") == "testbed":
        return testbed(provenance["model"])
    weights = provenance.get("weights")
    return next((bed for folder, bed in _in_folders() if _own_digests(folder) == weights), None)


def _in_folders() -> list[tuple[Path, Testbed]]:
    """The testbeds that are read from a folder: one built in memory has no files to copy."""
    beds = [testbed(name) for name in TESTBEDS]
    return [(bed.source, bed) for bed in beds if isinstance(bed.source, Path)]


def _same_weights(folder: Path, own: Path) -> bool:
    try:
        if _sizes(folder) != _sizes(own):
            return False
    except (OSError, ValueError):  # no file can have this name; loading it says so
        return False
    return _digests(folder) == _own_digests(own)


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.glob(_WEIGHTS)}


def _digests(folder: Path) -> dict[str, str]:
    """As `weights` in a model's provenance: a SHA-256 per file."""
    return {path.name: sha256_file(path) for path in folder.glob(_WEIGHTS)}


@cache
def _own_digests(folder: Path) -> dict[str, str]:
    return _digests(folder)
