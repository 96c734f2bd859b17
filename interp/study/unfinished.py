"""What a long trial has done so far, in the folder that it will fill: the same command reads it,
and goes on.

Each part of the work has a name, and its result, which JSON can hold, lies in a file of its own
below `out`/unfinished. What was begun with other settings, another battery or model, or other
versions is never taken for it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError
from interp.files import make_folder, read_regular, write_atomic

UNFINISHED = "unfinished"
"""The folder inside the one that will be filled."""

_MOST = 1 << 28


class Unfinished:
    """The parts that are done of the work that will fill `out`, and answers a `question`: whatever
    decides its results. Nothing is written before the first part is done.

    Raises `ArtefactError` where the folder holds what was begun of another question.
    """

    def __init__(self, out: Path, **question: Any) -> None:
        self.folder = out / UNFINISHED
        self._asked = self.folder / "question.json"
        self._question: dict[str, Any] = {}
        self.about(**question)

    def about(self, **question: Any) -> "Unfinished":
        """Itself, where the question is this, too; raises as above."""
        self._question |= json.loads(json.dumps(question, default=str))
        begun = _read(self._asked) if self._asked.exists() else self._question
        if any(begun.get(name) != value for name, value in self._question.items()):
            raise ArtefactError(
                f"{self.folder} holds what was begun with other settings, texts, model or versions:"
                " choose another --out, or delete that folder."
            )
        return self

    def keep(self, name: str, compute: Callable[[], Any]) -> Any:
        """What `compute` gives, as JSON gives it back; where it was computed before, that.

        `name` says which part of the work it is. Raises `ArtefactError` for a file that is damaged.
        """
        path = self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
        if not path.exists():
            done = json.dumps({"name": name, "done": compute()}).encode()
            if not self._asked.exists():
                make_folder(self.folder)
                write_atomic(self._asked, json.dumps(self._question, indent=1).encode())
            write_atomic(path, done)
        return _read(path, "done")["done"]

    def how_to_go_on(self) -> str:
        """What is kept, for whoever stops the work."""
        parts = {*self.folder.glob("*.json")} - {self._asked}
        kept = f"{len(parts)} parts are kept in {self.folder}" if parts else "nothing is kept yet"
        return f"{kept}; the same command goes on from there."

    def remove(self) -> None:
        """Delete it all: the work is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path, *needed: str) -> dict[str, Any]:
    """The JSON object at `path`, in which are the fields `needed`."""
    try:
        found = json.loads(read_regular(path, most=_MOST))
    except ValueError:
        found = None
    if not isinstance(found, dict) or any(name not in found for name in needed):
        raise ArtefactError(f"{path} is damaged: delete {path.parent} and begin anew.")
    return found
