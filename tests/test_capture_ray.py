"""Ray workers that die in the middle of a capture, and machines with little shared memory."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from interp.capture import capture
from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.capture.store.folder import RunFolder
from interp.capture.workers import ray as workers
from interp.capture.workers.processes import Work
from interp.errors import BusyError, ResourceError
from support.capture_cases import FEW, battery, tree

ASKED = {"sites": FEW, "options": Options(token_budget=48, shard_batches=1)}
ON_RAY = {
    "sites": FEW,
    "options": Options(token_budget=48, shard_batches=1, executor="ray:2"),
}
MANY = battery(60)


@pytest.fixture(scope="module")
def whole(llama, tmp_path_factory) -> dict[str, bytes]:
    """The bytes that an undisturbed capture leaves."""
    out = tmp_path_factory.mktemp("whole") / "run"
    capture(llama, MANY, out=out, **ASKED).close()
    return tree(out)


def descendants(pid: int) -> list[int]:
    """The processes below `pid`."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def actors() -> list[int]:
    """Our own Ray workers, found by the title that Ray gives them."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        found += [pid] if b"ray::_Actor" in title[:64] else []
    return found


def when_the_first_shard_is_there(out: Path, act: Callable[[], object]) -> threading.Thread:
    def wait() -> None:
        end = time.monotonic() + 120
        manifest = out / "manifest.jsonl"
        while time.monotonic() < end:
            if manifest.is_file() and manifest.read_bytes().count(b"\n"):
                act()
                return
            time.sleep(0.001)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def kill_one(killed: list[int]) -> None:
    for pid in actors()[:1]:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_ray_worker_killed_in_the_middle_is_replaced(llama, whole, tmp_path):
    out, killed = tmp_path / "run", []
    thread = when_the_first_shard_is_there(out, lambda: kill_one(killed))
    capture(llama, MANY, out=out, **ON_RAY).close()
    thread.join()
    assert killed
    assert tree(out) == whole


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_ray_worker_that_dies_too_often_ends_the_run_in_one_line_and_the_same_call_resumes(
    llama, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(workers, "RESTARTS", 0)
    monkeypatch.setattr(workers, "RETRIES", 0)
    out, killed = tmp_path / "run", []
    thread = when_the_first_shard_is_there(out, lambda: kill_one(killed))
    with pytest.raises(BusyError, match=r"a Ray worker died .*The same command resumes\.") as error:
        capture(llama, MANY, out=out, **ON_RAY)
    thread.join()
    assert killed
    assert error.value.exit_code == 75
    assert "\n" not in str(error.value)
    kept = RunFolder(out).records
    assert 0 < len(kept) < RunFolder(out).head["n_shards"]
    assert not (out / "STOP").exists()
    capture(llama, MANY, out=out, **ASKED).close()
    assert tree(out) == whole


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_little_shared_memory_does_not_stop_ray(llama, whole, tmp_path, monkeypatch):
    """Ray lays its object store into its temporary folder then; only the plan goes through it."""
    import ray._private.utils

    asked = []

    def one_mebibyte() -> int:
        asked.append("once")
        return 1 << 20

    monkeypatch.setattr(ray._private.utils, "get_shared_memory_bytes", one_mebibyte)
    out = tmp_path / "run"
    capture(llama, MANY, out=out, **ON_RAY).close()
    assert asked
    assert tree(out) == whole


class _Error(Exception):
    """Stands for `ray.exceptions.RayError`."""


def test_no_room_for_the_work_is_told_in_one_line(llama, tmp_path):
    class Actor:
        @staticmethod
        def remote(work: object) -> None:
            raise _Error("Failed to put object: the object store is full\nsee the logs\n")

    plan = make_plan(llama, MANY, sites=FEW, positions=("last",), options=Options())
    work = Work(plan, tmp_path, llama.name, "cpu", "float32", 1)
    errors = SimpleNamespace(RayError=_Error)
    ray = SimpleNamespace(remote=lambda **how: lambda kind: Actor, exceptions=errors)
    told = r"\(Failed to put .* is full\).*/dev/shm.*--executor serial"
    with pytest.raises(ResourceError, match=told) as error:
        workers._begin(ray, work, 2)
    assert "\n" not in str(error.value)


def test_a_ray_that_does_not_start_is_told_in_one_line(llama, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")

    def refuse(**how: object) -> None:
        raise ValueError("Attempting to cap object store memory usage at 1 bytes")

    monkeypatch.setattr(ray, "init", refuse)
    told = r"Ray cannot be started or joined \(Attempting to cap.*RAY_ADDRESS"
    with pytest.raises(ResourceError, match=told):
        capture(llama, MANY, out=tmp_path / "run", **ON_RAY)
