"""Figures show the table's numbers, refuse to show nothing, and are the same bytes for the same
table.
"""

import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from interp.errors import DataError, UsageError
from interp.reporting import style
from interp.reporting.figures import FIGURES, as_bytes, draw, draw_all
from interp.reporting.letters import families, told_once
from interp.reporting.sections import SECTIONS
from support.reporting_tables import EMOTIONS, MAKERS, N_LAYERS, SITES, all_tables, table_of

TWO = EMOTIONS[:2]
TABLES = all_tables(TWO)
HOSTILE = ("<script>alert(1)</script>", "$\\frac{1}{", "_jo\u202ey\u200b")


def line(figure: Figure, panel: int, text: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [each for each in figure.axes[panel].lines if each.get_label() == text]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def rows(table: pd.DataFrame, **wanted) -> pd.DataFrame:
    keep = np.logical_and.reduce([table[name] == value for name, value in wanted.items()])
    return table[keep]


def words(figure: Figure) -> str:
    return " ".join(each.get_text() for each in figure.findobj(mpl.text.Text))


def test_probe_curves_show_the_table():
    # a table's order of rows must not matter
    table = TABLES["probes"].sample(frac=1, random_state=1)
    figure = draw("probe_curves", table)
    for panel in (0, 1):
        task = figure.axes[panel].get_title(loc="left").split("\n")[0]
        for site in SITES:
            own = rows(table, task=task, site=site, metric="auroc", control="").sort_values("layer")
            depth, value = line(figure, panel, site)
            np.testing.assert_allclose(depth, (own["layer"] + 1) / N_LAYERS)
            np.testing.assert_allclose(value, own["value"])
            control = rows(
                table, task=task, site=site, control="memorisation", metric="auroc"
            ).sort_values("layer")
            if site == "resid_post":
                drawn = line(figure, panel, f"{site}, control task")[1]
                np.testing.assert_allclose(drawn, control["value"])
            else:
                assert f"{site}, control task" not in words(figure)
        assert set(line(figure, panel, "best text baseline")[1]) == {0.62}
        assert set(line(figure, panel, "chance 0.5")[1]) == {0.5}
    assert "char 0.620 [0.570, 0.670]" in words(figure)
    assert "n = 120" in words(figure)


def test_bands_are_the_intervals():
    figure = draw("probe_curves", TABLES["probes"])
    own = rows(TABLES["probes"], task="reception", site="resid_post", metric="auroc", control="")
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    for depth, low, high in zip(own["depth"], own["ci_low"], own["ci_high"], strict=True):
        at = band[np.isclose(band[:, 0], depth), 1]
        assert at.min() == pytest.approx(low)
        assert at.max() == pytest.approx(high)


def test_text_baselines_are_sorted_beside_the_best_probe():
    figure = draw("text_baselines", TABLES["probes"])
    ends = [bar.get_x() + bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(ends, [0.95, 0.62, 0.6, 0.58, 0.5, 0.49])
    assert {bar.get_x() for bar in figure.axes[0].patches} == {0.5}  # from chance on
    names = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert names == [
        "probe, place chosen by fold",
        "char",
        "tfidf",
        "bag_of_words",
        "length",
        "negation",
    ]


def test_the_probe_beside_the_baselines_is_the_best_where_no_fold_chose():
    table = TABLES["probes"]
    figure = draw("text_baselines", table[table["metric"] != "nested_auroc"])
    assert figure.axes[0].patches[0].get_width() == pytest.approx(0.97 - 0.5)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "probe: resid_post, layer 5"


def test_transfer_figures_show_each_arm_beside_its_ceiling_and_the_words():
    table = TABLES["transfer"]
    matrix = draw("transfer_matrix", table)
    shown = np.asarray(matrix.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, [[0.45, 0.3], [0.3, 0.45]])
    assert "0.80\n[0.76, 0.84]\nwords 0.60" in words(matrix)
    gap = draw("transfer_gap", table)
    for text, value in (
        ("probe of the other arm", 0.8),
        ("the tested arm's own probe", 0.95),
        ("best text baseline, same split", 0.6),
    ):
        own = [each for each in gap.axes[0].lines if each.get_label() == text]
        assert [float(np.asarray(each.get_xdata())[0]) for each in own] == pytest.approx(
            [value] * 2
        )
    assert "keyword_rich → keyword_free" in words(gap)
    alarms = draw("transfer_alarms", table)
    ends = [float(np.asarray(each.get_xdata())[0]) for each in alarms.axes[0].lines]
    np.testing.assert_allclose(ends, [0.1, 0.3, 0.5, 0.3])


def test_false_alarms_by_layer_stand_beside_the_found_texts_the_twins_and_the_words():
    figure = draw("alarm_trajectory", TABLES["transfer"])
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "fitted on keyword_rich", "fitted on keyword_free",
    ]  # fmt: skip
    for panel in figure.axes:
        drawn = {str(one.get_label()): one for one in panel.lines}
        for text, values in (
            ("emotional texts of that arm", [0.9] * 6),
            ("their neutral twins", [0.1] * 6),
            ("complex_neutral", [0.1, 0.18, 0.26, 0.34, 0.42, 0.5]),
        ):
            np.testing.assert_allclose(drawn[text].get_ydata(), values)
        assert set(drawn["a coin 0.5"].get_ydata()) == {0.5}
        hollow = [one for one in panel.lines if len(np.atleast_1d(one.get_xdata())) == 1]
        assert [float(np.asarray(one.get_ydata())[0]) for one in hollow] == [0.7, 0.3, 0.3]
        assert len({one.get_marker() for one in hollow}) == 3


def test_a_value_that_was_left_out_stands_beside_its_ceiling_and_the_words():
    figure = draw("transfer_across", TABLES["transfer"])
    panel = figure.axes[0]
    for text, values in (
        ("probe of the other values", [0.75, 0.5, 0.8, 0.8]),
        ("best text baseline", [0.6] * 4),
        ("ceiling: probe of all values", [0.85] * 4),
    ):
        own = [each for each in panel.lines if each.get_label() == text]
        assert [float(np.asarray(each.get_xdata())[0]) for each in own] == pytest.approx(values)
    names = [each.get_text() for each in panel.get_yticklabels()]
    assert names == ["all, inside each", "home", "street", "work"]
    assert {each.get_title(loc="left") for each in figure.axes} == {
        "reception, domain left out", "categorisation, domain left out",
    }  # fmt: skip


def test_soft_labels_stand_beside_shuffled_shares_and_the_words():
    (panel,) = draw("soft_curves", TABLES["probes"]).axes
    drawn = {str(one.get_label()): one.get_ydata() for one in panel.lines}
    np.testing.assert_allclose(drawn["resid_post"], 0.6 * (1 - np.exp(-np.arange(6.0))))
    assert set(drawn["resid_post, shares shuffled"]) == {-0.03}
    assert set(drawn["best text baseline, tfidf"]) == {0.2}
    assert set(drawn["the mean shares 0"]) == {0.0}


def test_levels_of_the_hierarchy_stand_beside_dealt_answers_and_the_best_words():
    (panel,) = draw("hierarchy_scores", TABLES["probe_predictions"]).axes
    for text, values in (
        ("probe", [0.9, 0.6, 0.5]),
        ("its answers dealt anew", [0.5, 0.3, 0.5]),
        ("best text baseline", [0.55] * 3),
    ):
        own = [one for one in panel.lines if one.get_label() == text]
        assert [float(np.asarray(one.get_xdata())[0]) for one in own] == values
    names = [one.get_text() for one in panel.get_yticklabels()]
    assert names == ["valence", "family, the valence known", "emotion, the family known"]


def test_persistence_shows_the_curve_beside_shuffled_labels_and_the_words():
    figure = draw("persistence_curve", TABLES["persistence"])
    drawn = {str(line.get_label()): line for line in figure.axes[0].lines}
    curve = drawn["probe of the last token"]
    np.testing.assert_allclose(curve.get_ydata(), [0.95 - 0.03 * at for at in range(7)])
    np.testing.assert_allclose(curve.get_xdata(), [0.5, 1, 2, 4, 8, 16, 32])
    np.testing.assert_allclose(drawn["labels shuffled"].get_ydata(), 0.5)
    np.testing.assert_allclose(drawn["probe fitted at that offset"].get_ydata(), 0.96)
    assert set(drawn["best text baseline (the same at every offset)"].get_ydata()) == {0.6}
    assert set(drawn["half-life of the margin"].get_xdata()) == {11.5}
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()][:2] == ["0", "1"]
    assert "half-life of the margin" not in {line.get_label() for line in figure.axes[1].lines}


@pytest.mark.parametrize(
    ("name", "metric"),
    [("direction_separation", "separation_auroc"), ("direction_stability", "split_half_cosine")],
)
def test_direction_figures_show_the_table(name, metric):
    figure = draw(name, TABLES["directions"])
    for panel, emotion in enumerate(TWO):
        for site in SITES[:2]:
            own = rows(TABLES["directions"], emotion=emotion, site=site, metric=metric)
            np.testing.assert_allclose(line(figure, panel, site)[1], own["value"])


def test_cosine_matrix_shows_the_table_and_its_mean():
    table = MAKERS["cosines"]()
    figure = draw("direction_cosines", table)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, table["value"].to_numpy().reshape(8, 8))
    off = table[table["emotion"] != table["target"]]["value"].mean()
    assert f"mean off the diagonal {off:.3f}" in words(figure)
    assert "group-centred" not in words(figure)
    assert "forces a mean of -0.143 on 8" in words(
        draw("direction_cosines", table.assign(method="group_centred"))
    ).replace("\n", " ")


def test_patching_map_shows_all_emotions_together_where_the_table_has_them():
    table = TABLES["patching"]
    shown = np.asarray(draw("patching_map", table).axes[0].images[0].get_array())
    own = rows(table, emotion="all", position="last", control="", metric="restoration")
    np.testing.assert_allclose(shown, own["value"].to_numpy().reshape(len(SITES), N_LAYERS))
    alone = table[table["emotion"] != "all"]
    figure = draw("patching_map", alone)
    own = (
        rows(alone, position="edit", control="", metric="restoration")
        .groupby(["site", "layer"])["value"]
        .mean()
    )
    np.testing.assert_allclose(
        np.asarray(figure.axes[1].images[0].get_array())[0], own["resid_post"]
    )
    assert "Mean over 2 emotions" in words(figure)


def test_a_patch_whose_interval_holds_zero_stands_in_brackets():
    table = TABLES["patching"]
    own = rows(table, emotion="all", position="last", control="", metric="restoration")
    shown = [each.get_text() for each in draw("patching_map", table).axes[0].texts]
    expected = [
        f"({value:.2f})" if low <= 0 else f"{value:.2f}"
        for value, low in zip(own["value"], own["ci_low"], strict=True)
    ]
    assert shown == expected
    assert {text.startswith("(") for text in shown} == {True, False}


def test_patching_curves_stand_by_mode_and_site_beside_another_scenario():
    table = TABLES["patching"]
    noise = table.assign(mode="noise", value=table["value"] - 5)
    both = pd.concat([table, noise], ignore_index=True)
    lone = rows(both, site="mlp_out", layer=0).assign(site="resid_pre")
    figure = draw("patching_curves", pd.concat([lone, both], ignore_index=True))
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == [f"{site}, {mode}" for mode in ("denoise", "noise") for site in SITES]
    control = rows(both, emotion="all", site="attn_out", position="edit", control="random_source")
    control = rows(control, metric="restoration", mode="noise")
    np.testing.assert_allclose(line(figure, 4, "edit, another scenario")[1], control["value"])
    low, high = figure.axes[0].get_ylim()  # shared: no value is cut
    assert low < rows(both, metric="restoration", emotion="all")["value"].min() < high


def test_no_number_is_a_negative_zero():
    table = TABLES["patching"].assign(value=-1e-9, ci_low=-0.1, ci_high=0.1)
    assert {each.get_text() for each in draw("patching_map", table).axes[0].texts} == {"(0.00)"}


def test_patching_without_an_effect_shows_logit_differences_and_says_so():
    table = TABLES["patching"][TABLES["patching"]["metric"] != "restoration"]
    figure = draw("patching_curves", table)
    own = rows(
        table, emotion="all", site="resid_post", position="last", metric="logit_diff", control=""
    )
    np.testing.assert_allclose(line(figure, 0, "last")[1], own["value"])
    assert figure.axes[0].get_ylabel() == "logit difference (nats)"
    assert "no share to restore" in words(figure).replace("\n", " ")


def test_head_map_shows_each_head_in_its_place():
    figure = draw("head_contributions", TABLES["contributions"])
    own = rows(
        TABLES["contributions"], emotion="joy", component="head", metric="contribution"
    ).set_index(["layer", "index"])["value"]
    shown = np.asarray(figure.axes[0].images[0].get_array())
    for (layer, head), value in own.items():
        assert shown[N_LAYERS - 1 - layer, head] == pytest.approx(value)
    assert "joy: L2H0 +2.50" in words(figure)


def test_heads_that_the_table_does_not_list_are_grey_and_not_zero():
    table = TABLES["contributions"]
    figure = draw("head_contributions", table[~((table["layer"] == 5) & (table["index"] == 3))])
    assert np.isnan(np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)[0, 3])


def test_neuron_tail_falls_through_the_sorted_sizes():
    ranks, sizes = line(draw("neuron_tail", TABLES["contributions"]), 0, "trust")
    own = rows(TABLES["contributions"], emotion="trust", component="neuron", metric="contribution")
    own = np.sort(own["value"].abs())[::-1]
    np.testing.assert_allclose(sizes, own[ranks - 1])
    assert (ranks[0], ranks[-1], len(own)) == (1, 384, 384)


def test_the_frozen_norm_stands_against_what_zeroing_takes_away():
    figure = draw("frozen_norm", TABLES["contributions"])
    own = rows(
        TABLES["contributions"], component="neuron", metric="frozen_contribution", emotion="joy"
    )
    exact, frozen = line(figure, 1, "joy")
    np.testing.assert_allclose(np.sort(frozen), np.sort(own["value"]))
    np.testing.assert_allclose(frozen, 1.5 * exact)
    assert "neuron: r 1.00, error up to 50 %" in words(figure)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("ablation_projection", "projection_drop"), ("ablation_label", "label_logprob_change")],
)
def test_ablation_curves_show_the_emotions_own_effect_beside_random(name, metric):
    figure = draw(name, TABLES["ablation"])
    for control, text in (("", "neuron"), ("random", "neuron, random")):
        own = rows(
            TABLES["ablation"],
            emotion="trust",
            target="trust",
            component="neuron",
            metric=metric,
            control=control,
        )
        k, value = line(figure, 1, text)
        np.testing.assert_allclose(k, own["k"])
        np.testing.assert_allclose(value, own["value"])


def test_an_interval_far_wider_than_the_others_is_cut_and_told():
    table = TABLES["ablation"]
    whole = draw("ablation_label", table)
    wild = table.copy()
    chosen = (wild["metric"] == "label_logprob_change") & (wild["control"] == "")
    wild.loc[wild.index[chosen][0], "ci_high"] = 50.0
    cut = draw("ablation_label", wild)
    assert "far wider than the others is cut" in " ".join(words(cut).split())
    assert "is cut" not in words(whole)
    low, high = cut.axes[0].get_ylim()
    own = rows(table, metric="label_logprob_change")
    assert low < own["value"].min()
    assert own["value"].max() < high < 10
    assert cut.axes[1].get_ylim() == (low, high)


def test_parts_that_are_ablated_at_one_k_stand_side_by_side():
    table = TABLES["ablation"]
    figure = draw("ablation_label", table[table["k"].astype(str).isin(["16", "16.0"])])
    for panel in figure.axes:
        points = [one for one in panel.lines if one.get_label() != "no effect"]
        places = [float(one.get_xdata()[0]) for one in points]
        assert len(set(places)) == len(places) > 1
        assert np.prod(places) ** (1 / len(places)) == pytest.approx(16)


def test_numbers_under_a_crowded_circuit_stand_upright():
    table = TABLES["circuit"]

    def turned(drawn: pd.DataFrame) -> set[float]:
        figure = draw("circuit_drawing", drawn)
        told = [text for panel in figure.axes for text in panel.texts]
        return {text.get_rotation() for text in told if text.get_text().startswith("+")}

    weights = table[(table["metric"] == "weight") & (table["component"] == "neuron")]
    more = pd.concat(
        [weights.assign(index=weights["index"].astype(int) + 5000 * n) for n in (1, 2)]
    )
    full = pd.concat([table, more], ignore_index=True)
    assert turned(full) == {0.0}
    assert turned(full.assign(layer=pd.to_numeric(full["layer"]) * 8)) == {90.0}


def test_specificity_is_taken_at_the_largest_k():
    figure = draw("ablation_specificity", TABLES["ablation"])
    own = rows(
        TABLES["ablation"], component="head", metric="label_logprob_change", control="", k=16
    )
    own = own[own["emotion"] != "all"]
    np.testing.assert_allclose(
        np.asarray(figure.axes[0].images[0].get_array()), own["value"].to_numpy().reshape(2, 2)
    )


def test_steering_keeps_the_half_that_chose_apart_from_the_half_that_reports():
    table = TABLES["steering"]
    figure = draw("steering_success", table)
    chosen = rows(table, emotion="joy", metric="success", control="", half="choose")
    np.testing.assert_allclose(line(figure, 0, "steered"), [chosen["scale"], chosen["value"]])
    reported = rows(table, emotion="joy", metric="success", control="", half="report")
    np.testing.assert_allclose(
        line(figure, 0, "steered, other half"), [reported["scale"], reported["value"]]
    )
    valid = rows(table, emotion="joy", metric="valid", half="choose")
    np.testing.assert_allclose(line(figure, 0, "valid, steered")[1], valid["value"])
    assert set(line(figure, 0, "unsteered")[1]) == {0.05}


def test_steering_without_halves_and_its_dose_show_the_table():
    table = TABLES["steering"]
    alone = table[table["half"] != "report"].assign(half="")
    own = rows(alone, emotion="joy", metric="success", control="")
    np.testing.assert_allclose(line(draw("steering_success", alone), 0, "steered")[1], own["value"])
    figure = draw("steering_dose", table)
    own = rows(table, emotion="trust", metric="label_logprob_gain", control="")
    np.testing.assert_allclose(line(figure, 1, "steered")[1], own["value"])
    other = rows(table, emotion="all", metric="label_logprob_gain", control="other")
    np.testing.assert_allclose(line(figure, 2, "other emotions' words")[1], other["value"])
    assert set(line(figure, 1, "unsteered")[1]) == {0.0}
    assert "At resid_post, layer 3" in words(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_is_an_error_and_no_empty_axes(name):
    table = table_of(name, FIGURES[name].table)
    with pytest.raises(DataError, match="no row of the table matches"):
        draw(name, table.iloc[:0])
    with pytest.raises(DataError, match=r"it holds .*metric: \['other'\]"):
        draw(name, table.assign(metric="other"))


@pytest.mark.parametrize("name", FIGURES)
def test_a_table_in_which_nothing_was_measured_is_an_error(name):
    with pytest.raises(DataError):
        draw(
            name,
            table_of(name, FIGURES[name].table).assign(value=np.nan, ci_low=np.nan, ci_high=np.nan),
        )


def test_a_value_not_measured_leaves_a_gap():
    table = TABLES["directions"].copy()
    place = rows(table, emotion="joy", site="resid_post", metric="separation_auroc").index[2]
    table.loc[place, ["value", "ci_low", "ci_high"]] = np.nan
    assert np.isnan(line(draw("direction_separation", table), 0, "resid_post")[1]).tolist() == [
        False,
        False,
        True,
        *[False] * 3,
    ]


@pytest.mark.parametrize("name", list(FIGURES))
def test_values_without_an_interval_are_drawn_without_one(name):
    table = table_of(name, FIGURES[name].table)
    bare, whole = draw(name, table.assign(ci_low=np.nan, ci_high=np.nan)), draw(name, table)
    for without, panel in zip(bare.axes, whole.axes, strict=True):
        for own, other in zip(without.lines, panel.lines, strict=True):
            np.testing.assert_allclose(
                np.asarray(own.get_ydata(), float), np.asarray(other.get_ydata(), float)
            )
    assert as_bytes(bare, "svg")


def test_ablations_without_a_unit_for_the_projection_draw_the_rest(tmp_path):
    bare = rows(TABLES["ablation"], metric="label_logprob_change")
    said: list[str] = []
    written = {path.stem for path in draw_all({"ablation": bare}, tmp_path, say=said.append)}
    assert written == {"ablation_label", "ablation_specificity"}
    assert (
        "figure ablation_projection skipped: the stage ablation did not measure projection_drop"
        in said
    )


def test_a_figure_without_intervals_does_not_speak_of_them():
    bare = TABLES["directions"].assign(ci_low=np.nan, ci_high=np.nan)
    assert "there are no intervals" in words(draw("direction_stability", bare))
    assert "bands are 95 % intervals" in words(draw("direction_stability", TABLES["directions"]))


def test_what_a_probe_can_learn_by_heart_is_dotted_and_no_text_baseline():
    probes = TABLES["probes"].replace({"control": {"control_task": "memorisation"}})
    rival = rows(probes, control="", metric="auroc").assign(
        control="nuisance", target="length", value=0.99
    )
    figure = draw("probe_curves", pd.concat([probes, rival]))
    own = rows(
        probes, task="reception", site="resid_post", control="memorisation", metric="auroc"
    ).sort_values("layer")
    np.testing.assert_allclose(line(figure, 0, "resid_post, control task")[1], own["value"])
    assert set(line(figure, 0, "best text baseline")[1]) == {0.62}


def test_two_runs_in_one_table_are_refused():
    with pytest.raises(DataError, match="several values at depth"):
        draw("probe_curves", pd.concat([TABLES["probes"], TABLES["probes"]], ignore_index=True))


def test_a_figure_is_drawn_once_for_each_file(monkeypatch):
    """It was laid out before: matplotlib draws again for each file what has a layout engine."""
    figure, drawn = draw("probe_curves", TABLES["probes"]), []
    inner = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda own, *given: drawn.append(0) or inner(own, *given))
    for kind in ("svg", "png"):
        as_bytes(figure, kind)
    assert len(drawn) == 2


def test_equal_tables_give_equal_bytes_whatever_the_readers_settings():
    table, settings = TABLES["probes"], dict(mpl.rcParams)
    first = [as_bytes(draw("probe_curves", table), form) for form in ("svg", "png")]
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.grid": False}):
        second = [as_bytes(draw("probe_curves", table), form) for form in ("svg", "png")]
    assert first == second
    assert dict(mpl.rcParams) == settings
    assert b"date" not in first[0].lower()
    other = table.assign(value=table["value"] - 0.01)
    assert as_bytes(draw("probe_curves", other), "svg") != first[0]


def test_nothing_is_kept_in_pyplot():
    code = "import sys, interp.reporting.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name", [name for name, figure in FIGURES.items() if figure.table != "probes"]
)
def test_hostile_names_are_text(name):
    table = table_of(name, FIGURES[name].table, HOSTILE)
    figure = draw(name, table)
    svg = as_bytes(figure, "svg").decode()
    shown = " ".join(ET.fromstring(svg).itertext())
    assert "<script" not in svg
    assert "\u202e" not in svg
    pooled = ("patching_map", "patching_curves", "rsa_curves", "axis_ratings", "site_similarity")
    pooled += ("adjacent_similarity", "silhouettes", "estimate_against_exact", "head_effects")
    pooled += ("confusion_by_distance",)  # its dots bear no names
    pooled += ("hierarchy_scores",)  # its rows are the levels
    pooled += ("template_collapse",)
    if name not in pooled and "emotion" in table:  # transfer speaks of arms, a fixed list
        assert "<script>alert(1)</script>" in shown
        assert "$\\frac{1}{" in shown
        assert "_jo⟨U+202E⟩y⟨U+200B⟩" in shown


def test_letters_that_no_font_has_are_told_once(tmp_path):
    tables = {
        "ablation": MAKERS["ablation"](("喜び", "怒り")),
        "contributions": MAKERS["contributions"](("喜び", "怒り")),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw_all(tables, tmp_path)
    told = [str(one.message) for one in caught]
    if len(families()) == 1:  # no font of another script is installed
        (only,) = told
        assert all(letter in only for letter in "喜び怒り")
        assert "Install a font" in only
    else:
        assert not [one for one in told if "Glyph" in one]


def test_a_font_of_another_script_is_used_where_it_is_installed(monkeypatch):
    monkeypatch.setattr("interp.reporting.letters.fontManager", SimpleNamespace(ttflist=[]))
    assert families() == ["DejaVu Sans"]
    found = [SimpleNamespace(name=name) for name in ("Amiri", "Noto Sans CJK JP", "Comic Sans")]
    monkeypatch.setattr("interp.reporting.letters.fontManager", SimpleNamespace(ttflist=found))
    assert families() == ["DejaVu Sans", "Noto Sans CJK JP", "Amiri"]


def test_other_warnings_of_a_figure_pass():
    with pytest.warns(UserWarning, match="something else"), told_once():
        warnings.warn("something else", stacklevel=1)


def test_draw_all_writes_what_ran_and_names_what_did_not(tmp_path):
    left_out = TABLES["steering"]["metric"].isin(["label_logprob_gain", "prompt_slope"])
    steering = TABLES["steering"][~left_out]
    said: list[str] = []
    written = draw_all(
        {"cosines": TABLES["cosines"], "steering": steering}, tmp_path / "figures", say=said.append
    )
    names = ["direction_cosines", "steering_success", "template_collapse"]
    assert [path.name for path in written] == [
        f"{name}.{form}" for name in names for form in ("svg", "png")
    ]
    assert all(path.stat().st_size > 5000 for path in written)
    assert "figure probe_curves skipped: the stage probes did not run" in said
    assert (
        "figure steering_dose skipped: the stage steering did not measure label_logprob_gain"
        in said
    )
    assert len(said) == len(FIGURES) - len(names)


def test_draw_all_does_not_hide_a_stage_that_made_no_rows(tmp_path):
    with pytest.raises(DataError):
        draw_all({"ablation": TABLES["ablation"].iloc[:0]}, tmp_path)


def test_an_unknown_figure_is_named_with_those_there_are():
    with pytest.raises(UsageError, match="probe_curves"):
        draw("probe_curve", TABLES["probes"])


def test_every_figure_has_a_name_a_reading_and_a_table_of_its_section():
    names = [drawing.name for section in SECTIONS for drawing in section.figures]
    assert sorted(FIGURES) == sorted(names)
    assert all(figure.reading.endswith(".") for figure in FIGURES.values())
    told = {
        (section.name, drawing.table or section.name)
        for section in SECTIONS
        for drawing in section.figures
    }
    assert told == {
        (section.name, table)
        for section in SECTIONS
        for table in section.tables
        if table != section.texts  # some of its texts are shown, and no figure
    }


@pytest.mark.parametrize("n", [2, 28, 171])
def test_a_legend_of_many_entries_stands_in_the_figure_whole(n):
    """It used to end at the 25th entry, without a word."""

    @style.styled
    def drawn() -> Figure:
        figure, (panel,) = style.facets(1, columns=1, height=2.6)
        for place in range(n):
            panel.plot([0, 1], [place, place], label=f"emotion {place}")
        style.key(figure)
        return figure

    figure = drawn()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"emotion {k}" for k in range(n)]
    box = legend.get_window_extent()
    assert 0 <= box.y0 < box.y1 <= figure.bbox.height
    assert figure.axes[0].get_window_extent().x1 <= box.x0 < box.x1 <= figure.bbox.width
    assert figure.axes[0].get_window_extent().width > 4 * figure.dpi  # the panel keeps its room
    assert (figure.get_size_inches()[0] > 9) == (n > 20)
