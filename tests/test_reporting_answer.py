"""The answer of a run: badges by their rule, a sentence no stronger than they, and both where a
reader meets them.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interp.reporting.answer import Answer, Badge, Says, sum_up
from interp.reporting.decisions import Verdict
from interp.reporting.finding import Finding, Question, Rival
from interp.reporting.findings import findings
from support.reporting_tables import EMOTIONS, all_tables

TABLES = all_tables()
BADGES = tuple(Question)


def found(question: Question, verdict: Verdict, **more) -> Finding:
    """A hand-made finding, of the stage that usually speaks to its question."""
    told = {
        Question.REPRESENTED: {
            "stage": "probes",
            "about": "reception",
            "told": {"does": "tells twins apart", "apart": "not told apart from the words alone"},
            "rivals": (Rival("words", "best text-only baseline", 0.6, (0.5, 0.7)),),
        },
        Question.LAYER: {
            "stage": "probes",
            "about": "reception",
            "told": {"does": "tells twins apart", "layer": "3", "n_layers": "6"},
        },
        Question.CAUSAL: needed(),
        Question.STEERABLE: {
            "stage": "steering",
            "about": "judged",
            "told": {"at": "2"},
            "rivals": (Rival("random", "random directions", 0.05),),
        },
    }[question]
    numbers = {"value": "0.900 [0.800, 0.950]", "estimate": 0.9, "interval": (0.8, 0.95)}
    given = {"what": "a claim", "sentence": "A claim.", "p": 0.001, "n": 40, **numbers, **told}
    return Finding(verdict=verdict, answers=question, **{**given, **more})


def needed(kind: str = "head", about: str = "head") -> dict:
    return {
        "stage": "ablation",
        "about": about,
        "told": {"k": "4", "kind": kind},
        "rivals": (Rival("random", f"random {kind}s", -0.01, (-0.02, 0.0)),),
    }


def carried(mode: str, verdict: Verdict = Verdict.FOUND, source=(0.9, 0.8, 1.0)) -> Finding:
    return found(
        Question.CAUSAL,
        verdict,
        stage="patching",
        about=f"last, {mode}",
        told={"mode": mode, "where": "last token"},
        rivals=(Rival("source", "another scenario's state", source[0], source[1:]),),
    )


def says(question: Question, *given: Finding) -> Says:
    return badge(question, *given).says


def badge(question: Question, *given: Finding) -> Badge:
    return sum_up(given, model="m").badges[BADGES.index(question)]


EACH = {
    Verdict.FOUND: (
        Says.YES,
        "In m, a linear probe tells twins apart, beyond the words (AUROC 0.900 [0.800, 0.950]; "
        "best text-only baseline 0.600 [0.500, 0.700]), in the stream first at layer 3 of 6 "
        "(AUROC 0.900 [0.800, 0.950]); without the 4 heads that write it most an emotion's own "
        "words become less likely on average (top 4 heads: 0.900 [0.800, 0.950] nats; random heads "
        "-0.010 [-0.020, 0.000]); adding an emotion's direction makes the model write it, on "
        "average (share at strength 2: 0.900 [0.800, 0.950]; random directions 0.050).",
    ),
    Verdict.NOT_FOUND: (
        Says.NO,
        "In m, no place was found where a linear probe tells twins apart (AUROC 0.900 [0.800, "
        "0.950]; best text-only baseline 0.600 [0.500, 0.700]); no part of the model was found by "
        "which it causes the emotion's words (top 4 heads: 0.900 [0.800, 0.950] nats; random heads "
        "-0.010 [-0.020, 0.000]); adding an emotion's direction is not found to make the model "
        "write it (share at strength 2: 0.900 [0.800, 0.950]; random directions 0.050).",
    ),
    Verdict.INVERTED: (
        Says.INVERTED,
        "In m, a linear probe ranks the wrong way round where it tells twins apart (AUROC 0.900 "
        "[0.800, 0.950]; best text-only baseline 0.600 [0.500, 0.700]); the parts that should "
        "cause the emotion's words move them the wrong way round (top 4 heads: 0.900 [0.800, "
        "0.950] nats; random heads -0.010 [-0.020, 0.000]); adding an emotion's direction makes "
        "the model write it less often than random directions do (share at strength 2: 0.900 "
        "[0.800, 0.950]; random directions 0.050).",
    ),
    Verdict.CANNOT_SAY: (
        Says.CANNOT_SAY,
        "In m, whether a linear probe tells twins apart cannot be said; whether it causes the "
        "emotion's words cannot be said; whether adding an emotion's direction makes the model "
        "write it cannot be said.",
    ),
}


@pytest.mark.parametrize("verdict", EACH)
def test_each_verdict_has_its_badge_and_its_sentence(verdict):
    told = sum_up([found(question, verdict) for question in Question], model="m")
    expected, sentence = EACH[verdict]
    assert told.sentence == sentence
    for own in told.badges:
        opened = own.question is not Question.LAYER or verdict is Verdict.FOUND
        assert own.says is (expected if opened else Says.CANNOT_SAY)
    assert told.badges[1].layer == (3 if verdict is Verdict.FOUND else None)


def test_what_the_words_do_as_well_is_no_yes_and_the_sentence_says_why():
    apart = found(Question.REPRESENTED, Verdict.NOT_TOLD_APART)
    told = sum_up([apart], model="m")
    assert told.badges[0].says is Says.NO
    assert told.sentence.startswith(
        "In m, a linear probe tells twins apart, not told apart from the words alone (AUROC"
    )
    layer = found(Question.LAYER, Verdict.NOT_TOLD_APART)
    both = [found(Question.REPRESENTED, Verdict.FOUND), layer]
    assert (
        ", though at no single layer surely so (highest AUROC" in sum_up(both, model="m").sentence
    )
    assert says(Question.LAYER, *both) is Says.NO


def test_a_run_without_findings_says_nothing_and_claims_nothing():
    told = sum_up([], model="m")
    assert {badge.says for badge in told.badges} == {Says.CANNOT_SAY}
    assert told.sentence == (
        "In m, whether emotion is represented beyond the words cannot be said; whether the "
        "model's parts cause the emotion's words cannot be said; whether it can be steered cannot "
        "be said."
    )


def test_reception_decides_what_is_represented_and_categorisation_only_without_it():
    reception = found(Question.REPRESENTED, Verdict.NOT_FOUND)
    which = replace(found(Question.REPRESENTED, Verdict.FOUND), about="categorisation")
    assert says(Question.REPRESENTED, which, reception) is Says.NO
    assert says(Question.REPRESENTED, which) is Says.YES
    layer = found(Question.LAYER, Verdict.FOUND)
    assert says(Question.LAYER, which, layer) is Says.CANNOT_SAY  # of another question


def test_a_cause_needs_more_than_a_patch_that_moves_the_output():
    """One way of patching, or patches at the edited tokens, are no cause."""
    assert says(Question.CAUSAL, carried("denoise"), carried("noise")) is Says.YES
    assert says(Question.CAUSAL, carried("denoise")) is Says.CANNOT_SAY
    failed = carried("noise", Verdict.NOT_FOUND)
    assert says(Question.CAUSAL, carried("denoise"), failed) is Says.NO
    assert says(Question.CAUSAL, carried("denoise"), carried("noise", Verdict.INVERTED)) is Says.NO
    edit = [one for one in findings({"patching": TABLES["patching"]}) if "edit" in one.about]
    assert [one.verdict for one in edit] == [Verdict.FOUND]
    assert says(Question.CAUSAL, *edit) is Says.CANNOT_SAY


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            (0.9, 0.8, 1.0),
            "as much: what is carried is the emotion's common part and not the story",
        ),
        ((0.4, 0.2, 0.6), "less: what is carried is the emotion's common part, and the story too"),
        (
            (0.1, -0.1, 0.3),
            "none that is found: what is carried is the story's, and no common part",
        ),
        (
            (0.1, -0.9, 2.0),
            "too uncertain a share to tell the emotion's common part from the story",
        ),
    ],
)
def test_the_control_from_another_scenario_says_what_is_carried(source, told):
    pair = [carried(mode, source=source) for mode in ("noise", "denoise")]
    sentence = sum_up(pair, model="m").sentence
    assert f"another scenario's state {told}" in sentence
    assert f"({source[0]:.3f} [{source[1]:.3f}, {source[2]:.3f}])" in sentence


def test_parts_that_every_emotion_needs_are_no_cause_of_one():
    heads = found(Question.CAUSAL, Verdict.FOUND)
    own = found(Question.CAUSAL, Verdict.NOT_FOUND, **needed(about="head, own"), p=0.3)
    assert says(Question.CAUSAL, heads) is Says.YES
    told = badge(Question.CAUSAL, heads, own)
    assert (told.says, told.decided) == (Says.NO, (own,))
    assert "own words, own heads rather than others'" in told.held


def test_of_two_kinds_of_parts_each_has_half_of_the_level():
    heads = found(Question.CAUSAL, Verdict.FOUND, p=0.04)
    neurons = found(Question.CAUSAL, Verdict.NOT_FOUND, **needed("neuron", "neuron"), p=0.7)
    assert says(Question.CAUSAL, heads) is Says.YES
    assert says(Question.CAUSAL, heads, neurons) is Says.NO
    assert says(Question.CAUSAL, replace(heads, p=0.02), neurons) is Says.YES


def test_a_cause_that_another_way_contradicts_is_none():
    neurons = found(Question.CAUSAL, Verdict.INVERTED, **needed("neuron", "neuron"))
    heads = found(Question.CAUSAL, Verdict.FOUND)
    told = badge(Question.CAUSAL, heads, neurons)
    assert (told.says, told.decided) == (Says.CANNOT_SAY, (heads, neurons))
    assert told.clause == "whether it causes the emotion's words cannot be said"


def test_judges_decide_steering_and_all_of_them_have_to_agree():
    judged, words = (
        found(Question.STEERABLE, verdict, about=about)
        for verdict, about in ((Verdict.NOT_FOUND, "judged"), (Verdict.FOUND, "words"))
    )
    assert says(Question.STEERABLE, words, judged) is Says.NO
    alone = sum_up([words], model="m")
    assert alone.badges[3].says is Says.YES
    assert "makes its own words likelier on average (own words at strength 2:" in alone.sentence
    assert alone.sentence.endswith("no written text was judged).")
    yes = replace(judged, verdict=Verdict.FOUND)
    assert says(Question.STEERABLE, yes, judged) is Says.NO
    assert says(Question.STEERABLE, yes) is Says.YES


def test_the_answer_of_whole_tables_has_their_numbers_for_machines():
    told = sum_up(findings(TABLES), model="storyworld").record()
    assert [one["says"] for one in told["badges"]] == ["yes"] * 4
    json.dumps(told, allow_nan=False)
    represented, layer, causal, steerable = told["badges"]
    assert represented["question"] == "represented beyond the words"
    assert represented["estimate"] == pytest.approx(0.95)
    assert represented["interval"] == pytest.approx([0.93, 0.97])
    assert represented["p"] == 0.005  # of the AUROC itself
    assert represented["against"] == {
        "kind": "words",
        "name": "best text-only baseline",
        "estimate": pytest.approx(0.62),
        "interval": pytest.approx([0.57, 0.67]),
    }
    assert (layer["layer"], represented["layer"]) == (1, None)
    assert causal["what"] == "the top heads of each emotion are needed for its own words"
    assert causal["against"]["name"] == "random heads"
    assert steerable["stage"] == "steering"


def moved(table: pd.DataFrame, by: float, **where) -> pd.DataFrame:
    mine = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    table = table.copy()
    table.loc[mine, ["value", "ci_low", "ci_high"]] += by
    return table


def of_probes(table: pd.DataFrame) -> tuple[Finding, ...]:
    return tuple(one for one in findings({"probes": table}) if one.answers == Question.LAYER)


def test_the_first_layer_is_the_first_whose_interval_clears_every_baseline():
    probes = TABLES["probes"]
    stream = probes[
        (probes["site"] == "resid_post")
        & (probes["metric"] == "auroc")
        & (probes["control"] == "")
        & (probes["task"] == "reception")
    ]
    clear = stream[stream["ci_low"] > 0.67]  # the highest baseline, char, reaches 0.670
    first = of_probes(probes)[0]
    assert first.told["layer"] == f"{clear['layer'].min():g}" == "1"
    assert first.told["n_layers"] == "6"
    assert first.told["reach"] == "; so at 5 of the 5 layers read from there on"
    assert first.estimate == pytest.approx(clear["value"].iloc[0])
    # a second baseline that reaches less but is less certain counts as well
    wide = probes.copy()
    wide.loc[wide["control"] == "tfidf", "ci_high"] = 0.9
    assert of_probes(wide)[0].told["layer"] == f"{stream[stream['ci_low'] > 0.9]['layer'].min():g}"


def test_a_layer_is_asked_for_only_where_the_probe_is_beyond_the_words():
    probes = TABLES["probes"]
    assert of_probes(moved(probes, -0.3, metric="above_text")) == ()
    near = probes.copy()
    near.loc[near["control"] == "char", "ci_high"] = 0.99
    told = of_probes(near)
    assert {one.verdict for one in told} == {Verdict.NOT_TOLD_APART}
    assert "No single layer of the stream is surely above the words" in told[0].sentence
    unsure = of_probes(probes.assign(p_max_t=np.where(probes["metric"] == "auroc", 0.2, 0.002)))
    assert {one.verdict for one in unsure} == {Verdict.NOT_FOUND}


def own_parts(table: pd.DataFrame) -> list[Finding]:
    return [one for one in findings({"ablation": table}) if one.about == "head, own"]


def test_parts_are_an_emotions_own_where_its_words_fall_further_by_them():
    """The table's diagonal falls by 2 k / (k + 2) and more, all else by 0.1."""
    table = TABLES["ablation"]
    (own,) = own_parts(table)
    heads = table[
        (table["component"] == "head")
        & (table["control"] == "")
        & (table["metric"] == "label_logprob_change")
        & (table["k"] == 16)
        & (table["emotion"] != "all")
    ]
    same = heads[heads["emotion"] == heads["target"]]["value"].mean()
    other = heads[heads["emotion"] != heads["target"]]["value"].mean()
    assert own.verdict is Verdict.FOUND
    assert own.estimate == pytest.approx(same - other)
    assert own.p == pytest.approx(1 / 1001, abs=1e-3)
    assert own.rival("other").estimate == pytest.approx(other)


def test_parts_that_all_emotions_share_are_not_their_own():
    """Every word falls by what its column says, whichever emotion's heads are taken."""
    table = TABLES["ablation"]
    change = (table["metric"] == "label_logprob_change") & (table["control"] == "")
    by_word = table["target"].map({name: -1.0 - 0.1 * at for at, name in enumerate(EMOTIONS)})
    shared = table.assign(value=table["value"].mask(change & by_word.notna(), by_word))
    shared = shared.assign(
        ci_low=shared["ci_low"].mask(change & by_word.notna(), by_word - 0.1),
        ci_high=shared["ci_high"].mask(change & by_word.notna(), by_word + 0.1),
    )
    (own,) = own_parts(shared)
    assert own.verdict is Verdict.NOT_FOUND
    assert own.estimate == pytest.approx(0)
    told = badge(Question.CAUSAL, *findings({"ablation": shared}))
    assert told.says is Says.NO
    assert own_parts(table[table["emotion"].isin(["all", *EMOTIONS[:3]])]) == []  # too few to deal


def test_what_nobody_can_read_has_no_number_in_its_badge():
    steering = TABLES["steering"]
    unread = steering.assign(value=steering["value"].mask(steering["metric"] == "valid", 0.3))
    told = sum_up(findings({"steering": unread}), model="m").badges[3]
    assert (told.says, told.held) == (Says.CANNOT_SAY, "no number can be given")
    assert told.record()["estimate"] is None


def test_the_layer_says_why_it_was_not_asked():
    told = sum_up([found(Question.REPRESENTED, Verdict.NOT_FOUND)], model="m").badges
    assert told[1].held == "asked only where the question before has a yes"
    assert told[2].held == "nothing was measured that speaks to it"


def test_a_number_that_was_not_measured_is_none_for_machines():
    bare = TABLES["probes"].assign(ci_low=math.nan, ci_high=math.nan)
    told = sum_up(findings({"probes": bare}), model="m")
    assert isinstance(told, Answer)
    assert told.badges[0].says is Says.CANNOT_SAY
    assert told.badges[0].record()["interval"] is None
    json.dumps(told.record(), allow_nan=False)
