"""The section of attribution: it claims what exact patches show, and warns of bad estimates."""

import numpy as np
import pytest

from interp.reporting.decisions import Verdict
from interp.reporting.figures import draw
from interp.reporting.sections.attribution import cautions, findings
from support.reporting_tables import MAKERS

TABLE = MAKERS["attribution"]()


def changed(table, value, **where):
    """The table with another value, and the same width of interval, in some rows."""
    mine = np.logical_and.reduce([table[name] == one for name, one in where.items()])
    table = table.copy()
    half = (table["ci_high"] - table["ci_low"]) / 2
    table.loc[mine, "value"] = value
    table.loc[mine, "ci_low"], table.loc[mine, "ci_high"] = value - half[mine], value + half[mine]
    return table


def test_a_claim_is_of_exact_patches_and_needs_more_than_random_parts():
    heads, neurons = findings(TABLE)
    assert heads.verdict is Verdict.FOUND
    assert heads.estimate == 1.0
    assert heads.sentence.startswith("The heads that the gradient ranks first")
    assert (heads.p, heads.gate, heads.n) == (0.0005, 0.0005, 120)
    beside = dict(heads.beside)
    assert beside["random ones, exactly"].startswith("0.010")
    assert beside["error of the estimates, relative"].startswith("0.100")
    assert beside["rank correlation with the exact effects"].startswith("0.970")
    assert heads.rival("random").estimate == 0.01
    assert neurons.verdict is Verdict.NOT_FOUND
    assert {one.family for one in (heads, neurons)} == {"what chosen parts do"}
    no_more = changed(TABLE, 0.0, metric="above_random", component="head")
    assert findings(no_more)[0].verdict is Verdict.NOT_FOUND
    by_chance = TABLE.assign(p=TABLE["p"].where(TABLE["metric"] != "chosen_effect", 0.4))
    assert findings(by_chance)[0].verdict is Verdict.NOT_FOUND


def test_estimates_that_cannot_be_trusted_are_warned_of():
    errors, ranks = cautions(TABLE)
    assert "neurons at last, denoise (0.800, 16 nodes)" in errors.text
    assert "neurons at last, noise (0.300, 16 nodes)" in ranks.text
    assert "heads" not in errors.text + ranks.text
    calm = changed(TABLE, 0.1, metric="relative_error")
    assert [one.text for one in cautions(calm)] == [ranks.text]
    assert list(cautions(changed(calm, 0.9, metric="rank_correlation"))) == []


def test_the_figure_of_errors_has_every_patched_node_and_the_line():
    figure = draw("estimate_against_exact", TABLE)
    panels = [panel for panel in figure.axes if panel.lines]
    assert len(panels) == 2
    for panel, sign in zip(panels, (1, -1), strict=True):
        assert "(n = 30 nodes)" in panel.get_title(loc="left")
        lines = {line.get_label(): line for line in panel.lines}
        assert len(lines["head"].get_xdata()) == 24
        assert (lines["equal"].get_xdata() == lines["equal"].get_ydata()).all()
        furthest = np.abs(lines["head"].get_xdata()).argmax()
        assert lines["head"].get_xdata()[furthest] == pytest.approx(sign * 2.0)
        assert lines["head"].get_ydata()[furthest] == pytest.approx(sign * 1.9)


def test_the_map_has_a_cell_per_head():
    figure = draw("head_effects", TABLE)
    cells = np.asarray(figure.axes[0].images[0].get_array())
    assert cells.shape == (4, 6)
    assert cells[0, 3] == pytest.approx(1.9)
    assert np.unravel_index(np.abs(cells).argmax(), cells.shape) == (0, 3)
