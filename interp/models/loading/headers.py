"""What the headers of safetensors files say of the tensors in them, read without torch and without
trust: a header that claims what its file does not hold is refused before anything is built for it.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError
from interp.files import open_regular
from interp.models.loading.folder import weight_files

TensorShape = tuple[int, ...]

_MOST_BYTES = 32 << 20
"""The longest header that is read: of a model with 100 000 tensors in one file it has half of
this.
"""

_NUMBER = re.compile(r"(?:^|\.)(\d{1,6})(?:\.|$)")
"""The first number in a tensor's name is its layer's, in every family."""


def weight_shapes(folder: Path) -> dict[str, TensorShape]:
    """The shape of every tensor in the weights of a folder, by name.

    Raises `ArtefactError` for a file that is no safetensors file, is cut, or lies of its size.
    """
    found: dict[str, TensorShape] = {}
    for path in weight_files(folder):
        try:
            found.update(_shapes(path))
        except OSError as error:
            raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = str(error)[:200] or type(error).__name__
            raise ArtefactError(
                f"the weights in {folder} are corrupt ({path.name}: {reason}): download the "
                "model again."
            ) from error
    return found


def count_layers(names: Iterable[str]) -> int:
    """How many layers the tensors of these names belong to; 0 where no name has a number."""
    return max((int(match[1]) + 1 for name in names if (match := _NUMBER.search(name))), default=0)


def _shapes(path: Path) -> dict[str, TensorShape]:
    """The shapes in one file: a length of 8 bytes, a header of JSON, and the data."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(_MOST_BYTES, size - 8):
            raise ValueError(f"its header claims {length:,} bytes in a file of {size:,}")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    end = max((_end(entry) for entry in header.values()), default=0)
    if end != size - 8 - length:
        raise ValueError(
            f"its header claims {end:,} bytes of data, and {size - 8 - length:,} follow"
        )
    return {name: _shape(entry["shape"]) for name, entry in header.items()}


def _end(entry: Any) -> int:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end:
        raise ValueError(f"a tensor lies from byte {start} to {end}")
    return int(end)


def _shape(extents: Any) -> TensorShape:
    if not all(isinstance(extent, int) and extent >= 0 for extent in extents):
        raise ValueError(f"a tensor has the shape {str(extents)[:80]}")
    return tuple(extents)
