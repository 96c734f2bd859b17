"""Work that is spread over processes: the same numbers as alone, errors by their own names, and
nothing left behind.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from interp.analysis import spread as spreading
from interp.analysis.design import Design
from interp.analysis.site_probes import prepare, probe_sites, text_predictions
from interp.analysis.spread import share_out, spread_by, workers_here
from interp.errors import StatisticsError, UsageError
from interp.evaluation.made import twins

LEXICONS = {"negation": ["no"], "function_words": ["the", "a"]}


def sweep(executor: str) -> list[dict]:
    """A whole question: text baselines, probes at four places, refits of the nested AUROC."""
    x, y, groups = twins(0, n=12, shift=2.0)
    noise = np.random.default_rng(1)
    places = [({"layer": i}, x + i * noise.normal(size=x.shape)) for i in range(4)]
    task = prepare("reception", Design.infer(y, groups), n_perm=49)
    told = [f"the {'sad' if one == 'affective' else 'plain'} day {i}" for i, one in enumerate(y)]
    with spread_by(executor):
        texts = text_predictions(told, task, lexicons=LEXICONS)
        return probe_sites(lambda: places, task, texts=texts).rows


@pytest.fixture(scope="module")
def alone() -> list[dict]:
    return sweep("serial")


def test_who_works_changes_no_number(alone):
    found = sweep("processes:2")
    assert len(found) == len(alone) > 20
    for one, other in zip(found, alone, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_equal(value, other[name])


def pid(place: int) -> tuple[int, int]:
    return place, os.getpid()


def refuse(place: int) -> int:
    if place == 2:
        raise StatisticsError("the third place has no answer.")
    return place


def children() -> set[str]:
    """The processes that this one has started and that still run, by their number."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {child for task in found for child in task.read_text().split()}


def test_processes_do_the_work_in_order_and_end_with_the_block():
    before = children()
    with spread_by("processes:2"):
        found = list(share_out(pid, range(5)))
    assert [place for place, _ in found] == list(range(5))
    assert os.getpid() not in {who for _, who in found}
    time.sleep(0.2)
    workers = {str(who) for _, who in found}
    assert not workers & children()
    assert len(children() - before) <= 1  # the tracker of shared memory


def test_ray_does_the_work_in_order():
    pytest.importorskip("ray")
    with spread_by("ray:2"):
        found = list(share_out(lambda place: (place, os.getpid()), range(9)))  # several blocks
    assert [place for place, _ in found] == list(range(9))
    assert os.getpid() not in {who for _, who in found}


def test_this_process_begins_and_the_cores_go_on(monkeypatch):
    monkeypatch.setattr(spreading, "WORTH_WORKERS", 0.0)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    with spread_by("cores"):
        found = list(share_out(pid, range(5)))
    assert [place for place, _ in found] == list(range(5))
    assert found[0][1] == os.getpid()
    assert all(who != os.getpid() for _, who in found[1:])


def test_a_block_inside_another_works_with_its_workers(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    with spread_by("cores"):
        with monkeypatch.context() as soon, spread_by("cores"):
            soon.setattr(spreading, "WORTH_WORKERS", 0.0)
            first = list(share_out(pid, range(5)))
        with spread_by("cores"):
            second = list(share_out(pid, range(5)))
        workers = {who for _, who in first[1:]}
        assert {who for _, who in second[1:]} <= workers  # at once: they were started already
        assert second[0][1] == os.getpid() not in workers
    assert not {str(who) for who in workers} & children()


def test_short_work_starts_no_process():
    with spread_by("cores"):
        assert {who for _, who in share_out(pid, range(5))} == {os.getpid()}
    assert {who for _, who in share_out(pid, range(5))} == {os.getpid()}


def test_a_block_without_workers_leaves_those_of_others():
    """Who uses joblib beside interp keeps their processes."""
    theirs = get_reusable_executor(max_workers=1)
    with spread_by("cores"):
        list(share_out(pid, range(5)))
    assert theirs.submit(pid, 1).result()[0] == 1  # raises where it was shut down
    theirs.shutdown(kill_workers=True)


def test_an_error_keeps_its_name():
    with spread_by("processes:2"), pytest.raises(StatisticsError, match="third place"):
        list(share_out(refuse, range(4)))


def test_as_many_processes_as_have_room(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 64)
    assert 1 < workers_here(({}, np.zeros(8, dtype=np.float32))) <= 64
    huge = np.broadcast_to(np.zeros(1, dtype=np.float32), (1 << 20, 1 << 20))
    assert workers_here(({}, huge)) == 1


@pytest.mark.parametrize("executor", ["", "processes", "processes:0", "shard:0/2", "cluster"])
def test_an_unknown_executor_is_refused(executor):
    told = "write cores, serial, processes:2 or ray:2"
    with pytest.raises(UsageError, match=told), spread_by(executor):
        pass


SLEEPER = """
import time
from interp.analysis.spread import share_out, spread_by

def work(place):
    print("at", place, flush=True)
    time.sleep(30)

with spread_by("processes:2"):
    list(share_out(work, range(4)))
"""


def test_ctrl_c_ends_all_and_only_this_process_speaks(tmp_path):
    command = [sys.executable, str(tmp_path / "sleeper.py")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    (tmp_path / "sleeper.py").write_text(start + SLEEPER)
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        assert process.stdout.readline().startswith("at")
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode != 0
    assert told.count("Traceback") <= 1, told
    assert "KeyboardInterrupt" in told
