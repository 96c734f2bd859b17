"""The pages: they build without a warning, fetch nothing, link from a folder, and are true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import interp
from interp import errors
from interp.reporting.figures import FIGURES
from support.chromium import CHROMIUM, needs_chromium

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOTEBOOKS = {path.stem for path in (ROOT / "notebooks").glob("*.py")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built_and_every_verb_is_in_the_reference(site):
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file()
    verbs = (site / "reference" / "verbs.html").read_text(encoding="utf-8")
    for name in ("record", "probe", "direction", "steer", "generate", "draw", "run", "Direction"):
        assert re.search(rf'id="(?:interp|stimuli)\.[\w.]*\.?{name}"', verbs), name


def test_nothing_is_fetched_and_no_link_leaves_the_folder_by_a_slash(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue  # served at any depth, so its links begin at the root
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="([^"]*)"', text)
        fetched += re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*>', text)
        assert not [one for one in fetched if "//" in one and not one.startswith("data:")], page
        links = re.findall(r'<a [^>]*href="([^"]*)"', text)
        assert links
        assert not [one for one in links if one.startswith("/")], page
        for link in links:
            target = link.partition("#")[0]
            if target and "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).is_file(), (page.name, link)


@needs_chromium
def test_a_phone_shows_a_page_from_the_folder_and_reports_no_error(site, tmp_path):
    for name in ("index", "figures"):
        told = browser(tmp_path, (site / f"{name}.html").as_uri())
        assert "<title>" in told.stdout
        assert "CONSOLE" not in told.stderr, told.stderr


def browser(profile: Path, address: str) -> subprocess.CompletedProcess[str]:
    """The page as a browser of a phone's width has it, and on stderr what it says of it."""
    asked = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    asked += [f"--user-data-dir={profile / 'profile'}", "--virtual-time-budget=5000"]
    asked += ["--window-size=400,900", "--dump-dom", address]
    return subprocess.run([str(CHROMIUM), *asked], capture_output=True, text=True, check=True)


def rows(page: str) -> list[list[str]]:
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in found if not set(row[0]) <= set("-: ")]


def test_the_checklist_has_each_figure_once_and_names_what_is_there():
    listed = [row for row in rows("figures.md") if row[0].isdigit()]
    assert [int(row[0]) for row in listed] == list(range(1, 59))
    commands = subprocess.run(
        [sys.executable, "-c", "from interp.cli import cli; print(*cli.commands)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for number, _, here, where in listed:
        named = re.findall(r"`([^`]+)`", here)
        known = [name for name in named if name in FIGURES or name.split()[-1] in commands]
        assert named == known, number
        assert named or re.match(r"table|not yet|none", here), number
        for notebook in re.findall(r"\d\d_\w+", where):
            assert notebook in NOTEBOOKS
    text = (DOCS / "figures.md").read_text(encoding="utf-8")
    assert [name for name in FIGURES if f"`{name}`" not in text] == []


def test_the_page_of_exit_codes_is_that_of_the_classes():
    listed = {row[1].strip("`"): int(row[0]) for row in rows("exit_codes.md") if row[1][:1] == "`"}
    known = {one.__name__: one.exit_code for one in errors.InterpError.__subclasses__()}
    known["Interrupted"] = errors.Interrupted("stopped").exit_code
    assert listed == known


def test_methods_name_modules_that_are_there():
    text = (DOCS / "methods.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`interp\.([\w.]+)`", text))
    assert len(named) >= 7
    folder = Path(interp.__file__).parent
    assert [one for one in named if not (folder / f"{one.replace('.', '/')}.py").is_file()] == []
