"""Folders for the Hub: a reader of the card and of the files finds each direction at its layer,
what was changed or belongs to another model is refused, and nothing is sent but what is listed.
"""

import json
import re
from dataclasses import replace
from unittest.mock import create_autospec

import huggingface_hub
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

import stimuli
from interp.directions import Direction
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models.loading.packaged import PACKAGED
from interp.sites import Site
from interp.study.hub_folder import Dosed, load_hub_folder, save_hub_folder, upload_hub_folder
from support.given_directions import given

MINE = {
    "model": "org/tiny", "revision": "a" * 40, "digest": "d" * 64, "position": "last_content",
    "arm": "keyword_rich", "texts": 480,
}  # fmt: skip


def made(layer, *, emotion="joy", axis=3, provenance=None):
    where = Site("resid_post", layer)
    told = MINE if provenance is None else provenance
    one = given(np.eye(32)[axis], where, 2.0, told, length_interval=(1.5, 2.5))
    return replace(one, stream_norm=10.0, labels=(emotion, "neutral"))


def dosed(*directions, scale=1.5, unit="dose"):
    return [Dosed(one, scale, unit) for one in directions]


@pytest.fixture
def folder(tmp_path):
    save_hub_folder(tmp_path / "hub", dosed(made(1)), licence="mit")
    return tmp_path / "hub"


def added_behind(folder, n_layers):
    """What is added behind each block by what the card says: the tensor `vector` of a file times
    the number `added`, at the output of block N.
    """
    config = json.loads((folder / "config.json").read_text())
    assert config["layers"].startswith("layer N: added to the output of block N, counted from 0")
    added = np.zeros((n_layers, config["d_model"]))
    for row in config["directions"]:
        added[row["layer"]] += load_file(folder / row["file"])["vector"] * row["added"]
    return added


@pytest.mark.parametrize("layer", [0, 2])
def test_a_one_hot_layer_is_that_layer(layer, tmp_path):
    save_hub_folder(tmp_path / "hub", dosed(made(layer)), licence="mit")
    expected = np.zeros((3, 32))
    expected[layer, 3] = 1.5 * 0.3 * 10.0
    np.testing.assert_allclose(added_behind(tmp_path / "hub", 3), expected, rtol=1e-12)


def test_the_card_says_what_it_is_of_how_it_was_made_and_its_limits(tmp_path):
    battery = stimuli.load("plain")
    doubtful = {**MINE, "battery": battery.sha256, "warnings": ["its length | is not sure"]}
    pair = (made(1, provenance=doubtful), made(2, emotion="fear: a|b", provenance=doubtful))
    save_hub_folder(tmp_path / "hub", dosed(*pair), licence="apache-2.0")
    text = (tmp_path / "hub" / "README.md").read_text()
    header = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])
    assert header.pop("tags") == [
        "steering-vector",
        "activation-steering",
        "interpretability",
        "emotion",
    ]
    assert header == {"license": "apache-2.0", "base_model": "org/tiny"}
    data = huggingface_hub.ModelCard.load(tmp_path / "hub" / "README.md").data
    assert (data.license, data.base_model) == ("apache-2.0", "org/tiny")
    for words in (
        "1.5 dose | 4.5 | 2 [1.5, 2.5]", "`plain` (SHA-256", "arm `keyword_rich`, 480 texts",
        "`last_content`", "Method `given`", "## Limits", "its length / is not sure",
        "fear: a/b | neutral | 2", "revision `aaaa", "digest `dddd",
    ):  # fmt: skip
        assert words in text, words


def test_where_a_model_lies_on_this_machine_is_not_told(tmp_path):
    local = {**MINE, "model": "/home/anna/models/tiny", "revision": None}
    save_hub_folder(tmp_path / "hub", dosed(made(1, provenance=local)), licence="mit")
    texts = [path.read_bytes() for path in (tmp_path / "hub").iterdir()]
    assert not any(b"anna" in text for text in texts)
    header = (tmp_path / "hub" / "README.md").read_text().split("---")[1]
    assert "base_model" not in header


def test_a_packaged_model_keeps_its_name_and_has_the_base_of_its_package(tmp_path):
    packaged = {**MINE, "model": "smollm2", "revision": None}
    save_hub_folder(tmp_path / "hub", dosed(made(1, provenance=packaged)), licence="mit")
    text = (tmp_path / "hub" / "README.md").read_text()
    assert f'base_model: "{PACKAGED["smollm2"].hub_id}"' in text
    assert 'interp.load("smollm2")' in text


def test_a_folder_comes_back_for_its_model_alone(tiny_model, tmp_path):
    model = tiny_model("llama")
    mine = [made(1, provenance=model.provenance), made(2, axis=5, provenance=model.provenance)]
    save_hub_folder(tmp_path / "hub", dosed(*mine, scale=2, unit="stream"), licence="mit")
    back = load_hub_folder(tmp_path / "hub", model)
    assert [(one.scale, one.unit) for one in back] == [(2.0, "stream")] * 2
    for one, two in zip(mine, back, strict=True):
        np.testing.assert_array_equal(two.direction.vector, one.vector)
        np.testing.assert_allclose(two.step, 20 * one.vector)
    save_hub_folder(tmp_path / "other", dosed(made(1)), licence="mit")
    with pytest.raises(ArtefactError, match=r"made for org/tiny .* do not correspond"):
        load_hub_folder(tmp_path / "other", model)
    assert load_hub_folder(tmp_path / "other", model, allow_foreign=True)
    narrow = given(np.eye(16)[0], Site("resid_post", 1), 1.0, MINE)
    save_hub_folder(tmp_path / "narrow", dosed(narrow, unit="length"), licence="mit")
    with pytest.raises(ArtefactError, match="16 wide"):
        load_hub_folder(tmp_path / "narrow", model, allow_foreign=True)


def swap_vector(folder):
    made(1, axis=4).save(folder / "00-joy-01.safetensors")


def change(**fields):
    def edit(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return edit


def change_row(**fields):
    def edit(folder):
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["directions"][0].update(fields)
        path.write_text(json.dumps(config))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swap_vector, "are not the files that config.json names"),
        (lambda folder: (folder / "00-joy-01.safetensors").unlink(), "cannot read"),
        (lambda folder: (folder / "config.json").unlink(), "cannot read .*config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is no JSON"),
        (change(kind="model"), "no folder of directions"),
        (change(form=2), "has the form 2"),
        (change(directions=[]), "lists no directions"),
        (change(model={"model": "org/tiny", "digest": "e" * 64}), "is not what config.json says"),
        (change(d_model=64), "is not what config.json says"),
        (change_row(layer=2), "is not what config.json says"),
        (change_row(emotion="fear"), "is not what config.json says"),
        (change_row(added=1.0), "is not what config.json says"),
        (change_row(scale="much"), "is damaged"),
        (change_row(file="../v.safetensors"), "direction 1: the file is '../v.safetensors'"),
    ],
)
def test_a_folder_that_was_changed_is_refused(damage, message, folder, tiny_model, monkeypatch):
    damage(folder)
    api = create_autospec(huggingface_hub.HfApi, instance=True)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    with pytest.raises(ArtefactError, match=message):
        load_hub_folder(folder, tiny_model("llama"))
    with pytest.raises(ArtefactError, match=message):
        upload_hub_folder(folder, "anna/joy")
    assert not api.method_calls


def test_what_a_folder_cannot_say_is_refused(tmp_path, folder):
    new = tmp_path / "new"
    for found, message in (
        (dosed(replace(made(1), site=Site("attn_out", 1))), "attn_out"),
        (dosed(made(1), made(1, axis=5)), "two directions are of one emotion and layer"),
        (dosed(made(1, provenance={"model": "m"})), "does not say which weights"),
        (dosed(made(1), made(2, provenance={**MINE, "digest": "e" * 64})), "of several models"),
        (dosed(made(1), scale=0), "nothing to steer by"),
        (dosed(replace(made(1), length=-1.0)), "nothing to steer by"),
    ):
        with pytest.raises(ArtefactError, match=message):
            save_hub_folder(new, found, licence="mit")
    for found, licence in (([], "mit"), (dosed(made(1)), "MIT License")):
        with pytest.raises(UsageError, match="cannot write"):
            save_hub_folder(new, found, licence=licence)
    assert not new.exists()
    with pytest.raises(ArtefactError, match="holds something"):
        save_hub_folder(folder, dosed(made(1)), licence="mit")


def test_only_the_listed_files_are_sent_to_a_new_private_repository(folder, monkeypatch):
    """The stand-in has the signatures of the client itself."""
    api = create_autospec(huggingface_hub.HfApi, instance=True)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (folder / "notes.txt").write_text("for nobody")
    assert upload_hub_folder(folder, "anna/joy") == "https://huggingface.co/anna/joy"
    api.create_repo.assert_called_once_with("anna/joy", private=True, exist_ok=False)
    sent = api.upload_folder.call_args.kwargs
    assert (sent["repo_id"], sent["folder_path"]) == ("anna/joy", folder)
    names = {"README.md", "config.json", "00-joy-01.safetensors", "00-joy-01.json"}
    assert set(sent["allow_patterns"]) == names
    assert names | {"notes.txt"} == {path.name for path in folder.iterdir()}
    upload_hub_folder(folder, "anna/joy", public=True)
    assert api.create_repo.call_args.kwargs["private"] is False
    api.create_repo.side_effect = OSError("409 Conflict: you already created this")
    with pytest.raises(ResourceError, match=r"anna/joy \(409 Conflict.*new repository"):
        upload_hub_folder(folder, "anna/joy")
    for name, message in (("anna/joy@main", "names a revision"), ("no name", "no hub id")):
        with pytest.raises(UsageError, match=message):
            upload_hub_folder(folder, name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE"):
        upload_hub_folder(folder, "anna/joy")


def test_a_file_of_a_folder_is_a_direction(folder):
    one = Direction.load(folder / "00-joy-01.safetensors")
    assert (one.labels, one.site.layer, one.provenance) == (("joy", "neutral"), 1, MINE)
