"""`docs/adding_a_stage.md`, followed to the letter in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import interp

ROOT = Path(interp.__file__).parent.parent
PAGE = (ROOT / "docs" / "adding_a_stage.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    """The code under a line of the page."""
    found = re.search(rf"^{re.escape(heading)}\n```\w+\n(.*?)^```$", PAGE, flags=re.S | re.M)
    assert found, f"the page has no code under {heading}"
    return found[1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package with what the page adds."""
    for name in ("interp", "stimuli"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in re.findall(r"^`(interp/\S+\.py)`:$", PAGE, flags=re.M):
        target = tmp_path / path
        assert not target.exists()
        target.write_text(block(f"`{path}`:"), encoding="utf-8")
    order = tmp_path / "interp" / "stages.py"
    text = order.read_text(encoding="utf-8")
    for name, end in (("STAGES", ")\n"), ("STAGE_COMMANDS", "}\n")):
        start = re.search(rf"^{name}\b.*[({{]\n", text, flags=re.M)
        assert start
        place = text.index(f"\n{end}", start.end()) + 1
        text = text[:place] + block(f"In `{name}`:") + text[place:]
    order.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_stage_is_added_as_the_page_says(package: Path) -> None:
    for command in block("## Try it").splitlines():
        words = command.split()
        assert words[0] == "interp"
        code = "from interp.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *words[1:]],
            cwd=package,
            env={**os.environ, "PYTHONPATH": str(package)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    out = package / "runs" / "norms"
    assert (out / "tables" / "norms.csv").is_file()
    assert (out / "figures" / "norm_curve.svg").is_file()
    verdicts = json.loads((out / "run.json").read_text(encoding="utf-8"))["verdict"]
    assert [one["stage"] for one in verdicts] == ["norms"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Norms: is the stream longer in affective texts?" in page
    assert "Above zero the affective texts make the stream longer." in page
