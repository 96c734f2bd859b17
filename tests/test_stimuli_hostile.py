"""Hostile and damaged files end in an error of ours, within bounds of memory and processor time.

Measured is a process of its own; time is the processor's, which a busy machine does not change.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import hostile_files

MOST_MEGABYTES = 500
MOST_SECONDS = 2.0

READER = """
import json, resource, sys, time
import stimuli
from interp.errors import InterpError

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

for path in sys.argv[1:]:
    start = time.process_time()
    try:
        told = f"loaded {len(stimuli.load(path))}"
    except InterpError as error:
        told = f"{type(error).__name__}: {error}"
    print(json.dumps([path.rsplit("/", 1)[-1], told, time.process_time() - start, peak()]))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, tuple[str, float, float]]:
    """File name -> what it ended in, seconds, peak of memory in MiB, all in one process."""
    paths = hostile_files.write_all(tmp_path_factory.mktemp("hostile"))
    command = [sys.executable, "-c", READER, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (told, seconds, peak) for name, told, seconds, peak in rows}


def test_each_ends_in_an_error_that_is_safe_to_print(outcomes) -> None:
    assert len(outcomes) > 30
    for name, (told, _, _) in outcomes.items():
        assert told.startswith(("DataError: ", "ResourceError: ")), (name, told)
        assert name in told, told
        assert told.isprintable()
        assert len(told) < 1000, told


def test_each_within_its_bounds(outcomes) -> None:
    slow = {name: seconds for name, (_, seconds, _) in outcomes.items() if seconds > MOST_SECONDS}
    assert slow == {}
    assert max(peak for _, _, peak in outcomes.values()) < MOST_MEGABYTES


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("zeros.jsonl.gz", "over 200 times its size"), ("one_line.jsonl.gz", "over 200 times its "
                                                                             "size"),
        ("rows.csv.gz", "more than 4,000,000 lines"), ("cut.jsonl.gz", "damaged gzip"),
        ("blanks.xlsx", "over 200 times its size"), ("huge.xlsx", "the limit is 67,108,864"),
        ("lying.xlsx", "cannot be read as a workbook"), ("laughs.xlsx", "cannot be read as a "
                                                                        "workbook"),
        ("other.zip", "is a zip archive"), ("many_rows.parquet", "more than 1,000,000 rows"),
        ("repeated.parquet", "over 200 times its size"), ("cut.parquet", "Fetch or write it again"),
        ("offsets.arrow", "Fetch or write it again"), ("deep_objects.jsonl", "JSON nested 174762 "
                                                                             "deep"),
        ("deep_list.json", "lists and objects at once"), ("long_row.jsonl", "longer than "
                                                                            "1,048,576 bytes"),
        ("long_row.csv", "longer than 1,048,576 bytes"), ("long_member.json", "over 1,048,576 "
                                                                              "bytes"),
        ("open_quote.csv", "a quoted cell opened here"), ("digits.json", "a number of 1000000 "
                                                                         "digits"),
        ("cut_utf16.csv", "not UTF-16"), ("nothing.csv", "NUL at byte 0"), ("dump.pkl", "a pickle"),
        ("climbing", "is no file's name"), ("deep_state", "JSON nested 500000 deep"),
    ],
)  # fmt: skip
def test_each_names_its_reason(outcomes, name: str, part: str) -> None:
    assert part in outcomes[name][0]


def test_a_legitimate_file_is_below_every_bound(tmp_path: Path) -> None:
    """The same kinds, without malice: as repetitive as a battery made from templates is."""
    import gzip

    import stimuli
    from support import matched_pairs

    rows = matched_pairs.rows(40)
    lines = "".join(
        json.dumps({**row, "id": f"{n}-{row['id']}", "pair": f"{n}-{row['pair']}"}) + "\n"
        for n in range(200)
        for row in rows
    )
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    assert len(lines) > 2 << 20
    assert len(stimuli.load(path)) == len(rows) * 200
