"""Steerability: slopes that were planted are found, and who moves the other way is counted."""

from functools import cache

import numpy as np
import pytest

from interp.causal.readout import Readout
from interp.causal.steerability import slopes, steerability_rows
from interp.causal.steering import dose_response
from interp.errors import StatisticsError
from interp.models import load
from interp.reporting.steerability import cautions_of_slopes, steering_slopes
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from support.given_directions import given

SPEC = planted.SPECS["planted"]
SITE = Site("resid_post", SPEC.neuron_layer)
STRENGTHS = [0.0, 0.5, 1.0, 3.0]


@cache
def model():
    return load("planted", check=False)


def test_a_slope_is_the_one_of_least_squares():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 7))
    by_numpy = np.polyfit(STRENGTHS, scores, 1)[0]
    np.testing.assert_allclose(slopes(scores, STRENGTHS), by_numpy)
    np.testing.assert_allclose(slopes(2 * np.array(STRENGTHS)[:, None] + 5, STRENGTHS), [2.0])
    with pytest.raises(StatisticsError, match="give two that differ"):
        slopes(scores, [1.0] * 4)


def test_prompts_that_move_the_other_way_are_counted_beside_the_mean():
    """Of 8 prompts 6 gain 1 for each unit, one loses 1, and one does not move."""
    planted_slopes = np.array([1.0] * 6 + [-1.0, 0.0])
    scores = np.outer(STRENGTHS, planted_slopes)
    items = [f"p{place}" for place in range(8)]
    rows = steerability_rows({"joy": scores, "fear": 3 * scores}, STRENGTHS, items, items)
    found = {(one["emotion"], one["metric"]): one for one in rows if one["n"] > 1}
    assert found["joy", "slope"]["value"] == pytest.approx(5 / 8)
    assert found["all", "slope"]["value"] == pytest.approx(10 / 8)
    for emotion in ("joy", "fear", "all"):
        share = found[emotion, "anti_steerable"]
        assert share["value"] == pytest.approx(1 / 8)
        assert 0 < share["ci_low"] < 1 / 8 < share["ci_high"] < 0.7
        each = [one for one in rows if (one["emotion"], one["n"]) == (emotion, 1)]
        assert [one["item"] for one in each] == items
    joy = [one["value"] for one in rows if (one["emotion"], one["n"]) == ("joy", 1)]
    np.testing.assert_allclose(joy, planted_slopes)


def test_a_prompt_that_does_not_move_has_a_slope_of_zero_and_not_of_rounding():
    rows = steerability_rows({"joy": np.ones((3, 4))}, [0.0, 1.0, 1.5], list("abcd"), list("abcd"))
    assert {row["value"] for row in rows} == {0.0}


def test_the_true_direction_moves_every_text_its_way_and_its_opposite_none():
    truth, readout = planted.truth(SPEC), Readout(planted.readout(SPEC), "")
    neutral = [pair.neutral for pair in planted.stimuli(SPEC, n=2).pairs()][:8]
    found = {}
    for sign in (1, -1):
        vectors = {
            emotion: given(sign * truth.direction(emotion, SITE), SITE, 5.0, model().provenance)
            for emotion in ("joy", "fear")
        }
        rows = dose_response(model(), neutral, vectors, readout, scales=(0.5, 1.0))
        found[sign] = table(rows)
    share = {
        sign: one[(one.metric == "anti_steerable")].set_index(["control", "emotion"])["value"]
        for sign, one in found.items()
    }
    assert set(share[1][""]) == {0.0}
    assert set(share[-1][""]) == {1.0}
    own = found[1][(found[1].emotion == "joy") & (found[1].control == "")]
    gain = own[own.metric == "label_logprob_gain"].set_index("scale")["value"]
    expected = np.polyfit([0, 0.5, 1.0], [0, gain[0.5], gain[1.0]], 1)[0]
    (slope,) = own[own.metric == "slope"].value
    assert slope == pytest.approx(expected)
    assert sorted(own[own.metric == "prompt_slope"].item) == sorted(one.id for one in neutral)
    assert not (found[1][found[1].metric == "prompt_slope"].control == "random").any()
    assert not list(cautions_of_slopes(found[1]))
    (told,) = cautions_of_slopes(found[-1])
    assert "in 1.000 [" in told.text


def test_the_figure_shows_every_prompt_and_names_the_share():
    scores = np.outer(STRENGTHS, np.array([1.0] * 6 + [-1.0, 0.5]))
    items = [f"p{place}" for place in range(8)]
    rows = [
        {**one, "control": "", "judge": "a", "method": "steering"}
        for one in steerability_rows({"joy": scores, "fear": scores}, STRENGTHS, items, items)
    ]
    (panel,) = steering_slopes(table(rows)).axes
    dots = [
        x
        for drawn in panel.collections
        if drawn.get_label().startswith("a prompt")
        for x in drawn.get_offsets()[:, 0].tolist()
    ]
    assert sorted(dots) == pytest.approx(sorted([*[1.0] * 6, -1.0, 0.5] * 3))
    share = next(one for one in rows if one["metric"] == "anti_steerable")
    told = f"0.125 [{share['ci_low']:.3f}, {share['ci_high']:.3f}]"
    assert [text.get_text() for text in panel.texts] == [told] * 3
    assert [label.get_text() for label in panel.get_yticklabels()] == ["fear", "joy", "all"]
