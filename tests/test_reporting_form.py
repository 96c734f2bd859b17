"""Figures say what they were measured on, and are drawn again in the form that a paper wants."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import interp
from interp.errors import DataError, UsageError
from interp.reporting.figures import FIGURES, as_bytes, draw
from interp.reporting.form import HOUSE, Form, form_now, in_form, read_width
from interp.reporting.report import redraw
from interp.reporting.sheet import foot_line
from support.commands import outcome
from support.report_pages import folder
from support.reporting_tables import EMOTIONS, all_tables, table_of

TABLES = all_tables(EMOTIONS[:2])
VERSION = f"interp\u00a0{interp.__version__}"


def texts(figure: Figure) -> list[str]:
    return [each.get_text() for each in figure.findobj(mpl.text.Text) if each.get_text()]


def foot(figure: Figure) -> str:
    (found,) = [text for text in texts(figure) if VERSION in text]
    return found.replace("\n", " ")


@pytest.mark.parametrize("titles", [True, False])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_carries_model_battery_n_and_version(name, titles):
    table = table_of(name, FIGURES[name].table).assign(model="my/model", battery="my_pairs")
    told = foot(draw(name, table, titles=titles))
    assert told.startswith("my/model · battery my_pairs · n = ")
    assert told.endswith(VERSION)


def test_the_foot_has_the_n_of_the_rows_that_are_drawn_and_what_it_counts():
    rows = pd.DataFrame({"model": ["a", "b", "a"], "battery": ["x"] * 3, "n": [8, 12, 9]})
    assert foot_line(rows, "texts") == f"a and b · battery x · n = 8 to 12 texts · {VERSION}"
    alone = pd.DataFrame({"model": ["\u202eevil"], "battery": [""], "n": [3]})
    assert foot_line(alone, "") == f"⟨U+202E⟩evil · n = 3 · {VERSION}"


@pytest.mark.parametrize("name", FIGURES)
def test_without_titles_no_sentence_is_on_a_figure_but_the_foot(name):
    table = table_of(name, FIGURES[name].table)
    whole, bare = draw(name, table), draw(name, table, titles=False)
    title, caption = whole.get_suptitle(), whole.get_supxlabel()
    assert len(title) > 20
    assert len(caption) > 60
    assert not {title, caption} & set(texts(bare))
    assert VERSION in bare.get_supxlabel()


@pytest.mark.parametrize("titles", [True, False])
@pytest.mark.parametrize("name", FIGURES)
def test_a_narrow_figure_is_as_wide_as_asked_and_nothing_is_cut_or_covered(name, titles):
    figure = draw(name, table_of(name, FIGURES[name].table), width=3.3, titles=titles)
    assert figure.get_size_inches()[0] == pytest.approx(3.3)
    panels = [panel.get_window_extent() for panel in figure.axes]
    assert min(panel.width for panel in panels[: len(panels) - 1 or 1]) > 40
    for text in [*figure.texts, *figure.legends, *(p.title for p in figure.axes)]:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.height + 1
    for legend in figure.legends:
        seat = legend.get_window_extent()
        assert not [panel for panel in panels if panel.overlaps(seat)]
        assert seat.x1 <= figure.bbox.width + 1


def test_a_form_of_another_width_shows_the_same_values():
    wide, narrow = (
        draw("direction_separation", TABLES["directions"], width=w) for w in (None, 4.0)
    )
    assert len(wide.axes) == len(narrow.axes)
    for own, other in zip(wide.axes, narrow.axes, strict=True):
        for a, b in zip(own.lines, other.lines, strict=True):
            np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())


def test_a_form_ends_with_its_block_also_where_drawing_fails():
    form, seen = Form(width=3.0, titles=False), []
    with pytest.raises(DataError), in_form(form):
        seen.append(form_now()) or draw("probe_curves", TABLES["cosines"])
    assert (seen, form_now()) == ([form], HOUSE)


def test_one_k_is_drawn_inside_its_panel():
    table = TABLES["ablation"]
    figure = draw("ablation_label", table[table["k"].astype(str).isin(["1", "1.0"])])
    for panel in figure.axes:
        low, high = panel.get_xlim()
        for line in panel.lines:
            if line.get_label() != "no effect":
                assert low < line.get_xdata()[0] < high
                assert abs(line.get_window_extent().x0 - panel.bbox.x0) < panel.bbox.width


@pytest.mark.parametrize(
    ("text", "inches"),
    [("3.3in", 3.3), ("84mm", 84 / 25.4), (" 8.4 cm ", 84 / 25.4), (".5in", 0.5)],
)
def test_a_width_is_read_with_its_unit(text, inches):
    assert read_width(text) == pytest.approx(inches)


@pytest.mark.parametrize("text", ["3.3", "wide", "in", "-3in", "3,3in", "3px", ""])
def test_what_is_no_width_is_told(text):
    with pytest.raises(UsageError, match="write a number and its unit"):
        read_width(text)


@pytest.mark.parametrize("width", [0.5, 40.0])
def test_a_width_that_nobody_can_read_is_refused(width):
    with pytest.raises(UsageError, match="2 to 20"):
        draw("probe_curves", TABLES["probes"], width=width)


def test_a_pdf_is_the_same_twice_and_its_text_stays_text():
    first, second = (as_bytes(draw("probe_curves", TABLES["probes"]), "pdf") for _ in range(2))
    assert first == second
    assert first.startswith(b"%PDF")
    assert b"/Type /Font" in first
    assert b"/FontFile2" in first  # TrueType, as journals ask


def test_figures_of_a_run_are_drawn_again_and_the_reports_own_are_left(tmp_path):
    run = folder(tmp_path / "run", {"cosines": TABLES["cosines"]})
    code, told = outcome("figures", run)
    assert code == 0
    house = run / "figures" / "direction_cosines.svg"
    assert told.splitlines() == [str(house), str(house.with_suffix(".png"))]
    before = house.read_bytes()
    code, told = outcome("figures", run, "--pdf", "--width", "84mm", "--no-titles")
    assert code == 0
    paper = [run / "paper" / f"direction_cosines.{kind}" for kind in ("svg", "png", "pdf")]
    assert told.splitlines() == list(map(str, paper))
    assert house.read_bytes() == before
    assert "How alike" not in paper[0].read_text()
    out = tmp_path / "mine"
    assert outcome("figures", run, "--out", out)[0] == 0
    assert (out / house.name).read_bytes() == before


def test_a_folder_without_a_run_or_without_a_table_is_told(tmp_path):
    assert outcome("figures", tmp_path)[0] == 4
    code, told = outcome("figures", folder(tmp_path / "run", {}))
    assert (code, "run a stage first" in told) == (2, True)
    assert outcome("figures", tmp_path / "run", "--width", "3")[0] == 2


def test_figures_are_drawn_without_torch(tmp_path):
    run = folder(tmp_path / "run", {"cosines": TABLES["cosines"]})
    code = "import sys; from interp.cli import cli\n"
    code += f"cli.main(['figures', {str(run)!r}], standalone_mode=False)\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_changed_table_is_not_drawn(tmp_path):
    from dataclasses import replace

    from interp.errors import ArtefactError
    from support.reporting_tables import RECORD

    record = replace(RECORD, provenance={"tables": {"cosines": "0" * 64}})
    run = folder(tmp_path / "run", {"cosines": TABLES["cosines"]}, record)
    with pytest.raises(ArtefactError, match="was changed after it was written"):
        redraw(run)
