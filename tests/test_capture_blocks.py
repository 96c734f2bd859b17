"""Reading a part of a shard: nothing unverified is handed out, and no more is read than what was
asked for.
"""

import io
from contextlib import ExitStack

import h5py
import numpy as np
import pytest

from interp.capture import ActivationStore
from interp.capture.store.folder import RunFolder
from interp.capture.store.shard import Shard, encode_shard
from interp.capture.store.verified_file import BLOCK_BYTES, VerifiedFile, block_digests
from interp.capture.verify import verify
from interp.errors import ArtefactError
from interp.files import sha256_bytes
from support.capture_faults import head

SIZE = 5 * BLOCK_BYTES + 777
WHOLE = SIZE + 6 * 32
LAYERS, ITEMS, WIDTH = 24, 400, 256


@pytest.fixture(scope="module")
def data() -> bytes:
    return np.random.default_rng(0).bytes(SIZE)


@pytest.fixture
def verified(data, tmp_path):
    """A file that holds `stored` and is verified by the digests of `data`."""
    with ExitStack() as stack:

        def make(stored: bytes = data) -> VerifiedFile:
            (tmp_path / "x.h5").write_bytes(stored + block_digests(data))
            stream = stack.enter_context((tmp_path / "x.h5").open("rb"))
            blocks = sha256_bytes(block_digests(data))
            return VerifiedFile(stream, size=WHOLE, blocks=blocks, name="x.h5")

        yield make


def test_any_stretch_is_the_files_own(data, verified):
    file = verified()
    draw = np.random.default_rng(1)
    for start, length in zip(
        draw.integers(0, SIZE, 60), draw.integers(0, 2 * BLOCK_BYTES, 60), strict=True
    ):
        file.seek(int(start))
        assert file.read(int(length)) == data[start : start + length]
    assert file.seek(-7, io.SEEK_END) == SIZE - 7
    assert file.read() == data[-7:]
    assert file.read(1) == b""


def test_a_changed_block_is_never_handed_out_and_the_others_are(data, verified):
    broken = bytearray(data)
    broken[3 * BLOCK_BYTES + 5] ^= 1
    file = verified(bytes(broken))
    assert file.read(3 * BLOCK_BYTES) == data[: 3 * BLOCK_BYTES]
    with pytest.raises(ArtefactError, match=r"x\.h5 has a content that is not the one committed"):
        file.read(1)
    file.seek(4 * BLOCK_BYTES)
    assert file.read() == data[4 * BLOCK_BYTES :]


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b""])
def test_a_file_of_another_size_is_refused_before_a_byte_is_read(data, verified, change):
    with pytest.raises(ArtefactError, match=f"bytes instead of {WHOLE}"):
        verified(change(data))


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    """A store of two shards, each much larger than one layer of one site in it."""
    path = tmp_path_factory.mktemp("blocks") / "run"
    sites = [f"blocks.{layer}.hook_resid_post" for layer in range(LAYERS)]
    config = {**head()["config"], "sites": sites}
    folder = RunFolder.begin(
        path, {**head(), "config": config, "n_items": 2 * ITEMS, "n_shards": 2}
    )
    for index in range(2):
        rng = np.random.default_rng(index)
        arrays = {
            f"{site}/last": rng.normal(size=(ITEMS, WIDTH)).astype(np.float32) for site in sites
        }
        places = np.arange(index * ITEMS, (index + 1) * ITEMS)
        ones = np.ones(ITEMS, np.int64)
        shard = Shard(places, ones, arrays, ones.astype(np.int32), {"last": ones.astype(np.int8)})
        record = {
            "index": index,
            "items": tuple(map(str, places)),
            "places": tuple(map(int, places)),
            "batches": ((ITEMS, 1),),
            "max_abs": 9.0,
        }
        told = dict.fromkeys(arrays, (9.0, 1.0))
        folder.commit(
            lambda shard=shard, told=told: encode_shard(
                shard, told, plan="f" * 64, storage="float32"
            ),
            record,
        )
    return path


def test_one_layer_of_one_site_touches_only_its_data(store_path, monkeypatch):
    files: list[VerifiedFile] = []
    made = VerifiedFile.__init__
    monkeypatch.setattr(
        VerifiedFile, "__init__", lambda self, *a, **k: (files.append(self), made(self, *a, **k))[1]
    )
    with ActivationStore.open(store_path) as store:
        files.clear()
        x = store.read("blocks.17.hook_resid_post").x
    size = sum(path.stat().st_size for path in (store_path / "shards").iterdir())
    touched = sum(file.touched for file in files) * BLOCK_BYTES
    # of a shard: its ends, its index, its list of items
    assert x.nbytes <= touched <= x.nbytes + 2 * 4 * BLOCK_BYTES
    assert touched < size / 3
    expected = [
        np.random.default_rng(k).normal(size=(LAYERS, ITEMS, WIDTH)).astype(np.float32)[17]
        for k in range(2)
    ]
    np.testing.assert_array_equal(x, np.concatenate(expected))


def test_damage_is_found_where_it_is_read_and_by_verify(store_path, tmp_path):
    copy = tmp_path / "run"
    (copy / "shards").mkdir(parents=True)
    for path in store_path.rglob("*"):
        if path.is_file() and path.name != "LOCK":
            (copy / path.relative_to(store_path)).write_bytes(path.read_bytes())
    shard = sorted((copy / "shards").iterdir())[0]
    with h5py.File(shard) as file:
        place = file["blocks.20.hook_resid_post/last"].id.get_chunk_info(0).byte_offset + 1000
    broken = bytearray(shard.read_bytes())
    broken[place] ^= 4
    shard.write_bytes(bytes(broken))
    with ActivationStore.open(copy) as store:
        store.read("blocks.9.hook_resid_post")
        with pytest.raises(ArtefactError, match="it is damaged"):
            store.read("blocks.20.hook_resid_post")
    assert [row["passed"] for row in verify(copy)] == [False, True, True]


def test_a_line_whose_digests_do_not_fit_the_file_is_refused(store_path, tmp_path):
    import json

    from interp.capture.store.sealed_json import seal

    lines = [
        json.loads(line)["content"]
        for line in (store_path / "manifest.jsonl").read_text().splitlines()
    ]
    (tmp_path / "run.json").write_bytes((store_path / "run.json").read_bytes())
    (tmp_path / "shards").symlink_to(store_path / "shards")
    lines[0]["blocks"] = lines[1]["blocks"]
    (tmp_path / "manifest.jsonl").write_text("".join(seal(line) + "\n" for line in lines))
    with (
        ActivationStore.open(tmp_path) as store,
        pytest.raises(ArtefactError, match="content that is not the one committed"),
    ):
        store.read("blocks.9.hook_resid_post")
