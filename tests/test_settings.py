"""Settings are written once: from the records come the commands' options and the run's flat
list.
"""

import ast
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import click
import pytest

import interp
from interp import defaults, study
from interp.capture.options import MIB, Options
from interp.cli import cli
from interp.cli.options import HEADINGS, GroupedOption
from interp.cli.settings_file import FILE_OPTIONS
from interp.cli.study import METHOD_OPTIONS, Call
from interp.dissection_options import DissectionOptions
from interp.errors import ArtefactError, UsageError
from interp.models.loading.loader import DTYPES
from interp.options import build_record, flat, options_of
from interp.prompting_options import (
    DynamicsOptions,
    ElicitOptions,
    FramingOptions,
    MalleabilityOptions,
    ReleaseOptions,
    ZeroShotOptions,
)
from interp.records import read_record
from interp.sentence_options import (
    CircuitOptions,
    IntrospectionOptions,
    PathOptions,
    SentenceOptions,
    TrialOptions,
)
from interp.settings import ModelOptions, StudyOptions, TextOptions, columns_of
from interp.study.presets import PRESETS
from interp.study.settings import ASIDE
from support.commands import outcome

RECORDS = (StudyOptions, ModelOptions, TextOptions, Options)
MADE_OF = ("ablate_with", "attribute_with")
STAGES = ("capture", "probe", "transfer", "directions", "patch", "attribute", "ablate", "circuits")
STAGES += ("steering",)

OLDER = {
    "model": "planted", "stimuli": "planted", "seed": 0, "folds": 5,
    "sites": ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "post"],
    "positions": ["last_content", "mean_content"], "truncate": None, "allow_special": False,
    "device": "cpu", "drop_unmatched": False, "normalise_labels": False, "dedupe": False,
    "allow_control": False, "strict": False, "emotions": [], "chat_template": None,
    "dtype": "float32", "storage": "float32", "token_budget": 1024, "shard_mb": None,
    "preset": "standard",
}  # fmt: skip
"""The settings in the run.json of a default study, as they were before methods could be chosen; but
for `shard_mb`, which was 64.
"""

OWN = {
    "verify": {"recompute", "model"},
    "inspect": {"layers"},
    "calibrate": {"runs", "out", "seed"},
    "truth": {"seed"},
    "show": {"most"},
    "audit": {"out", "seed"},
    "power": {"seed"},
    "steer": {"prompt", "prompts", "circuit", "compare"},
    "capture": {"executor", "workers", "shard", "repair"},
    "compare": {"out", "maps", "seed"},
    "read": {"given", "column", "emotion", "layer", "by", "too_long", "allow_special", "model"}
    | {"top", "out", "html"},
    "figures": {"out", "pdf", "width", "no_titles", "published"},
    "features": {"sae", "out", "site", "position", "activation", "k", "seed"},
    "stories": {"out", "scenarios", "ratings", "position", "scenario_position", "neutral_share"}
    | {"seed"},
    "trajectories": {"out", "ratings", "seed", "model"},
    "control-vector": {"form", "emotion", "layer", "scale", "unit", "licence", "upload", "public"},
    "score-sheet": {"run"},
    "play": {"port", "opened"},
}
"""Options that belong to one command and are no part of a record, beside --json."""


def commands(group: click.Group = cli) -> list[click.Command]:
    found: list[click.Command] = []
    for one in group.commands.values():
        found += commands(one) if isinstance(one, click.Group) else [one]
    return found


def asked(out: Path, **more: object) -> study.Settings:
    return study.Settings.of(model="planted", stimuli="planted", out=out, **more)


def test_flat_names_are_sorted_into_the_records(tmp_path):
    settings = asked(
        tmp_path, device="cuda", emotions=("joy",), shard_mb=8, preset="quick", storage="float16"
    )
    assert settings.loading == ModelOptions(device="cuda")
    assert settings.texts == TextOptions(emotions=("joy",))
    assert settings.capture == Options(shard_bytes=8 * MIB, storage="float16")
    assert settings.preset == "quick"
    assert build_record(StudyOptions, flat(settings)) == StudyOptions(
        **{one.name: getattr(settings, one.name) for one in fields(StudyOptions)}
    )


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"unknown setting 'devise'\. Did you mean 'device'\?"):
        interp.run("planted", "planted", tmp_path / "run", devise="cuda")
    with pytest.raises(UsageError, match=r"unknown setting 'zzz'\. There are: model, stimuli, out"):
        asked(tmp_path, zzz=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": "int4"}, "dtype is 'int4': expected one of float32, bfloat16, float16"),
        ({"storage": "float8"}, "storage is 'float8': expected one of float32, float16"),
        ({"truncate": "middle"}, "truncate is 'middle': expected one of left, right"),
        ({"shard_mb": 0}, "shard_mb is 0: at least 1 is needed"),
        ({"preset": "slow"}, "preset is 'slow': expected one of quick, standard, full"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_flat_name(given, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        asked(tmp_path, **given)


def test_columns_are_read_or_refused():
    assert columns_of("text=Satz, emotion=Klasse") == {"text": "Satz", "emotion": "Klasse"}
    with pytest.raises(UsageError, match="'text' is not OURS=THEIRS"):
        columns_of("text")
    with pytest.raises(UsageError, match="'text' is named twice"):
        columns_of("text=a,text=b")


def test_the_identity_is_the_flat_list_of_before_and_what_came_later(tmp_path):
    identity = asked(tmp_path).identity
    assert {name: identity[name] for name in OLDER} == OLDER
    later = {"probe", "direction", "ablate_with", "judge", "shard_batches", "attention"}
    later |= {"pairs", "attribute_with", "steps", "optimal_circuits", "dtype_error"}
    later |= {"patch_modes", "patch_positions", "patch_controls", "patch_metrics"}
    later |= {"beside", "targets", "graded_probe", "control_model", "across", "soft"}
    assert identity.keys() == OLDER.keys() | later
    assert set(flat(asked(tmp_path))) == identity.keys() | set(ASIDE)
    assert {**identity, **study.Settings.usual()} == identity  # a default study


def test_a_run_of_before_resumes_where_the_later_settings_have_their_defaults(tmp_path):
    mine = {"model": "planted", "stimuli": "planted", "emotions": ("joy", "fear")}
    settings = study.Settings.of(**mine, out=tmp_path / "run", sites=("resid_post@1",))
    study.run(settings, stages=["capture"])
    record = tmp_path / "run" / "run.json"
    written = json.loads(record.read_text(encoding="utf-8"))
    config = {
        name: value
        for name, value in written["config"].items()
        if name in {*OLDER, "battery_sha256"}
    }
    record.write_text(json.dumps({**written, "config": config}), encoding="utf-8")
    study.run(settings, stages=["capture"])
    assert read_record(record).config == config
    assert study.new_run(settings) == settings
    other = study.Settings.of(**mine, out=tmp_path / "run", sites=("resid_post@1",), probe="lda")
    with pytest.raises(ArtefactError, match="probe: 'logistic' there, 'lda' now"):
        study.run(other, stages=["capture"])
    assert study.new_run(other).out == tmp_path / "run-2"


def test_no_two_records_have_a_setting_of_one_name():
    own = [len([one for one in fields(kind) if not is_dataclass(one.type)]) for kind in RECORDS]
    assert len(options_of(StudyOptions)) == sum(own)


def test_choices_that_are_written_out_are_those_of_the_tables():
    known = options_of(StudyOptions)
    assert known["dtype"].about.allowed == tuple(DTYPES)
    assert known["preset"].about.allowed == tuple(PRESETS)


def test_every_option_of_every_command_is_a_field_of_a_record_or_told_here():
    for command in commands():
        for one in command.params:
            if isinstance(one, click.Argument):
                continue
            name = str(one.name)
            if isinstance(one, GroupedOption):
                records = (StudyOptions, SentenceOptions, TrialOptions, IntrospectionOptions)
                records += (CircuitOptions, PathOptions, Call, ZeroShotOptions, MalleabilityOptions)
                records += (FramingOptions, ReleaseOptions, DissectionOptions, DynamicsOptions)
                records += (ElicitOptions,)
                known = {name for record in records for name in options_of(record)}
                assert name in {*known, *FILE_OPTIONS}, (command.name, name)
            else:
                assert name in {*OWN.get(str(command.name), ()), "as_json"}, (command.name, name)
    run = {str(one.name) for one in cli.commands["run"].params}
    shown = {name for name, one in options_of(StudyOptions).items() if one.about.flag}
    assert run == shown | set(options_of(Call)) | set(FILE_OPTIONS)
    assert shown == set(options_of(StudyOptions)) - {"executor", "attention", "shard_batches"}


def test_every_stage_takes_every_setting_and_shows_those_that_it_uses():
    """Commands that share a folder must agree in all settings, so that each of them can be told
    all.
    """
    run = {one.name: one for one in cli.commands["run"].params}
    assert not any(getattr(one, "hidden", False) for one in run.values())
    seen = set()
    for name in STAGES:
        params = {one.name: one for one in cli.commands[name].params}
        assert params.keys() >= run.keys(), name
        hidden = {key for key, one in params.items() if getattr(one, "hidden", False)}
        assert hidden <= METHOD_OPTIONS
        seen |= METHOD_OPTIONS - hidden
    assert seen == METHOD_OPTIONS


def literal_defaults(path: Path) -> list[str]:
    """The options of click in a file whose default is written out."""
    calls = [
        one
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(one, ast.Call)
    ]
    named = [one for one in calls if getattr(one.func, "attr", "") == "option"]
    return [
        ast.unparse(one.args[0])
        for one in named
        for word in one.keywords
        if word.arg == "default"
        and isinstance(word.value, ast.Constant)
        and word.value.value is not None
    ]


INTERP = Path(interp.__file__).parent


def test_no_default_of_a_setting_is_written_twice():
    found = {path.name: literal_defaults(path) for path in (INTERP / "cli").glob("*.py")}
    assert {name: one for name, one in found.items() if one} == {
        "reading.py": ["'--column'", "'--by'", "'--too-long'"],  # of no record
        "stimuli.py": ["'--most'"],
        "stories.py": ["'--neutral-share'"],
    }
    methods = {defaults.PROBE, defaults.DIRECTION, defaults.STAND_IN}
    places = []
    for path in INTERP.rglob("*.py"):
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(one, ast.FunctionDef):
                written = [*one.args.defaults, *filter(None, one.args.kw_defaults)]
                assert not [
                    d for d in written if isinstance(d, ast.Constant) and d.value in methods
                ], one.name
            if isinstance(one, ast.Constant) and one.value == defaults.DIRECTION:
                places.append(path.relative_to(INTERP).as_posix())
    # The default, the table's key, and the name of what the formulas of lengths are of.
    assert sorted(places) == ["analysis/lengths.py", "analysis/methods.py", "defaults.py"]


def sections(told: str) -> dict[str, str]:
    """The help's headings and what stands below each, its words in one line."""
    parts = re.split(r"^ *(\w+):\n", told, flags=re.MULTILINE)
    return {
        name: " ".join(part.split()) for name, part in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_the_help_of_run_and_probe_has_groups_choices_defaults_and_an_example():
    run, probe = (sections(outcome(name, "--help")[1]) for name in ("run", "probe"))
    of_a_study = [name for name in HEADINGS if name not in ("Direction", "Writing")]
    assert [name for name in run if name in HEADINGS] == of_a_study
    assert [name for name in probe if name in HEADINGS] == of_a_study
    whole = (
        ("Model", "--model", "--device", "--dtype", "[default: float32]"),
        ("Texts", "--stimuli", "--emotions", "--strict"),
        ("Capture", "--sites", "--token-budget", "[default: 1024]", "--shard-mb", "64 texts"),
        ("Study", "--out", "--preset", "--folds", "--probe", "--direction", "--judge", "--seed"),
        ("Command", "--dry-run", "--json", "--help"),
    )
    for heading, *told in whole:
        assert [word for word in told if word not in run[heading]] == []
    assert "[logistic|scikit_logistic|lda|" in "".join(run["Study"].split())
    assert "[default: logistic]" in run["Study"]
    assert "[oracle|forced_choice|lexicon|" in run["Study"]
    assert "[default: 0]" in run["Study"]
    assert {"--probe", "--folds", "--seed"} <= set(probe["Study"].split())
    assert "--judge" not in probe["Study"]
    assert "--direction" not in probe["Study"]
    demo = "--model storyworld --stimuli storyworld --out runs/demo"
    assert f"interp run {demo} --preset quick" in run["Example"]
    assert f"interp probe {demo} --probe lda" in probe["Example"]


def test_the_example_lines_can_be_parsed():
    for name in ("run", *STAGES):
        (line,) = re.findall(r"^ +interp (.+)$", outcome(name, "--help")[1], re.MULTILINE)
        said, *words = line.split()
        assert said == name
        read = cli.commands[name].make_context(name, words).params
        assert (read["model"], read["stimuli"]) == ("storyworld", "storyworld")
        assert [
            one
            for one in ("preset", "probe", "direction", *MADE_OF, "judge", "shard")
            if read.get(one)
        ]


@pytest.mark.parametrize("name", ["run", *STAGES, "steer", "chat"])
def test_what_a_command_needs_and_is_not_given_is_named(name):
    given: list[str] = []
    for option in [one for one in cli.commands[name].params if one.required]:
        code, told = outcome(name, *given)
        assert (code, f"Missing option '{option.opts[0]}'" in told) == (2, True), told
        given += [option.opts[0], "planted"]


def test_one_fold_is_refused_before_anything_is_done(tmp_path):
    told = outcome(
        "probe",
        "--model",
        "planted",
        "--stimuli",
        "planted",
        "--out",
        tmp_path / "run",
        "--folds",
        "1",
    )
    assert told[0] == 2
    with pytest.raises(UsageError, match="folds is 1: at least 2 is needed"):
        interp.run("planted", "planted", tmp_path / "run", folds=1)
    assert not (tmp_path / "run").exists()
