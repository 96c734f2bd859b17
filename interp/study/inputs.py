"""What a run reads from disk, known again: a file that changes while the run is under way is
told.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import stimuli
from interp.errors import ArtefactError
from interp.files import sha256_file
from interp.models.loading.folder import small_files
from interp.models.texts.chat import OFF, ON
from interp.study.settings import Settings

Stamp = tuple[int, int, int]


class Inputs:
    """Files by their digests, looked at again before each stage.

    A file is read again only where its size, its time or its place on the disk is another.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}
        self._stamps: dict[Path, Stamp] = {}

    def watch(self, paths: Iterable[Path], *, digests: Mapping[str, str] | None = None) -> None:
        """Keep what these files are now; `digests` has those that are known, by file name."""
        known = digests or {}
        for path in paths:
            self._stamps[path] = _stamp(path)
            self._digests[path] = known.get(path.name) or sha256_file(path)

    def watch_model(self, name: str, provenance: Mapping[str, Any]) -> None:
        """Keep what the files of the model called `name` are now: of a folder, or a GGUF file."""
        path, weights = Path(name), provenance["weights"]
        if provenance["source"] == "folder" and path.is_dir():
            self.watch(small_files(path))
            names = [path / file for file in weights if (path / file).is_file()]
            self.watch(names, digests=weights)
        elif provenance["source"] == "gguf" and path.is_file():
            self.watch([path], digests={path.name: next(iter(weights.values()))})

    def check(self) -> None:
        """Raise `ArtefactError` naming the first file that is gone or has another content."""
        for path, stamp in self._stamps.items():
            try:
                now = _stamp(path)
                if now == stamp or sha256_file(path) == self._digests[path]:
                    self._stamps[path] = now
                    continue
                what = "was changed"
            except OSError as error:
                what = f"can no longer be read ({error.strerror or error})"
            raise ArtefactError(
                f"{path} {what} while the run was under way. Every result so far is of the file as "
                "it was: put it back and say the same again, or choose another --out."
            )


def files_of(settings: Settings) -> list[Path]:
    """The files that a study is asked with: those of its battery, but for the batteries that come
    with the package, and a chat template.
    """
    path = Path(settings.stimuli)
    found = []
    if settings.stimuli not in stimuli.names() and path.exists():
        found = [path] if path.is_file() else [*path.glob("*"), *path.glob("*/*")]
    if settings.loading.chat_template not in (None, ON, OFF):
        found.append(Path(str(settings.loading.chat_template)))
    return sorted(file for file in found if file.is_file())


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
