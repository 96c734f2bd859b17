"""What goes on at once: a shard is written while the next is computed, a batch is copied while the
next one runs.
"""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from interp.capture.recording import recorder
from interp.capture.store.folder import RunFolder
from interp.capture.workers.background import InOrder
from interp.errors import ResourceError
from interp.models import load
from support.capture_cases import battery, capture, tree, write_store

SECONDS = 30.0
"""How long a test waits for what must come before it says that it did not."""


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load(str(tiny_folder("gpt2")), check=False)


def test_things_are_done_in_order_one_at_a_time_in_another_thread():
    done: list[int] = []
    threads: set[int] = set()

    def act(number: int) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.01 * (3 - number))
        done.append(number)

    with InOrder() as writing:
        for number in range(3):
            writing.put(lambda number=number: act(number))
    assert done == [0, 1, 2]
    assert threads.isdisjoint({threading.get_ident()})
    assert len(threads) == 1


def test_an_error_of_the_background_comes_out():
    def fail() -> None:
        raise ResourceError("full")

    with pytest.raises(ResourceError, match="full"), InOrder() as writing:
        writing.put(fail)
    writing = InOrder()
    writing.put(fail)
    with pytest.raises(ResourceError, match="full"):
        writing.put(lambda: None)


def test_the_error_of_the_work_itself_is_the_one_to_tell():
    def fail_at_both() -> None:
        with InOrder() as writing:
            writing.put(lambda: (_ for _ in ()).throw(ResourceError("full")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_both()


def test_a_shard_is_written_while_the_next_is_computed(model, tmp_path, monkeypatch):
    """Each write but the last waits until a later shard's forward has begun: without overlap it
    would wait in vain.
    """
    write_store(model, tmp_path / "plain").close()
    n_shards = len(RunFolder(tmp_path / "plain").records)
    launched = threading.Semaphore(0)
    launch, commit = recorder.launch, RunFolder.commit
    in_time: list[bool] = []

    def waiting(self, *args, **record):
        index = record["record"]["index"]
        in_time.extend(
            launched.acquire(timeout=SECONDS)
            for _ in range(1 if index else 2)
            if index < n_shards - 1
        )
        return commit(self, *args, **record)

    monkeypatch.setattr(recorder, "launch", lambda *a: (launch(*a), launched.release())[0])
    monkeypatch.setattr(RunFolder, "commit", waiting)
    write_store(model, tmp_path / "run").close()
    assert len(in_time) == n_shards > 2
    assert all(in_time)
    monkeypatch.undo()
    assert tree(tmp_path / "run") == tree(tmp_path / "plain")


@pytest.mark.parametrize("travels", [True, False])
def test_a_batch_that_travels_arrives_while_the_next_is_computed_and_no_other_is_kept_waiting(
    model, monkeypatch, travels
):
    """From a device, that is; in the host's own memory, waiting would only keep it occupied."""
    told: list[str] = []
    launch, finish = recorder.launch, recorder.finish

    def launched(*args):
        told.append("launch")
        return [dataclasses.replace(part, travels=travels) for part in launch(*args)]

    monkeypatch.setattr(recorder, "launch", launched)
    monkeypatch.setattr(recorder, "finish", lambda *a: (told.append("finish"), finish(*a))[1])
    with capture(model, battery(), sites=("resid_post",), token_budget=48) as store:
        x = store.read("blocks.1.hook_resid_post").x
    n = told.count("launch")
    assert n > 2
    assert told == (
        ["launch", *["launch", "finish"] * (n - 1), "finish"]
        if travels
        else ["launch", "finish"] * n
    )
    with capture(model, battery(), sites=("resid_post",), token_budget=48) as again:
        np.testing.assert_array_equal(x, again.read("blocks.1.hook_resid_post").x)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were begun in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_at_the_end_waits_for_what_is_being_written(ctrl_c):
    done: list[int] = []

    def interrupt_twice_then_finish() -> None:
        for _ in range(2):
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        done.append(1)

    with pytest.raises(KeyboardInterrupt), InOrder() as writing:
        writing.put(interrupt_twice_then_finish)
    assert done == [1]
