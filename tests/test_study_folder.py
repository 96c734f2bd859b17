"""A run's folder: refused commands leave it as it was, and commands that share it lose nothing."""

import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from interp import study
from interp.errors import ArtefactError, InterpError
from interp.records import read_record
from interp.study.folder import Study
from interp.study.locks import LOCKS, FolderLocks
from interp.study.runs import STAGE_FUNCTIONS, _run_or_leave_out, _write
from support import matched_pairs
from support.commands import outcome
from support.tiny_models import edit_config


@pytest.fixture
def settings(tmp_path, tiny_folder) -> study.Settings:
    """A study of pairs through a copy of a tiny GPT-2, which a test may change."""
    model = shutil.copytree(tiny_folder("gpt2"), tmp_path / "model")
    pairs = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    return study.Settings(
        model=str(model), stimuli=str(pairs), out=tmp_path / "run", sites=("resid_post",), folds=2
    )


def conduct(settings: study.Settings, *stages: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the record keeps them
        study.run(settings, stages=stages)


def line(settings: study.Settings, command: str, *extra: str) -> tuple[object, ...]:
    asked = ("--model", settings.model, "--stimuli", settings.stimuli, "--out", settings.out)
    return (command, *asked, "--sites", "resid_post", "--folds", "2", *extra)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def change_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.ln_f.weight"] *= 2
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    one, other = list(words)[5:7]
    words[one], words[other] = words[other], words[one]
    path.write_text(json.dumps(content))


MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights": (change_weights, "other weights of"),
    "epsilon": (
        lambda folder: edit_config(folder, layer_norm_epsilon=0.5),
        "other configuration of",
    ),
    "heads": (lambda folder: edit_config(folder, n_head=2), "other configuration of"),
    "activation": (lambda folder: edit_config(folder, activation_function="relu"), "configuration"),
    "tokenizer": (change_tokenizer, "other tokenizer of"),
    "layers": (lambda folder: edit_config(folder, n_layer=2), "they hold 3"),
}


@pytest.mark.parametrize("what", MODELS)
def test_another_model_is_refused_and_leaves_every_file_as_it_was(what, settings):
    conduct(settings, "probes")
    before = tree(settings.out)
    change, told = MODELS[what]
    change(Path(settings.model))
    code, message = outcome(*line(settings, "directions"))
    assert (code, told in message) == (4, True), message
    assert tree(settings.out) == before


def test_every_other_refusal_leaves_every_file_as_it_was(settings):
    conduct(settings, "probes")
    before = tree(settings.out)
    assert outcome(*line(settings, "directions", "--seed", "1"))[0] == 4
    assert outcome(*line(settings, "directions", "--offline", "--truncate", "left"))[0] == 4
    held = FolderLocks(settings.out)
    with held.stage("directions"):
        code, message = outcome(*line(settings, "directions"))
    held.leave()
    assert (code, "the stage directions" in message, str(os.getpid()) in message) == (
        75,
        True,
        True,
    )
    shards = next((settings.out / "activations" / "shards").iterdir())
    whole = shards.read_bytes()
    shards.write_bytes(whole[:-1])
    assert outcome(*line(settings, "directions"))[0] == 4
    shards.write_bytes(whole)
    assert tree(settings.out) == before
    assert outcome(*line(settings, "directions"))[0] == 0


def test_the_model_is_written_once_the_store_is_open(settings):
    """Until then nobody knows whether it may write there at all."""
    begun = Study(settings)
    assert begun.model.dims.n_layers == 3
    assert "model" not in read_record(settings.out / "run.json").provenance
    begun.store.close()
    assert read_record(settings.out / "run.json").provenance["model"]["weights"]
    begun.leave()


def test_each_stage_begins_with_nothing_of_the_store_in_memory(settings, monkeypatch):
    """Within a stage what was read stays; the next one reads it again, and alike."""
    read = []

    def stage(at_work: Study) -> list[dict]:
        site = at_work.sites[0]
        read.append(at_work.values(site, at_work.position))
        assert at_work.values(site, at_work.position) is read[-1]
        return []

    for name in ("directions", "cosines"):
        monkeypatch.setitem(STAGE_FUNCTIONS, name, stage)
    begun = Study(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in ("directions", "cosines"):
            _run_or_leave_out(begun, name, asked=True)
    begun.leave()
    assert read[-1] is not read[-2]
    assert (read[-1] == read[-2]).all()


def test_commands_in_one_folder_lose_nothing_of_each_other(settings):
    """Each has read run.json before the others write it."""
    studies = [Study(settings) for _ in range(4)]

    def work(number: int) -> None:
        for step in range(10):
            told = f"warning {number}.{step}"
            studies[number].keep(warnings=[told, "common"], seconds={told: 1.0}, tables={told: "x"})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = read_record(settings.out / "run.json")
    expected = {f"warning {number}.{step}" for number in range(4) for step in range(10)}
    assert {*record.warnings} == expected | {"common"}
    assert len(record.warnings) == len(expected) + 1
    assert record.provenance["seconds"].keys() == record.provenance["tables"].keys() == expected
    for number in range(4):
        steps = [text for text in record.warnings if text.startswith(f"warning {number}.")]
        assert steps == sorted(steps)
        studies[number].leave()
    assert not (settings.out / LOCKS).exists()


@pytest.mark.slow
def test_two_commands_at_once_both_come_to_their_end(settings):
    conduct(settings, "capture")
    code = "from interp.cli import main; main()"
    words = [[str(word) for word in line(settings, name)] for name in ("probe", "directions")]
    both = [subprocess.Popen([sys.executable, "-c", code, *each], stderr=-1) for each in words]
    told = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    record = read_record(settings.out / "run.json")
    done = {"capture", "probes", "directions", "cosines"}
    assert set(record.provenance["seconds"]) == done
    assert set(record.provenance["tables"]) == {*done, "probe_predictions"} - {"capture"}
    assert any(text.startswith("probes: ") for text in record.warnings)
    assert not (settings.out / LOCKS).exists()


def test_a_stage_that_another_command_finished_meanwhile_is_not_computed_again(
    settings, monkeypatch
):
    conduct(settings, "probes")
    done, table = settings.out / "tables" / "probes.csv", b""

    def appear(self, name):
        done.write_bytes(table)
        return stage(self, name)

    table, stage = done.read_bytes(), FolderLocks.stage
    done.unlink()
    monkeypatch.setattr(FolderLocks, "stage", appear)
    monkeypatch.setitem(STAGE_FUNCTIONS, "probes", None)
    conduct(settings, "probes")


def test_nothing_is_taken_back_while_another_command_is_there(settings):
    first, second = Study(settings), Study(settings)
    first.take_back()
    first.leave()
    assert (settings.out / "run.json").exists()
    assert second.tables.is_dir()
    second.leave()


def test_who_is_alone_and_has_nothing_takes_everything_back(settings):
    alone = Study(settings)
    alone.take_back()
    alone.leave()
    assert not settings.out.exists()


def test_a_table_is_written_though_its_folder_was_taken_away(settings):
    begun = Study(settings)
    begun.tables.rmdir()
    row = {"method": "m", "metric": "x", "value": 1.0, "n": 1, "layer": 0}
    _write(begun, "probes", [row])
    begun.leave()
    assert (settings.out / "tables" / "probes.csv").exists()


def test_what_a_killed_command_left_is_removed_by_who_comes_alone(settings, monkeypatch):
    conduct(settings, "directions")
    places = [settings.out / name for name in ("", "tables", "directions")]
    left = [place / ".probes.csv.0123abcd.tmp" for place in places]
    theirs = [
        place / name for place in places for name in (".notes.tmp", "a.0123abcd.tmp", ".x.0123")
    ]
    for path in (*left, *theirs):
        path.write_bytes(b"half")
    with monkeypatch.context() as patch:
        patch.setattr(FolderLocks, "_clean", lambda self: None)
        there = FolderLocks(settings.out)
    Study(settings).leave()
    assert all(path.exists() for path in left), "they may be of the command that is at work"
    there.leave()
    Study(settings).leave()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in theirs)


def test_who_comes_while_the_last_one_leaves_makes_the_locks_anew(tmp_path, monkeypatch):
    """Between opening the file and locking it the last one may have taken it away."""
    last = FolderLocks(tmp_path)
    real, left = FolderLocks._come_to, []

    def come(self, path):
        descriptor = real(self, path)
        if not left:
            left.append(last.leave())
        return descriptor

    monkeypatch.setattr(FolderLocks, "_come_to", come)
    newcomer = FolderLocks(tmp_path)
    assert (tmp_path / LOCKS / "here").exists()
    other = FolderLocks(tmp_path)
    assert not other.alone()
    other.leave()
    newcomer.leave()
    assert not (tmp_path / LOCKS).exists()


def test_locks_are_no_way_to_other_folders(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "here").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / LOCKS).symlink_to(elsewhere)
    with pytest.raises(ArtefactError, match="is a link"):
        FolderLocks(out)
    (out / LOCKS).unlink()
    (out / LOCKS).mkdir()
    os.mkfifo(out / LOCKS / "here")
    with pytest.raises(ArtefactError, match="not a plain file"):
        FolderLocks(out)
    assert (elsewhere / "here").read_text() == "mine"


def test_a_file_system_without_locks_is_told(settings, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("interp.files.fcntl.flock", refuse)
    with pytest.raises(InterpError, match="carries no locks") as error:
        Study(settings)
    assert error.value.exit_code == 5


def test_a_disk_that_fills_while_figures_are_drawn_leaves_nothing_half(settings, monkeypatch):
    conduct(settings, "directions")
    before = tree(settings.out)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("interp.files.os.fsync", full)
    code, message = outcome("report", settings.out)
    assert (code, "the disk is full" in message, "figures" in message) == (5, True, True)
    assert tree(settings.out) == before


@pytest.mark.parametrize("cut", [True, False])
def test_a_table_that_was_changed_is_told_and_computed_again_when_deleted(settings, cut):
    conduct(settings, "directions", "cosines")
    path = settings.out / "tables" / "directions.csv"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]) if cut else whole.replace(b"0.", b"1.", 1))
    for words in (("report", settings.out), line(settings, "directions"), line(settings, "probe")):
        code, message = outcome(*words)
        assert (code, str(path) in message, "Delete it" in message) == (4, True, True), message
    path.unlink()
    conduct(settings, "directions")
    assert path.read_bytes() == whole


def test_a_run_of_an_older_interp_is_read_with_a_warning(settings):
    conduct(settings, "directions")
    path = settings.out / "run.json"
    content = json.loads(path.read_text())
    del content["provenance"]["tables"]
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=r"no digest of the tables directions .*delete them"):
        assert study.report(settings.out).exists()
    assert read_record(path).provenance.keys() == content["provenance"].keys()


CHANGES: dict[str, Callable[[study.Settings], None]] = {
    "battery": lambda asked: (
        matched_pairs.write(Path(asked.stimuli), matched_pairs.rows(20)) and None
    ),
    "weights": lambda asked: change_weights(Path(asked.model)),
    "configuration": lambda asked: edit_config(Path(asked.model), layer_norm_epsilon=0.5),
    "tokenizer": lambda asked: change_tokenizer(Path(asked.model)),
    "gone": lambda asked: (Path(asked.model) / "config.json").unlink(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changes_while_the_run_is_under_way_ends_it(what, settings, monkeypatch):
    """The stage at work then is not written: nobody knows what it read. The ones before it stay."""
    original = STAGE_FUNCTIONS["directions"]

    def directions(begun: Study) -> list[dict]:
        CHANGES[what](settings)
        return original(begun)

    monkeypatch.setitem(STAGE_FUNCTIONS, "directions", directions)
    with pytest.raises(ArtefactError, match="while the run was under way"):
        conduct(settings, "probes", "directions")
    kept = {path.name for path in (settings.out / "tables").iterdir()}
    assert kept == {"probes.csv", "probe_predictions.csv"}


def test_a_file_that_changed_before_a_stage_is_told_before_its_work(settings, monkeypatch):
    monkeypatch.setattr(Study, "keep", lambda *_, **__: change_weights(Path(settings.model)))
    monkeypatch.setitem(STAGE_FUNCTIONS, "directions", None)
    with pytest.raises(ArtefactError, match=r"model\.safetensors was changed while"):
        conduct(settings, "probes", "directions")


def test_a_file_that_was_only_touched_ends_nothing(settings, monkeypatch):
    original = STAGE_FUNCTIONS["probes"]

    def probes(begun: Study) -> list[dict]:
        for path in (Path(settings.stimuli), *Path(settings.model).iterdir()):
            os.utime(path, (1, 1))
        return original(begun)

    monkeypatch.setitem(STAGE_FUNCTIONS, "probes", probes)
    conduct(settings, "probes", "directions")
    assert (settings.out / "tables" / "directions.csv").exists()


def test_names_that_no_file_system_takes_are_told_before_anything_is_read(settings, tmp_path):
    long = [tmp_path / ("x" * 300), tmp_path / "/".join(["x" * 200] * 20)]
    for out in (*long, tmp_path / "nul\0"):
        with pytest.raises(InterpError, match=r"cannot use .* as --out") as error:
            study.Settings(model="planted", stimuli="planted", out=out)
        assert error.value.exit_code == 5
    assert outcome(*line(settings, "probe")[:5], "--out", long[0])[0] == 5
