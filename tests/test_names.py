"""A name means one thing: no public name is defined in two modules, but for a few."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import interp
import stimuli
from interp.study.runs import STAGE_FUNCTIONS

ROOTS = (Path(interp.__file__).parent, Path(stimuli.__file__).parent)

DOORS = ("interp/cli", "interp/api.py")
"""What stands here is named after what it calls."""

EXCEPTIONS = {
    "ABOVE_TEXT": "a metric that the analysis writes and the report reads: their doors are shut",
    "CALLED": "as `ABOVE_TEXT`",
    "LOST_IN_TRANSFER": "as `ABOVE_TEXT`",
    "SECTION": "of each stage's file in `reporting/sections`: what `SECTIONS` gathers",
    "findings": "of each such file, and of all of them together",
    "cautions": "as `findings`",
    "load": "`interp.models.load` and `stimuli.load`: each package's door",
}
"""Names that are defined more than once, with the reason. Ten at most."""


def public_names(source: str) -> set[str]:
    """The functions, classes and constants that a module defines at its top for others."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = [one for target in targets for one in ast.walk(target)]
            names |= {one.id for one in found if isinstance(one, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def homes() -> dict[str, list[str]]:
    """Each public name, and the modules that define it. An `__init__` passes names on."""
    found: dict[str, list[str]] = defaultdict(list)
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            where = path.relative_to(root.parent).as_posix()
            if path.name != "__init__.py" and not where.startswith(DOORS):
                for name in public_names(path.read_text(encoding="utf-8")):
                    found[name].append(where)
    return found


def test_a_public_name_is_defined_once():
    twice = {name: where for name, where in homes().items() if len(where) > 1}
    # A stage's name is that of what computes it and of what tells of it.
    allowed = {*EXCEPTIONS, *STAGE_FUNCTIONS}
    assert not {name: where for name, where in twice.items() if name not in allowed}


def test_the_exceptions_are_few_and_needed():
    assert len(EXCEPTIONS) <= 10
    once = [name for name, where in homes().items() if len(where) < 2]
    assert not [name for name in EXCEPTIONS if name in once or name not in homes()]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(): ...\nclass C: ...\nA = 1", {"f", "C", "A"}),
        ("A, (B, _c) = 1, (2, 3)\nD: int = 4", {"A", "B", "D"}),
        ("from x import y\nclass C:\n    z = 1\n    def g(self): w = 1", {"C"}),
    ],
)
def test_what_counts_as_a_public_name(source, names):
    assert public_names(source) == names
