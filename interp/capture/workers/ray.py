"""Workers that are actors of a Ray cluster, on one machine or on several that share the folder."""

from typing import Any

import interp.errors
from interp.capture.recording.recorder import Recorder, how_to_resume
from interp.capture.store.folder import RunFolder
from interp.capture.store.lock import Lock
from interp.capture.workers.processes import LOOK_SECONDS, Work
from interp.capture.workers.signals import Stopping, watched_signals
from interp.errors import BusyError, InterpError, ResourceError
from interp.models.quiet import first_line
from interp.ray_cluster import ray_cluster

RESTARTS, RETRIES = 3, 2
"""How often an actor that died is started again, and how often its shard is tried again."""

_PATIENCE_SECONDS = 60.0
"""How long workers are waited for when the run ends early: long enough for a batch."""


def run_in_ray(recorder: Recorder, folder: RunFolder, lock: Lock, *, workers: int) -> None:
    """Compute what the folder lacks with `workers` Ray actors, each holding the model.

    An actor that dies is started again and its shard tried again, a few times (`RESTARTS`,
    `RETRIES`); an error of ours (a poison row) ends the run with its own name. On a signal the
    actors end their batches and commit what is finished. Where shared memory (/dev/shm) is small,
    Ray takes its temporary folder instead: what goes through it is the plan, and no activations.
    """
    lacking = recorder.missing(folder, range(len(recorder.plan.shards)), beat=lock.beat)
    if not lacking:
        return
    work = Work.of(recorder, folder)
    with ray_cluster(workers) as ray:
        actors = _begin(ray, work, min(workers, len(lacking)))
        with watched_signals() as stopping:
            _share_out(ray, actors, lacking, folder, lock, stopping)
            stopping.check(how_to_resume(folder))


def _begin(ray: Any, work: Work, count: int) -> list[Any]:
    """`count` actors, each with the work; raises `ResourceError` where Ray has no room for it."""
    patience = {"max_restarts": RESTARTS, "max_task_retries": RETRIES}
    try:
        actor: Any = ray.remote(num_cpus=1, num_gpus=work.gpus, **patience)(_Actor)
        return [actor.remote(work) for _ in range(count)]
    except ray.exceptions.RayError as error:
        raise ResourceError(
            f"Ray cannot hand out the work ({first_line(error)}): give shared memory (/dev/shm) "
            "and Ray's temporary folder some room, or let this process work alone "
            "(--executor serial)."
        ) from error


class _Actor:
    """A Ray worker: holds the model, computes one shard per call; an error of ours comes back as
    its class and message.
    """

    def __init__(self, work: Work) -> None:
        self._failure: tuple[str, str] | None = None
        try:
            self._folder = RunFolder(work.out)
            self._recorder = work.recorder()
        except InterpError as error:
            self._failure = type(error).__name__, str(error)

    def compute(self, index: int) -> tuple[str, str] | None:
        """Compute a shard; None, or the name and message of an error of ours."""
        if self._failure is None:
            try:
                self._recorder.run_shard(self._folder, index, stop=self._folder.stop_asked)
            except InterpError as error:
                return type(error).__name__, str(error)
        return self._failure


def _share_out(
    ray: Any,
    actors: list[Any],
    lacking: list[int],
    folder: RunFolder,
    lock: Lock,
    stopping: Stopping,
) -> None:
    """Give each actor its next shard when it has finished one; no actor is at work afterwards."""
    waiting = list(reversed(lacking))
    running = {actor.compute.remote(waiting.pop()): actor for actor in actors if waiting}
    try:
        while running:
            lock.beat()
            if stopping.asked():
                folder.ask_to_stop()
            for reference in ray.wait(list(running), timeout=LOOK_SECONDS)[0]:
                actor = running.pop(reference)
                _raise_failure(ray, reference)
                if waiting and not stopping.asked():
                    running[actor.compute.remote(waiting.pop())] = actor
    finally:
        folder.ask_to_stop()
        if running:
            _, late = ray.wait(list(running), num_returns=len(running), timeout=_PATIENCE_SECONDS)
            for reference in late:
                ray.kill(running[reference])
        folder.forget_stop()
        folder.reload()


def _raise_failure(ray: Any, reference: Any) -> None:
    """Raise what an actor met: an error of ours by its own name, `BusyError` when it died too
    often.
    """
    try:
        failure = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        told = f"a Ray worker died again and again: {first_line(error).rstrip('.')}."
        raise BusyError(f"{told} The same command resumes.") from error
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()[-1][:300]
        raise ResourceError(
            f"a Ray worker could not do its work ({told}): look at its machine's memory and "
            "disk. The same command resumes."
        ) from error
    if failure is not None:
        raise getattr(interp.errors, failure[0])(failure[1])
