"""The doors of the house: which room may import which, as the README's architecture section draws them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import interp
import stimuli

FLOOR = {"array_files", "chance", "directions", "errors", "files", "memory", "progress", "results", "sites", "stats"}
DOORS = {
    "array_files": {"errors", "files"},
    "chance": {"errors"},
    "directions": {"array_files", "errors", "sites"},
    "errors": set(),
    "files": {"errors"},
    "memory": set(),
    "progress": set(),
    "sites": {"errors"},
    "stats": {"errors"},
    "results": {"errors", "files"},
    "models": FLOOR | {"testbeds"},
    "capture": FLOOR | {"models"},
    "analysis": FLOOR,
    "causal": FLOOR | {"models", "capture.positions"},
    "testbeds": FLOOR,
    "evaluation": FLOOR | {"causal", "analysis", "capture", "models", "testbeds"},
    "reporting": FLOOR,
    "study": FLOOR | {"causal", "analysis", "capture", "models", "testbeds", "evaluation", "reporting"},
    "cli": FLOOR | {"study", "causal", "analysis", "capture", "models", "testbeds", "evaluation", "reporting"},
    "stimuli": {"errors", "files"},
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
    return "stimuli" if path.is_relative_to(STIMULI) else path.relative_to(INTERP).parts[0].removesuffix(".py")


def forbidden(path: Path) -> set[str]:
    room = room_of(path)
    allowed = DOORS[room] | {room}
    inside = {name.removeprefix("interp.") for name in imported(path) if name.startswith("interp.")}
    return {name for name in inside if not any(name == door or name.startswith(f"{door}.") for door in allowed)
            and not any(door.startswith(f"{name}.") for door in allowed)}  # fmt: skip


SOURCES = [p for p in [*INTERP.rglob("*.py"), *STIMULI.rglob("*.py")] if p != INTERP / "__init__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_imports_go_through_doors(path):
    assert not forbidden(path), f"{path} opens a door that the design keeps shut"


def test_a_forbidden_import_is_seen(tmp_path, monkeypatch):
    culprit = tmp_path / "analysis" / "sneaky.py"
    culprit.parent.mkdir()
    culprit.write_text("from interp.causal.steering import steer\n")
    monkeypatch.setattr(f"{__name__}.INTERP", tmp_path)
    assert forbidden(culprit) == {"causal.steering", "causal.steering.steer"}


@pytest.mark.parametrize("room", ["analysis", "chance", "directions", "reporting", "sites", "results", "stats"])
def test_the_array_half_imports_no_torch(room):
    modules = [f"interp.{room}.{p.stem}" for p in (INTERP / room).glob("*.py") if p.stem != "__init__"] or [f"interp.{room}"]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


FORBIDDEN_WORDS = (
    "import " + "pickle",
    "torch." + "load(",
    "job" + "lib",
    "allow_" + "pickle",
    "trust_remote_code" + "=True",
    "nan_to_" + "num",
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_no_code_that_runs_what_it_reads(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in FORBIDDEN_WORDS if word in text]
