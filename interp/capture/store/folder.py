"""The folder of a capture: who may write it, what is committed in it, and that both survive a crash
at any moment.

```
run.json            configuration, its digest, the plan's digest, provenance; written once
shards/00017-3fa9c1d2.h5    immutable; the name carries the content's digest
manifest.jsonl      one sealed line per committed shard; a shard not named in it does not exist
quarantine.jsonl    one sealed line per item refused, with the reason
LOCK                advice only
STOP                while it is there, workers end their batch, commit their part, and leave
```
A shard is committed by: unique temporary, fsync, rename, fsync of the folder, then its line
appended to the manifest, fsync.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from interp.capture.store.manifest import append, read_manifest_head, sealed_lines
from interp.capture.store.sealed_json import differences, seal
from interp.capture.store.shard import SHARD_SCHEMA
from interp.capture.store.shard_file import open_shard
from interp.capture.store.shard_record import ShardRecord, read_shard_record
from interp.capture.store.verified_file import block_digests
from interp.errors import ArtefactError, InternalError
from interp.files import (
    make_folder,
    sha256_bytes,
    write_atomic,
)

RUN, MANIFEST, QUARANTINE, SHARDS = "run.json", "manifest.jsonl", "quarantine.jsonl", "shards"
LOCK, STOP = "LOCK", "STOP"


class RunFolder:
    """A capture's folder at `path`: `head` (run.json), `records` by shard number, `parts`,
    `quarantined` by item id.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = read_manifest_head(path / RUN)
        self.records: dict[int, ShardRecord] = {}
        self.parts: dict[int, ShardRecord] = {}
        self.quarantined: dict[str, dict[str, Any]] = {}
        self.reload()

    @classmethod
    def begin(cls, path: Path, head: Mapping[str, Any]) -> "RunFolder":
        """Open the folder for writing `head`'s plan: new, or holding the same plan.

        Raises `ArtefactError` (exit 4) with the fields that differ when the folder belongs to
        another plan, `ResourceError` (exit 5) when it cannot be written.
        """
        make_folder(path)
        if (path / RUN).exists():
            found = read_manifest_head(path / RUN)
            if found["plan"] != head["plan"]:
                told = differences(found["config"], head["config"]) or [
                    f"plan: {found['plan']} -> {head['plan']}"
                ]
                raise ArtefactError(
                    f"{path} holds a capture of another configuration; {'; '.join(told)}. Choose "
                    "another --out."
                )
        elif (path / MANIFEST).exists() or any((path / SHARDS).glob("*.h5")):
            raise ArtefactError(
                f"{path} holds shards without a {RUN}: it is damaged, or not a capture. Choose "
                "another --out."
            )
        if not (path / RUN).exists():
            write_atomic(path / RUN, (seal({"schema": SHARD_SCHEMA, **head}) + "\n").encode())
        make_folder(path / SHARDS)
        return cls(path)

    def reload(self) -> None:
        """Read manifest and quarantine anew. Of two lines for one shard the later counts."""
        self.records.clear()
        self.parts.clear()
        for line in sealed_lines(self.path / MANIFEST):
            record = read_shard_record(line, self.path / MANIFEST, n_shards=self.head["n_shards"])
            if record.part:
                self.parts[record.index] = record
            else:
                self.records[record.index] = record
        self.parts = {
            index: part for index, part in self.parts.items() if index not in self.records
        }
        lines = list(sealed_lines(self.path / QUARANTINE))
        if not all(isinstance(line.get("id"), str) for line in lines):
            raise ArtefactError(f"{self.path / QUARANTINE} holds a line without an item's id.")
        self.quarantined = {line["id"]: line for line in lines}

    @property
    def arrays(self) -> list[str]:
        """`SITE/POSITION` of all that a shard holds of its texts."""
        config = self.head["config"]
        return [f"{site}/{rule}" for site in config["sites"] for rule in config["positions"]]

    def shard_path(self, record: ShardRecord) -> Path:
        """Where a record's bytes lie."""
        return self.path / SHARDS / record.file

    def verify(self, record: ShardRecord) -> None:
        """Raise `ArtefactError` unless a shard's file holds the bytes that were committed."""
        with open_shard(self.shard_path(record)) as stream:
            record.check(stream)

    def commit(
        self,
        data: Callable[[], bytes],
        record: Mapping[str, Any],
        refused: Iterable[Mapping[str, Any]] = (),
    ) -> ShardRecord:
        """Write what `data` makes durably, its blocks' digests behind it, and only then name it in
        the manifest; items refused are in quarantine before.
        """
        self.quarantine(refused)
        made = data()
        digests = block_digests(made)
        digest = sha256_bytes(made, digests)
        kind = ".part" if record.get("part") else ""
        file = f"{record['index']:05d}{kind}-{digest[:8]}.h5"
        whole = ShardRecord(
            file=file,
            bytes=len(made) + len(digests),
            sha256=digest,
            blocks=sha256_bytes(digests),
            **record,
        )
        write_atomic(self.path / SHARDS / whole.file, made, digests)
        append(self.path / MANIFEST, [whole.line])
        (self.parts if whole.part else self.records)[whole.index] = whole
        return whole

    def quarantine(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record items refused, durably; an item already there stays as it is."""
        new = [dict(row) for row in rows if row["id"] not in self.quarantined]
        if new:
            append(self.path / QUARANTINE, new)
            self.quarantined.update({row["id"]: row for row in new})

    def drop(self, indices: Iterable[int]) -> None:
        """Forget committed shards, and what was begun of them, so that the next run computes them
        again.
        """
        for index in indices:
            self.records.pop(index, None)
            self.parts.pop(index, None)
        self._rewrite()

    def ask_to_stop(self) -> None:
        """Tell the workers of this folder, wherever they run, to end their batch and leave.

        Where the word cannot be written (a full disk) they finish their shard, or meet the error
        themselves.
        """
        with suppress(OSError):
            (self.path / STOP).touch()

    def forget_stop(self) -> None:
        """Take that word back."""
        with suppress(OSError):
            (self.path / STOP).unlink(missing_ok=True)

    def stop_asked(self) -> bool:
        """Whether the workers of this folder were told to stop."""
        return (self.path / STOP).exists()

    def clean(self) -> None:
        """Remove what others left: temporaries, a torn last line, a word to stop. Only for the
        holder of the whole lock.
        """
        self.forget_stop()
        for folder in (self.path, self.path / SHARDS):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        for name in (MANIFEST, QUARANTINE):
            if (self.path / name).exists():
                append(self.path / name, [])

    def finish(self) -> None:
        """Put a complete run in its canonical form: manifest and quarantine sorted, no shard file
        that the manifest lacks.
        """
        if len(self.records) < self.head["n_shards"]:
            raise InternalError(f"{self.path} lacks shards: it cannot be put in its final form.")
        self.parts = {}
        self._rewrite()
        if self.quarantined:
            ordered = sorted(self.quarantined.values(), key=lambda row: str(row["id"]))
            write_atomic(
                self.path / QUARANTINE, "".join(seal(row) + "\n" for row in ordered).encode()
            )
        named = {record.file for record in self.records.values()}
        for path in (self.path / SHARDS).glob("*.h5"):
            if path.name not in named:
                path.unlink()

    def _rewrite(self) -> None:
        kept = [
            *(self.records[index] for index in sorted(self.records)),
            *(self.parts[index] for index in sorted(self.parts)),
        ]
        data = "".join(seal(record.line) + "\n" for record in kept).encode()
        path = self.path / MANIFEST
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)


def capture_in(path: Path | str) -> Path:
    """The folder of the capture that a run's folder, or itself, stands for."""
    return Path(path) / "activations" if (Path(path) / "activations").is_dir() else Path(path)
