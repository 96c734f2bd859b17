"""Tools for breaking a store on purpose: a store without a model, and a disk that logs or fails
each step.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from interp.capture.store.folder import RunFolder
from interp.capture.store.shard import Shard, encode_shard
from interp.errors import InterpError

NAME = "blocks.0.hook_resid_post/last"
N_SHARDS = 3


def head() -> dict[str, object]:
    config = {
        "sites": ["blocks.0.hook_resid_post"],
        "positions": ["last"],
        "options": {},
        "model": {},
        "battery": {},
    }
    return {
        "plan": "f" * 64,
        "config": config,
        "provenance": {},
        "n_items": 4 * N_SHARDS,
        "n_shards": N_SHARDS,
    }


def values(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(size=(4, 8)).astype(np.float32)


def encoded(index: int) -> tuple[Callable[[], bytes], dict[str, object]]:
    places = np.arange(4 * index, 4 * index + 4)
    shard = Shard(
        places,
        np.ones(4, np.int64),
        {NAME: values(index)},
        np.ones(4, np.int32),
        {"last": np.ones(4, np.int8)},
    )
    record = {
        "index": index,
        "items": tuple(f"item {place}" for place in places),
        "places": tuple(int(place) for place in places),
        "batches": ((4, 1),),
        "max_abs": (most := float(np.abs(values(index)).max())),
    }
    return (
        lambda: encode_shard(shard, {NAME: (most, 1.0)}, plan="f" * 64, storage="float32"),
        record,
    )


def write_run(path: Path) -> RunFolder:
    """Begin or resume the run at `path` and bring it to its end."""
    folder = RunFolder.begin(path, head())
    folder.clean()
    for index in range(N_SHARDS):
        if index not in folder.records:
            folder.commit(*encoded(index))
    folder.quarantine([{"id": "elsewhere", "twin": None, "reason": "made up"}])
    folder.finish()
    return folder


def truth() -> np.ndarray:
    return np.concatenate([values(index) for index in range(N_SHARDS)])


@dataclass
class Disk:
    """Sees every step that changes files below `root`; `before(step, path)` may raise instead of
    letting it happen.
    """

    root: Path
    before: Callable[[str, str], None] = lambda step, path: None
    events: list[tuple] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def step(self, kind: str, path: str, *rest: object) -> None:
        self.before(kind, path)
        self.events.append((kind, path, *rest))

    def name(self, path: Path | str) -> str:
        return str(Path(path).relative_to(self.root))


class Stream:
    """A file whose writes and truncations the disk sees."""

    def __init__(self, stream, disk: Disk, name: str):
        self.stream, self.disk, self.name = stream, disk, name
        disk.names[stream.fileno()] = name

    def write(self, data):
        self.disk.step("write", self.name, bytes(data))
        return self.stream.write(data)

    def truncate(self, size=None):
        self.disk.step("truncate", self.name, size)
        return self.stream.truncate(size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def __getattr__(self, name):
        return getattr(self.stream, name)


@contextmanager
def watched_disk(monkeypatch: pytest.MonkeyPatch, disk: Disk) -> Iterator[Disk]:
    """Route what the store does to files below `disk.root` through `disk`."""
    path_open, replace, fsync, os_open = Path.open, Path.replace, os.fsync, os.open

    def open_(self, mode="r", *args, **kwargs):
        inside = self.is_relative_to(disk.root) and set(mode) & set("xaw")
        if inside and not self.exists():
            disk.step("create", disk.name(self))
        stream = path_open(self, mode, *args, **kwargs)
        return Stream(stream, disk, disk.name(self)) if inside else stream

    def open_folder(path, flags, *args, **kwargs):
        descriptor = os_open(path, flags, *args, **kwargs)
        if Path(path).is_relative_to(disk.root):
            disk.names[descriptor] = disk.name(path)
        return descriptor

    def fsync_(descriptor):
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        disk.step("fsync", disk.names.get(number, "?"))
        return fsync(descriptor)

    def replace_(self, target):
        disk.step("replace", disk.name(self), disk.name(target))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        patch.setattr(Path, "replace", replace_)
        patch.setattr(os, "fsync", fsync_)
        patch.setattr(os, "open", open_folder)
        patch.setattr("interp.capture.store.manifest.fcntl.flock", lambda stream, flag: None)
        yield disk


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


ERRORS = {name: failure(getattr(errno, name)) for name in ("ENOSPC", "EIO", "EROFS", "EACCES")}


def after_crash(events: list[tuple], *, keep_unsynced: str) -> dict[str, bytes]:
    """File contents after power was lost when `events` had been asked for.

    What was not fsynced is there (`all`), cut to half (`half`), gone (`none`) or zeros (`zeros`);
    renames whose folder was not fsynced are undone in the last two.
    """
    content: dict[str, bytearray] = {}
    synced: dict[str, bytes] = {}
    renamed: list[tuple[str, str, bytes | None]] = []
    for kind, name, *rest in events:
        if kind == "create":
            content[name] = bytearray()
        elif kind == "write":
            content[name] += rest[0]
        elif kind == "truncate":
            del content[name][rest[0] :]
        elif kind == "fsync" and name in content:
            synced[name] = bytes(content[name])
        elif kind == "fsync":
            renamed = [r for r in renamed if str(Path(r[1]).parent) != name]
        elif kind == "replace":
            renamed.append((name, rest[0], bytes(content[rest[0]]) if rest[0] in content else None))
            content[rest[0]] = content.pop(name)
            if name in synced:
                synced[rest[0]] = synced.pop(name)
    if keep_unsynced in ("none", "zeros"):
        for source, target, old in reversed(renamed):
            content[source] = content.pop(target)
            if target in synced:
                synced[source] = synced.pop(target)
            if old is not None:
                content[target], synced[target] = bytearray(old), old
    for name, data in content.items():
        safe = synced.get(name, b"")
        lost = len(data) - len(safe)
        if lost > 0 and keep_unsynced != "all":
            rest_ = {
                "half": bytes(data[len(safe) : len(safe) + lost // 2]),
                "none": b"",
                "zeros": bytes(lost),
            }[keep_unsynced]
            content[name] = bytearray(safe + rest_)
    return {name: bytes(data) for name, data in content.items()}


def in_child(act):
    """Run `act` in a forked child; its exit status as the shell would tell it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except InterpError as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return pid
