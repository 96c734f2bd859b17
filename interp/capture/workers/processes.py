"""Workers: processes of this machine that each load the model and compute shards of one plan; what
they need (`Work`) is what actors of a Ray cluster need, too (`ray_workers`).

The parent decides when they stop and tells them by the folder's STOP file: they end their batch and
commit what they have. An error of ours (a model that cannot be loaded, a poison row) ends the run
under its own name; a worker that dies ends it with `BusyError`, and the same command goes on.
"""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from interp.capture.plan import Plan, identity
from interp.capture.recording.recorder import Recorder, how_to_resume
from interp.capture.reuse import Reuse
from interp.capture.store.folder import RunFolder
from interp.capture.store.lock import Lock
from interp.capture.workers.signals import Stopping, watched_signals
from interp.errors import ArtefactError, BusyError, InterpError, ResourceError
from interp.models import load
from interp.models.arithmetic import set_precision
from interp.models.chat_template import OFF
from interp.models.placement import Placement
from interp.progress import track

LOOK_SECONDS = 0.1
"""How often is looked whether a signal came, while workers are at work."""


@dataclass(frozen=True)
class Work:
    """What a worker needs to compute shards: the plan, the folder, and how to load the same model
    (on how many GPUs).
    """

    plan: Plan
    out: Path
    model: str
    device: Placement
    dtype: str
    threads: int
    gpus: int = 0
    chat_template: str = OFF
    reuse: Reuse | None = None
    matmul_precision: str | None = None

    @classmethod
    def of(cls, recorder: Recorder, folder: RunFolder) -> "Work":
        """The work of `recorder` in `folder`; paths are absolute, since a worker may stand
        elsewhere.
        """
        model = recorder.model
        lying = model.provenance["device_map"]
        gpus = {
            where
            for where in [str(model.device), *(lying["bytes"] if lying else ())]
            if where.startswith("cuda")
        }
        placement = model.placement
        flags = model.provenance.get("arithmetic")
        on_disk = model.provenance["source"] in ("folder", "gguf")
        return cls(
            recorder.plan,
            folder.path.resolve(),
            str(Path(model.name).absolute()) if on_disk else model.name,
            dict(placement) if isinstance(placement, Mapping) else placement,
            str(model.dtype).removeprefix("torch."),
            torch.get_num_threads(),
            gpus=len(gpus),
            chat_template=model.chat.source if model.chat else OFF,
            reuse=recorder.reuse,
            matmul_precision=flags["matmul_precision"] if flags else None,
        )

    def recorder(self) -> Recorder:
        """The model loaded anew, with its planner's threads and precision; `ArtefactError` when it
        is not the same model.
        """
        torch.set_num_threads(self.threads)
        if self.matmul_precision is not None:
            set_precision(self.matmul_precision)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what loading warns of was said when it was planned
            model = load(
                self.model,
                device=self.device,
                dtype=self.dtype,
                offline=True,
                check=False,
                chat_template=self.chat_template,
            )
        if identity(model) != self.plan.config["model"]:
            raise ArtefactError(
                f"worker: the model {self.model!r} is not the one that the capture was planned "
                "with."
            )
        return Recorder(model, self.plan, self.reuse)


class _Worker:
    """A process of the pool: it has its work, or the error that it met while getting ready.

    Ctrl-C it leaves to its parent. Any other signal that ends processes lets it finish its batch,
    commit, and leave; where it has nothing in hand it leaves at once, so that nobody waits for it.

    Python runs a signal's handler when the main thread comes back to it. A signal that comes just
    before the main thread begins to wait for work would not be heard before the wait ends: so a
    thread of its own listens (`_heed`).
    """

    def __init__(self) -> None:
        self.error: InterpError | None = None
        self.told = False
        self.busy = False

    def get_ready(self, parcels: Any) -> None:
        """Take the work that the parent hands over through the queue `parcels`, and load the
        model.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        heard, said = os.pipe()
        os.set_blocking(said, False)
        signal.set_wakeup_fd(said, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._leave)
        threading.Thread(target=self._heed, args=(heard,), daemon=True).start()
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        work: Work = parcels.get()
        try:
            self.folder = RunFolder(work.out)
            self.recorder = work.recorder()
        except InterpError as error:
            self.error = error

    def compute(self, index: int) -> int:
        """Compute a shard; its number."""
        if self.error is not None:
            raise self.error
        self.busy = True
        try:
            self.recorder.run_shard(
                self.folder, index, stop=lambda: self.told or self.folder.stop_asked()
            )
        finally:
            self.busy = False
            # also where the shard failed: whoever told us waits for our end, not for an answer
            if self.told:
                os._exit(BusyError.exit_code)
        return index

    def _heed(self, heard: int) -> None:
        """Do what signals ask for; the kernel writes their numbers to the pipe `heard`."""
        while number := os.read(heard, 1):
            if number[0] in (signal.SIGTERM, signal.SIGUSR1):
                self._leave(number[0], None)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if not self.busy:
            os._exit(BusyError.exit_code)


def _leave_with_parent() -> None:
    """End this process when its parent is gone: nobody is left who would ask it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(BusyError.exit_code)


_WORKER = _Worker()


def _get_ready(parcels: Any) -> None:
    _WORKER.get_ready(parcels)


def _compute(index: int) -> int:
    return _WORKER.compute(index)


def run_in_processes(recorder: Recorder, folder: RunFolder, lock: Lock, *, workers: int) -> None:
    """Compute what the folder lacks in `workers` processes. `BusyError` when one dies: what was
    committed is kept.

    On a signal the workers end their batches and commit what is finished, and `Interrupted` is
    raised.
    """
    lacking = recorder.missing(folder, range(len(recorder.plan.shards)), beat=lock.beat)
    if not lacking:
        return
    workers = min(workers, len(lacking))
    work = Work.of(recorder, folder)
    with watched_signals() as stopping, _pool(workers, work) as pool:
        died: BrokenProcessPool | None = None
        futures = [pool.submit(_compute, index) for index in lacking]
        try:
            for future in track(_settled(futures, lock, stopping), "capture", total=len(lacking)):
                future.result()
        except BrokenProcessPool as error:
            died = error
        finally:
            folder.ask_to_stop()
            pool.shutdown(wait=True, cancel_futures=True)
            folder.forget_stop()
            folder.reload()
        stopping.check(how_to_resume(folder))  # a signal may have been what ended the worker
        if died is not None:
            raise BusyError(f"a worker died (memory?); {how_to_resume(folder)}") from died


def _pool(workers: int, work: Work) -> ProcessPoolExecutor:
    """Processes that get ready for `work`; raises `ResourceError` where there is no room for
    them.
    """
    context = multiprocessing.get_context("spawn")
    try:
        # As an argument, a large plan would make each worker wait until the one before it had read
        # it.
        parcels = context.Queue()
        for _ in range(workers):
            parcels.put(work)
        parcels.cancel_join_thread()
        return ProcessPoolExecutor(
            workers, mp_context=context, initializer=_get_ready, initargs=(parcels,)
        )
    except OSError as error:  # their semaphores are files in shared memory
        raise ResourceError(
            f"worker processes cannot be started ({error.strerror or error}): give shared memory "
            "(/dev/shm) some room, or let this process work alone (--executor serial)."
        ) from error


def _settled(
    futures: Iterable[Future[int]], lock: Lock, stopping: Stopping
) -> Iterator[Future[int]]:
    """Futures as they end, the lock kept alive; ends early when a signal asks for it."""
    pending = set(futures)
    while pending and not stopping.asked():
        lock.beat()
        try:
            for future in as_completed(pending, timeout=LOOK_SECONDS):
                pending.discard(future)
                yield future
        except TimeoutError:
            continue
