"""Registered claims: met, missed or not answered, by verdict and bounds; and their place in the
report.
"""

import json
from dataclasses import replace

import pytest

from interp.errors import ArtefactError, UsageError
from interp.records import RunRecord
from interp.reporting.claims import CLAIMS, check_claim
from interp.reporting.decisions import Verdict
from interp.reporting.finding import Finding
from interp.reporting.findings import findings
from interp.reporting.marks import MET_BY, PassMark, registered_in
from interp.reporting.registered import counted_outcomes, held_to, outcome, told_outcomes
from interp.reporting.sections import SECTIONS
from support.report_pages import folder, page
from support.reporting_tables import EMOTIONS, RECORD, all_tables

TABLES = all_tables(EMOTIONS[:2])
RECEPTION, CATEGORIES = CLAIMS[:2]
STEERED = "steering: the emotions' directions raise their own words"
NEURONS = "ablation: the top neurons of each emotion are needed for its own words"


def finding(verdict: Verdict = Verdict.FOUND, **more: object) -> Finding:
    known = {"stage": "s", "what": "w", "sentence": "it is", "estimate": 0.4}
    return Finding(**{**known, "interval": (0.2, 0.6), "verdict": verdict, **more})


def mark(verdict: str = "found", claim: str = "s: w", **bounds: float) -> PassMark:
    return PassMark(claim=claim, verdict=verdict, **bounds)


@pytest.mark.parametrize("wanted", MET_BY)
@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_meets_what_was_wanted_or_misses_it(wanted, verdict):
    meets = {
        ("found", "found"), ("not found", "not found"), ("inverted", "found inverted"),
        ("not found", "not told apart from the words"),
    }  # fmt: skip
    expected = "met" if (wanted, str(verdict)) in meets else "missed"
    expected = "not answered" if verdict is Verdict.CANNOT_SAY else expected
    assert outcome(finding(verdict), mark(wanted)) == expected


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"at_least": 0.4}, "met"),
        ({"at_least": 0.41}, "missed"),
        ({"at_most": 0.4}, "met"),
        ({"at_most": 0.39}, "missed"),
        ({"surely_at_least": 0.2}, "met"),
        ({"surely_at_least": 0.21}, "missed"),
        ({"surely_at_most": 0.6}, "met"),
        ({"surely_at_most": 0.59}, "missed"),
        ({"at_least": 0.3, "surely_at_most": 0.5}, "missed"),
    ],
)
def test_a_bound_holds_for_the_estimate_or_for_its_whole_interval(bounds, expected):
    assert outcome(finding(), mark(**bounds)) == expected
    assert outcome(finding(Verdict.NOT_FOUND), mark(**bounds)) == "missed"  # whatever its number


def test_a_bound_without_a_number_is_not_answered():
    assert outcome(finding(interval=None), mark(surely_at_least=0.1)) == "not answered"
    assert outcome(finding(interval=None), mark(at_least=0.1)) == "met"
    assert outcome(finding(estimate=None), mark(at_least=0.1)) == "not answered"
    assert outcome(finding(Verdict.NOT_FOUND, estimate=None), mark(at_least=0.1)) == "missed"


def test_a_claim_that_nothing_speaks_to_says_so_and_counts_as_not_answered():
    told = held_to([finding(), finding(what="other")], [mark(), mark(claim="x: gone")])
    assert [one.registered for one in told] == ["met", None, "not answered"]
    assert (told[2].name, told[2].verdict) == ("x: gone", Verdict.CANNOT_SAY)
    assert "measured nothing that speaks to this claim" in told[2].sentence
    counts = counted_outcomes(told)
    assert told_outcomes(counts) == "Of 2 registered claims: 1 met, 0 missed, 1 not answered."


def test_a_claim_of_several_judges_is_met_where_all_of_them_say_so():
    by_judges = [finding(), finding(Verdict.NOT_FOUND), finding(Verdict.CANNOT_SAY)]
    assert counted_outcomes(held_to(by_judges, [mark()]))["missed"] == 1
    assert counted_outcomes(held_to([finding(), finding()], [mark()])) == {
        "met": 1, "missed": 0, "not answered": 0,
    }  # fmt: skip


def test_every_claim_of_a_report_is_in_the_list_that_can_be_registered():
    tables = all_tables(EMOTIONS[:4])
    bare = tables["patching"][tables["patching"]["metric"] != "restoration"]
    made = {one.name for one in (*findings(tables), *findings({"patching": bare}))}
    assert made - set(CLAIMS) == set()
    assert len(made) > 15
    assert len(set(CLAIMS)) == len(CLAIMS)
    assert {name.partition(": ")[0] for name in CLAIMS} == {one.name for one in SECTIONS}


def test_an_unknown_claim_is_refused_with_the_nearest():
    check_claim(RECEPTION)
    with pytest.raises(UsageError, match=rf"no claim .*Did you mean '{RECEPTION}'"):
        check_claim(RECEPTION.replace("beyond", "behind"))


def registered(*marks: PassMark) -> RunRecord:
    content = {"registered": "2026-11-29T12:00:00+00:00", "claims": [m.record() for m in marks]}
    sealed = {"content": content, "sha256": "ef" * 32}
    return replace(RECORD, provenance={**RECORD.provenance, "registration": sealed})


def test_the_page_says_of_each_finding_whether_it_was_registered(tmp_path):
    marks = (mark(claim=RECEPTION, at_least=0.9), mark("not found", CATEGORIES))
    marks += (mark(claim=NEURONS.replace("neuron", "head"), surely_at_least=5.0),)
    tables = {"probes": TABLES["probes"]}
    found = page(folder(tmp_path / "out", tables, registered(*marks)))
    assert "Of 3 registered claims: 1 met, 1 missed, 1 not answered." in found.text
    assert "registered at 2026-11-29T12:00:00+00:00" in found.text
    assert "ef" * 8 in found.text
    for words in (
        "met wanted: found, at least 0.9",
        "missed wanted: not found",
        "not answered wanted: found, surely at least 5",
        "exploratory",  # the layer
    ):
        assert words in found.text, words
    plain = page(folder(tmp_path / "plain", tables))
    assert "exploratory" not in plain.text
    assert "wanted:" not in plain.text


def test_what_was_registered_is_corrected_first_in_the_report():
    tables = {stage: TABLES[stage] for stage in ("probes", "steering")}
    alone, first = (
        [one.p_report for one in findings(tables, marks) if one.name == STEERED]
        for marks in ([], [mark(claim=STEERED)])
    )
    assert first[0] < alone[0]


def test_a_registration_in_a_record_is_read_back_or_refused(tmp_path):
    marks = (mark(claim=RECEPTION, at_least=0.9), mark("inverted", CATEGORIES, surely_at_most=1.0))
    known = registered_in(registered(*marks))
    assert known is not None
    assert known.marks == marks
    assert registered_in(RECORD) is None
    broken = json.loads(json.dumps(registered(*marks).provenance))
    broken["registration"]["content"]["claims"][0]["verdict"] = "maybe"
    with pytest.raises(ArtefactError, match="holds no registration of interp"):
        registered_in(replace(RECORD, provenance=broken))
