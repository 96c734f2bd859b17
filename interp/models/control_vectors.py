"""Directions as a GGUF control vector, the form in which llama.cpp takes them, and back.

The file holds one tensor of float32 per layer, `direction.N`. llama.cpp adds it, times a strength
of its own, to the stream behind block N (blocks count from 0) at every token of prompt and answer.
Block 0 is left out of the format, as are all places but the stream behind a block, and positions.
A file that we write carries what a `Direction` knows, as JSON under `interp.card`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.directions import Direction
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.files import read_regular, write_atomic
from interp.sites import STREAM, Site

ARCHITECTURE = "controlvector"
HINT, COUNT = "controlvector.model_hint", "controlvector.layer_count"
CARD = "interp.card"
TENSOR = "direction."

LARGEST_VECTOR_FILE = 1 << 28
"""A control vector is small; a larger file is none and is not read."""


def save_control_vector(
    path: Path | str, steps: Sequence[tuple[Direction, Float[np.ndarray, " d_model"]]]
) -> None:
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
    found: dict[int, tuple[Direction, np.ndarray]] = {}
    for direction, step in steps:
        layer = layer_in_file(direction.site)
        if layer in found:
            raise ArtefactError(
                f"two directions act behind layer {layer}, and a control vector has one tensor per "
                "layer: add their steps up first, or write two files."
            )
        vector = np.asarray(step, dtype=np.float32)
        if not np.isfinite(vector).all():
            raise ArtefactError(f"the step at {direction.site} is not finite in float32.")
        found[layer] = (direction, vector)
    if len({len(vector) for _, vector in found.values()}) > 1:
        raise ArtefactError("the directions differ in width: they are not of one model.")
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
    return {at: _direction(at, one, about.get(str(at), {})) for at, one in sorted(vectors.items())}


def layer_in_file(site: Site) -> int:
    """The N of `direction.N` that acts at this site. Raises `ArtefactError` for one that the format
    lacks.
    """
    if site.name != STREAM:
        raise ArtefactError(
            f"a control vector acts in the stream behind a block ({STREAM}), and the direction is "
            f"at {site}: fit one there."
        )
    if site.layer == 0:
        raise ArtefactError(
            "a control vector cannot act behind layer 0: llama.cpp begins with layer 1. Fit the "
            "direction at a later layer."
        )
    return site.layer


def _write(path: Path, found: Mapping[int, tuple[Direction, np.ndarray]]) -> None:
    writer = _gguf().GGUFWriter(path, ARCHITECTURE)
    first = next(iter(found.values()))[0]
    writer.add_string(HINT, str(first.provenance.get("model", "")))
    writer.add_uint32(COUNT, len(found))
    cards = {layer: _card(direction) for layer, (direction, _) in sorted(found.items())}
    writer.add_string(CARD, json.dumps(cards, sort_keys=True, default=str))
    for layer, (_, vector) in sorted(found.items()):
        writer.add_tensor(f"{TENSOR}{layer}", vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _card(direction: Direction) -> dict[str, Any]:
    return {
        "method": direction.method,
        "labels": list(direction.labels),
        "stream_norm": None if np.isnan(direction.stream_norm) else direction.stream_norm,
        "spread": direction.spread,
        "provenance": dict(direction.provenance),
    }


def _direction(layer: int, vector: Float[np.ndarray, " d_model"], card: Any) -> Direction:
    """The direction of a tensor, with what a card of ours says of it."""
    length = float(np.linalg.norm(vector))
    if not (np.isfinite(length) and length > 0):
        raise ArtefactError(f"direction.{layer} has length {length}: there is nothing to steer by.")
    made = Direction(
        vector / length, Site(STREAM, layer), "control_vector", ("direction", "its opposite"),
        length, 0.0,
    )  # fmt: skip
    if not card:
        return made
    try:
        high, low = card["labels"]
        norm = card["stream_norm"]
        return replace(
            made,
            method=str(card["method"]),
            labels=(str(high), str(low)),
            spread=float(card["spread"]),
            stream_norm=np.nan if norm is None else float(norm),
            provenance=dict(card["provenance"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"the card of direction.{layer} is damaged: {error}.") from error


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
