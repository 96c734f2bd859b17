"""`scripts/newest`: what it compares, and that one library which cannot be installed ends nothing.
Nothing is installed here.
"""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from interp.models.checks.versions import REACHED_INTO
from test_lock import installed, locked

ROOT = Path(__file__).parent.parent


@pytest.fixture
def newest(monkeypatch):
    """The script's names, and what takes the place of some of them: `newest(pip=...)`."""
    known = runpy.run_path(str(ROOT / "scripts" / "newest"), run_name="newest")
    inside = known["main"].__globals__

    def change(**names):
        for name, value in names.items():
            monkeypatch.setitem(inside, name, value)
        return known

    return change


def test_the_lock_is_read_as_pip_reads_it_on_this_python(newest):
    found = newest()["read_lock"]()
    assert locked().items() <= found.items()


@pytest.mark.parametrize("python", [(3, 11, 2), (3, 12, 0), (3, 13, 1)])
def test_each_python_has_its_own_version_of_numpy(newest, python, monkeypatch):
    monkeypatch.setattr(sys, "version_info", python)
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    older, newer = (line.split()[0] for line in lines if line.startswith("numpy=="))
    expected = older if python < (3, 12) else newer
    assert newest()["read_lock"]()["numpy"] == expected.removeprefix("numpy==")


def test_what_is_installed_has_the_names_of_the_lock(newest):
    """pip writes huggingface_hub, and torch with the build that it is."""
    there = {name: version for name, version in installed().items() if name in locked()}
    told = "".join(f"{name.replace('-', '_')}=={version}+cpu\n" for name, version in there.items())
    assert newest(pip=lambda *words: told)["installed"]() == there


def test_every_library_with_a_bound_is_tried_by_tests_that_exist(newest):
    known = newest()
    assert set(known["bounded"]()) == {*REACHED_INTO, "gguf"}
    assert all((ROOT / name).is_file() for name in known["TESTS"])
    told = "x (3)\nAvailable versions: 5.25.0, 5.24.1, 5.24.0, 5.9.0\nLATEST: 5.25.0\n"
    known = newest(pip=lambda *words: told)
    assert known["releases_after"]("x", "5.24.0") == ["5.24.1", "5.25.0"]


@pytest.mark.parametrize("served", [True, False])
def test_a_release_beyond_the_bound_is_tried_or_said_to_be_refused(newest, served):
    here = {"transformers": "5.24.0"}

    def pip(*words):
        name, _, version = words[-1].partition("==")
        done = served or version == "5.24.0"
        here.update({name: version} if done else {})
        return subprocess.CompletedProcess(words, int(not done), "", "needs Python 3.14")

    known = newest(
        ask_pip=pip,
        installed=lambda: here,
        releases_after=lambda name, bound: ["5.25.0", "5.26.0"],
        run_tests=lambda: f"passed with {here['transformers']}",
    )
    (row,) = known["beyond"]("transformers", "5.24.0")
    assert row[:3] == ("transformers", "5.24.0", "5.25.0 (beyond)")
    assert row[3] == ("passed with 5.25.0" if served else "cannot be installed: needs Python 3.14")
    assert here == {"transformers": "5.24.0"}
