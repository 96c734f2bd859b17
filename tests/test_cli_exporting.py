"""`interp control-vector`: what it writes of a file and of a run, and what it refuses with which
exit code.
"""

import re
from dataclasses import replace
from unittest.mock import create_autospec

import huggingface_hub
import numpy as np
import pytest

from interp.models.control_vectors import load_control_vector
from interp.models.layer_steps import load_layer_steps
from interp.records import RunRecord
from interp.sites import Site
from support.commands import outcome
from support.given_directions import given

TOLD = {"model": "org/tiny", "revision": "a" * 40, "digest": "d" * 64}

HUB = ("--format", "hub", "--licence", "mit")


def made(emotion, layer, axis):
    one = given(np.eye(8)[axis], Site("resid_post", layer), 2.0, TOLD)
    return replace(one, stream_norm=10.0, labels=(emotion, "neutral"))


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run with two emotions at two layers."""
    out = tmp_path / "run"
    (out / "directions").mkdir(parents=True)
    RunRecord(run="one", model="org/tiny", battery="plain", seed=0).write(out / "run.json")
    for axis, emotion in enumerate(("fear", "joy")):
        for layer in (1, 2):
            name = f"{axis:02d}-{emotion}-{layer:02d}.safetensors"
            made(emotion, layer, axis).save(out / "directions" / name)
    return out


def test_a_run_gives_the_emotion_and_layer_that_are_asked_for(run, tmp_path):
    for form, load in (("gguf", load_control_vector), ("safetensors", load_layer_steps)):
        target = tmp_path / f"joy.{form}"
        options = ("--format", form, "--emotion", "joy", "--layer", 2, "--scale", 2)
        code, printed = outcome("control-vector", run, target, *options)
        assert (code, printed.strip()) == (0, str(target))
        found = load(target)
        assert list(found) == [2]
        np.testing.assert_allclose(found[2].step, np.eye(8)[1] * 2 * 0.3 * 10, rtol=1e-6)
        assert found[2].labels == ("joy", "neutral")
    again = tmp_path / "again.safetensors"
    options = ("--format", "safetensors", "--unit", "length")
    assert outcome("control-vector", tmp_path / "joy.gguf", again, *options)[0] == 0
    np.testing.assert_allclose(load_layer_steps(again)[2].step, np.eye(8)[1] * 6, rtol=1e-6)


def test_a_folder_is_written_and_sent_only_when_that_is_asked_for(run, tmp_path, monkeypatch):
    api = create_autospec(huggingface_hub.HfApi, instance=True)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    options = (*HUB, "--layer", 1)
    code, printed = outcome("control-vector", run, tmp_path / "both", *options)
    assert (code, printed.strip()) == (0, str(tmp_path / "both"))
    names = {path.name for path in (tmp_path / "both").glob("*.safetensors")}
    assert names == {"00-fear-01.safetensors", "01-joy-01.safetensors"}
    assert not api.method_calls
    options += ("--emotion", "joy", "--upload", "anna/joy")
    code, printed = outcome("control-vector", run, tmp_path / "joy", *options)
    assert (code, printed.split()[-1]) == (0, "https://huggingface.co/anna/joy")
    assert api.upload_folder.call_count == 1


@pytest.mark.parametrize(
    ("source", "target", "options", "code", "message"),
    [
        ("none", "v.gguf", (), 4, "there is no .*none: name a saved direction"),
        ("empty", "v.gguf", ("--emotion", "joy"), 4, "holds no run"),
        ("run", "v.gguf", ("--layer", 1), 2, "name one by --emotion: fear, joy"),
        ("run", "v.gguf", ("--emotion", "yoy", "--layer", 1), 2, "Did you mean 'joy'"),
        ("run", "v.gguf", ("--emotion", "joy", "--layer", 5), 2, "directions at the layers 1, 2"),
        ("run", "v.gguf", ("--emotion", "joy"), 4, "no table of directions"),
        ("file", "v.gguf", ("--layer", 1), 2, "choose in the folder of a run"),
        ("file", "v.pt", ("--format", "safetensors"), 2, "would be a pickle"),
        ("file", "v.gguf", ("--format", "safetensors"), 2, r"ends in \.safetensors"),
        ("file", "v.safetensors", (), 2, r"ends in \.gguf"),
        ("file", "v", ("--format", "hub"), 2, "--licence mit"),
        ("file", "empty", ("--format", "hub", "--licence", "A B"), 2, "under the licence 'A B'"),
        ("file", "run", HUB, 4, "holds something: choose another folder"),
        ("file", "v", (*HUB, "--upload", "no name"), 2, "is no hub id"),
        ("file", "v.gguf", ("--upload", "a/b"), 2, "say --format hub"),
        ("file", "v.gguf", ("--public",), 2, "--public goes with --upload"),
        ("file", "file.safetensors", ("--format", "safetensors"), 2, "is the direction itself"),
        ("file", "v.gguf", ("--format", "onnx"), 2, "is not one of"),
        ("file", "v.gguf", ("--unit", "miles"), 2, "unknown unit"),
    ],
)
def test_what_is_refused(source, target, options, code, message, run, tmp_path):
    (tmp_path / "empty").mkdir()
    made("joy", 1, 1).save(tmp_path / "file.safetensors")
    named = tmp_path / ("file.safetensors" if source == "file" else source)
    before = sorted(tmp_path.rglob("*"))
    found, printed = outcome("control-vector", named, tmp_path / target, *options)
    assert found == code, printed
    assert re.search(message, printed), printed
    assert sorted(tmp_path.rglob("*")) == before
