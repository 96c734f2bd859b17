"""The README's examples run as they stand, are as short as it says, and print what they say."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from interp.testbeds import storyworld

README = Path(__file__).parent.parent / "README.md"


def examples() -> list[str]:
    text = README.read_text(encoding="utf-8")
    return re.findall(r"<!-- example.*?-->\n```python\n(.*?)```", text, flags=re.DOTALL)


def run(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, str(README), "exec"), names)


def emotions(texts: list[str]) -> list[str | None]:
    return [storyworld.read_reaction(text).emotion for text in texts]


def test_the_examples_are_as_short_as_the_heading_says():
    four, ten, edit = ([line for line in code.splitlines() if line] for code in examples())
    assert (len(four), len(ten), len(edit)) == (4, 10, 3)
    assert max(map(len, [*four, *ten, *edit])) <= 100


def test_the_four_lines_steer_three_texts_to_anger_and_one_to_fear(capsys):
    names: dict[str, Any] = {}
    run(examples()[0], names)
    read = emotions(capsys.readouterr().out.strip().splitlines())
    assert sorted(map(str, read)) == ["anger", "anger", "anger", "fear"]
    unsteered = names["interp"].generate(names["model"], names["angry"].pairs().neutral[:4])
    assert emotions(unsteered) == ["neutral"] * 4


def test_the_ten_lines_draw_save_and_steer_and_any_edit_follows_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="fewer training items than the 128 dimensions"):
        run(examples()[1], names)
    unsteered, steered = (line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert (unsteered[0], steered[0]) == ("0", "1.5")
    assert "anger" not in emotions(ast.literal_eval(unsteered[1]))
    assert emotions(ast.literal_eval(steered[1])) == ["anger"] * 4
    assert names["interp"].Direction.load("anger.safetensors").site == names["anger"].site
    assert (tmp_path / "probes.svg").stat().st_size > 0
    assert names["interp"].ActivationStore.open("runs/anger").items == names["store"].items
    table = names["table"]
    layers = table[(table.metric == "auroc") & (table.control == "") & table.layer.notna()]
    told = layers.set_index("layer").value
    assert (told[:2] < 0.6).all()
    assert (told[3:] > 0.9).all()
    assert {"bag_of_words", "memorisation"} <= set(table.control)
    run(examples()[2], names)
    turned = capsys.readouterr().out.splitlines()
    assert len(turned) == 4
    assert turned != ast.literal_eval(unsteered[1])


def test_the_readme_names_only_files_that_are_there():
    text = README.read_text(encoding="utf-8")
    named = re.findall(r"`((?:interp|stimuli|tests|scripts|notebooks)/[\w./]+)`", text)
    assert named
    assert not [name for name in named if not (README.parent / name).exists()]
