"""Files of settings: every option stands in one under its own name, the command line wins, and what
is wrong is told by file, line and key.
"""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stimuli
from interp import study
from interp.capture.options import MIB
from interp.cli.study import KNOWN_IN_FILES
from interp.errors import UsageError
from interp.options import build_record, flat, options_of
from interp.records import read_record
from interp.settings import StudyOptions
from interp.study.config import read_settings_file, refuse_other_texts
from interp.study.identity import asked_of
from interp.study.settings_text import config_text
from support.commands import outcome

NAMED = {"model": "planted", "stimuli": "planted", "out": "run"}


def written(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def printed(*words: object) -> dict:
    """The settings that `interp run` comes to with these words."""
    code, text = outcome("run", *words, "--print-config")
    assert code == 0, text
    return tomllib.loads(text)


OTHER = {
    "model": "smollm2", "stimuli": "plain", "out": "runs/x", "device": "cuda",
    "dtype": "bfloat16", "chat_template": "on", "offline": True, "emotions": ["joy", "fear"],
    "columns": {"text": "Satz", "emotion": "Klasse"}, "drop_unmatched": True,
    "normalise_labels": True, "dedupe": True, "allow_control": True, "strict": True,
    "sites": ["resid_post@0-1", "z"], "positions": ["last"], "truncate": "left",
    "allow_special": True, "storage": "float16", "on_nonfinite": "quarantine",
    "token_budget": 512, "shard_mb": 8, "shard_batches": 4, "attention": "eager",
    "executor": "processes:2", "reuse": ["old"], "preset": "quick", "folds": 4, "probe": "lda",
    "beside": "mdl,rank", "targets": ["intensity"], "across": ["domain"],
    "soft": ["shares.joy", "shares.fear"],
    "graded_probe": "ordinal",
    "control_model": "random",
    "analyse_by": "processes:2", "direction": "lda", "pairs": 3, "ablate_with": "zero",
    "patch_modes": ["swap"], "patch_positions": ["all"], "patch_controls": ["other_emotion"],
    "patch_metrics": ["success"],
    "attribute_with": "integrated", "steps": 3, "dtype_error": True, "optimal_circuits": True,
    "judge": "lexicon,forced_choice", "seed": 7,
}  # fmt: skip
"""Another value than the default of every setting."""

PATCHED = {name: tuple(one) for name, one in OTHER.items() if name.startswith("patch_")}


def test_every_setting_can_stand_in_a_file_and_means_the_same_there(tmp_path):
    options = options_of(StudyOptions)
    assert OTHER.keys() == options.keys()
    asked = build_record(StudyOptions, OTHER | {
        "out": Path("runs/x"), "reuse": (Path("old"),), "emotions": ("joy", "fear"),
        "sites": ("resid_post@0-1", "z"), "positions": ("last",), "targets": ("intensity",),
        "across": ("domain",), "soft": ("shares.joy", "shares.fear"),
        **PATCHED,
    })  # fmt: skip
    assert [name for name, one in flat(asked).items() if one == options[name].default] == []
    path = written(tmp_path / "study.toml", config_text(asked))
    assert tomllib.loads(path.read_text()) == OTHER
    read = read_settings_file(path, options).values
    there = {"out": tmp_path / "runs/x", "reuse": (tmp_path / "old",)}
    assert build_record(StudyOptions, read) == build_record(StudyOptions, flat(asked) | there)
    assert build_record(StudyOptions, read).capture.shard_bytes == 8 * MIB


def test_what_is_printed_is_read_again_and_printed_alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"--{name}={one}" for name, one in NAMED.items()]
    code, first = outcome("run", *words, "--folds", "3", "--strict", "--print-config")
    assert code == 0
    path = written(tmp_path / "study.toml", first.rstrip())
    assert outcome("run", "--config", path.name, "--print-config") == (0, first)
    assert not (tmp_path / "run").exists()


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back_from_a_file(text):
    asked = StudyOptions(model=text, stimuli="plain", out=Path("run"), judge=None)
    assert tomllib.loads(config_text(asked))["model"] == text


def test_the_command_line_wins_over_the_file(tmp_path):
    path = written(
        tmp_path / "study.toml",
        *(f'{name} = "{one}"' for name, one in NAMED.items()),
        "folds = 3", "strict = true", 'sites = ["z"]', "seed = 5", "token_budget = 9",
    )  # fmt: skip
    plain = printed("--config", path)
    assert (plain["folds"], plain["strict"], plain["sites"]) == (3, True, ["z"])
    said = printed("--config", path, "--folds", 4, "--no-strict", "--sites", "post,z", "--seed", 0)
    changed = {"folds": 4, "strict": False, "sites": ["post", "z"], "seed": 0}
    assert said == plain | changed
    after = printed("--folds", 4, "--config", path)
    assert after == plain | {"folds": 4}


def test_paths_are_relative_to_the_file_and_names_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pairs.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "here" / "words.json").write_text("{}", encoding="utf-8")
    (tmp_path / "here" / "planted").mkdir()
    path = written(
        tmp_path / "here" / "study.toml",
        'model = "planted"', 'stimuli = "pairs.jsonl"', 'out = "run"', 'reuse = ["../old"]',
        'judge = "masked:lexicon:words.json, embedding:plain"',
    )  # fmt: skip
    found = read_settings_file(path, KNOWN_IN_FILES).values
    assert found["model"] == "planted"
    assert found["stimuli"] == str(tmp_path / "here" / "pairs.jsonl")
    assert found["out"] == tmp_path / "here" / "run"
    assert found["reuse"] == (tmp_path / "here" / "../old",)
    assert found["judge"] == f"masked:lexicon:{tmp_path}/here/words.json,embedding:plain"
    (tmp_path / "cwd.jsonl").write_text("{}", encoding="utf-8")
    other = written(tmp_path / "here" / "other.toml", 'stimuli = "cwd.jsonl"')
    with pytest.raises(UsageError, match=r"nothing lies at .*here/cwd.jsonl"):
        read_settings_file(other, KNOWN_IN_FILES)


WRONG = {
    "a key that nothing has": ("fold = 3", r"line 2: unknown key 'fold'\. Did you mean 'folds'\?"),
    "dashes": ("token-budget = 9", r"line 2: unknown key 'token-budget'\. Did you mean 'token_bu"),
    "a text for a number": ('folds = "3"', r"line 2: folds is '3' \(a text\): expected a whole nu"),
    "a broken number": ("folds = 3.5", r"line 2: folds is 3\.5: expected a whole number"),
    "true for a number": ("seed = true", r"line 2: seed is true: expected a whole number"),
    "a number for a switch": ("strict = 1", r"line 2: strict is 1: expected true or false"),
    "too small": ("folds = 1", r"line 2: folds is 1: at least 2 is needed"),
    "none of the choices": ('preset = "slow"', r"line 2: preset is 'slow': expected one of quick"),
    "one judge of two": ('judge = "lexicon,me"', r"judge is 'me': expected one of oracle, forced"),
    "no finite number": ("teraflops = inf", r"line 2: teraflops is Infinity: expected a number"),
    "not above zero": ("teraflops = 0", r"line 2: teraflops is 0\.0: more than 0 is needed"),
    "a text for a table": ('columns = "a=b"', r"columns is 'a=b' \(a text\): expected a table of"),
    "a table of numbers": ("columns = {a = 1}", r"columns is a table: expected a table of texts"),
    "a table for a text": ("[model]\na = 1", r"line 2: model is a table: expected a text"),
    "a heading": ("[study]\nfolds = 3", r"line 2: unknown key 'study'"),
    "an empty list": ("sites = []", r"line 2: sites is an empty list: name at least one"),
    "a list of numbers": ("reuse = [1]", r"line 2: reuse is a list: expected a list of texts"),
    "an empty path": ('out = ""', r"line 2: out is '' \(a text\): expected a path"),
    "a date": ("seed = 2026-11-29", r'line 2: seed is "2026-11-29": expected a whole number'),
    "claims that are none": ("claims = 3", r"line 2: claims is 3: expected tables, each headed"),
    "a claim that is none": ("claims = [3]", r"line 2: claims is a list: expected tables"),
    "a claim without a name": ("[[claims]]", r"claim 1 of 1: the key 'claim' is missing"),
    "a verdict that is none": (
        '[[claims]]\nclaim = "a"\n[[claims]]\nclaim = "b"\nverdict = "yes"',
        r"claim 2 of 2: verdict is 'yes': expected one of found, not found, inverted",
    ),
    "bounds that cross": (
        '[[claims]]\nclaim = "a"\nat_least = 0.5\nsurely_at_most = 0.4',
        r"claim 1 of 1: the bounds of 'a' cross: no number is at least 0\.5 and at most 0\.4",
    ),
    "no TOML": ("folds 3", r"study\.toml is no TOML: .*at line 2"),
    "the same key twice": ("folds = 3\nfolds = 4", r"is no TOML: .*at line 3"),
    "too deep": ("seed = " + "[" * 5000, r"is no TOML: .*recursion"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_file_is_told_by_line_and_key(name, tmp_path):
    line, message = WRONG[name]
    path = written(tmp_path / "study.toml", "# a study", line)
    with pytest.raises(UsageError, match=message) as raised:
        read_settings_file(path, KNOWN_IN_FILES)
    assert str(path) in str(raised.value)


def test_a_line_is_named_only_where_it_is_sure(tmp_path):
    path = written(tmp_path / "study.toml", 'model = """', "seed = 1", '"""', "seed = 1.5")
    with pytest.raises(UsageError, match=r"study\.toml: seed is 1\.5"):
        read_settings_file(path, KNOWN_IN_FILES)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--config", "nowhere.toml"), "cannot read nowhere.toml: No such file"),
        (("--config", "."), "cannot read .: it is a folder"),
        (("--config", "latin.toml"), "latin.toml is not UTF-8 at byte 9"),
        (("--config", "bare.toml"), "Missing option '--model'"),
    ],
)
def test_a_file_that_cannot_be_used_ends_with_2(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"model = '\xe9'")
    written(tmp_path / "bare.toml", "folds = 3")
    code, text = outcome("run", *words)
    assert (code, told in text) == (2, True), text


def test_a_file_may_begin_with_a_mark_of_its_encoding(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes("\ufeffseed = 3\r\nfolds = 4\r\n".encode())
    assert read_settings_file(path, KNOWN_IN_FILES).values == {"seed": 3, "folds": 4}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The record of a study of texts out of a file, with other settings than the usual ones."""
    folder = tmp_path_factory.mktemp("finished")
    texts = shutil.copy(stimuli.battery_path("planted"), folder / "texts.jsonl")
    words = ("--columns", "text=text", "--seed", 3, "--sites", "resid_post@1")
    words += ("--on-nonfinite", "quarantine", "--emotions", "joy,fear")
    code, told = outcome(
        "capture", "--model", "planted", "--stimuli", texts, "--out", folder / "run", *words
    )
    assert code == 0, told
    return folder / "run" / "run.json"


def test_a_finished_study_is_asked_again(finished, tmp_path):
    config = read_settings_file(finished, KNOWN_IN_FILES)
    again = study.Settings.of(**config.values, out=tmp_path / "again")
    record = read_record(finished)
    assert asked_of(again, again.read_battery()) == record.config
    refuse_other_texts(config, again)
    kept = printed("--config", finished, "--out", tmp_path / "other")
    assert (kept["columns"], kept["on_nonfinite"]) == ({"text": "text"}, "quarantine")
    code, told = outcome("capture", "--config", finished)
    assert (code, "Missing option '--out'" in told) == (2, True)


def test_a_study_of_texts_that_changed_is_not_asked_again(finished, tmp_path):
    moved = json.loads(finished.read_text())
    moved["config"]["battery_sha256"] = "0" * 64
    path = written(tmp_path / "run.json", json.dumps(moved))
    code, told = outcome("capture", "--config", path, "--out", tmp_path / "run")
    assert (code, "is of other texts" in told) == (2, True), told
    config = read_settings_file(path, KNOWN_IN_FILES)
    other = StudyOptions(model="planted", stimuli="planted", out=tmp_path)
    refuse_other_texts(config, other)  # other texts were asked for


@pytest.mark.parametrize(
    ("setting", "value", "code", "told"),
    [
        ("chat_template", "sha256 abc", 2, "came out of a file, and it keeps only the digest"),
        ("colour", "red", 2, "has the setting 'colour', which this interp does not know"),
    ],
)
def test_a_record_that_does_not_hold_a_setting_says_so(
    setting, value, code, told, finished, tmp_path
):
    known = json.loads(finished.read_text())
    known["config"][setting] = value
    path = written(tmp_path / "run.json", json.dumps(known))
    found = outcome("capture", "--config", path, "--out", tmp_path / "run")
    assert (found[0], told in found[1]) == (code, True), found[1]
    if setting == "chat_template":  # it may be said
        said = printed("--config", path, "--out", "run", "--chat-template", "off")
        assert said["chat_template"] == "off"


def test_a_run_json_that_is_none_ends_with_4(tmp_path):
    path = written(tmp_path / "run.json", "{}")
    assert outcome("run", "--config", path, "--out", tmp_path / "run")[0] == 4


def test_who_computes_may_stand_in_a_file(tmp_path, monkeypatch):
    """`capture` alone has options for it; the file has the setting itself."""
    path = written(tmp_path / "study.toml", *(f'{n} = "{v}"' for n, v in NAMED.items()),
                   'executor = "processes:3"')  # fmt: skip
    asked = []
    monkeypatch.setattr(study, "run", lambda settings, **_: asked.append(settings) or 1 / 0)
    for words, executor in (
        ((), "processes:3"),
        (("--executor", "serial"), "serial"),
        (("--shard", "0/4"), "shard:0/4"),
    ):
        with pytest.raises(ZeroDivisionError):
            outcome("capture", "--config", path, *words)
        assert asked[-1].capture.executor == executor
