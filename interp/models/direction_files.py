"""The directions in a file, whichever form they were saved in."""

from pathlib import Path

from interp.array_files import read_arrays
from interp.directions import Direction
from interp.models.control_vectors import load_control_vector
from interp.models.layer_steps import KIND, load_layer_steps


def directions_in(path: Path) -> list[Direction]:
    """The directions of a file: a saved one, or those of a GGUF control vector or of steps by
    layer. Raises `ArtefactError` for a file that is none of them.
    """
    if path.suffix == ".gguf":
        return list(load_control_vector(path).values())
    if read_arrays(path)[1].get("kind") == KIND:
        return list(load_layer_steps(path).values())
    return [Direction.load(path)]
