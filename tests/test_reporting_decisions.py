"""Verdicts by their rule, and sentences that say no more than their verdict."""

import math

import numpy as np
import pandas as pd
import pytest

from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.findings import findings
from interp.reporting.sections.circuit import cautions
from support.reporting_tables import all_tables

NAN = math.nan
TABLES = all_tables()


@pytest.mark.parametrize(
    ("found", "p", "above", "expected"),
    [
        (Number(0.8, 0.7, 0.9), None, None, Verdict.FOUND),
        (Number(0.8, 0.7, 0.9), 0.05, Number(0.2, 0.01, 0.4), Verdict.FOUND),
        (Number(0.8, 0.7, 0.9), 0.06, None, Verdict.NOT_FOUND),
        (Number(0.8, 0.7, 0.9), NAN, None, Verdict.NOT_FOUND),
        (Number(0.6, 0.5, 0.7), 0.01, None, Verdict.NOT_FOUND),
        (Number(0.8, 0.7, 0.9), 0.01, Number(0.1, 0.0, 0.2), Verdict.NOT_TOLD_APART),
        (Number(0.8, 0.7, 0.9), 0.01, Number(-0.1, -0.2, -0.01), Verdict.NOT_TOLD_APART),
        (Number(0.8, 0.7, 0.9), 0.01, Number(0.2, NAN, NAN), Verdict.NOT_TOLD_APART),
        (Number(0.3, 0.2, 0.4), None, None, Verdict.INVERTED),
        (Number(0.3, 0.2, 0.4), 0.97, None, Verdict.INVERTED),
        (Number(0.3, 0.2, 0.4), 0.9, None, Verdict.NOT_FOUND),
        (Number(0.8, NAN, NAN), 0.01, None, Verdict.CANNOT_SAY),
        (Number(NAN, 0.1, 0.2), 0.01, None, Verdict.CANNOT_SAY),
    ],
)
def test_the_rule(found, p, above, expected):
    assert decide(found, nothing=0.5, p=p, above=above) is expected


@pytest.mark.parametrize(
    ("found", "p", "least_p", "expected"),
    [
        (Number(0.8, 0.7, 0.9), 0.25, 0.25, Verdict.CANNOT_SAY),
        (Number(0.8, 0.7, 0.9), 0.25, 0.04, Verdict.NOT_FOUND),
        (Number(0.6, 0.4, 0.8), 0.25, 0.25, Verdict.NOT_FOUND),
        (Number(0.8, 0.7, 0.9), 0.04, 0.04, Verdict.FOUND),
        (Number(0.3, 0.2, 0.4), 1.0, 0.25, Verdict.CANNOT_SAY),
        (Number(0.3, 0.2, 0.4), 1.0, 0.04, Verdict.INVERTED),
        (Number(0.3, 0.2, 0.4), 0.98, 0.04, Verdict.NOT_FOUND),
    ],
)
def test_a_test_that_could_not_find_anything_decides_nothing(found, p, least_p, expected):
    assert decide(found, nothing=0.5, p=p, least_p=least_p) is expected


FEW = ["probes", "directions", "attribution", "transfer", "persistence"]


@pytest.mark.parametrize("stage", FEW)
def test_too_few_scenarios_for_a_small_p_decide_nothing(stage):
    few = TABLES[stage].assign(p=0.25, p_corrected=0.25, p_max_t=0.25, least_p=0.25)
    assert verdict(stage, few) is Verdict.CANNOT_SAY
    assert verdict(stage, few.assign(least_p=0.04)) is Verdict.NOT_FOUND
    if stage == "probes":
        assert "with so few scenarios no p could be small" in sentence(stage, few)


@pytest.mark.parametrize("stage", ["ablation", "steering", "contributions"])
def test_how_small_a_p_could_be_is_told_where_that_is_not_small(stage):
    few = TABLES[stage].assign(p=0.25, least_p=0.25)
    told = findings({stage: few})
    assert {one.verdict for one in told} == {Verdict.CANNOT_SAY}
    assert all("p = 0.250 (never below 0.250)" in dict(one.beside).values() for one in told)
    assert not any(
        "never below" in text
        for one in findings({stage: few.assign(p=0.004, least_p=0.004)})
        for _, text in one.beside
    )


def sentence(stage, table, *, number=0):
    return findings({stage: table})[number].sentence


def shifted(table, by, **where):
    mine = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    moved = table.copy()
    moved.loc[mine, ["value", "ci_low", "ci_high"]] += by
    return moved


def verdict(stage, table, *, number=0):
    return findings({stage: table})[number].verdict


def test_a_probe_that_holds_is_told_and_one_that_does_not_is_not():
    probes = TABLES["probes"]
    assert sentence("probes", probes).startswith("A linear probe tells emotional texts")
    assert "beyond the words" in sentence("probes", probes)
    assert "each fold chose its place out of 18, most often resid_post, layer 5" in sentence(
        "probes", probes
    )
    assert sentence("probes", probes.assign(p=0.4)).startswith(
        "No place was found where a linear probe"
    )
    beside = dict(findings({"probes": probes})[0].beside)
    assert beside["refits of this AUROC"] == "p = 0.005"
    assert beside["p of a ridge probe, largest of 18 places (max-T)"] == "p = 0.002"
    ridge = probes.assign(p=NAN)  # a table of before: its only p is that of the ridge probes
    assert verdict("probes", ridge.assign(p_max_t=0.4)) is Verdict.NOT_FOUND
    assert findings({"probes": ridge})[0].p == 0.002
    assert "refits of this AUROC" not in dict(findings({"probes": ridge})[0].beside)
    words = shifted(probes, -0.3, metric="above_text")
    assert "not told apart from the words alone" in sentence("probes", words)
    assert "less well than the words alone" in sentence(
        "probes", shifted(probes, -0.5, metric="above_text")
    )
    alone = probes[
        probes["control"].isin(["", "memorisation"]) & (probes["metric"] != "above_text")
    ]
    assert "no text baseline stands beside it" in sentence("probes", alone)
    chance = shifted(probes, -0.46, metric="nested_auroc")
    assert sentence("probes", chance).startswith("No place was found where a linear probe")
    bare = probes.assign(ci_low=NAN, ci_high=NAN)
    assert sentence("probes", bare).startswith("Whether a linear probe")


def test_a_place_that_was_chosen_on_what_it_is_told_of_decides_nothing():
    """A table of before, or too few scenarios: the best of all places is high by luck too."""
    probes, directions = TABLES["probes"], TABLES["directions"]
    old = probes[~probes["metric"].isin(["nested_auroc", "above_text"])]
    assert verdict("probes", old) is Verdict.CANNOT_SAY
    assert "no place was chosen on other scenarios" in sentence("probes", old)
    old = directions[directions["metric"] != "nested_auroc"]
    assert {one.verdict for one in findings({"directions": old})} == {Verdict.CANNOT_SAY}


def test_a_direction_whose_interval_reaches_chance_separates_nothing():
    table = TABLES["directions"]
    nested = table["metric"] == "nested_auroc"
    near = table.assign(ci_low=table["ci_low"].mask(nested, 0.45))  # its p is small
    assert {one.verdict for one in findings({"directions": near})} == {Verdict.NOT_FOUND}
    weak = shifted(TABLES["directions"], -0.6, metric="nested_auroc")
    assert "is not found to separate" in sentence(
        "directions", weak.assign(p_corrected=0.5), number=1
    )
    assert "separates held-out texts" in sentence("directions", TABLES["directions"], number=1)
    assert "is not found" in sentence(
        "directions", TABLES["directions"].assign(p_corrected=0.2), number=1
    )


def test_where_nothing_can_be_restored_the_difference_is_that_of_all_emotions():
    table = TABLES["patching"]
    joy = shifted(table, 9.0, metric="total_effect", emotion="joy")
    (told,) = findings({"patching": joy[joy["metric"] != "restoration"]})
    assert told.beside == (("difference (nats)", "4.000 [3.500, 4.500]"),)


def test_patching_is_told_of_the_site_that_other_folds_chose():
    table = TABLES["patching"]
    higher = shifted(table, 3.0, metric="restoration", site="attn_out")
    last = findings({"patching": higher})[0]
    assert last.value == "0.730 [0.670, 0.790]"
    assert dict(last.beside)["layers of resid_post that restore more than half"] == "4 to 5"
    assert (
        verdict("patching", shifted(table, -0.7, metric="nested_restoration")) is Verdict.NOT_FOUND
    )


def test_a_patch_that_chance_does_as_often_is_not_found():
    table = TABLES["patching"]
    nested = table["metric"] == "nested_restoration"
    for p, told in ((0.3, Verdict.NOT_FOUND), (0.01, Verdict.FOUND)):
        tested = table.assign(p=np.where(nested, p, NAN), p_of="signs")
        assert verdict("patching", tested) is told
        assert dict(findings({"patching": tested})[0].beside)["signs"].startswith("p = 0.")
        assert findings({"patching": tested})[0].p == p


def test_where_all_together_restore_nothing_the_surest_emotion_is_told():
    table = TABLES["patching"]
    rest = (table["emotion"] != "all") | (table["metric"] == "total_effect")
    effects = table["metric"] == "total_effect"
    table = table.assign(p_corrected=np.where(effects & (table["emotion"] == "fear"), 0.01, 0.04))[
        rest
    ]
    assert "the readout's difference (fear;" in sentence("patching", table)


@pytest.mark.parametrize(
    ("effect", "told"),
    [("none", Verdict.NOT_FOUND), ("inverted", Verdict.INVERTED), ("too few", Verdict.CANNOT_SAY)],
)
def test_nothing_to_restore_has_its_reason(effect, told):
    table = TABLES["patching"]
    table = table[~table["metric"].isin(["restoration", "nested_restoration"])].assign(
        effect=effect
    )
    assert verdict("patching", table) is told


def test_a_head_that_ranks_first_is_told_where_its_p_allows_for_all_emotions():
    table = TABLES["contributions"]
    assert sentence("contributions", table).startswith(
        "For 8 of 8 emotions the head that writes most does so"
    )
    assert "(along the direction at layer 5, residual units)" in sentence("contributions", table)
    older = table.drop(columns="direction_layer")
    assert "(along the direction, residual units)" in sentence("contributions", older)
    doubtful = table.assign(p=0.3)
    assert sentence("contributions", doubtful).startswith(
        "For no emotion the head that ranks first"
    )
    one = table.assign(p=np.where(table["emotion"] == "fear", 0.002, 0.3))
    assert sentence("contributions", one).startswith("For 1 of 8 emotions")
    assert "for fear" in sentence("contributions", one)


def test_an_ablation_is_told_at_the_largest_k_that_has_a_control():
    """Where the top 8 are all there are, nothing is left to draw beside them: the top 4 speak."""
    table = TABLES["ablation"].assign(p=0.001)
    most = table["k"].max()
    without = table.assign(p=table["p"].where(table["k"] < most))
    assert verdict("ablation", without) is Verdict.FOUND
    assert f"top {int(table.loc[table['k'] < most, 'k'].max())} " in sentence("ablation", without)
    assert verdict("ablation", table.assign(p=float("nan"))) is Verdict.CANNOT_SAY


@pytest.mark.parametrize(
    ("p", "told"), [(0.5, Verdict.NOT_FOUND), (0.0025, Verdict.FOUND), (NAN, Verdict.CANNOT_SAY)]
)
def test_an_ablation_is_judged_by_its_p_beside_random_choices(p, told):
    table = TABLES["ablation"].assign(p=p)
    assert verdict("ablation", table) is told
    assert ("lowers its own words on average, more than" in sentence("ablation", table)) == (
        told is Verdict.FOUND
    )
    risen = shifted(
        TABLES["ablation"].assign(p=0.99), 5.0, metric="label_logprob_change", emotion="all"
    )
    assert verdict("ablation", risen) is Verdict.INVERTED


def test_steering_needs_random_directions_and_the_own_emotion():
    table = TABLES["steering"]
    assert "more than random directions" in sentence("steering", table)
    assert verdict("steering", table) is Verdict.FOUND
    assert verdict("steering", table.assign(p=0.2)) is Verdict.NOT_FOUND
    assert verdict("steering", shifted(table, -0.9, metric="success_above")) is Verdict.NOT_FOUND
    assert verdict("steering", table[table["metric"] != "success_above"]) is Verdict.CANNOT_SAY


def test_the_dose_is_the_gain_of_all_emotions_and_not_the_likeliest_words():
    """Anticipation's words are likely from the start; that is no effect of steering."""
    steering = TABLES["steering"]
    likely = shifted(steering, 5.0, metric="label_logprob", emotion="anticipation")
    told = findings({"steering": likely})[-1]
    assert told == findings({"steering": steering})[-1]
    assert told.value == "0.340 [0.240, 0.440]"
    assert dict(told.beside)["largest gain, joy"] == "0.500 [0.400, 0.600]"
    assert "more than other emotions' do" in told.sentence
    assert verdict("steering", steering.assign(p=0.2), number=-1) is Verdict.NOT_FOUND
    assert (
        verdict("steering", shifted(steering, -1.0, metric="gain_above"), number=-1)
        is Verdict.NOT_FOUND
    )


def test_a_finding_has_its_number_for_machines():
    first = findings(TABLES)[0]
    assert first.record() == {
        "stage": "probes",
        "what": "a linear probe tells emotional texts from their neutral twins, beyond the words",
        "verdict": "found",
        "registered": None,
        "estimate": pytest.approx(0.95),
        "interval": pytest.approx([0.93, 0.97]),
        "p": 0.005,
        "p_report": pytest.approx(0.02167, abs=1e-4),
        "n": 120,
    }
    bare = findings({"probes": TABLES["probes"].assign(ci_low=NAN, ci_high=NAN)})[0].record()
    assert (bare["verdict"], bare["interval"]) == ("cannot be said", None)
    nothing = findings({"probes": TABLES["probes"].assign(value=NAN)})[0].record()
    assert (nothing["verdict"], nothing["estimate"], nothing["n"]) == ("cannot be said", None, 0)


@pytest.mark.parametrize(
    ("low", "circuit", "model", "told"),
    [(0.6, 0.1, 0.8, True), (0.4, 0.1, 0.8, False), (0.6, 0.8, 0.1, False), (0.6, 0.7, 0.8, False)],
)
def test_a_circuit_whose_halves_others_stand_in_for_is_a_caution(low, circuit, model, told):
    """Not one that loses as much as the whole model, or less."""
    table = TABLES["circuit"]
    (held, *_) = table[table["metric"] == "circuit_faithfulness"].to_dict("records")
    ends = {"incompleteness": low, "halved_circuit": circuit, "halved_model": model}
    about = {"emotion": "all", "outcome": "words", "reach": "last", "control": ""}
    kept = table[table["emotion"] == "all"]
    rows = [
        {**held, **about, "metric": metric, "value": end, "ci_low": end, "ci_high": end + 0.2}
        for metric, end in ends.items()
    ]
    said = [one.text for one in cautions(pd.concat([kept, pd.DataFrame(rows)], ignore_index=True))]
    halves = [text for text in said if "without random halves of the circuits" in text]
    assert bool(halves) == told
    assert all("0.800" in text and "0.100" in text for text in halves)
