"""Every notebook runs; its .ipynb is its .py, with no outputs kept."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_pair_says_the_same_and_keeps_no_output(source):
    paired = jupytext.read(source.with_suffix(".ipynb"))
    wanted = jupytext.read(source)
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [
        (cell.cell_type, cell.source) for cell in wanted.cells
    ]
    assert not [cell for cell in paired.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_the_quickstart_ends_in_a_layer_curve_and_a_steered_text():
    notebook = nbformat.from_dict(jupytext.read(FOLDER / "00_quickstart.py"))
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    told = "".join(output.get("text", "") for output in outputs)
    pairs = [part.split("steered:") for part in told.split("unsteered:")[1:]]
    assert len(pairs) == 5
    assert any(before.strip() != after.partition("\n")[0].strip() for before, after in pairs)
