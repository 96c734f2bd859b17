"""The doors of the house: which room may import which, as the README's architecture section draws
them.
"""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import interp
import stimuli

FLOOR = {
    "array_files", "chance", "choices", "defaults", "directions", "errors", "files", "lazy",
    "memory", "notebook", "options", "progress", "ray_cluster", "records", "results", "shares",
    "sites", "stages", "stats",
}  # fmt: skip
DOORS = {
    "array_files": {"errors", "files"},
    "chance": {"errors"},
    "choices": set(),
    "common_options": {"errors", "lazy", "options"},
    "defaults": set(),
    "directions": {"array_files", "errors", "notebook", "sites"},
    "dissection_options": {"common_options", "defaults", "errors", "options", "settings"},
    "errors": set(),
    "files": {"errors"},
    "lazy": set(),
    "memory": set(),
    "notebook": set(),
    "options": {"errors", "lazy"},
    "progress": set(),
    "ray_cluster": {"errors"},
    "sites": {"errors"},
    "shares": {"errors", "stats"},
    "stages": set(),
    "stats": {"errors"},
    "records": {"errors", "files"},
    "results": {"errors", "files", "records"},
    "models": FLOOR | {"testbeds"},
    "capture": FLOOR | {"models"},
    "analysis": FLOOR,
    "causal": FLOOR | {"models", "capture.positions"},
    "testbeds": FLOOR,
    "evaluation": FLOOR | {"causal", "analysis", "capture", "models", "testbeds"},
    "reporting": FLOOR,
    "prompting_options": {"common_options", "options", "settings"},
    "sentence_options": {"common_options", "defaults", "options", "settings"},
    "settings": {
        "capture.options",
        "common_options",
        "defaults",
        "errors",
        "options",
        "sites",
    },
    "study": FLOOR
    | {
        "causal",
        "analysis",
        "capture",
        "models",
        "testbeds",
        "evaluation",
        "reporting",
        "common_options",
        "dissection_options",
        "prompting_options",
        "sentence_options",
        "settings",
    },
    "play": FLOOR | {"causal", "models", "reporting", "study"},
    "cli": FLOOR
    | {
        "play",
        "study",
        "causal",
        "analysis",
        "capture",
        "models",
        "testbeds",
        "evaluation",
        "reporting",
        "common_options",
        "dissection_options",
        "prompting_options",
        "sentence_options",
        "settings",
    },
    "api": FLOOR | {"causal", "analysis", "capture", "models", "evaluation", "study"},
    "stimuli": {"errors", "files", "notebook"},
}
INTERP = Path(interp.__file__).parent
STIMULI = Path(stimuli.__file__).parent


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room_of(path: Path) -> str:
    return (
        "stimuli"
        if path.is_relative_to(STIMULI)
        else path.relative_to(INTERP).parts[0].removesuffix(".py")
    )


def forbidden(path: Path) -> set[str]:
    room = room_of(path)
    allowed = DOORS[room] | {room}
    inside = {name.removeprefix("interp.") for name in imported(path) if name.startswith("interp.")}
    return {
        name
        for name in inside
        if not any(name == door or name.startswith(f"{door}.") for door in allowed)
        and not any(door.startswith(f"{name}.") for door in allowed)
    }


SOURCES = [
    p for p in [*INTERP.rglob("*.py"), *STIMULI.rglob("*.py")] if p != INTERP / "__init__.py"
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_imports_go_through_doors(path):
    assert not forbidden(path), f"{path} opens a door that the design keeps shut"


def test_a_forbidden_import_is_seen(tmp_path, monkeypatch):
    culprit = tmp_path / "analysis" / "sneaky.py"
    culprit.parent.mkdir()
    culprit.write_text("from interp.causal.steering import steer\n")
    monkeypatch.setattr(f"{__name__}.INTERP", tmp_path)
    assert forbidden(culprit) == {"causal.steering", "causal.steering.steer"}


@pytest.mark.parametrize(
    "room", ["analysis", "chance", "directions", "reporting", "sites", "results", "stats"]
)
def test_the_array_half_imports_no_torch(room):
    modules = [
        f"interp.{room}.{p.stem}" for p in (INTERP / room).glob("*.py") if p.stem != "__init__"
    ] or [f"interp.{room}"]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_front_door_imports_nothing_heavy_until_a_name_is_used():
    heavy = "[name for name in ('torch', 'numpy', 'pandas', 'sklearn') if name in sys.modules]"
    assert in_a_fresh_python(f"import sys, interp; print({heavy})") == "[]"
    assert "battery" in in_a_fresh_python("import interp; print(dir(interp))")
    light = f"import sys, interp; interp.battery('storyworld').pairs(); print({heavy})"
    assert in_a_fresh_python(light) == "[]"


@pytest.mark.parametrize("room", ["analysis", "capture", "causal", "evaluation", "reporting"])
def test_a_room_opens_when_it_is_named(room):
    modules = sorted(p.stem for p in (INTERP / room).glob("*.py") if p.stem != "__init__")
    code = f"import interp; print([getattr(interp.{room}, m).__name__ for m in {modules}])"
    assert in_a_fresh_python(code) == str([f"interp.{room}.{name}" for name in modules])
    opened = importlib.import_module(f"interp.{room}")
    assert [name for name in opened.__all__ if not callable(getattr(opened, name))] == [
        name for name in opened.__all__ if name.isupper()
    ]


def test_the_front_door_offers_the_verbs_and_the_types():
    verbs = "load battery record probe direction generate steer patch attribute ablate circuit"
    verbs += " draw run read"
    types = "Site Battery Pair Pairs Activations ActivationStore Circuit Direction Eraser"
    types += " Intervention LanguageModel Patches"
    assert set(interp.__all__) == {*verbs.split(), *types.split()}
    assert all(callable(getattr(interp, name)) for name in interp.__all__)
    assert all(isinstance(getattr(interp, name), type) for name in types.split())
    assert interp.steer is interp.causal.steer is interp.causal.steering.steer
    with pytest.raises(AttributeError, match="module 'interp' has no attribute 'no_such_name'"):
        interp.no_such_name  # noqa: B018


FORBIDDEN_WORDS = (
    "import " + "pickle",
    "torch." + "load(",
    "joblib." + "load",
    "joblib import " + "load",
    "allow_" + "pickle",
    "trust_remote_code" + "=True",
    "nan_to_" + "num",
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_no_code_that_runs_what_it_reads(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in FORBIDDEN_WORDS if word in text]
