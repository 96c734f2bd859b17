"""Every notebook runs on the testbed; its .ipynb is its .py, with no outputs kept; it is short,
defines nothing, and says which figure it redoes and what would change its conclusion.
"""

import ast
import base64
import html
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from jupyter_client.manager import KernelManager
from PIL import Image

from interp.reporting.published import published
from support.chromium import Chromium, needs_chromium

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
REDONE = [source for source in SOURCES if source.stem != "00_quickstart"]
WORDS_A_MINUTE = 120
"""Slow: half of it is code and tables."""

FIGURES = {
    "00_quickstart": 1,
    "01_probing_layers": 1,
    "02_whether_or_which": 1,
    "03_directions_and_geometry": 4,
    "04_patching": 2,
    "05_heads_and_neurons": 4,
    "06_emotion_circuits": 5,
    "07_steering": 2,
    "08_framings_stress_persistence": 6,
    "09_introspection_and_dynamics": 4,
    "10_truth": 0,
    "11_across_models": 0,
}


def cells(source: Path, kind: str) -> list[str]:
    return [cell.source for cell in jupytext.read(source).cells if cell.cell_type == kind]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_pair_says_the_same_and_keeps_no_output(source):
    paired = jupytext.read(source.with_suffix(".ipynb"))
    wanted = jupytext.read(source)
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [
        (cell.cell_type, cell.source) for cell in wanted.cells
    ]
    assert not [cell for cell in paired.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_begins_with_its_model_and_its_texts_and_defines_nothing(source):
    first = cells(source, "code")[0]
    assert re.search(r'^MODEL = "\w+"', first, flags=re.MULTILINE)
    assert re.search(r'^STIMULI = "\w+"', first, flags=re.MULTILINE)
    code = ast.parse(source.read_text(encoding="utf-8"))
    made = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(code) if isinstance(node, made)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_is_read_in_ten_minutes(source):
    text = source.read_text(encoding="utf-8")
    assert len(text.split()) <= 10 * WORDS_A_MINUTE


@pytest.mark.parametrize("source", REDONE, ids=lambda path: path.stem)
def test_it_says_which_figure_it_redoes_and_ends_with_what_would_change_it(source):
    told = cells(source, "markdown")
    assert "**Redoes** " in told[0]
    assert told[-1].startswith("## What would change this conclusion\n")
    assert told[-1].count("\n- **") >= 3


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All notebooks as `scripts/gallery` runs them, in one folder: they share one run. One kernel
    for all imports the libraries once.
    """
    out = tmp_path_factory.mktemp("gallery")
    done = script("gallery", "--one-kernel", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def gallery(folder: Path) -> dict[str, nbformat.NotebookNode]:
    return {source.stem: nbformat.read(folder / f"{source.stem}.ipynb", 4) for source in SOURCES}


def test_a_notebook_has_a_kernel_of_its_own_unless_all_share_one(tmp_path):
    run = runpy.run_path(str(ROOT / "scripts" / "gallery"), run_name="gallery")["run"]
    say = "x = 1 + globals().get('x', 0)\nimport os\nprint(x, os.getpid())"
    kernel = KernelManager(kernel_name="python3")
    said = []
    for shared in (None, kernel, kernel):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(say)])
        run(notebook, tmp_path, shared)
        said.append(printed(notebook).split())
    kernel.shutdown_kernel(now=True)
    assert [x for x, _ in said] == ["1", "1", "1"]  # names are cleared
    assert said[0][1] != said[1][1] == said[2][1]


def outputs(notebook: nbformat.NotebookNode) -> list[dict]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(output["text"] for output in outputs(notebook) if output.get("name") == "stdout")


def first_table(notebook: nbformat.NotebookNode, *, behind: int = 0) -> list[list[str]]:
    """The cells of the first table of numbers that a notebook shows, row by row; or of the first
    one `behind` so many others.
    """
    pages = [output.get("data", {}).get("text/html", "") for output in outputs(notebook)]
    page = [page for page in pages if 'class="dataframe"' in page][behind]
    rows = re.findall(r"<tr.*?</tr>", page, flags=re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_notebook_shows_its_figures(gallery):
    shown = {
        name: sum("image/png" in output.get("data", {}) for output in outputs(notebook))
        for name, notebook in gallery.items()
    }
    assert shown == FIGURES


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quickstart_ends_in_a_steered_text(gallery):
    told = printed(gallery["00_quickstart"])
    pairs = [part.split("steered:") for part in told.split("unsteered:")[1:]]
    assert len(pairs) == 5
    assert any(before.strip() != after.partition("\n")[0].strip() for before, after in pairs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_notebooks_conclude_is_what_is_known_of_the_testbeds(gallery):
    told = {row[0]: row[1:] for row in first_table(gallery["02_whether_or_which"])}
    assert told["task"] == ["categorisation", "reception"]
    whether = [float(told[str(float(layer))][1]) for layer in range(6)]
    assert max(*whether[:3], float(told["best words"][1])) < 0.6
    assert min(whether[3:]) > 0.9
    header, _, *depths = first_table(gallery["11_across_models"])
    assert header[1:] == ["planted", "planted_null"]
    assert float(depths[-1][1]) > 0.9
    assert max(float(row[2]) for row in depths) < 0.65
    assert len(printed(gallery["07_steering"]).split("unsteered:")[1:]) == 4
    assert len(first_table(gallery["10_truth"])) > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_circuits_framings_and_introspection_come_out_as_they_were_made(gallery):
    """`storyworld` has its circuit at the last token alone; each planted framing adds half of its
    own direction, and each dose a fifth; the planted model knows nothing of itself.
    """
    held = first_table(gallery["06_emotion_circuits"])[1:]
    above = {row[1]: float(row[4]) for row in held if row[2] == "above_random"}
    assert above["last"] > 0.8
    assert abs(above["all"]) < 0.05
    persisting = gallery["08_framings_stress_persistence"]
    for _, framing, target, value, *_ in first_table(persisting, behind=1)[1:]:
        own = 0.5 if framing == target else 0.0
        assert abs(float(value) - own) < 0.05, (framing, target)
    slope = {
        row[2]: float(row[3]) for row in first_table(persisting, behind=2) if row[1] == "slope"
    }
    assert abs(slope["fear"] - 0.2) < 0.03
    assert max(abs(value) for name, value in slope.items() if name != "fear") < 0.01
    told = printed(gallery["09_introspection_and_dynamics"])
    assert "That the model notices an added direction is not found" in told
    assert "knows which emotion was added is not found" in told
    assert "Seen token by token, the stream turns with the story" in told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_has_every_figure_and_what_was_published(folder, gallery):
    done = script("gallery_page", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    page = Path(done.stdout.strip()).read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == sum(FIGURES.values())
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)  # nothing is fetched
    assert 'alt=""' not in page
    for name in gallery:
        assert f'<h2 id="{name}">' in page
    for row in published():
        assert row.notebook in gallery
        part = page.partition(f'<h2 id="{row.notebook}">')[2].partition("<h2")[0]
        assert row.value in html.unescape(part)


@needs_chromium
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("width", "dark"), [(400, True), (1200, False)])
def test_the_page_is_read_on_a_phone_and_in_the_dark(folder, tmp_path, width, dark):
    page = Path(script("gallery_page", str(folder)).stdout.strip())
    with Chromium(tmp_path / "profile", width=width, dark=dark) as browser:
        browser.open(page.as_uri())
        browser.wait("document.readyState == 'complete'")
        assert browser.complaints == []
        assert browser.ask("document.documentElement.scrollWidth") <= width
        links = "[...document.querySelectorAll('nav a')]"
        led = f"{links}.filter(a => document.getElementById(a.hash.slice(1))).length"
        assert browser.ask(led) == len(SOURCES)
        assert {one for one in browser.fetched if not one.startswith("data:")} == {page.as_uri()}


def small(*sources: str) -> nbformat.NotebookNode:
    """A notebook of these cells, the first of them text."""
    told, *code = sources
    made = [nbformat.v4.new_markdown_cell(told), *map(nbformat.v4.new_code_cell, code)]
    return nbformat.v4.new_notebook(cells=made)


def test_what_ran_to_its_end_is_not_run_again(tmp_path):
    gallery = runpy.run_path(str(ROOT / "scripts" / "gallery"), run_name="gallery")
    has_run, stamp_of, path = gallery["has_run"], gallery["stamp_of"], tmp_path / "a.ipynb"
    notebook = small("# A question", "x = 1")
    stamp = stamp_of(notebook, "files")
    assert not has_run(path, stamp)
    nbformat.write(notebook, path)  # it failed: there is no stamp
    assert not has_run(path, stamp)
    notebook.metadata["interp"] = {**stamp, "seconds": 3, "date": "2026-11-30"}
    nbformat.write(notebook, path)
    assert has_run(path, stamp)
    notebook.cells[1].source = "x = 2"
    assert not has_run(path, stamp_of(notebook, "files"))
    assert not has_run(path, {**stamp, "lock": "another"})
    assert not has_run(path, stamp_of(small("# A question", "x = 1"), "other files"))
    digest, texts = gallery["digest_of_files"], tmp_path / "texts.csv"
    texts.write_text("id,text\n")
    before = digest(Path("storyworld"), texts)
    assert digest(Path("storyworld"), texts) == before != digest(Path("storyworld"))
    texts.write_text("id,text\n1,a\n")
    assert digest(Path("storyworld"), texts) != before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_gallery_resumes(folder):
    def written(*arguments: str) -> set[str]:
        before = {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")}
        done = script("gallery", "--out", str(folder), *arguments)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == (1 if "00" in arguments else len(SOURCES))
        after = {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")}
        return {name for name in after if after[name] != before[name]}

    assert written() == set()
    assert written("--anew", "00") == {"00_quickstart"}


def test_a_page_tells_of_what_failed_and_escapes_what_was_printed(tmp_path):
    nothing = script("gallery_page", str(tmp_path))
    assert nothing.returncode == 1
    assert "run scripts/gallery first" in nothing.stderr
    done = small("# Is 1 < 2?\n\nOne.\n\n## Below it\n\n<b>two</b>", "print(1)")
    output = nbformat.v4.new_output("stream", name="stdout", text="<script>1</script>")
    noise = nbformat.v4.new_output("stream", name="stderr", text="a bar")
    done.cells[1].outputs = [output, noise]
    ran = {"seconds": 90, "date": "2026-11-30", "model": "a<b", "stimuli": "plain"}
    done.metadata["interp"] = {"cells": "a", "lock": "b" * 64, **ran}
    nbformat.write(done, tmp_path / "10_done.ipynb")
    nbformat.write(small("# Failed"), tmp_path / "11_failed.ipynb")
    made = script("gallery_page", str(tmp_path))
    assert made.returncode == 0
    assert "11_failed.ipynb did not run to its end" in made.stderr
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Is 1 &lt; 2?" in page
    assert "<h3>Below it</h3>" in page
    assert "&lt;script&gt;1" in page
    assert "<b>two</b>" not in page
    assert "a bar" not in page
    assert "bbbbbbbbbbbb" in page
    assert "redone on a&lt;b" in page
    assert "battery plain" in page
    assert "Failed" not in page


def test_a_page_goes_where_it_is_asked_with_pictures_of_few_colours(tmp_path):
    ran = {"seconds": 90, "date": "2026-11-30", "model": "a", "stimuli": "plain", "lock": "b" * 64}
    drawn = np.full((80, 80, 3), 255, dtype=np.uint8)
    drawn[20:60, 20:60] = [[213, 94, 0]]
    shades = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    pictures = []
    for pixels in (drawn, shades):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        pictures.append(base64.b64encode(stream.getvalue()).decode())
    done = small("# A question", "1", "2")
    for cell, data in zip(done.cells[1:], pictures, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", data={"image/png": data})]
    done.metadata["interp"] = ran
    nbformat.write(done, tmp_path / "10_done.ipynb")
    page = tmp_path / "pages" / "page.html"
    assert script("gallery_page", str(tmp_path), "--to", str(page)).stdout.strip() == str(page)
    assert not (tmp_path / "index.html").exists()
    shown = re.findall(r'src="data:image/png;base64,([^"]*)"', page.read_text(encoding="utf-8"))
    found = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB") for one in shown]
    assert np.array_equal(np.asarray(found[0]), drawn)
    assert abs(np.asarray(found[1]).astype(int) - shades).mean() < 20
    assert all(len(one) <= len(given) for one, given in zip(shown, pictures, strict=True))
    assert len(shown[1]) < len(pictures[1]) / 2
    refused = script("gallery_page", str(tmp_path), "--to", str(tmp_path))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"cannot write {tmp_path}" in refused.stderr


def test_the_gallery_of_a_real_model_has_every_notebook():
    page = (ROOT / "docs" / "gallery" / "smollm2.html").read_text(encoding="utf-8")
    assert re.findall(r'<h2 id="(\w+)">', page) == [source.stem for source in SOURCES]
    assert page.count("Model smollm2, battery plutchik.") == 9
    assert page.count('src="data:image/png;base64,') >= sum(FIGURES.values()) - 1  # 06: no share


def test_the_gallery_names_what_there_is(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "gallery"), "--out", str(tmp_path), "99"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no notebook begins with 99" in done.stderr
    assert "01_probing_layers" in done.stderr
