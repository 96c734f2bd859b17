"""What scripts and people rely on, as it was when it was last looked at: the help of every command,
the shape of `--json`, and the exit codes.

Where a change is meant, write the files anew and read the difference:
    INTERP_GOLDEN=write pytest tests/test_cli_golden.py
"""

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from interp import study
from interp.cli import cli
from support.commands import outcome

GOLDEN = Path(__file__).parent / "golden"
WIDTH = 100


def agrees(name: str, text: str) -> None:
    """Hold `text` against the file of this name, word by word: where lines break is the library's
    affair.
    """
    path = GOLDEN / name
    if os.environ.get("INTERP_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    known = path.read_text(encoding="utf-8")
    assert text.split() == known.split(), f"{path} differs; see the top of this file"


def commands(group: click.Group, *above: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, one in group.commands.items():
        found.append((*above, name))
        found += commands(one, *above, name) if isinstance(one, click.Group) else []
    return found


def test_the_help_of_every_command_is_as_it_was():
    told = []
    for words in [(), *commands(cli)]:
        done = CliRunner().invoke(cli, [*words, "--help"], prog_name="interp", terminal_width=WIDTH)
        assert done.exit_code == 0
        told.append(f"$ {' '.join(('interp', *words, '--help'))}\n{done.output}")
    agrees("help.txt", "\n".join(told))


KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def shape(*values: Any) -> Any:
    """The types of what JSON holds, over several values of one place; the entries of a list are of
    one place. What `told` holds is each finding's own.
    """
    if all(isinstance(value, dict) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        own = {name: [value[name] for value in values if name in value] for name in names}
        return {name: "object" if name == "told" else shape(*there) for name, there in own.items()}
    if all(isinstance(value, list) for value in values):
        entries = [one for value in values for one in value]
        return [shape(*entries)] if entries else []
    kinds = {KINDS.get(type(value), type(value).__name__) for value in values}
    return " or ".join(sorted(kinds))


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("golden") / "run"


def test_what_json_holds_is_as_it_was(out):
    words = ("--model", "planted", "--stimuli", "planted", "--out", out, "--preset", "quick")

    code, text = outcome(
        "directions", *words, "--emotions", "joy,fear", "--sites", "resid_post@2", "--json"
    )
    assert code == 0
    agrees("summary.json", json.dumps(shape(json.loads(text)), indent=1))
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    kept = {name: shape(record[name]) for name in ("answer", "verdict", "warnings", "config")}
    agrees("run.json", json.dumps({**kept, "fields": sorted(record)}, indent=1))
    assert study.describe(out)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--version",), 0),
        (("nonsense",), 2),
        (("run",), 2),
        (("run", "--config", "nowhere.toml"), 2),
        (("run", "--registration", "nowhere.json"), 2),
        (("register", "nowhere.toml"), 2),
        (("report", "nowhere"), 4),
        (("inspect", "nowhere"), 4),
        (("stimuli", "show", "nowhere"), 2),
        (("claims",), 0),
    ],
)
def test_how_a_command_ends(words, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert outcome(*words)[0] == code
