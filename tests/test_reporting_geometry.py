"""Geometry in the report: what may be said, beside the words; figures of many emotions."""

from itertools import combinations

import numpy as np
import pytest

from interp.reporting.decisions import Verdict
from interp.reporting.figures import draw
from interp.reporting.sections.geometry import cautions, findings
from support.reporting_tables import EMOTIONS, geometry

MANY = tuple(f"emotion {k}" for k in range(171))


@pytest.fixture(scope="module")
def table():
    return geometry()


def changed(table, column, value, **where):
    rows = np.logical_and.reduce([table[name] == one for name, one in where.items()])
    assert rows.any()
    return table.assign(**{column: table[column].where(~rows, value)})


def test_what_is_beyond_the_words_is_said_so(table):
    wheel, ratings = findings(table)
    assert (wheel.verdict, ratings.verdict) == (Verdict.FOUND, Verdict.FOUND)
    assert "beyond the words" in wheel.sentence
    assert "resid_post, layer 3" in wheel.sentence
    assert wheel.estimate == pytest.approx(0.8)
    assert ("best text baseline, tfidf", "0.300 [0.200, 0.400]") in wheel.beside
    assert [name for name, _ in ratings.beside][-1] == "valence alone"


def test_a_geometry_that_the_words_give_too_is_not_the_model_s(table):
    same = changed(table, "ci_low", -0.1, metric="above_text", reference="wheel")
    wheel = findings(same)[0]
    assert wheel.verdict is Verdict.NOT_TOLD_APART
    assert "the words alone give this, too" in wheel.sentence
    less = changed(changed(table, "ci_low", -0.5, metric="above_text", reference="wheel"),
                   "ci_high", -0.1, metric="above_text", reference="wheel")  # fmt: skip
    assert "less so than in the words alone" in findings(less)[0].sentence


def test_chance_and_few_emotions_are_no_finding(table):
    tested = {"metric": "rsa", "reference": "wheel", "control": ""}
    assert findings(changed(table, "p", 0.4, **tested))[0].verdict is Verdict.NOT_FOUND
    few = changed(changed(table, "p", 0.33, **tested), "least_p", 0.33, **tested)
    assert findings(few)[0].verdict is Verdict.CANNOT_SAY
    none = table[table["metric"] != "rsa"]
    assert findings(none) == []


def test_means_that_other_scenarios_hardly_repeat_are_named(table):
    assert list(cautions(table)) == []
    noisy = changed(table, "value", 0.05, metric="reliability", emotion="fear", layer=3)
    (caution,) = cautions(noisy)
    assert "of 8 emotions 1 have a mean" in caution.text
    assert "fear" in caution.text


def test_figures_of_many_emotions_can_be_read():
    many = geometry(MANY)
    for name in ("emotion_map", "emotion_similarity"):
        figure = draw(name, many)
        assert figure.get_size_inches()[1] < 9
    points = draw("emotion_map", geometry(EMOTIONS)).axes[0]
    assert {text.get_text() for text in points.texts} == set(EMOTIONS)


def test_names_of_near_dots_do_not_lie_over_each_other():
    """A small map of two dots that nearly touch, and one far away."""
    near = geometry(EMOTIONS[:3])
    places = {EMOTIONS[0]: (0.0, 0.0), EMOTIONS[1]: (0.02, 0.01), EMOTIONS[2]: (1.0, 1.0)}
    mine = near["metric"] == "axis_place"
    at = [places[who][int(axis) - 1] for who, axis in near[mine][["emotion", "axis"]].to_numpy()]
    near.loc[mine, "value"] = at
    figure = draw("emotion_map", near)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_the_map_of_sites_and_its_neighbours_show_the_table(table):
    figure = draw("site_similarity", table)
    cells = figure.axes[0].images[0].get_array()
    assert cells.shape == (12, 12)
    assert cells[0, 3] == pytest.approx(0.9**3)
    lines = {line.get_label(): line for line in draw("adjacent_similarity", table).axes[0].lines}
    assert lines["attn_out, mlp_out"].get_ydata() == pytest.approx([0.9] * 6)
    assert list(lines["mlp_out, next attn_out"].get_xdata()) == [0, 1, 2, 3, 4]
    alone = table[(table["metric"] != "site_cosine") | (table["other_layer"] == table["layer"])]
    alone = alone[(alone["metric"] != "site_cosine") | (alone["other_site"] == alone["site"])]
    told = draw("adjacent_similarity", alone).axes[0].texts
    assert [text.get_text() for text in told] == ["no two neighbouring sites were captured"]
