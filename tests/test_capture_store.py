"""The store: what was written comes back, in battery order, touching only what was asked for; and
its upkeep.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from interp.capture import ActivationStore
from interp.capture.recording import pooling
from interp.capture.store import export
from interp.capture.store.export import export_hdf5
from interp.capture.store.folder import RunFolder
from interp.capture.store.sealed_json import seal
from interp.capture.store.shard import Shard, encode_shard, overflows
from interp.capture.store.upkeep import inspect, layer_rows, repair
from interp.capture.store.verified_file import block_digests
from interp.capture.verify import verify
from interp.errors import ArtefactError, DataError, ResourceError, UsageError
from interp.files import sha256_bytes
from interp.models import load
from stimuli.battery import Battery, Stimulus
from support.capture_cases import FEW, SITES, battery, capture, tree, write_store

POST = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


@pytest.fixture(scope="module")
def memory(model):
    return capture(
        model,
        battery(),
        sites=FEW,
        positions=("last", "mean_content", "all"),
        token_budget=48,
        shard_batches=1,
    )


@pytest.fixture
def run(model, tmp_path):
    write_store(model, tmp_path / "run", positions=("last", "mean_content", "all")).close()
    return tmp_path / "run"


def test_disk_and_memory_read_alike_in_battery_order(run, memory, model):
    with ActivationStore.open(run) as store:
        assert store.items == memory.items == tuple(item.id for item in battery())
        assert store.sites == memory.sites
        for site in store.sites:
            for position in store.positions:
                a, b = store.read(site, position), memory.read(str(site), position)
                np.testing.assert_array_equal(a.x, b.x)
                assert a.lengths == b.lengths
                assert a.x.dtype == np.float32
        whole = store.read(POST, "all")
        streamed = {item: piece.of(item) for piece in store.stream(POST) for item in piece.items}
        assert set(streamed) == set(store.items)
        for item in store.items:
            np.testing.assert_array_equal(streamed[item], whole.of(item))
        np.testing.assert_array_equal(
            whole.of(store.items[0])[-1], store.read(POST).of(store.items[0])
        )
        assert store.provenance["battery"]["sha256"] == battery().sha256
        assert store.provenance["model"]["digest"] == model.provenance["digest"]


def test_the_same_capture_gives_the_same_bytes_and_a_second_call_computes_nothing(
    model, run, tmp_path, monkeypatch
):
    again = tmp_path / "again"
    write_store(model, again, positions=("last", "mean_content", "all"))
    assert tree(again) == tree(run)
    monkeypatch.setattr(
        "interp.capture.recording.recorder.launch", lambda *a: pytest.fail("computed again")
    )
    write_store(model, again, positions=("last", "mean_content", "all"))


def test_one_layer_of_one_site_touches_only_its_data(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        f"blocks.{i}.hook_resid_post/last": rng.normal(size=(400, 256)).astype(np.float32)
        for i in range(24)
    }
    places = np.arange(400)
    shard = Shard(places, np.ones(400, np.int64), arrays, np.ones(400, np.int32), {})
    path = tmp_path / "shard.h5"
    told = dict.fromkeys(arrays, (9.0, 1.0))
    path.write_bytes(encode_shard(shard, told, plan="p", storage="float32"))

    class Counting:
        def __init__(self, stream):
            self.stream, self.bytes = stream, 0

        def readinto(self, buffer):
            count = self.stream.readinto(buffer)
            self.bytes += count
            return count

        def __getattr__(self, name):
            return getattr(self.stream, name)

    with path.open("rb") as stream:
        counting = Counting(stream)
        with h5py.File(counting, "r") as file:
            x = file["blocks.7.hook_resid_post/last"][...]
    np.testing.assert_array_equal(x, arrays["blocks.7.hook_resid_post/last"])
    assert counting.bytes < 1.15 * x.nbytes + 65536 < path.stat().st_size / 10


def test_float16_is_kept_where_it_fits_and_only_there(model, tmp_path):
    with (
        write_store(model, tmp_path / "half", storage="float16") as half,
        write_store(model, tmp_path / "full") as full,
    ):
        a, b = half.read(POST).x, full.read(POST).x
        assert 0 < np.abs(a - b).max() <= 1e-3 * np.abs(b).max()
        assert half.warnings == ()
    assert overflows(np.array([7e4]))
    assert not overflows(np.array([np.nan, 6e4]))


def scale_by(monkeypatch, factor):
    """Multiply the activations `SITE/POSITION` of a model by `factor(name)`."""
    send = pooling.send_to_host
    monkeypatch.setattr(
        pooling,
        "send_to_host",
        lambda found: send({name: x * factor(name) for name, x in found.items()}),
    )


def test_what_float16_cannot_hold_stays_float32_with_a_warning(model, tmp_path, monkeypatch):
    scale_by(monkeypatch, lambda name: 1e6 if name.startswith(f"{POST}/") else 1)
    with pytest.warns(UserWarning, match=f"{re.escape(POST)}/last reaches .*beyond float16"):
        store = write_store(model, tmp_path / "run", storage="float16", positions=("last",))
    assert np.isfinite(store.read(POST).x).all()
    assert np.abs(store.read(POST).x).max() > 65504
    assert any("beyond float16" in warning for warning in store.warnings)
    assert "beyond float16" in inspect(tmp_path / "run")["warnings"]


def test_a_site_that_is_zero_is_told(model, monkeypatch):
    scale_by(monkeypatch, lambda name: 0 if "blocks.1.attn.hook_z" in name else 1)
    with pytest.warns(UserWarning, match=r"blocks\.1\.attn\.hook_z/last is zero for every text"):
        capture(model, battery(1), sites=("z",), positions=("last",))


def test_a_kind_of_site_that_is_zero_in_every_layer_is_refused_before_anything_is_written(
    model, tmp_path, monkeypatch
):
    scale_by(monkeypatch, lambda name: 0 if "hook_z" in name else 1)
    with pytest.raises(
        DataError, match=r"z is zero in every layer asked for.*its hook does not fire"
    ):
        write_store(model, tmp_path / "run", sites=("resid_post", "z"))
    assert not (tmp_path / "run" / "run.json").exists()


def test_what_was_not_captured_is_named(memory):
    for site, position in (
        ("blocks.2.hook_resid_post", "last"),
        (POST, "mean_from(3)"),
        ("blocks.1.hook_mlp_out", "last"),
    ):
        with pytest.raises(
            UsageError,
            match=r"was not captured. This store has the sites resid_post, z \(layers 0, 1\)",
        ):
            memory.read(site, position)
    with pytest.raises(UsageError, match=r"heads 0\.\.3"):
        memory.read("blocks.1.attn.hook_z[4]")


def test_inspect_and_layer_rows(run, memory):
    told = inspect(run)
    assert (told["items"], told["sites"], told["positions"]) == (
        12,
        "resid_post, z",
        "last, mean_content, all",
    )
    assert told["shards"] == f"{memory.head['n_shards']} of {memory.head['n_shards']}"
    row = next(row for row in layer_rows(run) if (row["site"], row["position"]) == (POST, "last"))
    x = memory.read(POST).x
    assert row["max_abs"] == pytest.approx(np.abs(x).max())
    assert row["mean_norm"] == pytest.approx(np.linalg.norm(x, axis=1).mean(), rel=1e-5)
    assert row["n"] == 12
    row = next(row for row in layer_rows(run) if (row["site"], row["position"]) == (POST, "all"))
    tokens = memory.read(POST, "all").x
    assert row["n"] == len(tokens) > 12
    assert row["mean_norm"] == pytest.approx(np.linalg.norm(tokens, axis=1).mean(), rel=1e-5)


def test_verify_recomputes_a_sample_alone(run, model, tiny_folder):
    rows = verify(run, recompute=0.5, model=model)
    assert all(row["passed"] for row in rows)
    assert rows[-1]["check"] == "recompute"
    assert "6 items" in rows[-1]["detail"]
    assert rows[-1]["value"] <= 1e-5
    with pytest.raises(ArtefactError, match="was captured and"):
        verify(run, model=load(str(tiny_folder("mistral")), check=False))


def test_verify_finds_values_that_no_model_gives(run, model):
    """A shard swapped for one with other numbers, manifest and all, passes every check but the
    recomputation.
    """
    lines = (run / "manifest.jsonl").read_text().splitlines()
    record = json.loads(lines[0])["content"]
    path = run / "shards" / record["file"]
    with h5py.File(path) as file:
        arrays = {
            f"{g}/{n}": file[g][n][...] * np.float32(1.01)
            for g in file
            if g.startswith("blocks")
            for n in file[g]
        }
        chosen = {name: file["chosen"][name][...] for name in file["chosen"]}
        shard = Shard(file["item"][...], file["length"][...], arrays, file["token"][...], chosen)
        told = dict.fromkeys(arrays, (9.0, 1.0))
        plan = bytes(file.attrs["plan"]).decode()
        content = encode_shard(shard, told, plan=plan, storage="float32")
    digests = block_digests(content)
    data = content + digests
    record |= {
        "sha256": (digest := sha256_bytes(data)),
        "blocks": sha256_bytes(digests),
        "bytes": len(data),
        "file": f"{record['index']:05d}-{digest[:8]}.h5",
    }
    (run / "shards" / record["file"]).write_bytes(data)
    (run / "manifest.jsonl").write_text("\n".join([seal(record), *lines[1:]]) + "\n")
    assert all(row["passed"] for row in verify(run))
    failed = [row for row in verify(run, recompute=1.0, model=model) if not row["passed"]]
    assert [row["check"] for row in failed] == ["recompute"]
    assert failed[0]["value"] == pytest.approx(0.01, rel=0.05)


def test_what_a_later_interp_may_add_to_a_record_is_kept(run):
    lines = (run / "manifest.jsonl").read_text().splitlines()
    added = {**json.loads(lines[0])["content"], "measured": {"watts": 7}}
    (run / "manifest.jsonl").write_text("\n".join([seal(added), *lines[1:]]) + "\n")
    folder = RunFolder(run)
    assert folder.records[0].unknown == {"measured": {"watts": 7}}
    folder.drop([1])  # writes the manifest anew
    assert json.loads((run / "manifest.jsonl").read_text().splitlines()[0])["content"] == added


def test_a_record_from_before_sources_were_noted_is_read(run):
    lines = (run / "manifest.jsonl").read_text().splitlines()
    older = [
        {key: value for key, value in json.loads(line)["content"].items() if key != "sources"}
        for line in lines
    ]
    (run / "manifest.jsonl").write_text("".join(seal(record) + "\n" for record in older))
    assert all(row["passed"] for row in verify(run))


def test_repair_computes_only_what_is_damaged(run, model, tmp_path, monkeypatch):
    clean = tree(run)
    assert repair(run) == []
    shards = sorted((run / "shards").iterdir())
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    shards[2].unlink()
    lines = (run / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (run / "manifest.jsonl").write_bytes(
        b"".join([lines[0].replace(b'"index":0', b'"index":7'), *lines[1:]])
    )
    with pytest.raises(ArtefactError, match="changed after it was written"):
        ActivationStore.open(run)
    assert {row["file"] for row in repair(run)} == {
        "manifest.jsonl",
        shards[1].name,
        shards[2].name,
    }
    with pytest.raises(ArtefactError, match=f"3 of {len(shards)} shards are missing"):
        ActivationStore.open(run)
    from interp.capture.recording import recorder

    computed, run_batch = [], recorder.launch
    monkeypatch.setattr(recorder, "launch", lambda *a: (computed.append(a[3]), run_batch(*a))[1])
    write_store(model, run, positions=("last", "mean_content", "all"))
    assert len(computed) == 3
    assert tree(run) == clean


def test_a_damaged_shard_stops_a_resume_and_names_the_way_out(run, model):
    shard = next((run / "shards").iterdir())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    with pytest.raises(ArtefactError, match=rf"{shard.name}.*--repair"):
        write_store(model, run, positions=("last", "mean_content", "all"))


class _Miser:
    """A file that takes no more than 1,000 bytes at a time, as a system may."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, data):
        return self._stream.write(data[:1000])

    def __getattr__(self, name):
        return getattr(self._stream, name)


def test_export_goes_on_where_little_is_written_at_once(run, tmp_path, monkeypatch):
    inner = export._Guarded
    monkeypatch.setattr(export, "_Guarded", lambda stream: inner(_Miser(stream)))
    small = export_hdf5(run, tmp_path / "new folder" / "small.h5")
    monkeypatch.undo()
    with h5py.File(small) as file, ActivationStore.open(run) as store:
        np.testing.assert_array_equal(file[f"{POST}/all"][...], store.read(POST, "all").x)


def test_export_is_the_whole_store_in_one_file(run, memory, tmp_path, monkeypatch):
    out = export_hdf5(run, tmp_path / "one.h5")
    with h5py.File(out) as file:
        assert [name.decode() for name in file["item"][...]] == list(memory.items)
        np.testing.assert_array_equal(file[f"{POST}/last"][...], memory.read(POST).x)
        np.testing.assert_array_equal(file[f"{POST}/all"][...], memory.read(POST, "all").x)
        assert tuple(file["length"][...]) == memory.read(POST, "all").lengths
        assert json.loads(file.attrs["run"])["plan"] == memory.head["plan"]
    monkeypatch.setattr(
        "interp.capture.store.export.disk_usage", lambda path: type("Usage", (), {"free": 10})()
    )
    with pytest.raises(ResourceError, match="are free"):
        export_hdf5(run, tmp_path / "two.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.h5", "run"]


def poison(model, monkeypatch, item, *, where="blocks.0.hook_resid_post", value=np.nan):
    """Make one text's activations non-finite from a site on, as a broken weight would."""
    from interp.capture.recording.plain_engine import PlainEngine

    bad = model.tokenize([next(i.text for i in battery() if i.id == item)])[0]
    shaped = PlainEngine._shaped
    rows = {}

    def run(self, batch, sinks, *, inner=PlainEngine.run):
        rows["bad"] = [r for r, n in enumerate(batch.lengths) if batch.ids[r, :n].tolist() == bad]
        inner(self, batch, sinks)

    def spoiled(self, site, tensor):
        tensor = shaped(self, site, tensor)
        if str(site) == where and rows["bad"]:
            tensor = tensor.clone()
            tensor[rows["bad"], 2:] = value
        return tensor

    monkeypatch.setattr(PlainEngine, "run", run)
    monkeypatch.setattr(PlainEngine, "_shaped", spoiled)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_activation_stops_with_its_place(model, tmp_path, monkeypatch, value):
    poison(model, monkeypatch, "2-neutral", value=value)
    place = r"text '2-neutral': non-finite activation at blocks.0.hook_resid_post \(layer 0\)"
    place += ", first at token 2"
    with pytest.raises(DataError, match=place):
        write_store(model, tmp_path / "run")
    with pytest.raises(DataError, match=place):
        capture(model, battery(), sites=FEW)


def test_quarantine_leaves_out_the_pair_and_says_so(model, tmp_path, monkeypatch, memory):
    poison(model, monkeypatch, "2-neutral")
    for out in (tmp_path / "run", None):
        with capture(
            model,
            battery(),
            sites=FEW,
            out=out,
            token_budget=48,
            shard_batches=1,
            on_nonfinite="quarantine",
        ) as store:
            assert set(store.quarantined) == {"2-neutral", "2-keyword_free"}
            assert "first at token 2" in store.quarantined["2-neutral"]
            assert "twin of '2-neutral'" in store.quarantined["2-keyword_free"]
            assert len(store.items) == 10
            kept = [memory.items.index(item) for item in store.items]
            np.testing.assert_array_equal(store.read(POST).x, memory.read(POST).x[kept])
            streamed = [
                item for piece in store.stream(POST, "last_content") for item in piece.items
            ]
            assert sorted(streamed) == sorted(store.items)
    assert all(row["passed"] for row in verify(tmp_path / "run"))
    (tmp_path / "run" / "quarantine.jsonl").unlink()
    with pytest.raises(ArtefactError, match="quarantine does not name '2-neutral'"):
        ActivationStore.open(tmp_path / "run")
    assert (
        repair(tmp_path / "run")[0]["reason"] == "its refused items are no longer in the quarantine"
    )


def test_reading_a_store_needs_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; from interp.capture import ActivationStore; ActivationStore; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_per_token_capture_streams(model, tmp_path):
    """Peak memory follows the shard, not the battery: a store of many shards grows it by a fraction
    of the store's size.
    """

    def peak():
        return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024

    texts = Battery(
        "long",
        tuple(Stimulus(f"{n}", "the old dog ran to the sea " * 12, "joy") for n in range(400)),
    )
    settings = {"sites": SITES, "positions": ("all",), "shard_bytes": 2 << 20}
    capture(model, Battery("few", texts.items[:20]), out=tmp_path / "warm", **settings).close()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    capture(model, texts, out=tmp_path / "run", **settings).close()
    stored = inspect(tmp_path / "run")["bytes"]
    assert stored > 80e6
    assert peak() - before < stored / 2


def test_an_item_is_found_by_its_name_pooled_or_token_by_token(memory):
    ragged, pooled = memory.read(POST, "all"), memory.read(POST, "last")
    start = 0
    for row, (item, length) in enumerate(zip(ragged.items, ragged.lengths, strict=True)):
        assert np.array_equal(ragged.of(item), ragged.x[start : start + length])
        assert np.array_equal(pooled.of(item), pooled.x[row])
        start += length
    for found in (ragged, pooled):
        with pytest.raises(UsageError, match="has no item 'nobody'"):
            found.of("nobody")


def test_items_are_looked_up_and_not_searched(memory):
    """Each item of many in turn: neither their names nor their lengths are gone through again."""
    gone = []

    class Counted(tuple):
        def __iter__(self):
            gone.append(len(self))
            return super().__iter__()

        def index(self, name):
            gone.append(len(self))
            return super().index(name)

    ragged = memory.read(POST, "all")
    again = replace(ragged, items=Counted(ragged.items), lengths=Counted(ragged.lengths))
    gone.clear()
    for item in ragged.items:
        again.of(item)
    assert len(gone) <= 3  # names once, lengths once
