"""`interp capture` as the tests give it: pairs in a file, a tiny model, and what it left on disk,
as h5py alone reads it.
"""

from pathlib import Path

import h5py
import numpy as np

from interp.capture import ActivationStore
from support import matched_pairs
from support.commands import outcome

POST = "blocks.2.hook_resid_post"
PAIRS = 16


class CaptureCommand:
    """`command(out, *extra)` captures the stream (or what `extra` says) into `folder / out` and
    gives that folder.

    `line` is the command line alone; `stimuli` the file with the pairs, `model` the folder of the
    model.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.stimuli = matched_pairs.write(folder / "pairs.jsonl", matched_pairs.rows(PAIRS))

    def __call__(self, out: str, *extra: object, model: object = None) -> Path:
        code, message = outcome(*self.line(out, *extra, model=model))
        assert code == 0, message
        return self.folder / out

    def line(
        self, out: str, *extra: object, model: object = None, name: str = "capture"
    ) -> tuple[object, ...]:
        sites = () if "--sites" in extra else ("--sites", "resid_post")
        asked = (
            "--model",
            model or self.model,
            "--stimuli",
            self.stimuli,
            "--out",
            self.folder / out,
        )
        return (name, *asked, *sites, *extra)


def shards(run: Path) -> list[Path]:
    return sorted((run / "activations" / "shards").glob("*.h5"))


def arrays(run: Path) -> dict[str, list[np.ndarray]]:
    """The stored arrays of every shard."""
    found: dict[str, list[np.ndarray]] = {}
    for path in shards(run):
        with h5py.File(path) as file:
            names: list[str] = []
            file.visititems(
                lambda name, thing, names=names: (
                    names.append(name) if isinstance(thing, h5py.Dataset) else None
                )
            )
            for name in names:
                found.setdefault(name, []).append(file[name][...])
    return found


def activations(run: Path, position: str = "last_content") -> tuple[tuple[str, ...], np.ndarray]:
    with ActivationStore.open(run / "activations") as store:
        return store.items, store.read(POST, position).x
