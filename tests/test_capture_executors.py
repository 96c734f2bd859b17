"""Executors: whoever computes, the tree of shards is the same byte for byte."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.capture.recording import recorder
from interp.capture.store.folder import RunFolder
from interp.capture.workers import executors
from interp.capture.workers.executors import check_executor
from interp.capture.workers.processes import Work
from interp.capture.workers.ray import _Actor
from interp.errors import ArtefactError, BusyError, DataError, UsageError
from interp.models import load
from support.capture_cases import FEW, battery, capture, tree, write_store


@pytest.mark.parametrize("count", [1, 3])
def test_workers_that_share_a_folder_make_the_serial_tree(llama, clean, tmp_path, count):
    out = tmp_path / "run"
    for index in reversed(range(count)):
        if index:
            with pytest.raises(
                BusyError,
                match=f"worker {index} of {count} has done its part; \\d+ shards of other workers",
            ):
                write_store(llama, out, executor=f"shard:{index}/{count}")
        else:
            assert len(write_store(llama, out, executor=f"shard:0/{count}").items) == len(battery())
    assert tree(out) == clean
    assert [path.name for path in out.glob("LOCK*")] == ["LOCK"]


def test_a_worker_and_a_whole_run_do_not_mix(llama, tmp_path, monkeypatch):
    out = tmp_path / "run"
    seen = []

    def during(*args):
        if not seen:
            for executor in ("serial", "shard:0/2"):
                with pytest.raises(BusyError, match="held by pid"):
                    write_store(llama, out, executor=executor)
                seen.append(executor)
        return run_batch(*args)

    run_batch = recorder.launch
    monkeypatch.setattr(recorder, "launch", during)
    with pytest.raises(BusyError, match="shards of other workers"):
        write_store(llama, out, executor="shard:0/2")
    assert seen == ["serial", "shard:0/2"]


def test_run_shard_is_idempotent(llama, clean, tmp_path):
    out = tmp_path / "run"
    write_store(llama, out).close()
    plan = make_plan(
        llama,
        battery(),
        sites=FEW,
        positions=("last_content", "mean_content"),
        options=Options(token_budget=48, shard_batches=1),
    )
    worker = recorder.Recorder(llama, plan)
    folder = RunFolder(out)
    assert worker.run_shard(folder, 1) == folder.records[1]
    folder.records.pop(1)
    worker.run_shard(folder, 1)
    folder.finish()
    assert tree(out) == clean


@pytest.mark.slow
def test_processes_make_the_serial_tree(llama, clean, tmp_path):
    out = tmp_path / "run"
    write_store(llama, out, executor="processes:2").close()
    assert tree(out) == clean
    write_store(llama, out, executor="processes:2").close()


def test_workers_that_leave_early_leave_the_run_as_it_stands(llama, clean, tmp_path, monkeypatch):
    """Told to stop by somebody's hand, not by a signal: nothing of what they began is thrown
    away.
    """
    out = tmp_path / "run"

    def leave_early(worker, folder, lock, *, workers):
        folder.ask_to_stop()
        worker.run_shard(folder, 0, stop=folder.stop_asked)
        folder.forget_stop()

    monkeypatch.setattr(executors, "run_in_processes", leave_early)
    with pytest.raises(
        BusyError, match=r"told to stop; 0 of \d+ shards are in .*; the same command resumes"
    ):
        write_store(llama, out, executor="processes:2", shard_batches=4)
    assert len(RunFolder(out).parts) == 1
    assert list((out / "shards").glob("*.part-*.h5"))
    write_store(llama, out, shard_batches=4).close()
    write_store(llama, tmp_path / "whole", shard_batches=4).close()
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.parametrize(
    "text", ["shard:4/4", "shard:0/0", "processes:0", "ray", "threads:2", "serial:2"]
)
def test_an_executor_that_does_not_exist_is_told(text):
    with pytest.raises(UsageError, match="write serial, processes:2"):
        check_executor(text)


def test_a_store_with_a_quarantine_is_not_taken_for_whole(llama, tmp_path, monkeypatch):
    from interp.capture.recording import batches

    refused = battery().items[0].id

    def found(recorded, plan):
        return [place for place in recorded.places if plan.texts[place].id == refused]

    monkeypatch.setattr(batches, "_nonfinite", found)
    write_store(llama, tmp_path / "run", on_nonfinite="quarantine").close()
    with pytest.raises(
        DataError, match=rf"1 texts in quarantine \('{refused}'\).*give --on-nonfinite quarantine"
    ):
        write_store(llama, tmp_path / "run")


def test_an_actor_stops_when_told_and_says_why_it_cannot_begin(llama, tiny_folder, tmp_path):
    plan = make_plan(
        llama, battery(), sites=FEW, positions=("last",), options=Options(token_budget=48)
    )
    worker = recorder.Recorder(llama, plan)
    folder = RunFolder.begin(tmp_path / "run", worker.head)
    work = Work.of(worker, folder)
    folder.ask_to_stop()
    assert _Actor(work).compute(0) is None
    folder.reload()
    assert [part.index for part in folder.parts.values()] == [0]
    name, told = _Actor(replace(work, model=str(tiny_folder("mistral")))).compute(0)
    assert (name, "is not the one that the capture was planned with" in told) == (
        "ArtefactError",
        True,
    )
    name, told = _Actor(replace(work, out=tmp_path / "elsewhere")).compute(0)
    assert (name, "is not a capture" in told) == ("ArtefactError", True)


def test_a_worker_refuses_another_model(llama, tiny_folder, tmp_path):

    plan = make_plan(llama, battery(), sites=FEW, positions=("last",), options=Options())
    work = Work(plan, tmp_path, str(tiny_folder("mistral")), "cpu", "float32", 1)
    with pytest.raises(ArtefactError, match="is not the one that the capture was planned with"):
        work.recorder()


@pytest.fixture
def cluster():
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        configure_logging=False,
    )
    yield ray
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_ray_makes_the_serial_tree_with_a_worker_killed_and_names_a_poison_row(
    llama, clean, tmp_path, cluster, tiny_folder
):
    out = tmp_path / "run"
    killed = []

    def kill_one():
        """Kill the first worker there is, found by the title that Ray gives its process."""
        while not killed and time.monotonic() < end:
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if b"ray::_Actor" in (process / "cmdline").read_bytes()[:64]:
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.append(int(process.name))
                        break
            time.sleep(0.005)

    end = time.monotonic() + 120
    thread = threading.Thread(target=kill_one)
    thread.start()
    write_store(llama, out, executor="ray:2").close()
    thread.join()
    assert killed
    assert tree(out) == clean
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "poisoned"
    shutil.copytree(tiny_folder("llama"), folder)
    weights = load_file(folder / "model.safetensors")
    row = load(str(folder), check=False).tokenize([battery().items[4].text])[0][1]
    weights["model.embed_tokens.weight"][row] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        DataError, match=r"text '\d-\w+': non-finite activation at blocks.0.hook_resid_post"
    ):
        capture(
            load(str(folder), check=False),
            battery(),
            sites=FEW,
            out=tmp_path / "bad",
            executor="ray:2",
        )
