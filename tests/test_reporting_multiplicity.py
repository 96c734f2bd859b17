"""All claims of a report together: where nothing is there, one report in twenty claims anything."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from interp.reporting.decisions import Verdict
from interp.reporting.finding import Finding
from interp.reporting.findings import findings
from interp.reporting.multiplicity import FIRST_FAMILIES, OTHERS_COUNT, corrected
from support.reporting_tables import all_tables, row, table

QUESTIONS = (
    *FIRST_FAMILIES,
    *(f"{stage}: part" for stage in ("patching", "ablation", "steering")),
)


def made(
    p: float | None, asked: str = "ablation: head", verdict: Verdict = Verdict.FOUND, **more: object
) -> Finding:
    stage, about = asked.split(": ")
    known = {"what": asked, "sentence": "it is", "otherwise": "it is not found", "about": about}
    return Finding(stage=stage, verdict=verdict, p=p, **{**known, **more})


def by_steps(p: Sequence[float], weights: Sequence[float], level: float) -> list[bool]:
    """Holm's procedure as it is told: the surest claim first, until one is not sure enough."""
    left, rejected = set(range(len(p))), [False] * len(p)
    while left:
        first = min(left, key=lambda one: p[one] / weights[one])
        if p[first] > level * weights[first] / sum(weights[one] for one in left):
            break
        rejected[first] = True
        left.remove(first)
    return rejected


def test_claims_are_made_as_the_steps_say():
    draw = np.random.default_rng(0)
    weights = [1.0, 1.0, OTHERS_COUNT / 3, OTHERS_COUNT / 3, OTHERS_COUNT / 3]
    several = 0
    for _ in range(200):
        p = (draw.uniform(size=5) ** 6).tolist()
        told = corrected([made(one, name) for one, name in zip(p, QUESTIONS, strict=True)])
        wanted = by_steps(p, weights, 0.05)
        assert [one.verdict is Verdict.FOUND for one in told] == wanted
        assert [one.p_report <= 0.05 for one in told] == wanted
        several += 1 < sum(wanted) < 5
    assert several > 50


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_one_report_in_twenty_claims_something_where_nothing_is_there(shared):
    draw, reports = np.random.default_rng(1), 2000
    false = alone = 0
    for _ in range(reports):
        z = shared**0.5 * draw.normal() + (1 - shared) ** 0.5 * draw.normal(size=5)
        p = np.searchsorted(np.sort(draw.normal(size=999)), -z) / 1000 + 0.001
        told = corrected([made(one, name) for one, name in zip(p.tolist(), QUESTIONS, strict=True)])
        false += any(one.verdict is Verdict.FOUND for one in told)
        alone += bool((p <= 0.05).any())
    assert false / reports <= 0.05 + 2 * (0.05 * 0.95 / reports) ** 0.5
    assert alone / reports > 0.1  # without the correction


def test_the_first_questions_are_found_however_many_stages_there_are():
    """A p of .005 is the least that 199 refits can give."""
    others = [made(0.5, f"stage{one}: part") for one in range(30)]
    told = corrected([made(0.005, FIRST_FAMILIES[0]), made(0.005, FIRST_FAMILIES[1]), *others])
    assert [one.verdict for one in told[:2]] == [Verdict.FOUND] * 2
    assert told[0].p_report == 0.025
    assert dict(told[0].beside) == {"among the 32 claims of this report (Holm)": "p = 0.025"}


def test_a_family_of_several_claims_is_sure_first_and_its_claims_then():
    rest = [made(0.9, "ablation: head"), made(0.9, "steering: words")]

    def four(*p: float, **more: object) -> list[Finding]:
        own = [made(one, f"patching: {at}", family="restored", **more) for at, one in enumerate(p)]
        return corrected([*own, *rest])[: len(p)]

    # three families that count one each: the surest of four claims, times four, times three
    assert [one.p_report for one in four(0.002, 0.01, 0.02, 0.9)] == pytest.approx(
        [0.024, 0.04, 0.08, 1.0]
    )
    # a test that opened the family stands for it
    opened = four(0.002, 0.01, 0.02, 0.9, opened=0.001)
    assert [one.p_report for one in opened] == pytest.approx([0.008, 0.04, 0.08, 1.0])
    assert [one.verdict is Verdict.FOUND for one in opened] == [True, True, False, False]
    shut = four(0.002, 0.01, 0.02, 0.9, opened=0.04)
    assert {one.verdict for one in shut} == {Verdict.NOT_FOUND}


def test_what_a_withdrawn_claim_opened_is_withdrawn_too():
    parent, other = made(0.04, "probes: reception"), made(0.9, "ablation: head")
    child = made(0.001, "probes: reception", what="at a layer", after=parent.name)
    told = corrected([child, parent, other])
    assert [one.verdict for one in told] == [Verdict.NOT_FOUND] * 3
    assert [one.sentence for one in told[:2]] == [
        "it is not found What this rests on is not found.",
        "it is not found By itself this is sure; among all claims of this report it is not.",
    ]
    assert told[0].p_report is None  # it takes nothing from the others
    assert corrected([child])[0].verdict is Verdict.FOUND  # the other was not asked in this run
    sure = corrected([child, made(0.01, "probes: reception"), other])
    assert [one.verdict for one in sure[:2]] == [Verdict.FOUND] * 2


def test_a_gate_is_no_surer_than_what_it_opened():
    told = corrected(
        [made(0.001, "patching: a", gate=0.04), made(0.9), made(0.9, "steering: words")]
    )
    assert told[0].verdict is Verdict.NOT_FOUND


@pytest.mark.parametrize(
    ("p", "below", "expected"),
    [
        (0.97, 0.03, Verdict.NOT_FOUND),  # sure by itself, not among three
        (0.999, 0.001, Verdict.INVERTED),
        (0.999, 0.04, Verdict.NOT_FOUND),  # corrected by its stage
        (0.988, 0.012, Verdict.NOT_FOUND),  # as sure as a claim that was asked for: not enough
        (None, None, Verdict.INVERTED),  # without a p the interval alone decides
    ],
)
def test_the_wrong_direction_needs_to_be_twice_as_sure(p, below, expected):
    wrong = made(p, verdict=Verdict.INVERTED, p_below=below)
    told = corrected([wrong, made(0.9, "steering: words"), made(0.9, FIRST_FAMILIES[0])])
    assert told[0].verdict is expected


def test_what_cannot_be_said_stays():
    silent = made(None, verdict=Verdict.CANNOT_SAY, after="probes: probes: reception")
    assert corrected([silent, made(0.9, "probes: reception")])[0] == silent


def ablated(changes: Sequence[float], random: float) -> pd.DataFrame:
    """Parts that change their own emotion's words so much, beside random parts; p of them all
    together is small.
    """
    names = [f"e{at}" for at in range(len(changes))]
    rows = []
    for name, change in [*zip(names, changes, strict=True), ("all", float(np.mean(changes)))]:
        at = {"emotion": name, "target": name, "component": "neuron", "mode": "resample", "k": 4}
        at |= {"metric": "label_logprob_change", "method": "ablate"}
        rows.append(row(change, 0.001, control="", p=0.001, least_p=0.001, **at))
        rows.append(row(random, 0.001, control="random", **at))
    return table(rows)


def test_parts_that_move_words_up_and_down_are_not_called_needed():
    """Ablating them does more than ablating random ones, whichever way."""
    same = [-0.30, -0.25, -0.28, -0.33, -0.27, -0.31, -0.29, -0.26]
    found = findings({"ablation": ablated(same, -0.01)})[0]
    assert (found.verdict, found.gate) == (Verdict.FOUND, 1 / 2**8)
    mixed = [*same[:5], 0.3, 0.25, 0.2]
    found = findings({"ablation": ablated(mixed, -0.01)})[0]
    assert found.verdict is Verdict.NOT_FOUND
    assert found.p == 0.001
    assert found.gate > 0.05
    assert dict(found.beside)["signs of the emotions flipped"].startswith("p = 0.")
    few = findings({"ablation": ablated(same[:4], -0.01)})[0]
    assert (few.verdict, few.gate) == (Verdict.FOUND, 0.0)  # their signs cannot tell


def test_circuits_that_hold_more_of_some_emotions_and_less_of_others_are_not_found():
    circuit = all_tables()["circuit"]
    told = findings({"circuit": circuit})
    assert {(one.verdict, one.gate) for one in told} == {(Verdict.FOUND, 1 / 2**8)}
    turned = circuit["metric"].isin(["above_random", "less_without"])
    turned &= circuit["emotion"].isin(["joy", "trust", "fear"])
    mixed = circuit.assign(value=circuit["value"].mask(turned, -0.5))
    told = findings({"circuit": mixed})
    assert {one.verdict for one in told} == {Verdict.NOT_FOUND}
    assert all(one.p == 0.001 and one.gate > 0.05 for one in told)
    nothing = circuit[~circuit["metric"].isin(["above_random", "less_without"])]
    assert {one.verdict for one in findings({"circuit": nothing})} == {Verdict.CANNOT_SAY}


def test_the_weakest_of_many_directions_is_not_called_inverted_for_being_the_weakest():
    table = all_tables()["directions"]
    nested = table["metric"] == "nested_auroc"
    emotions = table.loc[nested, "emotion"].unique()
    low = nested & (table["emotion"] == emotions[0])
    table.loc[low, ["value", "ci_low", "ci_high", "p", "p_corrected"]] = [
        0.3,
        0.2,
        0.48,
        0.97,
        0.97,
    ]
    assert findings({"directions": table})[0].verdict is Verdict.NOT_FOUND
    table.loc[low, ["p", "p_corrected"]] = [0.999, 0.999]
    assert findings({"directions": table})[0].verdict is Verdict.INVERTED


def report_of(p: Sequence[float], registered: int) -> list[Finding]:
    """A report of these p, of which the last ones were registered, corrected."""
    names = [f"stage{at}: part" for at in range(len(p))]
    names[: len(FIRST_FAMILIES)] = FIRST_FAMILIES
    claims = [made(one, name) for one, name in zip(p, names, strict=True)]
    return corrected(claims, {one.name for one in claims[len(claims) - registered :]})


@pytest.mark.parametrize(("registered", "true"), [(1, 0), (3, 0), (8, 0), (3, 1)])
def test_with_a_registration_too_one_report_in_twenty_claims_what_is_not_there(registered, true):
    """The family-wise error over the whole report, also where a registered claim is true."""
    draw, reports, n = np.random.default_rng(registered), 1000, 8
    false = 0
    for _ in range(reports):
        p = draw.uniform(size=n)
        p[n - true :] = 1e-6
        told = report_of(p.tolist(), registered)
        false += any(one.verdict is Verdict.FOUND for one in told[: n - true])
    assert false / reports <= 0.07


def test_registered_claims_come_first_and_the_others_count_as_one():
    rest = [0.9] * 6
    told = report_of([*rest, 0.02, 0.03], 2)
    # three families that count one: .02 x 3, then .03 x 2
    assert [one.p_report for one in told[-2:]] == pytest.approx([0.06, 0.06])
    assert report_of([*rest, 0.016, 0.024], 2)[-1].verdict is Verdict.FOUND
    assert report_of([*rest, 0.016, 0.024], 0)[-1].verdict is Verdict.NOT_FOUND
    assert dict(told[-1].beside) == {
        "among the 8 claims of this report, the 2 registered ones first (Holm)": "p = 0.060"
    }
    more = report_of([*rest * 5, 0.02, 0.03], 2)  # a further stage takes nothing from them
    assert [one.p_report for one in more[-2:]] == pytest.approx([0.06, 0.06])


def test_exploratory_claims_share_what_the_registered_ones_leave():
    others = [0.9] * 3
    found, missed = (report_of([0.005, *others, p, p], 2) for p in (0.001, 0.5))
    # the first question counts one of five among the exploratory ones, which count one of three
    assert missed[0].p_report == pytest.approx(0.005 * 3 * 5)
    assert found[0].p_report == pytest.approx(0.005 * 5)
    assert found[0].verdict is Verdict.FOUND


def test_a_family_of_which_some_claims_were_registered_is_two():
    own = [made(0.01, f"patching: {at}", family="restored", what=f"{at}") for at in range(4)]
    told = corrected([*own, made(0.9)], ["patching: 0"])
    assert [one.p_report for one in told[:2]] == pytest.approx([0.02, 0.01 * 3 * 2])
    assert {one.p_report for one in told[1:4]} == {told[1].p_report}
