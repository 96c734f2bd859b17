"""Executors: who computes the shards of a plan. `Recorder.run_shard` is idempotent, so any of them
may, and the tree of shards is the same byte for byte.

| text | meaning |
|---|---|
| `serial` | this process, one shard after another |
| `processes:N` | N processes of this machine, each with its own copy of the model |
| `shard:i/N` | every N-th shard from i (0 to N - 1): one of N calls that share a folder (Slurm) |
| `ray:N` | N Ray actors, on one machine or a cluster that shares the folder (extra `ray`) |
"""

import re
from pathlib import Path

from interp.capture.recording.recorder import Recorder, how_to_resume
from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.folder import LOCK, RUN, RunFolder
from interp.capture.store.lock import locked
from interp.capture.workers.processes import run_in_processes
from interp.capture.workers.ray import run_in_ray
from interp.errors import BusyError, UsageError

_TEXT = re.compile(r"(serial)|(processes|ray):([1-9]\d{0,3})|shard:(\d{1,6})/([1-9]\d{0,5})")


def check_executor(executor: str) -> re.Match[str]:
    """The parts of an executor's text; raises `UsageError` for one that does not exist."""
    match = _TEXT.fullmatch(executor)
    if match is None or (match[4] is not None and int(match[4]) >= int(match[5])):
        raise UsageError(
            f"unknown executor {executor!r}: write serial, processes:2, ray:2, or shard:I/N with "
            "I from 0 to N - 1 (shard:0/4)."
        )
    return match


def execute(recorder: Recorder, out: Path | None, *, executor: str) -> ActivationStore:
    """Compute a plan's missing shards into `out` (memory, if None) by the executor named, and open
    the store.

    Raises `UsageError` for an executor that does not exist, and what computing raises. A
    `shard:i/N` call that ends before the others raises `BusyError` saying how many shards are still
    missing.
    """
    match = check_executor(executor)
    if out is None:
        if match[1] is None:
            raise UsageError(
                f"executor {executor!r} needs a folder (--out): only serial keeps activations in "
                "memory."
            )
        return recorder.in_memory()
    # the engine is chosen before the folder is held: others may only look into it
    _ = recorder.head
    if match[4] is not None:
        return _one_of_many(recorder, out, index=int(match[4]), count=int(match[5]))
    with locked(out / LOCK) as lock:
        folder = _begin(recorder, out)
        folder.clean()
        if match[1]:
            recorder.write(folder, range(len(recorder.plan.shards)), beat=lock.beat)
        else:
            work = {"processes": run_in_processes, "ray": run_in_ray}[match[2]]
            work(recorder, folder, lock, workers=int(match[3]))
            folder.reload()
        if len(folder.records) < len(recorder.plan.shards):
            raise BusyError(f"the workers were told to stop; {how_to_resume(folder)}")
        folder.finish()
    return ActivationStore.open(out)


def _begin(recorder: Recorder, out: Path) -> RunFolder:
    """The folder of the run, begun if it is new, once it is known that the disk can hold it and the
    sites can be trusted.
    """
    if not (out / RUN).exists():
        recorder.check_disk(out, range(len(recorder.plan.shards)))
        recorder.prove()
    return RunFolder.begin(out, recorder.head)


def _one_of_many(recorder: Recorder, out: Path, *, index: int, count: int) -> ActivationStore:
    with (
        locked(out / LOCK, shared=True) as whole,
        locked(out / f"{LOCK}.{index}-of-{count}") as own,
    ):

        def beat() -> None:
            whole.beat()
            own.beat()

        folder = _begin(recorder, out)
        recorder.write(folder, range(index, len(recorder.plan.shards), count), beat=beat)
        folder.reload()
        missing = len(recorder.plan.shards) - len(folder.records)
    if missing:
        raise BusyError(
            f"worker {index} of {count} has done its part; {missing} shards of other workers are "
            f"missing in {out}."
        )
    try:
        # every shard is there: whose note it is has nothing left to do
        with locked(out / LOCK, heed_note=False):
            folder.clean()
            folder.finish()
            for leftover in out.glob(f"{LOCK}.*-of-*"):
                leftover.unlink(missing_ok=True)
    except BusyError:
        pass  # another worker finished at the same moment and puts the folder in order
    return ActivationStore.open(out)
