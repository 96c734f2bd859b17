"""Who works in a run's folder: several commands may, and none spoils what another one does.

```
OUT/.locks/here      shared by every command at work in OUT; the last one to leave removes .locks
OUT/.locks/record    held for the moment in which run.json is read anew and written
OUT/.locks/STAGE     held by the command that computes this stage
```
The kernel frees a lock when its holder dies, so nothing of this has to be removed by hand. Two
machines see each other where their file system carries locks between them.
"""

import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interp.errors import ArtefactError, BusyError
from interp.files import resource_error, try_lock

LOCKS = ".locks"

_OURS = re.compile(r"\.(?!probe\.).+\.[0-9a-f]{8}\.tmp")
"""A temporary of `interp.files`, but for the one that proves a folder: it may be another's."""

_NAME = re.compile("[a-z]+")
"""How our locks' files are called."""

_WRITTEN = ("", "tables", "figures", "directions")
"""Where a study writes; a capture looks after its own folder."""


class FolderLocks:
    """This command's place in the folder of a run, from being made until `leave`.

    Who comes alone removes the temporaries that a killed command left.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._folder = out / LOCKS
        self._here = self._enter()

    def alone(self) -> bool:
        """Become the only command in the folder, if no other one is at work there.

        Nobody else comes in before `leave`. Where another one is, leave is all that may follow.
        """
        return try_lock(self._here, self._folder)

    def leave(self) -> None:
        """Give the place back; the last one takes the locks' files away."""
        try:
            if self.alone():
                self.remove()
        finally:
            os.close(self._here)

    def remove(self) -> None:
        """Take the locks' files away; only for who is `alone`, and leaves next."""
        with suppress(OSError):  # somebody removed the folder
            for path in self._folder.iterdir():
                if _NAME.fullmatch(path.name):
                    path.unlink()
            self._folder.rmdir()

    @contextmanager
    def record(self) -> Iterator[None]:
        """Hold run.json for a moment; another command is waited for."""
        with self._locked("record", wait=True):
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Hold the stage `name`; raises `BusyError` when another command computes it now."""
        with self._locked(name, wait=False) as descriptor:
            me = f"pid {os.getpid()} on {socket.gethostname()}"
            os.pwrite(descriptor, me.encode().ljust(256), 0)
            yield

    @contextmanager
    def _locked(self, name: str, *, wait: bool) -> Iterator[int]:
        path = self._folder / name
        try:
            descriptor = _opened(path)
        except OSError as error:
            raise resource_error(path, error) from error
        try:
            if not try_lock(descriptor, path, wait=wait):
                holder = os.pread(descriptor, 256, 0).decode(errors="replace").strip()
                raise BusyError(
                    f"the stage {name} in {self.out} is being computed by another command "
                    f"({holder}): wait for it and say the same again, or give another --out."
                )
            yield descriptor
        finally:
            os.close(descriptor)

    def _enter(self) -> int:
        """The descriptor of the file that all at work share, locked so."""
        path = self._folder / "here"
        while True:
            descriptor = self._come_to(path)
            if descriptor is None:
                continue
            try:
                if try_lock(descriptor, path) and _is_linked(descriptor):
                    self._clean()
                try_lock(descriptor, path, shared=True, wait=True)
            except BaseException:
                os.close(descriptor)
                raise
            if _is_linked(descriptor):
                return descriptor
            os.close(descriptor)  # who left last took the file away: come in by a new one

    def _come_to(self, path: Path) -> int | None:
        """The file at `path`, open; None where its folder went away in the same moment."""
        try:
            self._folder.mkdir(exist_ok=True)
            if self._folder.is_symlink():
                raise ArtefactError(f"{self._folder} is a link, and none of ours is: remove it.")
            return _opened(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self.out.is_dir():
                return None
            raise resource_error(path, error) from error

    def _clean(self) -> None:
        for name in _WRITTEN:
            with suppress(OSError):  # the folder is not there
                for path in (self.out / name).iterdir():
                    if _OURS.fullmatch(path.name):
                        path.unlink()


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtefactError(f"{path} is not a plain file, and a lock is: remove it.")
    return descriptor


def _is_linked(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink > 0
