"""Files that lie: flipped bits, cut files, and HDF5 made to hurt; each is refused, opens nothing
else, and costs little.
"""

import json
import os
import random
import resource
import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from interp.capture import ActivationStore
from interp.capture.store.folder import RunFolder
from interp.capture.store.sealed_json import seal
from interp.capture.store.shard import SHARD_SCHEMA
from interp.capture.store.upkeep import layer_rows
from interp.capture.store.verified_file import block_digests
from interp.capture.verify import verify
from interp.errors import ArtefactError
from interp.files import sha256_bytes
from support.capture_faults import NAME, encoded, head, truth, write_run


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return tmp_path / "run"


def read(path: Path) -> np.ndarray:
    with ActivationStore.open(path) as store:
        return store.read(*NAME.split("/")).x


def test_no_flipped_bit_is_silent(run):
    random_ = random.Random(5)
    loud = 0
    for path in [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "LOCK"]:
        data = path.read_bytes()
        for _ in range(80):
            bit = random_.randrange(8 * len(data))
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            try:
                same = np.array_equal(read(run), truth())
            except ArtefactError:
                loud += 1
                continue
            assert same or path.name == "quarantine.jsonl", (
                f"bit {bit} of {path.name} was neither seen nor harmless"
            )
        path.write_bytes(data)
    assert loud > 350
    np.testing.assert_array_equal(read(run), truth())


def test_no_cut_file_is_silent(run):
    for path in [
        path
        for path in sorted(run.rglob("*"))
        if path.suffix in (".h5", ".jsonl", ".json") and "quar" not in path.name
    ]:
        data = path.read_bytes()
        for length in {0, 1, len(data) // 3, len(data) // 2, len(data) - 2}:
            path.write_bytes(data[:length])
            with pytest.raises(ArtefactError):
                read(run)
        path.write_bytes(data)


def swap_in(run: Path, content: bytes, **changes: object) -> None:
    """Put `content` in place of shard 0 with a manifest line that vouches for it: an attacker may
    write both.
    """
    digests = block_digests(content)
    data = content + digests
    digest = sha256_bytes(data)
    lines = (run / "manifest.jsonl").read_text().splitlines()
    record = json.loads(lines[0])["content"]
    record |= {
        "file": f"00000-{digest[:8]}.h5",
        "bytes": len(data),
        "sha256": digest,
        "blocks": sha256_bytes(digests),
    }
    record |= changes
    (run / "manifest.jsonl").write_text("\n".join([seal(record), *lines[1:]]) + "\n")
    if "/" not in str(record["file"]):
        (run / "shards" / str(record["file"])).write_bytes(data)


def hostile(build, *, libver=None) -> bytes:
    """A shard like an honest one, but for what `build` does to the dataset under test."""
    with h5py.File.in_memory(**({"libver": libver} if libver else {})) as file:
        file.attrs.create("schema", np.int64(SHARD_SCHEMA))
        file.attrs.create("plan", np.bytes_("f" * 64))
        for name, data in (
            ("item", np.arange(4)),
            ("length", np.ones(4, np.int64)),
            ("token", np.ones(4, np.int32)),
            ("statistics", np.ones((1, 2))),
        ):
            file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True)
        build(file)
        file.flush()
        return file.id.get_file_image()


X = np.ones((4, 8), np.float32)
SITE = NAME.split("/")[0]
TRAP = ["/nowhere"]


def honest(file, name=NAME, **changes):
    file.create_dataset(name, **{"data": X, "chunks": (4, 8), "fletcher32": True, **changes})


def external_storage(file):
    file.create_dataset(
        NAME, shape=(4, 8), dtype="<f4", external=[(TRAP[0], 0, h5py.h5f.UNLIMITED)]
    )


def external_link(file):
    file.create_group(SITE)["last"] = h5py.ExternalLink(TRAP[0], "/x")


def soft_link(file):
    honest(file, f"{SITE}/other")
    file[SITE]["last"] = h5py.SoftLink(f"/{SITE}/other")


def virtual(file):
    layout = h5py.VirtualLayout(shape=(4, 8), dtype="<f4")
    layout[:] = h5py.VirtualSource(TRAP[0], "x", shape=(4, 8))
    file.create_virtual_dataset(NAME, layout)


def cycle(file):
    honest(file)
    file[f"{SITE}/again"] = file[SITE]


def cycle_to_root(file):
    honest(file)
    file["again"] = file["/"]


def twice(file):
    honest(file)
    file[f"{SITE}/alias"] = file[NAME]


def deep(file):
    honest(file)
    group = file
    for _ in range(300):
        group = group.create_group("g")


def many(file):
    honest(file)
    group = file.create_group("many")
    for place in range(20_010):
        group.create_group(f"g{place}")


def named_type(file):
    honest(file)
    file["type"] = np.dtype("<f4")


def attribute(file):
    honest(file)
    file.attrs["more"] = 1


def attribute_on_data(file):
    honest(file)
    file[NAME].attrs["more"] = 1


def newer(file):
    honest(file)
    file.attrs.modify("schema", np.int64(9))


def odd_schema(file):
    honest(file)
    del file.attrs["schema"]
    file.attrs["schema"] = "one"


def many_attributes(file):
    honest(file)
    for place in range(400):
        file.attrs[f"a{place}"] = place


HOSTILE = {
    "external storage": external_storage,
    "external link": external_link,
    "soft link": soft_link,
    "virtual dataset": virtual,
    "cycle": cycle,
    "cycle to the root": cycle_to_root,
    "one dataset twice": twice,
    "deep nesting": deep,
    "many objects": many,
    "named type": named_type,
    "more attributes": attribute,
    "many attributes": many_attributes,
    "attribute on data": attribute_on_data,
    "newer schema": newer,
    "schema of another type": odd_schema,
    "huge and never written": lambda f: f.create_dataset(
        NAME, (1 << 40, 8), "<f4", chunks=(4, 8), fletcher32=True
    ),
    "fill value instead of data": lambda f: f.create_dataset(
        NAME, (4, 8), "<f4", chunks=(4, 8), fletcher32=True, fillvalue=1
    ),
    "gzip bomb": lambda f: f.create_dataset(
        NAME, data=np.zeros((1 << 22, 8), "<f4"), chunks=(1 << 16, 8), compression=9
    ),
    "unasked filter": lambda f: honest(f, shuffle=True),
    "no checksum": lambda f: honest(f, fletcher32=False),
    "contiguous": lambda f: f.create_dataset(NAME, data=X),
    "growing": lambda f: honest(f, maxshape=(None, 8)),
    "five axes": lambda f: honest(f, data=np.ones((4, 1, 1, 1, 8), "<f4"), chunks=(4, 1, 1, 1, 8)),
    "text": lambda f: f.create_dataset(NAME, data=["a"] * 4, chunks=(4,)),
    "compound": lambda f: honest(f, data=np.zeros(4, [("a", "<f4"), ("b", "<f4")]), chunks=(4,)),
    "references": lambda f: honest(f, data=np.array([f.ref] * 4, h5py.ref_dtype), chunks=(4,)),
    "complex": lambda f: honest(f, data=X.astype(np.complex64)),
    "big endian": lambda f: honest(f, data=X.astype(">f4")),
    "a name with control characters": lambda f: (honest(f), honest(f, f"{SITE}/\x1b[2J")),
    "a name that leads upwards": lambda f: (honest(f), honest(f, "..hidden /x")),
    "missing rows": lambda f: honest(f, data=X[:3], chunks=(3, 8)),
    "not a number": lambda f: honest(f, data=np.full_like(X, np.nan)),
    "without the dataset": lambda f: honest(f, f"{SITE}/other"),
}

BESIDE = (
    "cycle",
    "cycle to the root",
    "one dataset twice",
    "deep nesting",
    "many objects",
    "named type",
    "a name with control characters",
    "a name that leads upwards",
)
"""Faults of what is not read: it is not opened, what is read is right, and `verify` tells."""

BYTES = {
    "empty": b"\0",
    "not HDF5": b"hello" * 1000,
    "only a signature": b"\x89HDF\r\n\x1a\n" + bytes(500),
    "zip": b"PK\x03\x04" + bytes(400),
}


def refused(run: Path) -> int:
    """Read the store in a child with little processor time; 0 when it is refused with our error and
    little memory.
    """
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            resource.setrlimit(
                resource.RLIMIT_CPU, (2 + int(sum(os.times()[:2])), resource.RLIM_INFINITY)
            )
            sys.addaudithook(_watch(run))
            start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                read(run)
            except ArtefactError:
                grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start
                code = 0 if grown < 512 * 1024 else 4
        finally:
            os._exit(code)
    signal.alarm(60)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        signal.alarm(0)


def _watch(run: Path):
    def hook(event, args):
        if event == "open" and isinstance(args[0], str | bytes | Path):
            path = os.fsdecode(args[0])
            if not path.startswith((str(run), sys.prefix, sys.base_prefix)) and not path.endswith(
                (".py", ".pyc")
            ):
                os._exit(9)

    return hook


def test_a_shard_of_another_width_is_refused_though_its_digests_are_right(run):
    """Whoever writes shards may write their manifest, too; rows of another model are no rows of
    this run.
    """
    swap_in(run, hostile(lambda file: honest(file, data=X[:, :5], chunks=(4, 5))), warnings=[])
    with pytest.raises(
        ArtefactError, match=r"rows of shape \(8,\), and another shard of its run \(5,\)"
    ):
        read(run)
    assert not all(row["passed"] for row in verify(run))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_shard_is_refused(run, tmp_path, name):
    trap = tmp_path / "trap"
    os.mkfifo(trap)  # whoever opens it hangs, which the alarm sees
    TRAP[0] = str(trap)
    swap_in(run, hostile(HOSTILE[name]))
    if name in BESIDE:
        np.testing.assert_array_equal(read(run)[:4], X)
    else:
        assert refused(run) == 0
    told, *others = verify(run)
    assert not told["passed"]
    assert all(row["passed"] for row in others)


def test_the_honest_twin_of_the_hostile_shards_is_read(run):
    swap_in(run, hostile(honest))
    np.testing.assert_array_equal(read(run)[:4], X)
    assert all(row["passed"] for row in verify(run))
    assert refused(run) == 3, "the test harness must see a store that is accepted"


@pytest.mark.parametrize("told", [np.ones((2, 2)), np.full((1, 2), np.inf)], ids=["two", "inf"])
def test_statistics_of_another_shard_are_refused(run, told):
    def build(file):
        honest(file)
        del file["statistics"]
        file.create_dataset("statistics", data=told, chunks=told.shape, fletcher32=True)

    swap_in(run, hostile(build))
    with pytest.raises(ArtefactError, match="its statistics are not two numbers for each of 1"):
        layer_rows(run)
    assert not all(row["passed"] for row in verify(run))


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_shard_are_refused(run, name):
    swap_in(run, BYTES[name])
    assert refused(run) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": "00000-ffffffff.h5"},
        {"index": 99},
        {"index": -1},
        {"bytes": 10**15},
        {"bytes": 0},
        {"items": []},
        {"places": [0, 0, 1, 2]},
        {"places": [0, 1, 2, 9999]},
        {"places": [3, 2, 1, 0]},
        {"max_abs": "x"},
        {"blocks": "0" * 64},
        {"blocks": 7},
        {"batches": 3},
        {"reused": 1},
        {"sha256": "0" * 64},
    ],
    ids=str,
)
def test_a_manifest_that_lies_is_refused(run, changes):
    swap_in(run, encoded(0)[0](), **changes)
    assert refused(run) == 0


def test_a_shard_that_is_no_file_is_refused(run, tmp_path):
    shard = sorted((run / "shards").iterdir())[0]
    data = shard.read_bytes()
    elsewhere = tmp_path / "elsewhere.h5"
    elsewhere.write_bytes(data)
    shard.unlink()
    shard.symlink_to(elsewhere)
    assert refused(run) == 0
    shard.unlink()
    os.mkfifo(shard)
    assert refused(run) == 0
    shard.unlink()
    shard.mkdir()
    assert refused(run) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "[" * 100_000),
        ("run.json", "{}"),
        ("run.json", "\x00\xff"),
        ("manifest.jsonl", "[" * 100_000 + "\n"),
        ("manifest.jsonl", '{"content":{"a":' + "9" * 5000 + '},"sha256":""}\n'),
        ("manifest.jsonl", '{"content":[],"sha256":""}\n'),
        ("manifest.jsonl", seal({"a": 1}) + "\n"),
        ("quarantine.jsonl", seal({"a": 1}) + "\n"),
    ],
)
def test_json_that_is_not_ours_is_refused(run, name, text):
    (run / name).write_text(text, encoding="utf-8")
    assert refused(run) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": SHARD_SCHEMA + 1}, "newer interp"),
        ({"schema": SHARD_SCHEMA - 1}, "older interp.*capture again"),
        ({"schema": "1"}, "newer interp"),
        ({"n_shards": "3"}, "lacks n_shards"),
        ({"config": {}}, "lacks sites, positions"),
    ],
)
def test_a_run_of_another_kind_is_refused(run, changes, message):
    (run / "run.json").write_text(seal({"schema": SHARD_SCHEMA, **head(), **changes}) + "\n")
    with pytest.raises(ArtefactError, match=message):
        RunFolder(run)


def test_unknown_keys_are_kept(run):
    (run / "run.json").write_text(
        seal({"schema": SHARD_SCHEMA, **head(), "later": {"a": 1}}) + "\n"
    )
    assert RunFolder(run).head["later"] == {"a": 1}
