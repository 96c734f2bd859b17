"""The proof of reliability: crashes at every step, failing disks, kills, signals, memory that runs
out.
"""

import os
import random
import resource
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from interp.capture import ActivationStore
from interp.capture.store.folder import RunFolder
from interp.capture.store.upkeep import repair
from interp.capture.verify import verify
from interp.errors import ArtefactError, Interrupted, ResourceError
from support.capture_cases import FEW, battery, capture, tree, write_store
from support.capture_faults import (
    ERRORS,
    NAME,
    Disk,
    after_crash,
    in_child,
    truth,
    watched_disk,
    write_run,
)

POST = "blocks.1.hook_resid_post"


def logged_run(tmp_path, monkeypatch):
    root = tmp_path / "logged"
    root.mkdir()
    with watched_disk(monkeypatch, Disk(root)) as disk:
        write_run(root)
    return disk.events, tree(root)


@pytest.mark.parametrize("keep_unsynced", ["all", "half", "none", "zeros"])
def test_no_crash_point_is_silently_wrong(tmp_path, monkeypatch, keep_unsynced):
    events, whole = logged_run(tmp_path, monkeypatch)
    events = [event for event in events if ".probe." not in event[1]]
    assert len(events) > 25
    for crash in range(len(events) + 1):
        root = tmp_path / f"crash-{crash}"
        (root / "shards").mkdir(parents=True)
        for name, data in after_crash(events[:crash], keep_unsynced=keep_unsynced).items():
            (root / name).write_bytes(data)
        if (root / "run.json").exists():
            folder = RunFolder(root)
            for record in folder.records.values():
                folder.verify(record)
        write_run(root)
        assert tree(root) == whole, f"crash after step {crash}: {events[crash - 1][:2]}"
        with ActivationStore.open(root) as store:
            np.testing.assert_array_equal(store.read("blocks.0.hook_resid_post").x, truth())


def test_the_crash_test_sees_a_writer_that_forgets_to_sync(tmp_path, monkeypatch):
    """Without fsync the same enumeration finds shards that the manifest names and that are not
    there: the test can fail.
    """
    events, _ = logged_run(tmp_path, monkeypatch)
    events = [
        event
        for event in events
        if ".probe." not in event[1] and not (event[0] == "fsync" and "shards" in event[1])
    ]
    broken = 0
    for crash in range(len(events) + 1):
        root = tmp_path / f"crash-{crash}"
        (root / "shards").mkdir(parents=True)
        for name, data in after_crash(events[:crash], keep_unsynced="zeros").items():
            (root / name).write_bytes(data)
        if (root / "run.json").exists():
            folder = RunFolder(root)
            for record in folder.records.values():
                try:
                    folder.verify(record)
                except ArtefactError:
                    broken += 1
    assert broken > 0


@pytest.mark.parametrize(
    "error", [*ERRORS.values(), KeyboardInterrupt()], ids=[*ERRORS, "KeyboardInterrupt"]
)
def test_every_step_may_fail(tmp_path, monkeypatch, error):
    events, whole = logged_run(tmp_path, monkeypatch)
    for failing in range(len(events)):
        root = tmp_path / f"fail-{failing}"
        root.mkdir()
        left = [failing]

        def fail(step, path, left=left):
            left[0] -= 1
            if left[0] == -1:
                raise error

        expected = ResourceError if isinstance(error, OSError) else KeyboardInterrupt
        with watched_disk(monkeypatch, Disk(root, before=fail)), pytest.raises(expected):
            write_run(root)
        assert not [path for path in root.rglob("*.tmp") if ".probe." not in path.name], (
            f"leftover after step {failing}"
        )
        if (root / "run.json").exists():
            folder = RunFolder(root)
            for record in folder.records.values():
                folder.verify(record)
        write_run(root)
        assert tree(root) == whole


def test_twenty_kills_and_a_resume_give_the_clean_bytes(llama, clean, tmp_path):
    out = tmp_path / "run"
    moment = random.Random(3)
    killed = 0
    for _ in range(20):
        pid = in_child(lambda: write_store(llama, out))
        time.sleep(moment.uniform(0.0, 0.12))
        os.kill(pid, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert killed > 5
    write_store(llama, out).close()
    assert tree(out) == clean


def test_a_small_disk_is_an_error_and_not_a_core_dump(llama, tmp_path):
    out = tmp_path / "run"

    def starved():
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
        write_store(llama, out, positions=("last", "all"), shard_batches=64)

    assert os.waitstatus_to_exitcode(os.waitpid(in_child(starved), 0)[1]) == 5
    assert not list(out.rglob("*.tmp"))
    with pytest.raises(ArtefactError, match="1 of 1 shards are missing"):
        ActivationStore.open(out)


class Sender:
    """Sends signals to this process at chosen batches."""

    def __init__(self, monkeypatch, number, at):
        from interp.capture.recording import recorder

        self.batches = 0
        inner = recorder.launch

        def run_batch(*args):
            self.batches += 1
            for batch in at:
                if batch == self.batches:
                    signal.raise_signal(number)
            return inner(*args)

        monkeypatch.setattr(recorder, "launch", run_batch)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)]
)
@pytest.mark.parametrize("shard_batches", [1, 4])
def test_the_first_signal_ends_the_batch_and_keeps_what_is_done(
    llama, tmp_path, monkeypatch, number, code, shard_batches
):
    before = signal.getsignal(number)
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        sender = Sender(patch, number, at=[3])
        with pytest.raises(Interrupted, match="the same command resumes") as stopped:
            write_store(llama, out, shard_batches=shard_batches)
    assert stopped.value.exit_code == code
    assert sender.batches == 3
    assert signal.getsignal(number) is before
    folder = RunFolder(out)
    assert sum(len(r.batches) for r in [*folder.records.values(), *folder.parts.values()]) == 3
    with monkeypatch.context() as patch:
        again = Sender(patch, number, at=[])
        write_store(llama, out, shard_batches=shard_batches).close()
    write_store(llama, tmp_path / "whole", shard_batches=shard_batches).close()
    assert (
        again.batches
        == sum(len(r.batches) for r in RunFolder(tmp_path / "whole").records.values()) - 3
    )
    assert tree(out) == tree(tmp_path / "whole")


def test_the_second_signal_leaves_at_once_and_loses_nothing(llama, clean, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        Sender(patch, signal.SIGINT, at=[2, 2])
        with pytest.raises(KeyboardInterrupt):
            write_store(llama, out)
    assert len(RunFolder(out).records) == 1
    write_store(llama, out).close()
    assert tree(out) == clean


def test_a_signal_without_a_folder_says_that_nothing_is_kept(llama, monkeypatch):
    Sender(monkeypatch, signal.SIGTERM, at=[2])
    with pytest.raises(Interrupted, match="nothing was kept") as stopped:
        capture(llama, battery(), sites=FEW, token_budget=48)
    assert stopped.value.exit_code == 143


def test_out_of_memory_halves_the_batch_and_goes_on(llama, tmp_path, monkeypatch):
    from interp.capture.recording import batches

    run = batches._run

    def starving(llama, engine, plan, places):
        if len(places) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return run(llama, engine, plan, places)

    with capture(llama, battery(), sites=FEW, token_budget=200) as whole:
        monkeypatch.setattr(batches, "_run", starving)
        with capture(llama, battery(), sites=FEW, token_budget=200, out=tmp_path / "run") as halved:
            a, b = (store.read(POST).x for store in (whole, halved))
    assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()
    shapes = [
        shape for record in RunFolder(tmp_path / "run").records.values() for shape in record.batches
    ]
    assert max(texts for texts, _ in shapes) == 2
    assert sum(texts for texts, _ in shapes) == len(battery())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_text_too_large_alone_is_named(llama, monkeypatch, error):
    from interp.capture.recording import batches

    def starving(*_):
        raise error

    monkeypatch.setattr(batches, "_run", starving)
    with pytest.raises(
        ResourceError, match=r"text '\d-\w+' \(\d+ tokens\) does not fit in memory, even alone"
    ):
        capture(llama, battery(), sites=FEW)


def test_another_error_of_the_model_is_not_taken_for_memory(llama, monkeypatch):
    from interp.capture.recording import batches

    def broken(*_):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(batches, "_run", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        capture(llama, battery(), sites=FEW)


def test_the_synthetic_store_reads_its_truth(tmp_path):
    write_run(tmp_path / "run")
    with ActivationStore.open(tmp_path / "run") as store:
        np.testing.assert_array_equal(store.read(*NAME.split("/")).x, truth())


def interrupted(llama, out, monkeypatch, **options):
    """A run stopped by SIGTERM in the middle of a shard: its folder holds a part."""
    with monkeypatch.context() as patch:
        Sender(patch, signal.SIGTERM, at=[2])
        with pytest.raises(Interrupted):
            write_store(llama, out, shard_batches=4, **options)
    (part,) = RunFolder(out).parts.values()
    return part


def other_values(path: Path) -> None:
    """A whole shard of the same plan, its checksums right, whose values are not those that were
    committed.
    """
    with h5py.File(path, "r+") as file:
        file["blocks.0.hook_resid_post/last_content"][0, 0] += 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        other_values,
    ],
)
def test_a_part_that_is_damaged_is_told_by_verify_and_repair_and_computed_again(
    llama, tmp_path, monkeypatch, damage
):
    out = tmp_path / "run"
    part = interrupted(llama, out, monkeypatch)
    damage(out / "shards" / part.file)
    assert not next(row for row in verify(out) if row["check"] == part.file)["passed"]
    with pytest.warns(
        UserWarning, match=f"begun of shard {part.index} cannot be used, and is computed again"
    ):
        write_store(llama, out, shard_batches=4).close()
    write_store(llama, tmp_path / "whole", shard_batches=4).close()
    assert tree(out) == tree(tmp_path / "whole")
    again = tmp_path / "again"
    part = interrupted(llama, again, monkeypatch)
    damage(again / "shards" / part.file)
    assert [row["file"] for row in repair(again)] == [part.file]
    write_store(llama, again, shard_batches=4).close()
    assert tree(again) == tree(tmp_path / "whole")


def test_a_part_whose_quarantine_is_lost_is_computed_again(llama, tmp_path, monkeypatch):
    from interp.capture.recording import batches

    longest = max(battery(), key=lambda item: len(item.text)).id

    def found(recorded, plan):
        return [place for place in recorded.places if plan.texts[place].id == longest]

    monkeypatch.setattr(batches, "_nonfinite", found)
    out, options = tmp_path / "run", {"on_nonfinite": "quarantine"}
    part = interrupted(llama, out, monkeypatch, **options)
    assert part.nonfinite == (longest,)
    (out / "quarantine.jsonl").unlink()
    with pytest.warns(UserWarning, match="the quarantine does not name"):
        write_store(llama, out, shard_batches=4, **options).close()
    write_store(llama, tmp_path / "whole", shard_batches=4, **options).close()
    assert tree(out) == tree(tmp_path / "whole")


def test_a_signal_while_the_last_shard_is_written_is_not_lost(llama, tmp_path, monkeypatch):
    commit = RunFolder.commit

    def late(self, *args, **record):
        if record["record"]["index"] == self.head["n_shards"] - 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        return commit(self, *args, **record)

    monkeypatch.setattr(RunFolder, "commit", late)
    with pytest.raises(Interrupted, match="the same command resumes") as stopped:
        write_store(llama, tmp_path / "run")
    assert stopped.value.exit_code == 143
    folder = RunFolder(tmp_path / "run")
    assert len(folder.records) == folder.head["n_shards"]
