"""One HDF5 file with all of a capture, for people and programs that want a single file."""

import json
from pathlib import Path
from shutil import disk_usage
from typing import Any

import h5py

from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.folder import RunFolder, capture_in
from interp.errors import ResourceError
from interp.files import make_folder, replacing


def export_hdf5(path: Path | str, out: Path | str) -> Path:
    """`SITE/POSITION` in battery order as float32, `item` ids, `length` where a row is a token;
    run.json as attribute `run`.

    Raises `ResourceError` when the disk cannot hold it or `out` cannot be written, `ArtefactError`
    for a damaged store.
    """
    out = Path(out)
    make_folder(out.parent)
    with ActivationStore.open(capture_in(path)) as store:
        _check_disk(capture_in(path), out)
        with replacing(out, buffering=0) as stream:
            guarded = _Guarded(stream)
            with h5py.File(guarded, "w") as file:
                file.attrs["run"] = json.dumps({**store.head, "quarantined": store.quarantined})
                _copy(store, file)
            if guarded.failure is not None:
                raise guarded.failure
    return out


def _check_disk(path: Path, out: Path) -> None:
    folder = RunFolder(path)
    widened = 2 if folder.head["config"]["options"]["storage"] == "float16" else 1
    needed = widened * sum(record.bytes for record in folder.records.values())
    free = disk_usage(out.parent).free
    if needed * 1.1 > free:
        raise ResourceError(
            f"{out} needs {needed / 1e9:.2f} GB + 10 %, and {free / 1e9:.2f} GB are free."
        )


def _copy(store: ActivationStore, file: h5py.File) -> None:
    file.create_dataset("item", data=[item.encode() for item in store.items], track_times=False)
    for site in store.sites:
        for position in store.positions:
            found = store.read(site, position)
            file.create_dataset(
                f"{site}/{position}", data=found.x, fletcher32=True, chunks=True, track_times=False
            )
            if found.lengths is not None and "length" not in file:
                file.create_dataset("length", data=found.lengths, track_times=False)


class _Guarded:
    """A file whose first failure is kept for later: HDF5 does not survive being told that the disk
    is full.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, however little of it the system takes at once."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.failure is None:
            done += int(self._try(lambda at=done: self.stream.write(view[at:])) or 0)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        return int(self._try(lambda: self.stream.truncate(size)) or 0)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, act: Any) -> Any:
        try:
            return act() if self.failure is None else None
        except OSError as error:
            self.failure = error
            return None
