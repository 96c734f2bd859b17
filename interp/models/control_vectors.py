"""Directions as a GGUF control vector, the form in which llama.cpp, repeng and EasySteer take them,
and back.

The file holds one tensor of float32 per layer, `direction.N`. llama.cpp adds it, times a strength
of its own, to the stream behind block N (blocks count from 0) at every token of prompt and answer.
Block 0 is left out of the format, as are all places but the stream behind a block, and positions.
repeng and EasySteer name tensors and count blocks the same way; they demand `model_hint`, and
EasySteer also reads `method`. A file that we write carries what a `Direction` knows, as JSON under
`interp.card`.

Sources: `common_control_vector_load_one` in llama.cpp's `common/common.cpp`; `ControlVector` and
`ControlModel` in repeng (Vogel, github.com/vgel/repeng); `StatisticalControlVector` and the loader
of `direct` in EasySteer (Xu et al. 2025, arXiv:2509.25175).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.directions import Direction
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.files import read_regular, write_atomic
from interp.models.exported_steps import Step, block_of, card_of, from_step, steps_by_layer
from interp.sites import Site

ARCHITECTURE = "controlvector"
HINT, COUNT = "controlvector.model_hint", "controlvector.layer_count"
METHOD_HINT = "controlvector.method"
UNKNOWN = "unknown"
"""The hint of a direction that does not say which model it is of."""

CARD = "interp.card"
TENSOR = "direction."

LARGEST_VECTOR_FILE = 1 << 28
"""A control vector is small; a larger file is none and is not read."""


def save_control_vector(path: Path | str, steps: Sequence[Step]) -> None:
    """Write directions as a control vector, of which each layer's tensor is the step given beside
    the direction (`interp.causal.steps.step`): what llama.cpp adds at strength 1.

    Raises `ArtefactError` for what the format cannot say: layer 0, a site that is not the stream
    behind a block, two directions of one layer, unequal widths, a step that is not finite in
    float32; `UsageError` for no direction or another ending than .gguf; `ResourceError` where the
    package gguf is missing.
    """
    target = Path(path)
    if target.suffix != ".gguf" or not steps:
        raise UsageError(
            f"cannot write {len(steps)} directions as {target.name}: give at least one, and a name "
            "that ends in .gguf."
        )
    found = steps_by_layer(steps, layer_in_file)
    with TemporaryDirectory() as folder:
        made = Path(folder) / "vector.gguf"
        _write(made, found)
        write_atomic(target, made.read_bytes())


def load_control_vector(path: Path | str) -> dict[int, Direction]:
    """The directions of a control vector by layer; their length is that of the file's tensors, so
    that scale 1 in the unit `length` adds what llama.cpp adds at strength 1.

    A file of ours says which model they belong to; any other does not, and they are foreign to
    every model. Raises `ArtefactError` for a file that is no control vector or cannot be one: a
    tensor for layer 0 or of no layer, one that is not a vector of float32, unequal widths.
    """
    gguf = _gguf()
    source = Path(path)
    try:
        read_regular(source, most=LARGEST_VECTOR_FILE)
        reader = gguf.GGUFReader(source)
        kind = _text(reader, "general.architecture")
        card = json.loads(_text(reader, CARD) or "{}")
        tensors = {str(one.name): one for one in reader.tensors}
    except OSError as error:
        raise ArtefactError(f"cannot read {source}: {error.strerror or error}.") from error
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise ArtefactError(f"{source} is no GGUF file that can be read: {error}.") from error
    if kind != ARCHITECTURE:
        raise ArtefactError(
            f"{source} holds {kind or 'nothing named'}, expected {ARCHITECTURE!r}: it is no "
            "control vector."
        )
    if not tensors:
        raise ArtefactError(f"{source} holds no direction.")
    vectors = {_layer(name, source): _vector(one, source) for name, one in tensors.items()}
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise ArtefactError(f"the directions in {source} differ in width.")
    about = card if isinstance(card, dict) else {}
    return {
        at: from_step(
            at, one, about.get(str(at), {}), name=f"{TENSOR}{at}", method="control_vector"
        )
        for at, one in sorted(vectors.items())
    }


def layer_in_file(site: Site) -> int:
    """The N of `direction.N` that acts at this site. Raises `ArtefactError` for one that the format
    lacks.
    """
    layer = block_of(site)
    if layer == 0:
        raise ArtefactError(
            "a control vector cannot act behind layer 0: llama.cpp begins with layer 1. Fit the "
            "direction at a later layer."
        )
    return layer


def _write(path: Path, found: Mapping[int, tuple[Direction, np.ndarray]]) -> None:
    writer = _gguf().GGUFWriter(path, ARCHITECTURE)
    first = next(iter(found.values()))[0]
    # An empty text would not be written, and repeng and EasySteer refuse a file without the key.
    writer.add_string(HINT, str(first.provenance.get("model") or UNKNOWN))
    writer.add_string(METHOD_HINT, first.method)
    writer.add_uint32(COUNT, len(found))
    cards = {layer: card_of(direction) for layer, (direction, _) in found.items()}
    writer.add_string(CARD, json.dumps(cards, sort_keys=True, default=str))
    for layer, (_, vector) in found.items():
        writer.add_tensor(f"{TENSOR}{layer}", vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _layer(name: str, source: Path) -> int:
    number = name.removeprefix(TENSOR)
    if not name.startswith(TENSOR) or not (number.isascii() and number.isdecimal()):
        raise ArtefactError(f"{source} holds a tensor {name!r}: expected {TENSOR}N.")
    if int(number) == 0:
        raise ArtefactError(f"{source} holds {name}: a control vector begins with layer 1.")
    return int(number)


def _vector(tensor: Any, source: Path) -> Float[np.ndarray, " d_model"]:
    if tensor.tensor_type != _gguf().GGMLQuantizationType.F32 or len(tensor.shape) != 1:
        raise ArtefactError(
            f"{source}: {tensor.name} is {tensor.tensor_type.name} of shape {list(tensor.shape)}: "
            "expected a vector of F32."
        )
    return np.array(tensor.data, dtype=np.float64)


def _text(reader: Any, key: str) -> str:
    found = reader.get_field(key)
    return "" if found is None else str(found.contents())


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ResourceError(
            "control vectors need the package gguf: pip install 'emotion-interp[gguf]'."
        ) from error
    return gguf
