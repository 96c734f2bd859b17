"""The README's example runs as it stands, and is as short as it says."""

import ast
import re
from pathlib import Path

from interp.testbeds import storyworld

README = Path(__file__).parent.parent / "README.md"


def example() -> str:
    found = re.search(r"<!-- example.*?-->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_under_twenty_lines_and_steers(capsys):
    code = example()
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]) < 20
    exec(compile(code, str(README), "exec"), {})
    *_, unsteered, steered = capsys.readouterr().out.strip().splitlines()
    assert unsteered.startswith("0 [")
    assert steered.startswith("1.5 [")
    read = [storyworld.read(text).emotion for text in ast.literal_eval(steered.removeprefix("1.5 "))]
    assert read == ["anger"] * 4
    assert "anger" not in [storyworld.read(text).emotion for text in ast.literal_eval(unsteered.removeprefix("0 "))]


def test_the_readme_names_only_files_that_are_there():
    named = re.findall(r"`((?:interp|stimuli|tests|scripts|notebooks)/[\w./]+)`", README.read_text(encoding="utf-8"))
    assert named
    assert not [name for name in named if not (README.parent / name).exists()]
