"""Every `--flag` that a message or a page names is one that a command has."""

import re
from pathlib import Path

import click
import pytest

import interp
import stimuli
from interp.cli import cli

ROOT = Path(interp.__file__).parents[1]
FOREIGN = {
    # pip, llama.cpp, jupytext
    "--to", "--no-deps", "--force-reinstall", "--merge", "--upgrade", "--user", "--extra-index-url",
    # our scripts, click
    "--newest", "--rounds", "--without", "--preset", "--seeds", "--page", "--help", "--version",
}  # fmt: skip
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9]+(?:-[a-z0-9]+)*")


def flags_of(command: click.Command) -> set[str]:
    own = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*(flags_of(one) for one in below))


PAGES = [
    *Path(interp.__file__).parent.rglob("*.py"),
    *Path(stimuli.__file__).parent.rglob("*.py"),
    *[
        path
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "stimuli" / "README.md")
        if path.is_file()
    ],
    *sorted((ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_flags_that_are_named_exist(path):
    named = set(_FLAG.findall(path.read_text(encoding="utf-8")))
    assert named - flags_of(cli) - FOREIGN == set()


def test_a_flag_that_nobody_has_is_seen():
    assert "--allow-unheard-of" in _FLAG.findall("pass `--allow-unheard-of` or a-b--c")
    assert "--c" not in _FLAG.findall("a-b--c")
    assert "--stimuli" in flags_of(cli)
