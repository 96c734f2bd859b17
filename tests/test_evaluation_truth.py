"""check_truth: every method recovers the planted circuit, and none of them finds it in a model that
does not have it.
"""

import warnings
from dataclasses import replace

import pandas as pd
import pytest

from interp.analysis.methods import DIRECTIONS
from interp.errors import InternalError
from interp.evaluation import dissected_truth, truth
from interp.evaluation.planted_bench import open_bench
from interp.sites import Site

WHATS = {
    "direction",
    "head",
    "neuron",
    "layer",
    "position",
    "ablation",
    "circuit",
    "steering",
    "null",
    "transfer",
    "persistence",
    "attribution",
    "geometry",
    "space",
    "needed",
    "reading",
}
METRICS = {"cosine", "auroc", "error", "p", "rate", "correlation", "cka", "r2"}


@pytest.fixture(scope="module")
def beds():
    return open_bench("planted"), open_bench("planted_null")


@pytest.fixture(scope="module")
def found(beds):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "open_bench", lambda name, seed: beds[name == "planted_null"])
        return pd.DataFrame(truth.check_truth(seed=0))


def values(table, **where):
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen), where
    return chosen["value"]


def test_every_check_answers_in_the_table_s_form(found):
    assert list(found.columns) == ["what", "method", "metric", "value", "where"]
    assert set(found["what"]) == WHATS
    assert set(found["metric"]) == METRICS
    assert found["value"].notna().all()
    assert not found.duplicated(["what", "method", "metric", "where"]).any()


@pytest.mark.parametrize("method", ["paired", "group_centred", "pca"])
def test_directions_from_the_planted_layer_on(found, method):
    cosines = values(found, what="direction", method=method)
    assert len(cosines) == 3
    assert cosines.min() >= 0.99


def test_every_direction_method_is_checked_and_beats_chance(found):
    assert set(found[found["what"] == "direction"]["method"]) == set(DIRECTIONS)
    # a random unit vector of 128 dimensions: .09 on average
    assert values(found, what="direction").min() > 0.3


def test_heads_and_neurons_rank_above_every_distractor(found):
    methods = {"exact_contribution", "attribution", "integrated"}
    for what in ("head", "neuron"):
        assert values(found, what=what, metric="auroc").tolist() == [1.0] * 3
        assert set(found[found["what"] == what]["method"]) == methods


def test_patching_peaks_at_the_planted_layers_and_positions(found):
    assert values(found, what="layer", method="activation_patching").tolist() == [0.0, 0.0]
    assert values(found, what="position").tolist() == [1.0]


def test_attribution_peaks_at_the_planted_layers_and_is_nearly_exact(found):
    for method in ("attribution", "integrated"):
        assert values(found, what="layer", method=method).tolist() == [0.0, 0.0]
    assert values(found, what="attribution", metric="p").max() < 0.01
    assert values(found, what="attribution", metric="error").item() < 0.1


def test_ablations_follow_their_closed_form(found):
    errors = values(found, what="ablation", metric="error")
    assert len(errors) == 4
    assert errors.max() < 0.01


def test_circuits_hold_what_is_planted_and_random_ones_do_not(found):
    assert values(found, what="circuit", method="emotion_circuit").tolist() == [1.0]
    assert values(found, method="cpr_of_planted_parts").max() < 0.02
    assert values(found, method="cpr_of_random_orders").max() < 0.8


def test_steering_reaches_the_emotion_s_words(found):
    assert values(found, what="steering", method="paired").min() >= 0.95
    assert values(found, what="steering", method="unsteered").max() <= 0.05


def test_nothing_is_significant_where_nothing_is(found):
    p = values(found, what="null", metric="p")
    assert p.min() > 0.05 / len(p)  # each of them is below .05 once in twenty
    assert values(found, what="null", metric="auroc").max() < 0.65
    assert values(found, what="layer", metric="p").max() < 0.01
    assert values(found, what="layer", metric="auroc").min() > 0.95


def test_what_is_planted_is_carried_to_the_other_arm_and_the_words_are_not(found):
    assert values(found, what="transfer", metric="auroc").tolist() == [1.0]
    assert values(found, what="transfer", metric="p").max() < 0.05
    assert values(found, method="transfer_of_words").max() < 0.6


def test_a_planted_state_stays_and_goes_as_it_must(found):
    assert values(found, what="persistence", metric="auroc").tolist() == [1.0]
    assert values(found, what="persistence", metric="p").max() < 0.05
    assert values(found, method="half_life").max() < 0.1


def test_taken_apart_the_model_loses_the_emotion_where_it_is_planted(found):
    assert values(found, what="layer", method="layer_knockout").tolist() == [0.0, 0.0]
    assert values(found, what="needed", method="direction_ablation").tolist() == [1.0]
    for method in ("layer_knockout", "direction_ablation"):
        assert values(found, what="null", method=method).min() > 0.05


def test_held_out_texts_read_as_texts_of_their_kind(found):
    assert values(found, what="reading", metric="error").max() < 0.1
    assert values(found, what="reading", metric="rate").max() == 1.0
    nothing = values(found, what="reading", metric="rate", where="planted_null").item()
    assert nothing == pytest.approx(0.5, abs=0.15)


def test_a_circle_of_emotions_is_recovered(found):
    assert values(found, what="geometry", metric="correlation").min() > 0.9
    assert values(found, what="geometry", metric="p").max() < 0.01
    assert values(found, what="geometry", metric="error").max() < 20  # degrees of 45


def test_a_turned_copy_of_a_space_is_known_and_a_random_map_tells_nothing(found):
    assert values(found, what="space", metric="error").max() < 1e-6
    assert values(found, what="space", metric="r2").min() > 0.99
    assert values(found, what="space", metric="auroc").min() > 0.95
    assert values(found, what="null", metric="r2").max() < 0.1
    assert abs(values(found, what="null", metric="cka")).max() < 0.1


class TestModelWithoutTheCircuit:
    """The null model, held against the truth of the other: what every check must then say."""

    @pytest.fixture(scope="class")
    def rows(self, beds):
        impostor = replace(beds[1], truth=beds[0].truth)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = pd.DataFrame(
                [row for check in truth.CHECKS.values() for row in check(impostor, impostor, 0)]
            )
        assert any("has no sign" in str(one.message) for one in told)
        return found

    def test_has_no_direction(self, rows):
        assert values(rows, what="direction").max() < 0.3

    def test_has_no_components(self, rows):
        assert values(rows, what="head").max() < 0.9
        assert values(rows, what="neuron").max() < 0.9

    def test_restores_nothing_anywhere(self, rows):
        assert values(rows, what="layer", method="activation_patching").min() > 0
        assert values(rows, what="position").max() < 0.5

    def test_gives_attribution_nothing_to_find(self, rows):
        assert values(rows, what="attribution", metric="p").min() > 0.05
        for method in ("attribution", "integrated"):
            assert values(rows, what="layer", method=method).max() > 0

    def test_loses_nothing_by_ablation(self, rows):
        assert values(rows, what="ablation").min() == pytest.approx(1.0, abs=0.05)

    def test_has_no_circuit(self, rows):
        assert values(rows, method="emotion_circuit").max() < 1.0
        assert values(rows, method="cpr_of_planted_parts").min() > 0.1
        assert values(rows, what="null", method="circuit").min() > 0.01

    def test_carries_nothing_to_the_other_arm(self, rows):
        assert values(rows, what="transfer", metric="auroc").max() < 0.65
        assert values(rows, what="transfer", metric="p").min() > 0.05

    def test_keeps_no_state(self, rows):
        assert values(rows, what="persistence", metric="auroc").max() < 0.65
        assert values(rows, what="persistence", metric="p").min() > 0.05
        assert values(rows, method="half_life").min() == 1.0

    def test_loses_nothing_when_taken_apart(self, rows):
        assert values(rows, what="layer", method="layer_knockout").max() > 0
        assert values(rows, what="needed").max() < 0.5
        assert values(rows, what="null", method="layer_knockout").min() > 0.05

    def test_reads_nothing(self, rows):
        assert values(rows, what="reading", metric="error").min() > 0.5
        assert values(rows, what="reading", metric="rate").max() < 0.65

    def test_cannot_be_steered(self, rows):
        assert values(rows, what="steering").max() < 0.2

    def test_is_not_received(self, rows):
        assert values(rows, what="layer", metric="p").min() > 0.05


def test_labels_shuffled_within_pairs_lose_the_direction(beds):
    bed, site = beds[0], Site("resid_post", 2)

    class Shuffled(type(bed)):
        def values(self, site, pairs):
            affective, neutral = super().values(site, pairs)
            affective[::2], neutral[::2] = neutral[::2].copy(), affective[::2].copy()
            return affective, neutral

    shuffled = Shuffled(**{name: getattr(bed, name) for name in bed.__dataclass_fields__})
    for emotion in bed.truth.emotions:
        true = bed.true_direction(emotion, site).vector
        assert bed.direction(emotion, site).vector @ true > 0.99
        assert abs(shuffled.direction(emotion, site).vector @ true) < 0.9


def test_halves_share_no_scenario(beds):
    bed = beds[0]
    groups = [{pair.affective.group for pair in half} for half in (bed.fitting, bed.scoring)]
    assert groups[0].isdisjoint(groups[1])
    assert len(groups[0]) == len(groups[1]) == 80


def test_no_direction_was_planted_before_the_head_layer(beds):
    with pytest.raises(InternalError, match="no direction of joy"):
        beds[0].true_direction("joy", Site("resid_post", 0))


def test_where_random_changes_raise_the_words_a_layer_that_does_nothing_is_not_needed():
    """In this battery they do: by the difference to them alone three layers would be needed."""
    knocked, _ = dissected_truth._dissected(open_bench("planted_null", seed=12), 12)
    tested = knocked[knocked["p"].notna() & knocked["metric"].str.startswith("label_logprob")]
    assert (tested["ci_low"] > 0).sum() >= 3  # above random, and surely so
    assert tested["p_corrected"].min() > 0.05
