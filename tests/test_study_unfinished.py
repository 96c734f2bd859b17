"""A trial that was stopped goes on from what it had done, and never from what another had; a
command that keeps nothing does not say that it does.
"""

import json
import sys

import click
import pytest

from interp import cli
from interp.errors import ArtefactError
from interp.files import check_new
from interp.study.unfinished import UNFINISHED, Unfinished


def test_what_was_done_is_not_done_again(tmp_path):
    asked = []

    def compute():
        asked.append(1)
        return {"texts": ["joy", None], "cost": float("nan")}

    first = Unfinished(tmp_path / "out", seed=1).about(model="a").keep("arm 1", compute)
    again = Unfinished(tmp_path / "out", seed=1).about(model="a").keep("arm 1", compute)
    assert first["texts"] == again["texts"] == ["joy", None]
    assert len(asked) == 1
    assert Unfinished(tmp_path / "out", seed=1).keep("arm 2", lambda: 2) == 2


def test_nothing_is_written_before_something_is_done(tmp_path):
    begun = Unfinished(tmp_path / "out", seed=1).about(model="a")
    with pytest.raises(ZeroDivisionError):
        begun.keep("arm", lambda: 1 / 0)
    assert not (tmp_path / "out").exists()


def test_what_another_question_began_is_refused(tmp_path):
    Unfinished(tmp_path, seed=1).about(model="a").keep("arm", lambda: 1)
    with pytest.raises(ArtefactError, match="was begun with other settings"):
        Unfinished(tmp_path, seed=2)
    with pytest.raises(ArtefactError, match="was begun with other settings"):
        Unfinished(tmp_path, seed=1).about(model="b")
    Unfinished(tmp_path, seed=1).about(model="a").remove()
    assert Unfinished(tmp_path, seed=2).keep("arm", lambda: 2) == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}"])
def test_a_damaged_part_is_named(content, tmp_path):
    Unfinished(tmp_path, seed=1).keep("arm", lambda: 1)
    (part,) = (one for one in (tmp_path / UNFINISHED).iterdir() if one.name != "question.json")
    part.write_text(content)
    with pytest.raises(ArtefactError, match=part.name):
        Unfinished(tmp_path, seed=1).keep("arm", lambda: 1)


def test_the_question_can_be_read(tmp_path):
    Unfinished(tmp_path, seed=1).about(model="a").keep("arm", lambda: 1)
    question = json.loads((tmp_path / UNFINISHED / "question.json").read_text())
    assert question == {"seed": 1, "model": "a"}


def test_where_only_the_folder_was_made_the_question_is_written_all_the_same(tmp_path):
    (tmp_path / UNFINISHED).mkdir()
    Unfinished(tmp_path, seed=1).keep("arm", lambda: 1)
    with pytest.raises(ArtefactError, match="was begun with other settings"):
        Unfinished(tmp_path, seed=2)


def test_who_stops_it_is_told_what_is_kept(tmp_path):
    begun = Unfinished(tmp_path, seed=1)
    assert begun.how_to_go_on().startswith("nothing is kept yet")
    for arm in "abc":
        begun.keep(arm, lambda: 1)
    assert begun.how_to_go_on().startswith(f"3 parts are kept in {begun.folder}")


def test_a_folder_that_was_begun_may_be_filled_to_its_end(tmp_path):
    (tmp_path / "tables").mkdir()
    with pytest.raises(ArtefactError, match="is there already"):
        check_new(tmp_path, begun=UNFINISHED)
    (tmp_path / UNFINISHED).mkdir()
    check_new(tmp_path, begun=UNFINISHED)
    with pytest.raises(ArtefactError, match="is there already"):
        check_new(tmp_path)


def test_a_command_that_keeps_nothing_does_not_say_that_it_resumes(monkeypatch, capsys):
    @click.command()
    def command():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "cli", command)
    monkeypatch.setattr(sys, "argv", ["interp"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130
    assert capsys.readouterr().err.strip() == "interp: stopped; what was not written yet is lost."
