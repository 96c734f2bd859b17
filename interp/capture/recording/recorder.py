"""Recorder: computes the shards of a plan with a model, in memory or into a folder, and continues
what was interrupted.

Three things go on at once where the machine allows it: a batch is computed, the one before it is
copied from the device, and the shard before theirs is written.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from shutil import disk_usage
from typing import Any

import torch

import interp
from interp.capture.plan import Plan, texts_bytes
from interp.capture.recording.batches import Underway, check_alone, finish, launch, summarise
from interp.capture.recording.engine import Engine, choose_engine, tolerance
from interp.capture.recording.gathering import Gathering, Recorded
from interp.capture.recording.parts import read_begun
from interp.capture.reuse import Reuse
from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.folder import RunFolder
from interp.capture.store.shard import Shard, Statistics, encode_shard, overhead
from interp.capture.store.shard_record import ShardRecord
from interp.capture.workers.background import InOrder
from interp.capture.workers.signals import watched_signals
from interp.errors import DataError, ResourceError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.progress import track
from interp.records import software


@dataclass(frozen=True)
class Recorder:
    """Computes a plan's shards with a model; what `reuse` holds is copied."""

    model: LanguageModel
    plan: Plan
    reuse: Reuse | None = None

    @cached_property
    def engine(self) -> Engine:
        """What runs the batches, proven against the bridge and, alone against batched, against
        itself; the sites are proven to be what their names say first.
        """
        require(self.model, "capture", self.plan.sites)
        engine, _ = self._choice
        check_alone(self.model, engine, self.plan, bound=tolerance(self.model.precision))
        return engine

    @cached_property
    def _choice(self) -> tuple[Engine, str]:
        return choose_engine(self.model, self.plan.sites, attention=self.plan.options.attention)

    @cached_property
    def head(self) -> dict[str, Any]:
        """What run.json says."""
        engine, reason = self._choice
        provenance = {
            "model": json.loads(json.dumps(self.model.provenance, default=str)),
            "n_layers": self.model.dims.n_layers,
            "interp": interp.__version__,
            "software": software(),
            "device": str(self.model.device),
            "threads": torch.get_num_threads(),
            "engine": engine.name,
            "engine_reason": reason,
        }
        sizes = {"n_items": len(self.plan.texts), "n_shards": len(self.plan.shards)}
        return {
            "plan": self.plan.digest,
            "config": dict(self.plan.config),
            "provenance": provenance,
            **sizes,
        }

    def in_memory(self) -> ActivationStore:
        """All shards, kept in memory."""
        shards: dict[int, Shard] = {}
        records: list[ShardRecord] = []
        refused: list[dict[str, Any]] = []
        with watched_signals() as stopping:
            for index in range(len(self.plan.shards)):
                gathered = self._computed(index, None, stop=stopping.asked)
                stopping.check("nothing was kept, since no folder was given.")
                shards[index] = gathered.shard()
                fields, _ = self._fields(index, gathered, shards[index])
                records.append(ShardRecord(file="", bytes=0, sha256="", blocks="", **fields))
                refused += gathered.refused
        return ActivationStore(
            {**self.head, "quarantined": refused}, records=records, folder=None, shards=shards
        )

    def missing(
        self, folder: RunFolder, indices: Iterable[int], *, beat: Callable[[], None]
    ) -> list[int]:
        """Those of the shards `indices` that the folder lacks, after verifying those it has and the
        disk's space; `beat` is called now and then, to say that we live.

        Raises `ArtefactError` for a damaged shard, `ResourceError` where the disk cannot hold what
        is missing, `DataError` where items are in quarantine and none may be.
        """
        if folder.quarantined and self.plan.options.on_nonfinite == "stop":
            names = ", ".join(map(repr, sorted(folder.quarantined)[:5]))
            raise DataError(
                f"{folder.path} has {len(folder.quarantined)} texts in quarantine ({names}), "
                "since their activations are not finite: give --on-nonfinite quarantine to go on "
                "without their pairs, or another --out."
            )
        wanted = list(indices)
        for index in [index for index in wanted if index in folder.records]:
            folder.verify(folder.records[index])
            beat()
        lacking = [index for index in wanted if index not in folder.records]
        self.check_disk(folder.path, lacking)
        return lacking

    def write(self, folder: RunFolder, indices: Iterable[int], *, beat: Callable[[], None]) -> None:
        """Compute and commit those of the shards `indices` that the folder lacks; one is written
        while the next is computed.

        On a signal the batch ends, what is finished of its shard is committed as a part, and
        `Interrupted` is raised.
        """
        lacking = self.missing(folder, indices, beat=beat)
        with watched_signals() as stopping, InOrder() as writing:
            for index in (
                track(lacking, f"capture {self.model.name}", total=len(lacking), unit="shard")
                if lacking
                else ()
            ):
                begun = read_begun(self.plan, folder, index)
                gathered = self._computed(index, begun, stop=stopping.asked, beat=beat)
                writing.put(partial(folder.commit, **self._commitment(index, gathered)))
                if stopping.asked():
                    break
            writing.wait()
            stopping.check(how_to_resume(folder))

    def run_shard(
        self, folder: RunFolder, index: int, *, stop: Callable[[], bool] = lambda: False
    ) -> ShardRecord:
        """Compute one shard and commit it; idempotent: the same plan gives the same bytes, whoever
        runs it.

        When `stop` says so the batch ends, and what is finished is committed as a part.
        """
        if index in folder.records:
            return folder.records[index]
        gathered = self._computed(index, read_begun(self.plan, folder, index), stop=stop)
        return folder.commit(**self._commitment(index, gathered))

    def _computed(
        self,
        index: int,
        begun: Recorded | None,
        *,
        stop: Callable[[], bool],
        beat: Callable[[], None] = lambda: None,
    ) -> Gathering:
        """A shard: what was begun of it, and what that lacks, copied or computed; less than that
        when `stop` says so.
        """
        places = self.plan.places(index)
        gathering = Gathering(self.plan, places)
        if begun is not None:
            gathering.add(begun)
        if self.reuse is not None:
            held = set(gathering.places)
            for copied in self.reuse.recorded(
                self.plan, [place for place in places if place not in held]
            ):
                gathering.add(copied)
        held = set(gathering.places)
        before: list[Underway] = []
        for batch in self.plan.shards[index]:
            lacking = [place for place in self.plan.batches[batch] if place not in held]
            if lacking and (not stop() or (not gathering.places and not before)):
                before = self._advance(gathering, before, lacking)
            beat()
        self._gather(gathering, before)
        return gathering

    def _advance(
        self, gathering: Gathering, before: Sequence[Underway], places: list[int]
    ) -> list[Underway]:
        """Run the texts at `places` and gather those `before` them; what is under way then.

        What travels from a device is gathered when the next batch has been launched; what does not,
        at once, so that its memory serves the next batch.
        """
        launched = launch(self.model, self.engine, self.plan, places)
        self._gather(gathering, before)
        if any(part.travels for part in launched):
            return launched
        self._gather(gathering, launched)
        return []

    def _gather(self, gathering: Gathering, launched: Sequence[Underway]) -> None:
        for underway in launched:
            gathering.add(finish(self.model, self.engine, self.plan, underway))

    def _commitment(self, index: int, gathered: Gathering) -> dict[str, Any]:
        """What `RunFolder.commit` is given: how to make the bytes, what the manifest says of them,
        and the items refused.
        """
        shard = gathered.shard()
        part = len(gathered.places) < len(self.plan.places(index))
        storage = "float32" if part else self.plan.options.storage
        fields, statistics = self._fields(index, gathered, shard)
        return {
            "data": partial(
                encode_shard, shard, statistics, plan=self.plan.digest, storage=storage
            ),
            "record": {**fields, "part": part},
            "refused": gathered.refused,
        }

    def _fields(
        self, index: int, gathered: Gathering, shard: Shard
    ) -> tuple[dict[str, Any], Statistics]:
        """What the manifest says of a shard, and what the shard says of its arrays."""
        statistics, warned = summarise(shard, self.plan)
        for text in warned:
            warnings.warn(text, stacklevel=2)
        fields = {
            "index": index,
            "items": tuple(self.plan.texts[place].id for place in gathered.places),
            "places": tuple(gathered.places),
            "batches": tuple(gathered.shapes),
            "max_abs": max(most for most, _ in statistics.values()),
            "nonfinite": tuple(row["id"] for row in gathered.refused),
            "reused": tuple(gathered.reused),
            "sources": tuple(gathered.sources),
            "warnings": tuple(warned),
        }
        return fields, statistics

    def prove(self) -> None:
        """Raise where the sites asked for cannot be trusted: `UsageError`, `DataError`,
        `InternalError`.
        """
        _ = self.engine

    def check_disk(self, path: Path, missing: Sequence[int]) -> None:
        """Raise `ResourceError` where the disk of `path` cannot hold the shards `missing`."""
        beside = overhead(len(self.plan.sites) * len(self.plan.positions))
        needed = sum(self.shard_bytes(index) + beside for index in missing)
        free = disk_usage(path).free
        if needed * 1.1 > free:
            raise ResourceError(
                f"{path} needs {needed / 1e9:.2f} GB + 10 %, and {free / 1e9:.2f} GB are free: "
                "free space, capture fewer sites or positions, or choose another --out."
            )

    def shard_bytes(self, index: int) -> int:
        """Bytes of a shard's arrays, as stored."""
        plan = self.plan
        lengths = [len(plan.texts[place].tokens) for place in plan.places(index)]
        whole = sum(texts_bytes(lengths, plan.sites, plan.positions, self.model.dims))
        return whole // 2 if plan.options.storage == "float16" else whole


def how_to_resume(folder: RunFolder) -> str:
    """What a stopped run tells: how much is done, and how to go on."""
    done = len(folder.records)
    return (
        f"{done} of {folder.head['n_shards']} shards are in {folder.path}; the same command "
        "resumes there."
    )
