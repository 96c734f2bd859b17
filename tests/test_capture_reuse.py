"""An activation that an earlier capture holds is copied, not computed: found by what decides it,
refused where that differs.
"""

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from interp.capture import ActivationStore
from interp.capture.recording import recorder
from interp.capture.store.folder import RunFolder
from interp.errors import ArtefactError, DataError, Interrupted
from interp.models import load
from stimuli.battery import Battery, Stimulus
from support.capture_cases import FEW, battery, capture, tree, write_store

POST = "blocks.1.hook_resid_post"
SETTINGS = {
    "sites": FEW,
    "positions": ("last_content", "mean_content"),
    "token_budget": 48,
    "shard_batches": 1,
}


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load(str(tiny_folder("gpt2")), check=False)


@pytest.fixture(scope="module")
def earlier(model, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("earlier") / "run"
    write_store(model, out).close()
    return out


def renamed(items, **changes) -> tuple[Stimulus, ...]:
    return tuple(dataclasses.replace(item, id=f"new {item.id}", **changes) for item in items)


def longer(n: int = 3) -> Battery:
    """The small battery under other ids and in another order, and `n` texts that no capture has
    seen.
    """
    new = tuple(Stimulus(f"unseen {k}", f"{'dog ' * (k + 2)}cat", "joy") for k in range(n))
    return Battery("longer", (*renamed(reversed(battery().items), pair=None), *new))


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The places of the texts that the model really ran."""
    places: list[int] = []
    inner = recorder.launch
    monkeypatch.setattr(recorder, "launch", lambda *a: (places.extend(a[3]), inner(*a))[1])
    return places


def test_only_texts_that_were_never_captured_are_computed(model, earlier, tmp_path, computed):
    with capture(model, longer(), out=tmp_path / "run", reuse=[earlier], **SETTINGS) as store:
        assert {longer().items[place].id for place in computed} == {
            "unseen 0",
            "unseen 1",
            "unseen 2",
        }
        found = {site: store.read(site).x for site in (POST, "blocks.1.attn.hook_z")}
        mean = store.read(POST, "mean_content").x
    with capture(model, longer(), **SETTINGS) as fresh:
        for site, x in found.items():
            np.testing.assert_allclose(x, fresh.read(site).x, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(mean, fresh.read(POST, "mean_content").x, rtol=1e-4, atol=1e-6)
    reused = [
        item for record in RunFolder(tmp_path / "run").records.values() for item in record.reused
    ]
    assert sorted(reused) == sorted(item.id for item in longer() if item.id.startswith("new"))


def test_reused_values_are_the_stored_ones_bit_for_bit(model, earlier, tmp_path):
    with (
        capture(model, longer(), out=tmp_path / "run", reuse=[earlier], **SETTINGS) as store,
        ActivationStore.open(earlier) as old,
    ):
        for item in battery():
            np.testing.assert_array_equal(
                store.read(POST).of(f"new {item.id}"), old.read(POST).of(item.id)
            )


def test_tokens_of_every_position_are_reused(model, earlier, tmp_path, computed):
    every = {**SETTINGS, "positions": ("all", "span(seen)")}
    with capture(model, battery(), out=tmp_path / "all", **every) as old:
        computed.clear()
        with capture(
            model, Battery("twice", renamed(battery().items)), reuse=[tmp_path / "all"], **every
        ) as store:
            assert computed == []
            for item in battery():
                np.testing.assert_array_equal(
                    store.read(POST, "all").of(f"new {item.id}"), old.read(POST, "all").of(item.id)
                )


def test_a_text_whose_span_moved_is_computed_again(model, tmp_path, computed):
    settings = {**SETTINGS, "positions": ("span(seen)",)}
    capture(model, battery(), out=tmp_path / "old", **settings).close()
    first, *rest = battery().items
    word = len(first.text.split()[0])
    moved = dataclasses.replace(first, fields={"seen": [0, word]})
    computed.clear()
    capture(model, Battery("moved", (moved, *rest)), reuse=[tmp_path / "old"], **settings).close()
    assert computed == [0]


def test_an_interrupted_capture_serves_what_it_holds_and_several_are_searched(
    model, earlier, tmp_path, computed
):
    half = tmp_path / "half"
    capture(model, Battery("unseen", longer().items[-3:]), out=half, **SETTINGS).close()
    folder = RunFolder(earlier)
    kept = {record.index for record in list(folder.records.values())[1:]}
    part = tmp_path / "part"
    part.mkdir()
    (part / "shards").symlink_to(earlier / "shards")
    (part / "run.json").write_bytes((earlier / "run.json").read_bytes())
    lines = (earlier / "manifest.jsonl").read_text().splitlines()
    (part / "manifest.jsonl").write_text(
        "\n".join(line for line in lines if json.loads(line)["content"]["index"] in kept) + "\n"
    )
    computed.clear()
    capture(model, longer(), reuse=[part, half], **SETTINGS).close()
    lost = {
        item
        for record in folder.records.values()
        if record.index not in kept
        for item in record.items
    }
    assert {longer().items[place].id for place in computed} == {f"new {item}" for item in lost}


def test_quarantined_items_are_not_reused(model, tmp_path, monkeypatch):
    from interp.capture.recording import batches

    bad = battery().items[0]
    monkeypatch.setattr(
        batches,
        "_nonfinite",
        lambda recorded, plan: [p for p in recorded.places if plan.texts[p].id == bad.id],
    )
    capture(model, battery(), out=tmp_path / "old", on_nonfinite="quarantine", **SETTINGS).close()
    monkeypatch.undo()
    places: list[int] = []
    inner = recorder.launch
    monkeypatch.setattr(recorder, "launch", lambda *a: (places.extend(a[3]), inner(*a))[1])
    with capture(model, battery(), reuse=[tmp_path / "old"], **SETTINGS) as store:
        assert bad.id in store.items
    assert places == [0]


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_capture_resumes_to_the_same_bytes_with_the_same_reuse(
    model, earlier, tmp_path, monkeypatch, at
):
    settings = {**SETTINGS, "token_budget": 24, "shard_batches": 2}
    capture(model, longer(8), out=tmp_path / "whole", reuse=[earlier], **settings).close()
    launch, seen = recorder.launch, []

    def stopped(*args):
        seen.append(args)
        if len(seen) == at:
            signal.raise_signal(signal.SIGTERM)
        return launch(*args)

    monkeypatch.setattr(recorder, "launch", stopped)
    with pytest.raises(Interrupted):
        capture(model, longer(8), out=tmp_path / "run", reuse=[earlier], **settings)
    monkeypatch.undo()
    assert tree(tmp_path / "run") != tree(tmp_path / "whole")
    capture(model, longer(8), out=tmp_path / "run", reuse=[earlier], **settings).close()
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")


def test_a_complete_capture_needs_its_sources_no_more_and_names_them(model, earlier, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(earlier, source)
    capture(model, longer(), out=tmp_path / "run", reuse=[source], **SETTINGS).close()
    shutil.rmtree(source)
    with capture(model, longer(), out=tmp_path / "run", reuse=[source], **SETTINGS) as store:
        assert store.provenance["reused_captures"] == [RunFolder(earlier).head["plan"]]
    for record in RunFolder(tmp_path / "run").records.values():  # whichever call computed the shard
        assert record.sources == ((RunFolder(earlier).head["plan"],) if record.reused else ())


def test_damage_in_a_source_is_told_as_the_sources(model, earlier, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(earlier, source)
    shard = sorted((source / "shards").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(ArtefactError, match=r"source \(--reuse\) cannot be copied from: .*damaged"):
        capture(model, longer(), out=tmp_path / "run", reuse=[source], **SETTINGS)


def test_what_cannot_serve_is_refused_with_the_reason(model, earlier, tiny_folder, tmp_path):
    other = load(str(tiny_folder("llama")), check=False)
    with pytest.raises(ArtefactError, match=r"cannot be reused here: model\.\w+: .* -> "):
        capture(other, battery(), reuse=[earlier], **SETTINGS)
    with pytest.raises(ArtefactError, match=r"no blocks\.0\.hook_mlp_out"):
        capture(model, battery(), reuse=[earlier], **{**SETTINGS, "sites": ("mlp_out@0",)})
    with pytest.raises(ArtefactError, match=r"no position span\(seen\)"):
        capture(model, battery(), reuse=[earlier], **{**SETTINGS, "positions": ("span(seen)",)})
    with pytest.raises(ArtefactError, match='attention: "fast" -> "eager"'):
        capture(model, battery(), reuse=[earlier], attention="eager", **SETTINGS)
    write_store(model, tmp_path / "half", storage="float16").close()
    with pytest.raises(ArtefactError, match="float16 values"):
        capture(model, battery(), reuse=[tmp_path / "half"], **SETTINGS)
    with pytest.raises((ArtefactError, DataError), match="is not a capture"):
        capture(model, battery(), reuse=[tmp_path / "nowhere"], **SETTINGS)


@pytest.mark.slow
def test_workers_reuse_too(model, earlier, tmp_path):
    capture(model, longer(), out=tmp_path / "serial", reuse=[earlier], **SETTINGS).close()
    capture(
        model, longer(), out=tmp_path / "two", reuse=[earlier], executor="processes:2", **SETTINGS
    ).close()
    assert tree(tmp_path / "serial") == tree(tmp_path / "two")
