"""Memory that is freed and asked for again stays with the process, and what is too large goes
back.
"""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import numpy as np
from interp.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def touch():
    block = np.empty(int(sys.argv[2]) << 20, dtype=np.uint8)
    block[::4096] = 1
def faults():
    touch()  # the first block is new in any case
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        touch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps({"kept": kept, "faults": faults()}))
"""


def told(how, megabytes):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, str(megabytes)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_freed_blocks_are_not_cleared_anew():
    plain, kept = told("plain", 64), told("keep", 64)
    assert kept["kept"]
    assert kept["faults"] < plain["faults"] / 10
    # numpy or the kernel may use large pages: then a fault is 2 MB, and there are fewer
    assert plain["faults"] > 20 * 64 / 2 * 0.9


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_blocks_beyond_the_bound_go_back():
    assert told("keep", 300)["faults"] > 20 * 300 / 2 * 0.9


PIECES = """
import json
from pathlib import Path
import numpy as np
from interp.memory import give_freed_memory_back, keep_freed_memory
keep_freed_memory()
def held():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in l)
    return int(line.split()[1]) >> 10
blocks = [np.ones(1 << 20, dtype=np.uint8) for _ in range(300)]
del blocks[:-1]  # the last lies above them all
before = held()
print(json.dumps({"could": give_freed_memory_back(), "before": before, "after": held()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_what_lies_freed_between_what_is_kept_goes_back():
    command = [sys.executable, "-c", PIECES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["could"]
    assert found["before"] - found["after"] > 250  # MB
