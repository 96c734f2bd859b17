"""Small arrays on disk: a safetensors file and a JSON card beside it, each of which gives away a
change of the other.

The card holds the safetensors file's SHA-256 and says in JSON what the arrays are; the file's own
header repeats that text. A flipped bit in either is refused, and nothing is ever unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from interp.errors import ArtefactError
from interp.files import read_regular, sha256_bytes, write_atomic

CARD_SCHEMA = 2
"""Version of the card; a larger one was written by a newer interp and is refused.

Until 1 the length of a direction was called its scale.
"""

LARGEST = 1 << 28
"""A direction or a probe is small; a larger file is not one of ours and is not read."""


def card_path(path: Path) -> Path:
    """Where the card of `path` lies: the same name, ending in .json."""
    return path.with_suffix(".json")


def write_arrays(path: Path, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays to `path` and their card, each atomically. Raises `ResourceError` when the file
    system refuses.
    """
    text = json.dumps({"schema": CARD_SCHEMA, **about}, sort_keys=True, default=str)
    content = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        metadata={"about": text},
    )
    card = {"sha256": sha256_bytes(content), "about": json.loads(text)}
    write_atomic(path, content)
    write_atomic(card_path(path), (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and what the card says of them; `ArtefactError` when either file is missing, changed,
    or of a newer interp.
    """
    content, card_bytes = _bytes(path), _bytes(card_path(path))
    try:
        card = json.loads(card_bytes.decode("utf-8"))
        expected, about = card["sha256"], card["about"]
        found = sha256_bytes(content)
        if found != expected:
            raise ArtefactError(
                f"{path} was changed: its SHA-256 is {found}, its card says {expected}. Make it "
                "again."
            )
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["about"])
        if header != about:
            raise ArtefactError(
                f"{card_path(path)} was changed: it does not say what {path.name} says of "
                "itself. Make it again."
            )
        if about["schema"] > CARD_SCHEMA:
            raise ArtefactError(
                f"{path} was written by a newer interp (schema {about['schema']}, this one reads "
                f"{CARD_SCHEMA}): update."
            )
        return load(content), about
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        SafetensorError,
    ) as error:
        raise ArtefactError(
            f"{path} and its card are not an artefact of interp: {error}."
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, most=LARGEST)
    except OSError as error:
        raise ArtefactError(
            f"cannot read {path}: {error.strerror}. A direction or an eraser is two files, "
            ".safetensors and .json, and small."
        ) from error
