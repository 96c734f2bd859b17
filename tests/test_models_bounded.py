"""Somebody's program within bounds: it is ended when it has computed too long, and only then."""

import threading
import time
import weakref

import pytest

from interp.models.texts.bounded import BeyondBounds, _Watch, bounded


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_computes_too_long_is_ended():
    with (
        pytest.raises(BeyondBounds, match=r"more than 0\.2 seconds"),
        bounded(seconds=0.2, megabytes=100),
    ):
        compute(8)


def test_what_other_threads_compute_and_what_waits_is_not_counted():
    other = threading.Thread(target=compute, args=(0.6,))
    other.start()
    with bounded(seconds=0.2, megabytes=100):
        other.join()
        time.sleep(0.3)


def test_one_that_does_not_listen_is_told_again():
    def deaf() -> None:
        try:
            compute(8)
        except BaseException:  # as Python itself, in a callback of the garbage collector
            compute(8)

    start = time.thread_time()
    with pytest.raises(BeyondBounds), bounded(seconds=0.1, megabytes=100):
        deaf()
    assert time.thread_time() - start < 7


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_python_drops_is_told_again():
    """An exception in the callback of a weak reference is dropped: the block goes on behind it."""

    class Thing:
        pass

    things = [Thing()]
    watched = weakref.ref(things[0], lambda _: compute(1.0))

    def drops() -> None:
        things.clear()
        compute(8)

    start = time.thread_time()
    with pytest.raises(BeyondBounds), bounded(seconds=0.1, megabytes=100):
        drops()
    assert time.thread_time() - start < 7
    assert watched() is None


def test_nothing_is_left_behind():
    before = threading.active_count()
    for _ in range(20):
        with bounded(seconds=5.0, megabytes=100):
            compute(0.001)
        assert threading.active_count() == before


def test_an_end_that_comes_just_then_harms_nothing():
    """The bound is met where the block ends: it is told of or not, and never behind the block."""
    met, before = 0, threading.active_count()
    for n in range(400):  # where the look comes is the machine's matter: on until it was met often
        try:
            with bounded(seconds=0.0, megabytes=100):
                compute(0.045 + n / 4000)
        except BeyondBounds:
            met += 1
        assert threading.active_count() == before
        if met == 10:
            break
    assert met == 10
    compute(1.2)  # as long as it takes until it would be said again


def test_an_end_that_comes_before_the_block_begins_is_told_and_leaves_nothing(monkeypatch):
    """The machine stalls between the start of the watch and the block."""
    start, before = _Watch.start, threading.active_count()

    def stalled(watch: _Watch) -> None:
        start(watch)
        compute(0.5)

    monkeypatch.setattr(_Watch, "start", stalled)
    with pytest.raises(BeyondBounds), bounded(seconds=0.0, megabytes=100):
        pytest.fail("the block began")
    assert threading.active_count() == before
    compute(1.2)  # as long as it takes until it would be said again


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_other_errors_pass_through(error):
    with pytest.raises(error), bounded(seconds=5.0, megabytes=100):
        raise error
