"""Published values stand in a figure where they are asked for, at their values and with their
works, and nowhere else.
"""

import numpy as np
import pytest
from matplotlib.figure import Figure

from interp.reporting.figures import FIGURES, draw
from interp.reporting.published import published
from support.commands import outcome
from support.report_pages import folder
from support.reporting_tables import table_of

MARKS = [(one, mark) for one in published() for mark in one.marks]
NAMES = sorted({mark.figure for _, mark in MARKS})
LABEL = "published, other texts and models"


def drawn(name: str, **form) -> Figure:
    return draw(name, table_of(name, FIGURES[name].table), **form)


def marked(figure: Figure, axis: str) -> list[float]:
    """The values at which a mark stands, on the axis of the values."""
    ends = [line.get_data()[axis == "y"] for panel in figure.axes for line in panel.lines
            if line.get_label() == LABEL]  # fmt: skip
    return sorted({float(value) for end in ends for value in np.asarray(end, dtype=float)})


def unbroken(text: str) -> str:
    """The text without the breaks of its lines, of which some stand inside a word."""
    return "".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_the_marks_stand_at_the_published_values_and_the_caption_says_whose(name):
    figure = drawn(name, published=True)
    axis = "x" if name in ("text_baselines", "transfer_gap") else "y"
    mine = [(one, mark) for one, mark in MARKS if mark.figure == name]
    expected = {end for _, mark in mine for end in (min(mark.values), max(mark.values))}
    assert marked(figure, axis) == sorted(expected)
    caption = unbroken(figure.get_supxlabel())
    assert unbroken("Published, on other texts and models, and no test of these.") in caption
    for one, mark in mine:
        assert unbroken(f"{one.work}: {mark.told}") in caption


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_names_the_marks_where_no_caption_does(name):
    figure = drawn(name, published=True, titles=False)
    told = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert LABEL in told


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_marked_where_nobody_asked(name):
    figure = drawn(name)
    assert marked(figure, "x") == []
    assert "Published" not in figure.get_supxlabel()


def test_a_value_of_one_layer_is_marked_at_that_layer_alone():
    figure = drawn("probe_curves", published=True)
    (reception,) = [one for one in figure.axes if one.get_title("left").startswith("reception")]
    (mark,) = [line for line in reception.lines if line.get_label() == LABEL]
    first = min(float(line.get_xdata()[0]) for line in reception.lines if line is not mark)
    assert len(mark.get_xdata()) == 1
    assert float(mark.get_xdata()[0]) == max(first, 1 / 6)


def test_a_transfer_is_marked_in_the_row_of_its_two_arms_and_without_that_row_nowhere():
    figure = drawn("transfer_gap", published=True)
    rows = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    marks = [line for panel in figure.axes for line in panel.lines if line.get_label() == LABEL]
    assert {y for line in marks for y in line.get_ydata()} == {
        rows.index("keyword_rich → keyword_free")
    }
    table = table_of("transfer_gap", "transfer")
    other = draw("transfer_gap", table[table["train_arm"] != "keyword_rich"], published=True)
    assert marked(other, "x") == []
    assert "Published" not in other.get_supxlabel()


def test_every_mark_is_of_a_figure_that_there_is_and_its_values_are_in_what_is_told():
    for one, mark in MARKS:
        assert mark.figure in FIGURES
        assert one.work
        for value in mark.values:
            shares = (f"{value:.3f}", f"{value:.2f}", f"{100 * value:.2f} %")
            told = [form.removeprefix("0") for form in shares]
            assert any(form in one.value for form in told)


def test_the_command_draws_them_beside_the_usual_figures(tmp_path):
    run = folder(tmp_path / "run", {"probes": table_of("probe_curves", "probes")})
    assert outcome("figures", run, "--published")[0] == 0
    found = (run / "paper" / "probe_curves.svg").read_text(encoding="utf-8")
    assert LABEL in found
