"""Recorder: computes the shards of a plan with a model, in memory or into a folder, and continues what was interrupted."""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from shutil import disk_usage
from typing import Any

import torch

import interp
from interp.capture.batches import Recorded, check_alone, describe, run_batch
from interp.capture.engine import Engine, choose_engine, tolerance
from interp.capture.lock import Lock
from interp.capture.plan import Plan, text_bytes
from interp.capture.run_folder import RunFolder, ShardRecord
from interp.capture.shard import Shard, encode, opened
from interp.capture.stopping import Stopping, watched_signals
from interp.capture.store import ActivationStore
from interp.errors import ResourceError
from interp.models import LanguageModel
from interp.progress import track
from interp.results import software


@dataclass(frozen=True)
class Recorder:
    """Computes a plan's shards with a model."""

    model: LanguageModel
    plan: Plan

    @cached_property
    def engine(self) -> Engine:
        """What runs the batches, proven against the bridge and, alone against batched, against itself."""
        engine, _ = self._choice
        check_alone(self.model, engine, self.plan, bound=tolerance(self.model.dtype))
        return engine

    @cached_property
    def _choice(self) -> tuple[Engine, str]:
        return choose_engine(self.model, self.plan.sites, attention=self.plan.options.attention)

    @property
    def head(self) -> dict[str, Any]:
        """What run.json says."""
        engine, reason = self._choice
        provenance = {
            "model": json.loads(json.dumps(self.model.provenance, default=str)),
            "interp": interp.__version__,
            "software": software(),
            "device": str(self.model.device),
            "threads": torch.get_num_threads(),
            "engine": engine.name,
            "engine_reason": reason,
        }
        sizes = {"n_items": len(self.plan.texts), "n_shards": len(self.plan.shards)}
        return {"plan": self.plan.digest, "config": dict(self.plan.config), "provenance": provenance, **sizes}

    def in_memory(self) -> ActivationStore:
        """All shards, kept in memory."""
        shards: dict[int, Shard] = {}
        records: list[ShardRecord] = []
        refused: list[dict[str, Any]] = []
        with watched_signals() as stopping:
            for index in range(len(self.plan.shards)):
                recorded = Recorded()
                for batch in self.plan.shards[index]:
                    recorded.add(run_batch(self.model, self.engine, self.plan, self.plan.batches[batch]))
                    stopping.check("nothing was kept, since no folder was given.")
                shards[index] = recorded.shard(self.plan)
                fields = self._fields(index, recorded, shards[index])
                records.append(ShardRecord(file="", bytes=0, sha256="", **fields))
                refused += recorded.refused
        return ActivationStore({**self.head, "quarantined": refused}, records=records, folder=None, shards=shards)

    def missing(self, folder: RunFolder, indices: Iterable[int]) -> list[int]:
        """Those of the shards `indices` that the folder lacks, after verifying those it has and the disk's space.

        Raises `ArtefactError` for a damaged shard, `ResourceError` where the disk cannot hold what is missing.
        """
        wanted = list(indices)
        for index in [index for index in wanted if index in folder.records]:
            folder.verify(folder.records[index])
        lacking = [index for index in wanted if index not in folder.records]
        self._check_disk(folder, lacking)
        return lacking

    def write(self, folder: RunFolder, indices: Iterable[int], *, lock: Lock | None = None) -> None:
        """Compute and commit those of the shards `indices` that the folder lacks."""
        lacking = self.missing(folder, indices)
        with watched_signals() as stopping:
            for index in track(lacking, f"capture {self.model.name}", total=len(lacking), unit="shard") if lacking else ():
                self.run_shard(folder, index, stopping=stopping, lock=lock)

    def run_shard(
        self, folder: RunFolder, index: int, *, stopping: Stopping | None = None, lock: Lock | None = None
    ) -> ShardRecord:
        """Compute one shard and commit it; idempotent: the same plan gives the same bytes, whoever runs it.

        On a signal the batch ends, what is finished of the shard is committed as a part, and `Interrupted` is raised.
        """
        if index in folder.records:
            return folder.records[index]
        recorded = self._continued(folder, index)
        batches = self.plan.shards[index]
        done = _batches_done(self.plan, index, recorded)
        for number, batch in enumerate(batches[done:], start=done + 1):
            recorded.add(run_batch(self.model, self.engine, self.plan, self.plan.batches[batch]))
            if lock is not None:
                lock.beat()
            if stopping is not None and stopping.signal is not None and number < len(batches):
                self._commit(folder, index, recorded, part=True)
                stopping.check(how_to_resume(folder))
        record = self._commit(folder, index, recorded, part=False)
        if stopping is not None:
            stopping.check(how_to_resume(folder))
        return record

    def _commit(self, folder: RunFolder, index: int, recorded: Recorded, *, part: bool) -> ShardRecord:
        shard = recorded.shard(self.plan)
        folder.quarantine(recorded.refused)
        storage = "float32" if part else self.plan.options.storage
        data = encode(shard, plan=self.plan.digest, storage=storage)
        return folder.commit(data, {**self._fields(index, recorded, shard), "part": part})

    def _fields(self, index: int, recorded: Recorded, shard: Shard) -> dict[str, Any]:
        statistics, warned = describe(shard, self.plan)
        for text in warned:
            warnings.warn(text, stacklevel=2)
        return {
            "index": index,
            "items": tuple(self.plan.texts[place].id for place in recorded.places),
            "places": tuple(recorded.places),
            "batches": tuple(recorded.shapes),
            "statistics": statistics,
            "nonfinite": tuple(row["id"] for row in recorded.refused),
            "warnings": tuple(warned),
        }

    def _continued(self, folder: RunFolder, index: int) -> Recorded:
        """What an interrupted run left of a shard, or nothing."""
        part = folder.parts.get(index)
        if part is None:
            return Recorded()
        with opened(folder.shard_path(part), check=part.check) as file:
            arrays = {
                f"{site}/{rule}": [file[f"{site}/{rule}"][...]] for site in self.plan.sites for rule in self.plan.positions
            }
        refused = [folder.quarantined[item] for item in part.nonfinite]
        return Recorded(list(part.places), arrays, list(part.batches), refused)

    def _check_disk(self, folder: RunFolder, missing: Sequence[int]) -> None:
        """Refuse before any forward what the disk cannot hold."""
        needed = sum(self.shard_bytes(index) for index in missing)
        free = disk_usage(folder.path).free
        if needed * 1.1 > free:
            raise ResourceError(
                f"{folder.path} needs {needed / 1e9:.2f} GB + 10 %, and {free / 1e9:.2f} GB are free: free space, capture "
                "fewer sites or positions, or choose another --out."
            )

    def shard_bytes(self, index: int) -> int:
        """Bytes of a shard's arrays, as stored."""
        dims, plan = self.model.dims, self.plan
        whole = sum(text_bytes(plan.sites, plan.positions, dims, len(plan.texts[place].tokens)) for place in plan.places(index))
        return whole // 2 if plan.options.storage == "float16" else whole


def how_to_resume(folder: RunFolder) -> str:
    """What a stopped run tells: how much is done, and how to go on."""
    done = len(folder.records)
    return f"{done} of {folder.head['n_shards']} shards are in {folder.path}; the same command resumes there."


def _batches_done(plan: Plan, index: int, recorded: Recorded) -> int:
    """How many whole batches of a shard `recorded` holds."""
    held = len(recorded.places)
    for done, batch in enumerate(plan.shards[index]):
        if held == 0:
            return done
        held -= len(plan.batches[batch])
    return len(plan.shards[index])
