"""Executors: who computes the shards of a plan. `Recorder.run_shard` is idempotent, so any of them may, and the tree of
shards is the same byte for byte.

| text | meaning |
|---|---|
| `serial` | this process, one shard after another |
| `processes:N` | N processes of this machine, each with its own copy of the model |
| `shard:i/N` | only every N-th shard, beginning with i (0 to N - 1): one call of N that share a folder (Slurm arrays) |
| `ray:N` | N Ray actors, on one machine or a cluster that shares the folder (extra `ray`) |
"""

import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import interp.errors
from interp.capture.lock import Lock, locked
from interp.capture.plan import Plan, identity
from interp.capture.recorder import Recorder, how_to_resume
from interp.capture.reuse import Reuse
from interp.capture.run_folder import LOCK, RunFolder
from interp.capture.stopping import SIGNALS, Stopping, watched_signals
from interp.capture.store import ActivationStore
from interp.errors import ArtefactError, BusyError, InterpError, ResourceError, UsageError
from interp.models import load
from interp.models.chat import OFF
from interp.models.placement import Placement
from interp.progress import track

_LOOK_SECONDS = 0.1
"""How often is looked whether a signal came, while workers are at work."""

_PATIENCE_SECONDS = 60.0
"""How long Ray's actors are waited for when one of them met an error: long enough for a batch."""

_TEXT = re.compile(r"(serial)|(processes|ray):([1-9]\d{0,3})|shard:(\d{1,6})/([1-9]\d{0,5})")


def execute(recorder: Recorder, out: Path | None, *, executor: str = "serial") -> ActivationStore:
    """Compute a plan's missing shards into `out` (memory, if None) by the executor named, and open the store.

    Raises `UsageError` for an executor that does not exist, and what computing raises. A `shard:i/N` call that ends before
    the others raises `BusyError` saying how many shards are still missing.
    """
    match = _TEXT.fullmatch(executor)
    if match is None or (match[4] is not None and int(match[4]) >= int(match[5])):
        raise UsageError(f"unknown executor {executor!r}: write serial, processes:2, ray:2, or shard:0/4 (of 0..3).")
    if out is None:
        if match[1] is None:
            raise UsageError(f"executor {executor!r} needs a folder (--out): only serial keeps activations in memory.")
        return recorder.in_memory()
    if match[4] is not None:
        return _one_of_many(recorder, out, index=int(match[4]), count=int(match[5]))
    with locked(out / LOCK) as lock:
        folder = RunFolder.begin(out, recorder.head)
        folder.clean()
        if match[1]:
            recorder.write(folder, range(len(recorder.plan.shards)), lock=lock)
        else:
            work = {"processes": run_in_processes, "ray": run_in_ray}[match[2]]
            work(recorder, folder, lock, workers=int(match[3]))
            folder.reload()
        folder.finish()
    return ActivationStore.open(out)


def _one_of_many(recorder: Recorder, out: Path, *, index: int, count: int) -> ActivationStore:
    with locked(out / LOCK, shared=True), locked(out / f"{LOCK}.{index}-of-{count}") as lock:
        folder = RunFolder.begin(out, recorder.head)
        recorder.write(folder, range(index, len(recorder.plan.shards), count), lock=lock)
        folder.reload()
        missing = len(recorder.plan.shards) - len(folder.records)
    if missing:
        raise BusyError(f"worker {index} of {count} has done its part; {missing} shards of other workers are missing in {out}.")
    try:
        with locked(out / LOCK):
            folder.clean()
            folder.finish()
            for leftover in out.glob(f"{LOCK}.*-of-*"):
                leftover.unlink(missing_ok=True)
    except BusyError:
        pass  # another worker finished at the same moment and puts the folder in order
    return ActivationStore.open(out)


@dataclass(frozen=True)
class _Work:
    """What a worker needs to compute shards: the plan, the folder, and how to load the same model (on how many GPUs)."""

    plan: Plan
    out: Path
    model: str
    device: Placement
    dtype: str
    threads: int
    gpus: int = 0
    chat_template: str = OFF
    reuse: Reuse | None = None

    @classmethod
    def of(cls, recorder: Recorder, folder: RunFolder) -> "_Work":
        model = recorder.model
        dtype = str(model.dtype).removeprefix("torch.")
        threads, lying = torch.get_num_threads(), model.provenance["device_map"]
        gpus = {where for where in [str(model.device), *(lying["bytes"] if lying else ())] if where.startswith("cuda")}
        chat = model.chat.source if model.chat else OFF
        return cls(recorder.plan, folder.path, model.name, model.placement, dtype, threads, len(gpus), chat, recorder.reuse)

    def recorder(self) -> Recorder:
        """The model loaded anew, as many threads as its planner had; `ArtefactError` when it is not the same model."""
        torch.set_num_threads(self.threads)
        model = load(
            self.model, device=self.device, dtype=self.dtype, offline=True, check=False, chat_template=self.chat_template
        )
        if identity(model) != self.plan.config["model"]:
            raise ArtefactError(f"worker: the model {self.model!r} is not the one that the capture was planned with.")
        return Recorder(model, self.plan, self.reuse)


_WORKER: list[tuple[Recorder, RunFolder]] = []


def _start(parcels: Any) -> None:
    """Begin as a worker, on the work that the parent hands over through the queue `parcels`."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent, who is sent them too, decides what they mean
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    work: _Work = parcels.get()
    _WORKER[:] = [(work.recorder(), RunFolder(work.out))]


def _leave_with_parent() -> None:
    """End this process when its parent is gone: nobody is left who would ask it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(BusyError.exit_code)


def _compute(index: int) -> int:
    recorder, folder = _WORKER[0]
    recorder.run_shard(folder, index, stop=folder.stop_asked)
    return index


def run_in_processes(recorder: Recorder, folder: RunFolder, lock: Lock, *, workers: int) -> None:
    """Compute what the folder lacks in `workers` processes. `BusyError` when one dies: what was committed is kept.

    On a signal the workers end their batches and commit what is finished, and `Interrupted` is raised.
    """
    lacking = recorder.missing(folder, range(len(recorder.plan.shards)))
    if not lacking:
        return
    workers = min(workers, len(lacking))
    context = multiprocessing.get_context("spawn")
    parcels = context.Queue()  # as an argument, a large plan would make each worker wait until the one before it had read it
    for _ in range(workers):
        parcels.put(_Work.of(recorder, folder))
    parcels.cancel_join_thread()
    with (
        watched_signals() as stopping,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(parcels,)) as pool,
    ):
        futures = [pool.submit(_compute, index) for index in lacking]
        try:
            for future in track(_settled(futures, lock, stopping), "capture", total=len(lacking)):
                future.result()
        except BrokenProcessPool as error:
            folder.reload()
            stopping.check(how_to_resume(folder))  # the signal came while a worker started, and ended it
            raise BusyError(f"a worker died (memory?); {how_to_resume(folder)}") from error
        finally:
            folder.ask_to_stop()
            pool.shutdown(wait=True, cancel_futures=True)
            folder.clean()
            folder.reload()
        stopping.check(how_to_resume(folder))


def _settled(futures: Iterable[Future[int]], lock: Lock, stopping: Stopping) -> Iterator[Future[int]]:
    """Futures as they end, the lock kept alive; ends early when a signal asks for it."""
    pending = set(futures)
    while pending and not stopping.asked():
        lock.beat()
        try:
            for future in as_completed(pending, timeout=_LOOK_SECONDS):
                pending.discard(future)
                yield future
        except TimeoutError:
            continue


def run_in_ray(recorder: Recorder, folder: RunFolder, lock: Lock, *, workers: int) -> None:
    """Compute what the folder lacks with `workers` Ray actors, each holding the model.

    An actor that dies is started again up to three times and its shard tried again twice; an error of ours (a poison row)
    ends the run with its own name. On a signal the actors end their batches and commit what is finished.
    """
    try:
        import ray
    except ImportError as error:
        raise ResourceError("executor ray needs the extra `ray`: pip install 'emotion-interp[ray]'.") from error
    lacking = recorder.missing(folder, range(len(recorder.plan.shards)))
    if not lacking:
        return
    work = _Work.of(recorder, folder)
    started = not ray.is_initialized()
    if started:
        alone: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        try:
            ray.init(**alone, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise ResourceError(f"Ray cannot be started or joined ({error}): see RAY_ADDRESS.") from error
    try:
        actor: Any = ray.remote(num_cpus=1, num_gpus=work.gpus, max_restarts=3, max_task_retries=2)(_Actor)
        actors = [actor.remote(work) for _ in range(min(workers, len(lacking)))]
        with watched_signals() as stopping:
            _share_out(ray, actors, lacking, folder, lock, stopping)
            stopping.check(how_to_resume(folder))
    finally:
        if started:
            ray.shutdown()


class _Actor:
    """A Ray worker: holds the model, computes one shard a call; an error of ours comes back as its class and message."""

    def __init__(self, work: _Work) -> None:
        self._folder = RunFolder(work.out)
        self._recorder = work.recorder()

    def compute(self, index: int) -> tuple[str, str] | None:
        """Compute a shard; None, or the name and message of an error of ours."""
        try:
            self._recorder.run_shard(self._folder, index, stop=self._folder.stop_asked)
        except InterpError as error:
            return type(error).__name__, str(error)
        return None


def _share_out(ray: Any, actors: list[Any], lacking: list[int], folder: RunFolder, lock: Lock, stopping: Stopping) -> None:
    """Give each actor its next shard when it has finished one; no actor is at work afterwards."""
    waiting = list(reversed(lacking))
    running = {actor.compute.remote(waiting.pop()): actor for actor in actors if waiting}
    try:
        while running:
            lock.beat()
            if stopping.asked():
                folder.ask_to_stop()
            for reference in ray.wait(list(running), timeout=_LOOK_SECONDS)[0]:
                actor = running.pop(reference)
                _raise_failure(ray, reference)
                if waiting and not stopping.asked():
                    running[actor.compute.remote(waiting.pop())] = actor
    finally:
        folder.ask_to_stop()
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_PATIENCE_SECONDS)
        folder.clean()
        folder.reload()


def _raise_failure(ray: Any, reference: Any) -> None:
    """Raise what an actor met: an error of ours by its own name, `BusyError` when it died too often."""
    try:
        failure = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        raise BusyError(f"a Ray worker died again and again: {error}. The same command resumes.") from error
    if failure is not None:
        raise getattr(interp.errors, failure[0])(failure[1])
