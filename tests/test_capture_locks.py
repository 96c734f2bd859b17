"""Two writers: who holds a run is told, who is gone is not waited for, and without locks the shards are still right."""

import os
import socket
import time

import pytest
from capture_cases import tree, write_store
from capture_faults import in_child

from interp.capture.lock import locked
from interp.errors import BusyError


def test_the_second_writer_is_told_who_holds_the_run(llama, tmp_path, clean):
    out = tmp_path / "run"
    out.mkdir()
    with locked(out / "LOCK"), pytest.raises(BusyError, match=rf"held by pid {os.getpid()} on {socket.gethostname()} since"):
        write_store(llama, out)
    write_store(llama, out).close()
    assert tree(out) == clean


def note(pid, host, age):
    seen = time.time() - age
    return f'{{"host": "{host}", "pid": {pid}, "start": {seen - 60}, "heartbeat": {seen}}}'


@pytest.mark.parametrize(
    ("holder", "busy"),
    [
        ((2**22 - 1, socket.gethostname(), 5), False),
        ((4242, "node7", 5), True),
        ((4242, "node7", 500), False),
        ("{torn", False),
        ('["list"]', False),
    ],
    ids=["dead process here", "alive elsewhere", "dead elsewhere", "torn", "foreign"],
)
def test_a_stale_lock_is_seen_as_such(tmp_path, holder, busy):
    path = tmp_path / "LOCK"
    path.write_text(holder if isinstance(holder, str) else note(*holder))
    if busy:
        with pytest.raises(BusyError, match="held by pid 4242 on node7"), locked(path):
            pass
    else:
        with locked(path) as lock:
            lock.beat()
    assert busy or path.read_text() == ""


def test_who_shares_a_lock_leaves_the_note_of_who_is_still_at_work(tmp_path):
    """On a file system that carries no locks between hosts, the note is all that another host has."""
    path = tmp_path / "LOCK"
    with locked(path, shared=True):
        with locked(path, shared=True):
            pass
        assert path.read_text() == ""  # each takes back a note of its own
        path.write_text(note(4242, "node7", 5))  # the other, on another host, has beaten since
    with pytest.raises(BusyError, match="held by pid 4242 on node7"), locked(path):
        pass
    with locked(path, heed_note=False):
        pass
    assert path.read_text() == ""


def test_two_writers_without_locks_still_give_right_shards(llama, clean, tmp_path, monkeypatch):
    monkeypatch.setattr("interp.files.fcntl.flock", lambda descriptor, flag: None)
    out = tmp_path / "run"
    children = [in_child(lambda: write_store(llama, out)) for _ in range(2)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert 0 in statuses, "neither of two writers came to the end"
    write_store(llama, out).close()
    assert tree(out) == clean
