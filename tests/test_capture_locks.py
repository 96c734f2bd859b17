"""Two writers: who holds a run is told, who is gone is not waited for, and without locks the shards
are still right.
"""

import os
import socket
import threading
import time

import pytest

from interp.capture.store import lock
from interp.capture.store.lock import locked
from interp.errors import BusyError, InterpError
from support.capture_cases import tree, write_store
from support.capture_faults import in_child


def test_the_second_writer_is_told_who_holds_the_run(llama, tmp_path, clean):
    out = tmp_path / "run"
    out.mkdir()
    with (
        locked(out / "LOCK"),
        pytest.raises(
            BusyError, match=rf"held by pid {os.getpid()} on {socket.gethostname()} since"
        ),
    ):
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
        ((4242, "node7", -60), True),
        ((4242, "node7", -500), False),
        ("{torn", False),
        ('["list"]', False),
        ("[" * 1000, False),
        ('{"host": "node7", "pid": 1, "start": Infinity, "heartbeat": Infinity}', False),
        ('{"host": "node7", "pid": 1, "start": NaN, "heartbeat": NaN}', False),
        ('{"host": "node7", "pid": 1, "start": -1e300, "heartbeat": "now"}', False),
        ('{"host": 7, "pid": 1, "start": 1, "heartbeat": 1}', False),
        (f'{{"host": "node7", "pid": 1, "start": 1, "heartbeat": {"9" * 900}}}', False),
    ],
    ids=[
        "dead process here",
        "alive elsewhere",
        "dead elsewhere",
        "its clock is a minute ahead",
        "its clock is far ahead",
        "torn",
        "foreign",
        "nested",
        "infinite",
        "no number",
        "before all time",
        "host of another type",
        "a number of many digits",
    ],
)
def test_a_stale_lock_is_seen_as_such(tmp_path, monkeypatch, holder, busy):
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.3)
    path = tmp_path / "LOCK"
    path.write_text(holder if isinstance(holder, str) else note(*holder))
    if busy:
        with pytest.raises(BusyError, match="held by pid 4242 on node7"), locked(path):
            pass
    else:
        with locked(path) as held:
            held.beat()
    assert busy or path.read_text() == ""


@pytest.mark.parametrize("behind", [3600, -3600], ids=["put back", "put forward"])
def test_a_holder_whose_clock_was_changed_is_not_taken_for_dead(tmp_path, capsys, behind):
    """Its heartbeats are an hour away from our clock, and it still writes them."""
    path = tmp_path / "LOCK"
    path.write_text(note(4242, "node7", behind))
    later = note(4242, "node7", behind - 10).encode().ljust(256)

    def write() -> None:
        with path.open("r+b") as stream:
            stream.write(later)

    beat = threading.Timer(0.5, write)
    beat.start()
    with pytest.raises(BusyError, match="held by pid 4242 on node7"), locked(path):
        pass
    beat.join()
    assert "seems gone: watching it" in capsys.readouterr().err


def test_a_holder_that_leaves_while_it_is_watched_is_waited_for_no_longer(tmp_path):
    path = tmp_path / "LOCK"
    path.write_text(note(4242, "node7", 3600))
    start = time.monotonic()
    threading.Timer(0.2, lambda: path.write_text("")).start()
    with locked(path):
        assert time.monotonic() - start < lock.WATCH_SECONDS


def test_who_shares_a_lock_leaves_the_note_of_who_is_still_at_work(tmp_path):
    """On a file system that carries no locks between hosts, the note is all that another host
    has.
    """
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


def test_a_start_that_no_clock_shows_is_not_told(tmp_path):
    """The holder is here and at work; only its note is somebody's fancy."""
    path = tmp_path / "LOCK"
    with locked(path):
        path.write_text('{"host": "a", "pid": 1, "start": 1e300, "heartbeat": 1}')
        with pytest.raises(BusyError, match="held by pid unknown"), locked(path):
            pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_a_lock_is_a_plain_file_or_nothing(tmp_path, make):
    make(tmp_path / "LOCK")
    with (
        pytest.raises(InterpError, match=r"plain file|directory|links") as error,
        locked(tmp_path / "LOCK"),
    ):
        pass
    assert error.value.exit_code in (4, 5)
    assert "disk is full" not in str(error.value)
    assert not (tmp_path / "elsewhere").exists()


def test_a_clock_that_goes_back_silences_nobody(tmp_path, monkeypatch):
    """The next beat is ten seconds of work later, whatever the clock shows."""
    path, now = tmp_path / "LOCK", time.monotonic()
    with locked(path) as held:
        path.write_text("")
        held.beat()
        assert path.read_text() == ""  # it is too early
        monkeypatch.setattr(time, "time", lambda: 1000.0)
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        held.beat()
        assert '"heartbeat": 1000.0' in path.read_text()
