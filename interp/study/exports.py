"""Which directions a path holds that are to be written for other tools."""

from collections.abc import Sequence
from pathlib import Path

from interp.directions import Direction
from interp.errors import ArtefactError, UsageError
from interp.models.direction_files import directions_in
from interp.study.reading.place import find_place, open_record


def directions_to_write(
    source: Path, *, emotions: Sequence[str] = (), layer: int | None = None
) -> list[Direction]:
    """The directions of a file, or those of a finished run at one layer, by default the one that
    its own table chooses; of these `emotions`, or all.

    Raises `ArtefactError` where nothing is, as `directions_in` and for a folder that holds no run;
    `UsageError` for an emotion or a layer that a run has none for, and where they are asked of a
    file.
    """
    if source.is_dir():
        open_record(source)
        return list(find_place(source, emotions=emotions, layer=layer).directions.values())
    if not source.exists():
        raise ArtefactError(
            f"there is no {source}: name a saved direction (.safetensors or .gguf), or the folder "
            "of a finished run."
        )
    if emotions or layer is not None:
        raise UsageError(
            f"{source} is a file, all of which is written: --emotion and --layer choose in the "
            "folder of a run."
        )
    return directions_in(source)
