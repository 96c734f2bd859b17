"""What a shell completes, asked as click's shells ask, and without waiting for torch."""

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

import stimuli
from interp.cli import cli
from interp.common_options import model_names
from interp.sites import SITE_NAMES
from interp.study.presets import PRESETS
from interp.testbeds.records import TESTBEDS


def completions(*words: str) -> list[str]:
    """What may stand in place of the last word."""
    shell = ShellComplete(cli, {}, "interp", "_INTERP_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def kinds(*words: str) -> set[str]:
    shell = ShellComplete(cli, {}, "interp", "_INTERP_COMPLETE")
    return {item.type for item in shell.get_completions(list(words[:-1]), words[-1])}


@pytest.mark.parametrize("command", ["run", "probe", "steer"])
def test_models_that_are_known_are_completed(command):
    assert completions(command, "--model", "") == list(model_names())
    assert {*TESTBEDS, "smollm2"} == set(model_names())
    assert completions(command, "--model", "planted_") == ["planted_null"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("doctor", "story"), ["storyworld"]),
        (("sites", "smol"), ["smollm2"]),
        (("stimuli", "power", "story"), ["storyworld"]),
        (("stimuli", "power", "smollm2", "plut"), ["plutchik"]),
        (("stimuli", "show", "sev"), ["sev_style"]),
        (("stimuli", "audit", "plai"), ["plain", "plain_chat"]),
        (("stimuli", "convert", "plain_"), ["plain_chat"]),
        (("run", "--stimuli", ""), stimuli.names()),
        (("run", "--sites", ""), list(SITE_NAMES)),
        (("run", "--sites", "z,resid_p"), ["z,resid_pre", "z,resid_post"]),
        (("run", "--preset", ""), list(PRESETS)),
        (("run", "--probe", "l"), ["logistic", "lda"]),
        (("run", "--judge", "lexicon,em"), ["lexicon,embedding"]),
        (("run", "--no-st"), ["--no-strict"]),
        (("regi",), ["register"]),
    ],
)
def test_names_are_completed(words, expected):
    assert completions(*words) == expected


def test_where_no_name_fits_files_are_completed():
    assert kinds("run", "--model", "./my") == {"file"}
    assert kinds("run", "--stimuli", "my_") == {"file"}
    assert kinds("run", "--config", "") == {"file"}


def test_what_a_file_says_is_not_needed_to_complete():
    assert completions("run", "--config", "nowhere.toml", "--preset", "q") == ["quick"]


def test_a_shell_is_answered_without_anything_heavy():
    """The process that a shell starts at each press of the key."""
    code = (
        "import sys\nfrom interp.cli import main\nsys.argv = ['interp']\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'transformers', 'numpy', 'pandas', 'matplotlib'}\n"
        "    print('imported', *sorted(heavy & sys.modules.keys()))\n"
    )
    asked = {"COMP_WORDS": "interp run --model planted", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked, "_INTERP_COMPLETE": "bash_complete"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["plain,planted", "plain,planted_null", "imported"]
