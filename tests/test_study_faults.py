"""What happens to a long run: one text without numbers, a disk that fills at the very end, a clock
that is put back, inputs that change.
"""

import os
import re
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from interp import study
from interp.errors import ArtefactError
from interp.files import sha256_file
from interp.records import read_record
from interp.reporting.figures import FIGURES
from interp.results import read_table
from interp.study.inputs import Inputs, files_of
from support import matched_pairs
from support.commands import outcome

pytestmark = pytest.mark.usefixtures("all_stages")

WORD = "tomorrow"
"""A word of the model's vocabulary, which stands in one text alone."""

PAIRS = 24
STAGES = ("probes", "persistence", "directions", "cosines", "geometry", "patching")
STAGES += ("attribution", "contributions", "ablation", "circuit", "steering")


@pytest.fixture
def rows() -> list[dict[str, str]]:
    """Pairs of which one affective text has the word."""
    found = matched_pairs.rows(PAIRS)
    found[4] = {**found[4], "text": found[4]["text"].replace("cold", WORD)}
    return found


@pytest.fixture
def broken(tiny_folder, tmp_path) -> Path:
    """A model in which the word is infinite from the embedding on."""
    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    word = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(WORD)
    weights["model.embed_tokens.weight"][word] = np.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def asked(model: Path, stimuli: Path, out: Path, **more: object) -> study.Settings:
    return study.Settings.of(
        model=str(model),
        stimuli=str(stimuli),
        out=out,
        preset="quick",
        folds=2,
        sites=("resid_post", "z", "post"),
        **more,
    )


def conduct(settings: study.Settings, **how: object) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the record keeps them
        return study.run(settings, **how)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_one_text_without_numbers_changes_no_other_number(broken, tiny_folder, rows, tmp_path):
    """As a study of the battery without its pair, by the model before it was broken."""
    whole = matched_pairs.write(tmp_path / "whole.jsonl", rows)
    pair = [rows[4]["id"], rows[5]["id"]]
    others = [row for row in rows if row["id"] not in pair]
    rest = matched_pairs.write(tmp_path / "rest.jsonl", others)
    told = conduct(asked(broken, whole, tmp_path / "run", on_nonfinite="quarantine"))
    conduct(asked(tiny_folder("llama"), rest, tmp_path / "known"))
    assert not matched_pairs.not_run(told["warnings"])
    (said,) = [one for one in told["warnings"] if "activations that are not finite" in one]
    assert re.findall(r"'(\d+-\w)'", said) == pair
    for name in STAGES:
        paths = [tmp_path / run / "tables" / f"{name}.csv" for run in ("run", "known")]
        found, known = map(read_table, paths)
        assert len(found) == len(known) > 0, name
        assert found["n"].equals(known["n"]), name
        close = {"rtol": 2e-3, "atol": 2e-4, "err_msg": name}
        np.testing.assert_allclose(found["value"], known["value"], **close)


@pytest.mark.filterwarnings("ignore:transfer was not run")
def test_one_text_without_numbers_stops_a_run_in_one_line(broken, rows, tmp_path):
    stimuli = matched_pairs.write(tmp_path / "whole.jsonl", rows)
    line = ("run", "--model", broken, "--stimuli", stimuli, "--out", tmp_path / "run")
    code, message = outcome(*line, "--sites", "resid_post", "--preset", "quick")
    assert code == 3
    assert message.startswith(f"text '{rows[4]['id']}': non-finite activation")
    assert "--on-nonfinite quarantine" in message
    assert "\n" not in message
    assert not list(tmp_path.glob("run/tables/*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_disk_that_fills_while_figures_are_drawn(tiny_folder, tmp_path, monkeypatch):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    out = tmp_path / "run"
    line = ("run", "--model", tiny_folder("gpt2"), "--stimuli", stimuli, "--out", out)
    line += ("--preset", "quick", "--folds", "2", "--sites", "resid_post,attn_out,z,post")
    fsync, written = os.fsync, []

    def full(descriptor: int) -> None:
        """The third figure is one too many."""
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if "/figures/" in path and path.endswith(".tmp"):
            written.append(path)
            if len(written) > 4:
                raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("interp.files.os.fsync", full)
        code, message = outcome(*line)
    assert (code, message.count("\n")) == (5, 0)
    assert "figures/" in message
    assert "the disk is full" in message
    tables = {path.name: path.read_bytes() for path in (out / "tables").iterdir()}
    assert set(tables) == {f"{name}.csv" for name in (*STAGES, "probe_predictions")}
    assert len(list((out / "figures").iterdir())) == 4  # whole ones, and no half one
    assert not (out / "report.html").exists()
    assert not list(out.rglob("*.tmp"))
    monkeypatch.setattr("interp.study.folder.load", None)  # nothing is computed again
    assert outcome(*line)[0] == 0
    assert {path.name: path.read_bytes() for path in (out / "tables").iterdir()} == tables
    drawn = {path.stem for path in (out / "figures").glob("*.svg")}
    assert drawn <= set(FIGURES)
    assert len(drawn) > 8
    assert (out / "report.html").exists()


def test_a_clock_that_is_put_back(tiny_folder, tmp_path, monkeypatch, capsys):
    """Each look at it shows an hour less."""
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    settings = asked(tiny_folder("llama"), stimuli, tmp_path / "run")
    shown = [time.time()]

    def back() -> float:
        shown.append(shown[-1] - 3600)
        return shown[-1]

    monkeypatch.setattr(time, "time", back)
    conduct(settings, stages=("capture", "directions"))
    seconds = read_record(settings.out / "run.json").provenance["seconds"]
    assert seconds.keys() == {"capture", "directions"}
    assert all(one >= 0 for one in seconds.values())
    told = capsys.readouterr().err
    assert re.search(r"directions: \d+ site in \d+\.\d s", told)
    assert not re.search(r"\s-\d", told)
    assert len(shown) > 2  # the clock was looked at


def test_a_chat_template_and_a_gguf_file_are_watched_too(tmp_path):
    template, weights = tmp_path / "template.jinja", tmp_path / "model.gguf"
    template.write_text("{{ messages[0].content }}")
    weights.write_bytes(b"GGUF")
    named = study.Settings.of(
        model="x", stimuli="planted", out=tmp_path, chat_template=str(template)
    )
    assert files_of(named) == [template]
    watched = Inputs()
    watched.watch(files_of(named))
    known = {"source": "gguf", "weights": {"model.gguf": sha256_file(weights)}}
    watched.watch_model(str(weights), known)
    watched.check()
    os.utime(weights, (1, 1))
    watched.check()  # touched, and the same
    for path in (template, weights):
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        with pytest.raises(ArtefactError, match=rf"{path.name} was changed while the run was"):
            watched.check()
        path.write_bytes(before)
        watched.check()
