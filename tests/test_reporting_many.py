"""Figures of a hundred emotions: one map each that can be read, with the table's numbers in it."""

import numpy as np
import pytest
from matplotlib.text import Text

from interp.reporting import many
from interp.reporting.figures import draw
from support.reporting_tables import all_tables

NAMES = tuple(f"emotion {at:03d}" for at in range(100))
OF_EMOTIONS = (
    ("direction_separation", "directions"),
    ("direction_stability", "directions"),
    ("direction_cosines", "cosines"),
    ("head_contributions", "contributions"),
    ("neuron_tail", "contributions"),
    ("frozen_norm", "contributions"),
    ("influence_by_depth", "circuit"),
    ("circuit_allocation", "circuit"),
    ("circuit_overlap", "circuit"),
    ("faithfulness_curve", "circuit"),
    ("emotion_similarity", "geometry"),
    ("emotion_map", "geometry"),
    ("ablation_label", "ablation"),
    ("ablation_projection", "ablation"),
    ("ablation_specificity", "ablation"),
    ("steering_success", "steering"),
    ("steering_dose", "steering"),
    ("steering_slopes", "steering"),
)


@pytest.fixture(scope="module")
def tables():
    return all_tables(NAMES)


@pytest.mark.parametrize(("figure", "table"), OF_EMOTIONS)
def test_a_figure_of_many_emotions_has_few_panels_and_a_bounded_height(tables, figure, table):
    drawn = draw(figure, tables[table])
    assert drawn.get_size_inches()[1] < 16
    assert len(drawn.axes) <= many.MOST_MAPS + 1  # and the scale
    legend = drawn.legends[0].get_texts() if drawn.legends else []
    assert len(legend) <= 6
    names = [tick for panel in drawn.axes for tick in panel.get_yticklabels() if tick.get_text()]
    assert all(tick.get_fontsize() >= 0.9 * many._LEAST_NAME for tick in names)


def test_twelve_circuits_of_many_are_drawn(tables):
    figure = draw("circuit_drawing", tables["circuit"])
    assert len(figure.axes) == 12
    told = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert "88 more circuits are in the table" in told


def test_a_map_holds_the_table_from_the_largest_emotion_down(tables):
    table = tables["directions"]
    panel = draw("direction_separation", table).axes[0]
    own = table[(table["metric"] == "separation_auroc") & (table["site"] == "resid_post")]
    wide = own.pivot(index="emotion", columns="layer", values="value")
    wide = wide.loc[wide.max(axis=1).sort_values(ascending=False, kind="stable").index]
    shown = np.asarray(panel.images[0].get_array())
    np.testing.assert_allclose(shown, wide.to_numpy() - 0.5)
    assert panel.get_yticklabels()[0].get_text() == wide.index[0]


def test_cells_whose_interval_holds_nothing_bear_a_dot(tables):
    table = tables["ablation"]
    panel = draw("ablation_label", table).axes[0]
    own = table[
        (table["metric"] == "label_logprob_change")
        & (table["component"] == "head")
        & (table["control"] == "")
        & ((table["emotion"] == table["target"]) | (table["target"] == ""))
    ]
    unsure = (own["ci_low"] <= 0) & (own["ci_high"] >= 0)
    (dots,) = panel.lines
    assert 0 < unsure.sum() < len(own)
    assert len(np.asarray(dots.get_xdata())) == unsure.sum()


def test_twelve_emotions_still_have_a_panel_each():
    assert many.MOST_PANELS == 12
    figure = draw("direction_separation", all_tables(NAMES[:12])["directions"])
    assert [panel.get_title(loc="left") for panel in figure.axes] == list(NAMES[:12])


def test_like_stands_beside_like():
    random = np.random.default_rng(0)
    kind = random.permutation(np.repeat([0, 1, 2], 5))
    likeness = np.where(kind[:, None] == kind, 0.9, 0.1) + 0.01 * random.normal(size=(15, 15))
    order = kind[many.alike_beside(likeness)]
    assert (np.diff(order) != 0).sum() == 2  # each kind is one block
    assert sorted(many.alike_beside(likeness)) == list(range(15))


def test_neighbours_on_a_line_are_neighbours_in_the_order():
    places = np.random.default_rng(1).uniform(size=30)
    order = places[many.alike_beside(-np.abs(places[:, None] - places))]
    assert len(set(np.sign(np.diff(order)))) == 1


def test_the_heads_of_many_emotions_are_those_that_do_most(tables):
    table = tables["contributions"]
    heads = table[table["component"] == "head"]
    most = heads.groupby(["layer", "index"])["value"].apply(lambda own: own.abs().max())
    panel = draw("head_contributions", table).axes[0]
    shown = [tick.get_text() for tick in panel.get_xticklabels()]
    wanted = [f"L{layer}H{head}" for layer, head in most.nlargest(8).index]
    assert shown[:8] == wanted
