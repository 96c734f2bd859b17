"""Workers of one run: killed, told to stop, left alone; what they had finished is kept, and nobody
stays behind.
"""

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.capture.recording.recorder import Recorder
from interp.capture.store.folder import RunFolder
from interp.capture.store.lock import locked
from interp.capture.workers.processes import Work, _compute, _get_ready, _pool, _Worker
from interp.capture.workers.ray import _raise_failure, _share_out
from interp.capture.workers.signals import Stopping
from interp.errors import ArtefactError, BusyError, DataError, Interrupted, ResourceError
from interp.models import load
from support.capture_cases import FEW, battery, capture, tree, write_store


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_no_shard_that_was_committed(llama, tmp_path):
    """SIGKILL, as the kernel does it when memory runs out: exit 75, and the same command goes on
    where it stood.
    """
    out, whole, asked = (
        tmp_path / "run",
        tmp_path / "whole",
        {"sites": FEW, "token_budget": 48, "shard_batches": 1},
    )
    capture(llama, battery(60), out=whole, **asked).close()
    killed: list[int] = []

    def kill_one_after_the_first_shard() -> None:
        while not killed and time.monotonic() < end:
            committed = (out / "manifest.jsonl").is_file() and (
                out / "manifest.jsonl"
            ).read_bytes().count(b"\n")
            workers = multiprocessing.active_children()
            if committed and workers:
                os.kill(workers[0].pid, signal.SIGKILL)
                killed.append(workers[0].pid)
            time.sleep(0.001)

    end = time.monotonic() + 120
    thread = threading.Thread(target=kill_one_after_the_first_shard)
    thread.start()
    with pytest.raises(
        BusyError, match=r"a worker died .*; \d+ of \d+ shards are in .*; the same command resumes"
    ) as error:
        capture(llama, battery(60), out=out, executor="processes:2", **asked)
    thread.join()
    assert killed
    assert error.value.exit_code == 75
    assert re.search(r"; (\d+) of", str(error.value))[1] == str(len(RunFolder(out).records)) != "0"
    kept = {
        name: data
        for name, data in tree(out).items()
        if name.startswith("shards/") and name.endswith(".h5")
    }
    assert 0 < len(kept) < len(list((whole / "shards").iterdir()))
    assert kept.items() <= tree(whole).items()
    capture(llama, battery(60), out=out, executor="processes:2", **asked).close()
    assert tree(out) == tree(whole)


@pytest.mark.slow
def test_a_worker_killed_while_it_gets_ready_ends_the_run(llama, tmp_path):
    """The other worker may wait for what the dead one held: it must be ended, too, and nobody may
    wait for it.
    """
    out = tmp_path / "run"

    def kill_the_first_there_is() -> None:
        _wait_for(lambda: bool(multiprocessing.active_children()))
        time.sleep(0.5)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_the_first_there_is, daemon=True)
    thread.start()
    with pytest.raises(BusyError, match="a worker died"):
        write_store(llama, out, executor="processes:2")
    thread.join()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_worker_with_nothing_in_hand_leaves_at_once(llama, tmp_path):
    """SIGTERM is what ends the others when one of them died: who ignored it would be waited for
    without end.
    """
    plan = make_plan(llama, battery(), sites=FEW, positions=("last",), options=Options())
    worker = Recorder(llama, plan)
    context = multiprocessing.get_context("spawn")
    parcels = context.Queue()
    parcels.put(Work.of(worker, RunFolder.begin(tmp_path / "run", worker.head)))
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=_get_ready, initargs=(parcels,)
    ) as pool:
        assert pool.submit(_compute, 0).result(timeout=120) == 0
        (process,) = multiprocessing.active_children()
        os.kill(process.pid, signal.SIGTERM)
        assert _exit_code(process, within=20) == BusyError.exit_code


def _exit_code(process, *, within):
    """The exit code of a worker. The pool's own thread may be the one that the kernel tells it, and
    for a moment nobody else knows it.
    """
    process.join(within)
    end = time.monotonic() + 10
    while process.exitcode is None and time.monotonic() < end:
        time.sleep(0.02)
    return process.exitcode


def _hear_no_signal() -> None:
    """Let this thread be interrupted by none, as it is in the moment before it waits for work."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_told_just_before_it_waits_for_work_leaves_too(number):
    """The signal has come and the main thread does not know: only the wait's end would tell it."""
    context = multiprocessing.get_context("spawn")
    parcels = context.Queue()
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=_get_ready, initargs=(parcels,)
    ) as pool:
        parcels.put(_NoWork())
        pool.submit(_hear_no_signal).result(timeout=120)
        (process,) = multiprocessing.active_children()
        os.kill(process.pid, number)
        assert _exit_code(process, within=120) == BusyError.exit_code


class _NoWork:
    """Work of which a worker gets ready with an error."""

    out = Path("nowhere")


def test_a_worker_that_was_told_leaves_also_where_its_shard_fails(monkeypatch):
    """An answer would go to a pool that is broken, and the worker would wait for a next shard that
    never comes.
    """
    worker = _Worker()

    class Failing:
        def run_shard(self, folder, index, *, stop):
            worker._leave(signal.SIGTERM, None)
            assert stop()
            raise DataError("a poison row")

    worker.recorder, worker.folder = Failing(), None
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as left:
        worker.compute(0)
    assert left.value.code == BusyError.exit_code


@pytest.mark.slow
def test_what_a_worker_meets_is_told_under_its_own_name(tiny_folder, one_thread, tmp_path):
    """First weights that are gone when the workers load them, then a text that makes them
    overflow.
    """
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    model = load(str(folder), check=False)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "cut").write_bytes(whole[:-100])
    (folder / "cut").replace(folder / "model.safetensors")  # this process has the whole one mapped
    with pytest.raises(ArtefactError, match=r"the weights in .* are corrupt"):
        write_store(model, tmp_path / "run", executor="processes:2")
    weights = load_file(tiny_folder("llama") / "model.safetensors")
    row = model.tokenize([battery().items[4].text])[0][1]
    weights["model.embed_tokens.weight"][row] = float("inf")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    broken = load(str(folder), check=False)
    with pytest.raises(
        DataError, match=r"text '\d-\w+': non-finite activation at blocks.0.hook_resid_post"
    ):
        write_store(broken, tmp_path / "poisoned", executor="processes:2")
    assert not (tmp_path / "poisoned" / "STOP").exists()


def _signal_when_the_first_shard_is_there(out: Path) -> threading.Thread:
    """SIGTERM to this process and to its workers, as a scheduler sends it to all that it
    started.
    """

    def send() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if (out / "manifest.jsonl").is_file() and (out / "manifest.jsonl").read_bytes().count(
                b"\n"
            ):
                time.sleep(0.25)  # both workers have another one in hand by now
                for pid in [
                    *(child.pid for child in multiprocessing.active_children()),
                    os.getpid(),
                ]:
                    os.kill(pid, signal.SIGTERM)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_signal_to_all_workers_ends_their_batches_and_keeps_what_is_done(llama, tmp_path):
    """More shards than workers, many batches a shard: when the first is there, another is under
    way.
    """
    out, whole, asked = (
        tmp_path / "run",
        tmp_path / "whole",
        {"sites": FEW, "token_budget": 48, "shard_batches": 120},
    )
    many = battery(700)
    capture(llama, many, out=whole, **asked).close()
    thread = _signal_when_the_first_shard_is_there(out)
    with pytest.raises(
        Interrupted,
        match=r"stopped by SIGTERM: \d+ of \d+ shards are in .*; the same command resumes",
    ) as error:
        capture(llama, many, out=out, executor="processes:2", **asked)
    thread.join()
    assert error.value.exit_code == 143
    left = RunFolder(out)
    assert left.parts  # what was under way was not thrown away
    assert 0 < len(left.records) < left.head["n_shards"]
    assert not (out / "STOP").exists()
    capture(llama, many, out=out, **asked).close()
    assert tree(out) == tree(whole)


@pytest.mark.slow
def test_workers_leave_when_their_parent_is_gone(tiny_folder, tmp_path):
    """SIGKILL to the parent: no worker stays behind to hold memory and to write into a folder that
    another run may have.
    """
    out = tmp_path / "run"
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\nfrom support.capture_cases import FEW, "
        "battery, capture\nfrom interp.models import load\nif __name__ == '__main__':\n    asked = "
        "{'sites': FEW, 'token_budget': 48, 'shard_batches': 1}\n    capture(load(sys.argv[1], "
        "check=False), battery(4000), out=sys.argv[2], executor='processes:2', **asked)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    tests = str(Path(__file__).parent)
    command = [sys.executable, str(script), str(tiny_folder("llama")), str(out), tests]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as parent:
        _wait_for(lambda: (out / "manifest.jsonl").is_file())
        workers = _children(parent.pid)
        parent.kill()
    assert workers
    _wait_for(lambda: not any(_is_alive(worker) for worker in workers))


def _wait_for(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class _FakeRay:
    """Actors that are at work until the folder says stop; `given` are the shards that they were
    handed.
    """

    class exceptions:  # noqa: N801 - the name that ray's module has
        RayError = OSError
        RayActorError = ConnectionError

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.given: list[int] = []

    def remote(self, index: int) -> str:
        self.given.append(index)
        return f"shard {index}"

    @property
    def compute(self) -> "_FakeRay":
        return self

    def wait(self, running: list[str], **how: object) -> tuple[list[str], list[str]]:
        return (running, []) if self.folder.stop_asked() else ([], running)

    def get(self, reference: str) -> None:
        return None


def test_ray_actors_are_told_to_stop_and_given_nothing_more(llama, tmp_path):
    out = tmp_path / "run"
    write_store(llama, out).close()
    folder = RunFolder(out)
    ray, stopping = _FakeRay(folder), Stopping()
    stopping.signal = signal.SIGUSR1
    with locked(out / "LOCK") as lock:
        _share_out(ray, [ray, ray], [4, 5, 6, 7], folder, lock, stopping)
    assert ray.given == [4, 5]
    assert not folder.stop_asked()


@pytest.mark.parametrize(
    ("met", "raised", "told"),
    [
        (ConnectionError("gone"), BusyError, "died again and again: gone"),
        (
            OSError("a long story\nthe object store is full"),
            ResourceError,
            "the object store is full",
        ),
    ],
)
def test_what_ray_meets_is_an_error_of_ours(met, raised, told, tmp_path):
    class Failing(_FakeRay):
        def get(self, reference):
            raise met

    with pytest.raises(raised, match=told):
        _raise_failure(Failing(None), "shard 0")


def test_no_room_for_worker_processes_is_told(llama, tmp_path, monkeypatch):
    """Their semaphores live in /dev/shm, which a container may have made small or read-only."""
    recorder = Recorder(
        llama, make_plan(llama, battery(), sites=FEW, positions=("last",), options=Options())
    )
    work = Work.of(recorder, RunFolder.begin(tmp_path / "run", recorder.head))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", full)
    with pytest.raises(ResourceError, match=r"cannot be started \(No space left.*/dev/shm.*serial"):
        _pool(2, work)
