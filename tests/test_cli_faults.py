"""What ends a command from outside: signals, full disks under stdout, pipes where files are
named.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from interp.capture.workers.signals import ended_by_signals
from interp.errors import Interrupted
from support import matched_pairs
from support.commands import outcome

INTERP = [sys.executable, "-c", "from interp.cli import main; main()"]


@pytest.mark.parametrize("words", [("stimuli", "list"), ("stimuli", "list", "--json"), ("--help",)])
def test_a_full_disk_under_stdout_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*INTERP, *words], stdout=full, stderr=-1, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("interp: cannot print the result: No space left on device.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["report", "inspect", "verify"])
def test_a_name_that_is_too_long_is_one_line(command):
    name = "x" * 300
    done = subprocess.run([*INTERP, command, name], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith(f"interp: cannot use {name}")
    assert done.stderr.endswith(": File name too long. What was finished is kept.\n")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def asked(tmp_path, tiny_folder) -> dict[str, object]:
    """The options of a study of pairs through a tiny GPT-2."""
    return {
        "--model": shutil.copytree(tiny_folder("gpt2"), tmp_path / "model"),
        "--stimuli": matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16)),
        "--out": tmp_path / "run",
        "--sites": "resid_post",
        "--folds": 2,
    }


def words(asked: dict[str, object], command: str = "probe") -> list[str]:
    return [command, *(str(word) for pair in asked.items() for word in pair)]


def test_a_pipe_is_told_wherever_a_file_is_named(asked, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for option in ("--stimuli", "--chat-template", "--out", "--model", "--reuse"):
        code, message = outcome(*words({**asked, option: tmp_path / "pipe"}))
        assert code in ((3,) if option == "--stimuli" else (2, 4, 5)), (option, message)
    for command in ("inspect", "verify", "report"):
        assert outcome(command, tmp_path / "pipe")[0] == 4


@pytest.mark.filterwarnings("ignore:probes:UserWarning")
def test_a_pipe_is_told_wherever_a_run_has_a_file(asked, tmp_path):
    assert outcome(*words(asked))[0] == 0
    activations = [
        f"activations/{name}" for name in ("run.json", "manifest.jsonl", "quarantine.jsonl", "LOCK")
    ]
    (shard,) = (tmp_path / "run").glob("activations/shards/*.h5")
    names = (
        "run.json",
        "tables/probes.csv",
        *activations,
        str(shard.relative_to(tmp_path / "run")),
    )
    for number, name in enumerate(names):
        copy = shutil.copytree(tmp_path / "run", tmp_path / str(number))
        path = copy / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        code, message = outcome(*words({**asked, "--out": copy}, "directions"))
        assert code == 4, (name, message)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)]
)
def test_a_study_in_the_background_ends_and_keeps_what_is_done(number, code, asked, tmp_path):
    """A shell starts its background jobs with SIGINT ignored."""
    run, environment = tmp_path / "run", {**os.environ, "OMP_NUM_THREADS": "1"}
    begun = subprocess.Popen(
        [*INTERP, *words({**asked, "--sites": "resid_post,attn_out,mlp_out,z,post"}, "run")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    end = time.monotonic() + 200
    while not (run / "tables" / "cosines.csv").exists():
        assert begun.poll() is None, begun.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)
    begun.send_signal(number)
    told = begun.communicate(timeout=100)[1].splitlines()[-1]
    assert begun.returncode == code, told
    done = "capture, probes, persistence, directions, cosines"
    assert told.startswith(f"interp: stopped by {number.name}: {done}")
    assert told.endswith(f"are in {run}; the same command goes on from there.")
    assert not [
        path for path in run.rglob("*") if path.name.endswith(".tmp") or path.name == ".locks"
    ]
    assert not (run / "tables" / "steering.csv").exists()


def deaf_to_errors() -> None:
    """A library that takes every error for its own, while a signal comes."""
    while True:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)


def test_a_signal_passes_through_what_catches_errors():
    before = signal.getsignal(signal.SIGTERM)
    told = "stopped by SIGTERM: two of three are done"
    with pytest.raises(Interrupted, match=told) as error, ended_by_signals(lambda: told[20:]):
        deaf_to_errors()
    assert error.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
