"""Verdicts by their rule, and sentences that say no more than their verdict."""

import math

import numpy as np
import pandas as pd
import pytest
from reporting_tables import all_tables

from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.findings import findings

NAN = math.nan
TABLES = all_tables()


@pytest.mark.parametrize(
    ("found", "p", "words", "expected"),
    [
        (Number(0.8, 0.7, 0.9), None, None, Verdict.FOUND),
        (Number(0.8, 0.7, 0.9), 0.05, Number(0.6, 0.55, 0.69), Verdict.FOUND),
        (Number(0.8, 0.7, 0.9), 0.06, None, Verdict.NOT_FOUND),
        (Number(0.6, 0.5, 0.7), 0.01, None, Verdict.NOT_FOUND),
        (Number(0.8, 0.7, 0.9), 0.01, Number(0.6, 0.55, 0.7), Verdict.NOT_TOLD_APART),
        (Number(0.8, 0.7, 0.9), 0.01, Number(0.6, NAN, NAN), Verdict.NOT_TOLD_APART),
        (Number(0.3, 0.2, 0.4), 0.9, None, Verdict.INVERTED),
        (Number(0.8, NAN, NAN), 0.01, None, Verdict.CANNOT_SAY),
        (Number(NAN, 0.1, 0.2), 0.01, None, Verdict.CANNOT_SAY),
    ],
)
def test_the_rule(found, p, words, expected):
    assert decide(found, nothing=0.5, p=p, words=words) is expected


def sentence(stage, table, *, number=0):
    return findings({stage: table})[number].sentence


def shifted(table, by, **where):
    mine = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    moved = table.copy()
    moved.loc[mine, ["value", "ci_low", "ci_high"]] += by
    return moved


def test_a_probe_that_holds_is_told_and_one_that_does_not_is_not():
    probes = TABLES["probes"]
    assert sentence("probes", probes).startswith("A linear probe at resid_post, layer 5 tells emotional texts")
    assert "beyond the words" in sentence("probes", probes)
    assert sentence("probes", probes.assign(p_max_t=0.4)).startswith("No place was found where a linear probe")
    words = shifted(probes, 0.35, control="char")
    assert "not told apart from the words alone" in sentence("probes", words)
    chance = shifted(probes, -0.46, control="", metric="auroc")
    assert sentence("probes", chance).startswith("No place was found where a linear probe")
    bare = probes.assign(ci_low=NAN, ci_high=NAN)
    assert sentence("probes", bare).startswith("Whether a linear probe")


def test_a_direction_whose_interval_reaches_chance_separates_nothing():
    weak = shifted(TABLES["directions"], -0.6, metric="separation_auroc")
    assert "is not found to separate" in sentence("directions", weak, number=1)
    assert "separates held-out texts" in sentence("directions", TABLES["directions"], number=1)


def test_where_nothing_can_be_restored_the_difference_is_that_of_all_emotions():
    table = TABLES["patching"]
    joy = shifted(table, 9.0, metric="total_effect", emotion="joy")
    (told,) = findings({"patching": joy[joy["metric"] != "restoration"]})
    assert told.beside == (("difference (nats)", "4.000 [3.500, 4.500]"),)


def test_the_cell_that_is_one_by_construction_is_no_finding():
    """Exchanging the embeddings of the whole edit is the other text."""
    table = TABLES["patching"]
    known = table[(table["site"] == "resid_post") & (table["layer"] == 0)].copy()
    known.loc[known["metric"] == "restoration", "value"] = 7.0
    both = findings({"patching": pd.concat([table, known.assign(site="resid_pre")], ignore_index=True)})
    assert not [one for one in both if "resid_pre, layer 0" in one.sentence]


@pytest.mark.parametrize(("draws", "p", "found"), [(12, 0.077, True), (400, 0.5, False), (400, 0.0025, True)])
def test_an_ablation_is_judged_by_p_where_a_p_can_be_small(draws, p, found):
    """With 12 random choices p is never below 1/13: that says nothing against an effect."""
    table = TABLES["ablation"].assign(p=p)
    table.loc[table["control"] == "random", "n"] = draws
    assert ("lowers the words of joy" in sentence("ablation", table)) == found


def test_the_emotion_of_the_dose_is_the_one_that_gains_most():
    """Anticipation's words are likely from the start; that is no effect of steering."""
    steering = TABLES["steering"]
    likely = shifted(steering, 5.0, metric="label_logprob", emotion="anticipation")
    told = findings({"steering": likely})[-1]
    assert "the words of joy gain most" in told.sentence
