"""Directions as safetensors and JSON, out of which the Python package `steering-vectors` builds its
`SteeringVector`, and back.

A `SteeringVector` is a table from layer numbers to vectors and a `layer_type`. Its layer N is the
Nth module that matches the type, counted from 0; for `decoder_block` that is a whole block, and the
vector, times a multiplier, is added to its output: the stream behind block N, at every token from
`min_token_index` on. Block 0 can be steered. The package has no file format: such an object is kept
by pickle, which runs code of the file when it is read, and we neither write nor read that. Here the
tensor `N` holds what is added behind block N at multiplier 1, and the JSON file beside it the layer
type and what a `Direction` knows. Neither says at which tokens, nor anything but an addition.

Source: `SteeringVector` and `collect_matching_layers` in steering-vectors (Chanin et al.,
github.com/steering-vectors/steering-vectors).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.array_files import read_arrays, write_arrays
from interp.directions import Direction
from interp.errors import ArtefactError, UsageError
from interp.models.exported_steps import Step, block_of, card_of, from_step, steps_by_layer

KIND = "layer_steps"
LAYER_TYPE = "decoder_block"
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".bin")


def save_layer_steps(path: Path | str, steps: Sequence[Step]) -> None:
    """Write `path` (safetensors, one vector of float32 per layer, named after its number) and its
    JSON card beside it.

    Raises `ArtefactError` for what the form cannot say: a site that is not the stream behind a
    block, two directions of one layer, unequal widths, a step that is not finite in float32;
    `UsageError` for no direction or another ending than .safetensors.
    """
    target = Path(path)
    if target.suffix in PICKLED:
        raise UsageError(
            f"{target.name} would be a pickle, which runs code when it is read: name a file that "
            "ends in .safetensors; docs/steering.md has the lines that build a SteeringVector."
        )
    if target.suffix != ".safetensors" or not steps:
        raise UsageError(
            f"cannot write {len(steps)} directions as {target.name}: give at least one, and a name "
            "that ends in .safetensors."
        )
    found = steps_by_layer(steps, block_of)
    cards = {str(layer): card_of(direction) for layer, (direction, _) in found.items()}
    vectors = {str(layer): vector for layer, (_, vector) in found.items()}
    write_arrays(target, vectors, {"kind": KIND, "layer_type": LAYER_TYPE, "directions": cards})


def load_layer_steps(path: Path | str) -> dict[int, Direction]:
    """The directions of such a file by layer; their length is that of the file's vectors, so that
    scale 1 in the unit `length` adds what is added at multiplier 1.

    Raises `ArtefactError` for a changed file, and one that holds something else.
    """
    source = Path(path)
    vectors, about = read_arrays(source)
    expected = (KIND, LAYER_TYPE)
    if (about.get("kind"), about.get("layer_type")) != expected:
        raise ArtefactError(
            f"{source} holds {about.get('kind') or 'no steps of layers'}, expected {KIND} of the "
            f"type {LAYER_TYPE}."
        )
    cards = about.get("directions")
    if not isinstance(cards, Mapping) or not vectors or cards.keys() != vectors.keys():
        raise ArtefactError(f"{source} does not have one card for each of its vectors.")
    layers = {_number(name, vector, source): name for name, vector in vectors.items()}
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise ArtefactError(f"the directions in {source} differ in width.")
    return {
        at: _read(at, vectors[name], cards[name], source) for at, name in sorted(layers.items())
    }


def _read(layer: int, vector: Float[np.ndarray, " d_model"], card: Any, source: Path) -> Direction:
    doubles = vector.astype(np.float64)
    return from_step(layer, doubles, card, name=f"{source}: layer {layer}", method=KIND)


def _number(name: str, vector: np.ndarray, source: Path) -> int:
    if not (name.isascii() and name.isdecimal()):
        raise ArtefactError(f"{source} holds a tensor {name!r}: expected a layer's number.")
    if vector.dtype != np.float32 or vector.ndim != 1:
        raise ArtefactError(
            f"{source}: layer {name} is {vector.dtype} of shape {list(vector.shape)}: expected a "
            "vector of float32."
        )
    return int(name)
