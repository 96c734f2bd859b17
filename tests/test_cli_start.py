"""Commands that need no model start without torch: they answer in a second, where its import takes
several and half a gigabyte.
"""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from interp import lazy, study
from interp.options import options_of
from interp.settings import StudyOptions

HEAVY = (
    "torch", "transformers", "transformer_lens", "datasets", "sklearn", "matplotlib", "gradio",
)  # fmt: skip
"""None of these may be imported by what reads files, or refuses."""

RUN = ("run", "--model", "storyworld", "--stimuli", "storyworld", "--out", "OUT")

SAID = """
import sys
from interp.cli import main
sys.argv = ["interp", *{words}]
try:
    main()
finally:
    print("imported:", *sorted({heavy} & sys.modules.keys()), file=sys.stderr)
"""


def said(*words: str) -> tuple[int, str, str, str]:
    """What a command of a Python of its own ends with, prints and says, and what is heavy of what
    it imported.
    """
    code = SAID.format(words=words, heavy=set(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told, _, imported = done.stderr.rpartition("imported:")
    return done.returncode, done.stdout, told, imported.strip()


TRIALS = dict.fromkeys(
    ("zero-shot", "malleability", "framings", "release", "evaluate-steering", "introspect"), ()
) | dict.fromkeys(("dissect", "paths"), ("--stimuli", "plain"))
"""Commands that fill a new folder, and what they need besides a model and the folder."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one artefact of each kind."""
    folder = tmp_path_factory.mktemp("kept")
    asked = {"model": "planted", "stimuli": "planted", "out": folder / "run", "preset": "quick"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.run(study.Settings.of(**asked), stages=("capture", "directions"))
    (folder / "texts.jsonl").write_text('{"text": "a lamp", "emotion": "joy"}\n')
    return folder


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--help"), "forced_choice"),
        (("capture", "--help"), "--shard"),
        (("steer", "--help"), "--emotion"),
        (("stimuli", "list"), "plutchik"),
        (("stimuli", "show", "plain", "--most", "1", "--json"), '"arm"'),
    ],
)
def test_what_is_asked_about_texts_and_options_needs_nothing_heavy(
    words: tuple[str, ...], told: str
) -> None:
    code, printed, _, imported = said(*words)
    assert (code, imported) == (0, "")
    assert told in printed


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((*RUN, "--stimuli", "storyword"), 2, "no battery and no file is named 'storyword'"),
        ((*RUN, "--model", "storywrld"), 2, "unknown model 'storywrld'. Did you mean storyworld"),
        ((*RUN, "--sites", "resid_pots"), 2, "unknown site 'resid_pots'"),
        ((*RUN, "--probe", "lad"), 2, "'lad' is not one of 'logistic', 'scikit_logistic', 'lda'"),
        ((*RUN, "--preset", "fast"), 2, "'fast' is not one of"),
        ((*RUN, "--folds", "many"), 2, "'many' is not a valid integer"),
        (("sites", "storywrld"), 2, "Did you mean storyworld"),
        (("doctor", "storywrld"), 2, "Did you mean storyworld"),
        (("steer", "--model", "storywrld", "--prompt", "I"), 2, "Did you mean storyworld"),
        (("play", "storywrld"), 2, "Did you mean storyworld"),
        (("stimuli", "audit", "nowhere"), 2, "no battery and no file is named 'nowhere'"),
        (("stimuli", "power", "storywrld", "storyworld"), 2, "Did you mean storyworld"),
        *(
            ((command, "--model", "storywrld", *more, "--out", "OUT"), 2, "Did you mean storyworld")
            for command, more in TRIALS.items()
        ),
        (("dissect", "--model", "planted", "--stimuli", "plane", "--out", "OUT"), 2, "plain"),
        (("features", "x", "--sae", "y", "--out", "tests"), 4, "tests is there already and holds"),
        (("stories", "x", "--out", "tests"), 4, "choose another --out"),
        (("trajectories", "x", "y", "--out", "tests"), 4, "choose another --out"),
        (("inspect", "nowhere"), 4, "nowhere is no artefact of interp"),
        (("verify", "nowhere"), 4, "nowhere is not a capture"),
    ],
)
def test_what_is_refused_is_refused_at_once(
    words: tuple[str, ...], code: int, told: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = said(*(str(out) if word == "OUT" else word for word in words))
    assert told in found[2]
    assert (found[0], found[3]) == (code, "")
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("inspect", "run"), "planted"),
        (("inspect", "run/activations"), "shards"),
        (("inspect", "run/activations", "--layers"), "resid_post"),
        (("inspect", "run/tables/directions.csv"), "split_half_cosine"),
        (("inspect", "run/directions/*.safetensors"), "d_model"),
        (("inspect", "texts.jsonl"), "sha256"),
        (("verify", "run/activations"), "complete"),
    ],
)
def test_what_lies_there_is_looked_at_without_torch(
    words: tuple[str, ...], told: str, kept: Path
) -> None:
    command, path, *more = words
    code, printed, _, imported = said(command, str(min(kept.glob(path))), *more)
    assert (code, imported) == (0, "")
    assert told in printed


def test_the_choices_read_from_source_are_those_of_the_imported_tables() -> None:
    tables = {
        name: option.about.choices
        for name, option in options_of(StudyOptions).items()
        if isinstance(option.about.choices, str)
    }
    probes = {"probe", "beside", "graded_probe"}
    assert set(tables) == probes | {"direction", "ablate_with", "attribute_with", "judge"}
    code = (
        "import sys, importlib; from interp.lazy import keys_of; found = {}\n"
        f"for name, table in {tables}.items():\n"
        "    written = keys_of(table)\n"
        "    assert table.partition(':')[0] not in sys.modules\n"
        "    found[name] = written\n"
        f"for name, table in {tables}.items():\n"
        "    module, _, there = table.partition(':')\n"
        "    assert found[name] == tuple(getattr(importlib.import_module(module), there)), name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_table_that_is_not_written_out_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_table.py").write_text("MADE = dict(one=1, two=2)\n")
    (tmp_path / "mixed_table.py").write_text("two = 'two'\nMIXED: dict = {'one': 1, two: 2}\n")
    (tmp_path / "written_table.py").write_text(
        "WRITTEN = {'one': 1}\nraise RuntimeError('this was imported')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert lazy.keys_of("made_table:MADE") == lazy.keys_of("mixed_table:MIXED") == ("one", "two")
    assert lazy.keys_of("written_table:WRITTEN") == ("one",)


def test_a_table_that_grew_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from interp.analysis.methods import DIRECTIONS

    monkeypatch.setitem(DIRECTIONS, "mine", DIRECTIONS["paired"])
    assert lazy.keys_of("interp.analysis.methods:DIRECTIONS")[-1] == "mine"
