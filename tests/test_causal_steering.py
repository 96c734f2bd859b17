"""Steering: reaches the planted emotion's words, equals a hand-written loop, and refuses what would
be void.
"""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from interp.causal.generation import generate
from interp.causal.readout import Readout
from interp.causal.steering import check_direction, dose_response, steer
from interp.causal.steering_sweep import Place, choose_scale, sweep
from interp.errors import ArtefactError, StatisticsError, UsageError
from interp.models import load
from interp.models.generation import Decoding
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from support.given_directions import given

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
SITE = Site("resid_post", SPEC.neuron_layer)
WORDS = {word: emotion for emotion, words in planted.readout(SPEC).items() for word in words}
NEUTRAL = [pair.neutral for pair in planted.stimuli(SPEC, n=2).pairs()]
PROMPTS = [stimulus.text for stimulus in NEUTRAL]
ONE = Decoding(max_new_tokens=1)


@pytest.fixture(scope="module")
def model():
    return load("planted", check=False)


@pytest.fixture(scope="module")
def directions(model):
    return {e: given(TRUTH.direction(e, SITE), SITE, 5.0, model.provenance) for e in SPEC.emotions}


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    return load(str(tiny_folder("gpt2")), check=False)


def oracle(texts):
    return [next((WORDS[word] for word in text.split() if word in WORDS), None) for text in texts]


ORACLE = {"oracle": oracle}


def test_steering_reaches_the_emotions_words(model, directions):
    for emotion, direction in directions.items():
        assert (
            oracle(steer(model, PROMPTS[:4], direction, scale=2.0, max_new_tokens=2))
            == [emotion] * 4
        )
    assert (
        oracle(steer(model, PROMPTS[:4], directions["joy"], scale=-2.0, max_new_tokens=2))
        == [None] * 4
    )


def test_scale_zero_is_the_unsteered_text_alone_and_in_a_mixed_batch(model, directions):
    unsteered = [
        model.decode(row)
        for row in model.generate(model.tokenize(PROMPTS[:3]), Decoding(max_new_tokens=4))
    ]
    assert steer(model, PROMPTS[:3], directions["joy"], scale=0.0, max_new_tokens=4) == unsteered
    mixed = steer(model, PROMPTS[:3], directions["joy"], scale=[0.0, 3.0, 0.0], max_new_tokens=4)
    assert (mixed[0], mixed[2]) == (unsteered[0], unsteered[2])
    assert mixed[1] != unsteered[1]
    assert mixed[1] == steer(model, PROMPTS[1:2], directions["joy"], scale=3.0, max_new_tokens=4)[0]


@pytest.mark.parametrize("where", ["last", ("last", "generated")])
def test_steering_equals_a_loop_by_hand(tiny, where):
    v = np.random.default_rng(0).standard_normal(32)
    made = given(v / np.linalg.norm(v), Site("resid_post", 1), 6.0, tiny.provenance)
    found = steer(
        tiny, ["the dog ran home", "anna"], made, scale=1.5, where=where, max_new_tokens=5
    )
    hf = tiny.plain().eval()
    for prompt, text in zip(["the dog ran home", "anna"], found, strict=True):
        [ids] = tiny.tokenize([prompt])
        first = len(ids) - 1

        def push(module, inputs, output, first=first):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            stop = first + 1 if where == "last" else None
            hidden[:, first:stop] += torch.from_numpy(1.5 * 6.0 * made.vector).float()
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = hf.transformer.h[1].register_forward_hook(push)
        written = []
        with torch.no_grad():
            while len(written) < 5 and not (written and written[-1] in tiny.end_tokens):
                written.append(int(hf(torch.tensor([ids + written])).logits[0, -1].argmax()))
        handle.remove()
        assert text == tiny.decode([token for token in written if token not in tiny.end_tokens])


def test_a_seed_means_the_same_sample_again(tiny):
    made = given(np.eye(32)[3], SITE, 1.0, tiny.provenance)
    drawn = [
        steer(tiny, ["the dog"], made, temperature=1.0, seed=seed, max_new_tokens=8)
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.fixture(scope="module")
def swept(model, directions):
    chosen = {e: directions[e] for e in ("joy", "fear", "anger")}
    scales, short = (0.25, 2.0, 4.0), Decoding(max_new_tokens=2)
    return table(sweep(model, PROMPTS, [Place(chosen)], ORACLE, scales=scales, decoding=short).rows)


def test_a_sweep_chooses_on_one_half_and_reports_on_the_other(swept):
    def value(**where):
        rows = swept
        for column, wanted in where.items():
            rows = rows[rows[column] == wanted]
        return rows["value"]

    # 2 and 4 both reach all: the smaller
    assert set(swept[swept["half"] == "report"]["scale"]) == {0.0, 2.0}
    for half in ("choose", "report"):
        assert (value(half=half, control="", metric="success", scale=2.0) == 1).all()
        assert (value(half=half, control="unsteered", metric="success") == 0).all()
        assert (value(half=half, control="random", metric="success", scale=2.0) <= 0.25).all()
    assert (value(half="choose", control="", metric="success", scale=0.25) == 0).all()
    assert (value(half="report", control="", metric="valid") == 1).all()
    assert set(swept["n"]) == {8}
    openings = swept["metric"] == "shared_opening"
    assert len(swept[openings]) == 4 * (7 + 3)  # of each emotion, and of all
    assert set(swept[openings]["judge"]) == {""}
    swept = swept[~openings]
    alone = swept["emotion"] != "all"
    assert len(swept[alone]) == 3 * 2 * (7 + 3)
    # All together: a success for each arm, and what is above each control for each strength.
    assert len(swept[~alone]) == (7 + 3) + 2 * (3 + 1)
    assert (value(half="report", control="", metric="success_above") >= 0.75).all()
    assert set(swept["judge"]) == {"oracle"}


def test_every_text_is_kept_with_what_each_judge_says(model, directions):
    """As many as were written; the shares are means of them; and they are what `steer` writes."""
    judges = {"oracle": oracle, "deaf": lambda texts: [None] * len(texts)}
    places = [Place({"joy": directions["joy"], "fear": directions["fear"]}, ("last",))] * 2
    short = Decoding(max_new_tokens=2)
    found = sweep(model, NEUTRAL, places, judges, scales=(0.25, 2.0), decoding=short)
    texts, rows = table(found.texts), table(found.rows)
    sizes = {"place": 2 * 2 * 2 * 8, "choose": 5 * 2 * 8, "report": 3 * 2 * 8}
    assert (texts.groupby("half").size() / len(judges)).to_dict() == sizes
    assert set(texts[texts.judge == "deaf"].verdict) == {""}
    shares = rows[(rows.metric == "success") & (rows.emotion != "all") & (rows.half != "place")]
    means = texts.groupby(["half", "control", "emotion", "scale", "judge"]).value.mean()
    for row in shares.itertuples():
        assert means[row.half, row.control, row.emotion, row.scale, row.judge] == row.value
    told = texts[(texts.half == "report") & (texts.control == "") & (texts.judge == "oracle")]
    prompts = {stimulus.id: stimulus for stimulus in NEUTRAL}
    for row in told[told.emotion == "fear"].itertuples():
        assert row.prompt == prompts[row.item].text
        (text,) = steer(
            model, row.prompt, directions["fear"], scale=row.scale, where="last", max_new_tokens=2
        )
        assert (row.text, row.verdict) == (text, "fear")


def test_the_halves_share_no_prompt_and_all_arms_share_theirs(model, directions):
    seen = []

    def listening(texts):
        seen.append(len(texts))
        return ["joy"] * len(texts)

    place = Place({"joy": directions["joy"]})
    rows = sweep(model, PROMPTS[:5], [place], {"ear": listening}, scales=(1.0,), decoding=ONE).rows
    assert seen == [3 * 3, 2 * 3]
    assert {(row["half"], row["n"]) for row in rows} == {("choose", 3), ("report", 2)}


def test_a_sweep_writes_as_asked(model, directions):
    """Sampled, from a seed of its own for each half: what is judged is what `generate` writes."""
    judged = []

    def listening(texts):
        judged.append(texts)
        return ["joy"] * len(texts)

    place, sampled = Place({"joy": directions["joy"]}), {"max_new_tokens": 5, "temperature": 1.0}
    decoding = Decoding(**sampled, seed=3)
    sweep(model, PROMPTS[:5], [place], {"ear": listening}, scales=(1.0,), decoding=decoding)
    asked = [[], []]
    for half, one in enumerate(np.random.default_rng(3).permutation(5).tolist()):
        asked[half % 2].append(PROMPTS[one])
    for half, (texts, prompts) in enumerate(zip(judged, asked, strict=True)):
        arms = prompts * 3  # unsteered, steered, random: one batch
        written = generate(model, arms, **sampled, seed=3 + half)[: len(prompts)]
        assert texts[: len(prompts)] == written
        assert written != generate(model, prompts, max_new_tokens=5)


def test_where_to_steer_is_chosen_on_one_half(model, directions):
    late = {"joy": directions["joy"]}
    deaf = Place(
        {
            "joy": given(
                -directions["joy"].vector,
                SITE,
                directions["joy"].length,
                directions["joy"].provenance,
            )
        }
    )
    rows = table(
        sweep(
            model,
            PROMPTS,
            [deaf, Place(late, ("last",))],
            ORACLE,
            scales=(1.0, 2.0),
            decoding=Decoding(max_new_tokens=2),
        ).rows
    )
    assert set(rows[rows["half"] == "place"]["where"]) == {"last+generated", "last"}
    reported = rows[
        (rows["half"] == "report") & (rows["control"] == "") & (rows["metric"] == "success")
    ]
    assert set(reported["where"]) == {"last"}
    assert (reported["value"] == 1).all()
    assert not set(rows["half"]) - {"place", "choose", "report"}


def test_one_place_is_not_tried_and_none_is_refused(model, directions):
    place = Place({"joy": directions["joy"]})
    rows = sweep(model, PROMPTS, [place], ORACLE, scales=(1.0,), decoding=ONE).rows
    assert {row["half"] for row in rows} == {"choose", "report"}
    with pytest.raises(StatisticsError, match="no place"):
        sweep(model, PROMPTS, [], ORACLE)


def test_the_best_scale_is_the_best_mean_and_the_smallest_of_equals():
    def row(scale, value, **other):
        return {
            "half": "choose",
            "judge": "oracle",
            "emotion": "joy",
            "control": "",
            "metric": "success",
            "scale": scale,
            "value": value,
            **other,
        }

    rows = [
        row(1.0, 0.9),
        row(1.0, 0.1),
        row(4.0, 0.6),
        row(4.0, 0.6),
        row(2.0, 0.6),
        row(2.0, 0.6),
    ]
    assert choose_scale(rows) == 2.0
    others = (row(8.0, 1.0, judge="second"), row(8.0, 1.0, control="random"))
    assert choose_scale([*rows, *others]) == 2.0


def test_the_dose_response_is_the_readout_under_the_vector(model, directions):
    readout = Readout(planted.readout(SPEC), "")
    rows = table(
        dose_response(
            model, NEUTRAL[:6], {"joy": directions["joy"]}, readout, scales=(0.5, 1.0, 2.0)
        )
    )
    gains = rows[(rows["metric"] == "label_logprob_gain") & (rows["emotion"] == "joy")]
    together = rows[(rows["metric"] == "label_logprob_gain") & (rows["emotion"] == "all")]
    rows = rows[rows["metric"] == "label_logprob"]
    means = rows.set_index(["control", "scale"])["value"]
    for one in (gains, together):
        found = one.set_index(["control", "scale"])
        assert set(found.index) == {
            (control, scale) for control in ("", "random") for scale in (0.5, 1.0, 2.0)
        }
        for arm, gain in found["value"].items():
            assert gain == pytest.approx(means[arm] - means["unsteered", 0.0], abs=1e-5)
        assert found["ci_low"]["", 2.0] > 0
    assert means["", 0.5] < means["", 1.0] < means["", 2.0]
    assert means["", 2.0] - means["unsteered", 0.0] > 3
    assert abs(means["random", 2.0] - means["unsteered", 0.0]) < 1.5
    hf, tokens = model.plain().eval(), readout.bind(model).tokens["joy"]
    expected = []
    for ids in model.tokenize([s.text for s in NEUTRAL[:6]]):

        def push(module, inputs, output):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, -1] += torch.from_numpy(5.0 * directions["joy"].vector).float()
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = hf.transformer.h[SITE.layer].register_forward_hook(push)
        with torch.no_grad():
            expected.append(
                float(
                    hf(torch.tensor([ids]))
                    .logits[0, -1]
                    .log_softmax(-1)[list(tokens)]
                    .logsumexp(-1)
                )
            )
        handle.remove()
    assert means["", 1.0] == pytest.approx(np.mean(expected), abs=1e-3)
    with pytest.raises(UsageError, match="no words for 'envy'"):
        dose_response(model, NEUTRAL[:2], {"envy": directions["joy"]}, readout)


def test_a_direction_of_another_width_or_model_is_refused(model, tiny, directions):
    with pytest.raises(ArtefactError, match=r"128 wide, made for planted .* is 32 wide"):
        steer(tiny, ["the dog"], directions["joy"])
    joy = directions["joy"]
    for made_for in (
        {"model": "other", "revision": None},
        {"model": "planted", "digest": "0" * 64},
        {},
    ):
        foreign = given(joy.vector, SITE, 5.0, made_for)
        with pytest.raises(ArtefactError, match="allow_foreign=True"):
            steer(model, PROMPTS[:1], foreign)
        with pytest.raises(ArtefactError, match="made for"):
            sweep(model, PROMPTS, [Place({"joy": foreign})], ORACLE)
        assert steer(model, PROMPTS[:1], foreign, max_new_tokens=1, allow_foreign=True)
    revision = {"model": "planted", "revision": "f" * 40}
    with pytest.raises(ArtefactError, match="f" * 40):
        check_direction(model, given(joy.vector, SITE, 5.0, revision))
    check_direction(model, given(joy.vector, SITE, 5.0, {"model": "planted", "revision": None}))
    check_direction(
        model,
        given(joy.vector, SITE, 5.0, {"model": "renamed", "digest": model.provenance["digest"]}),
    )


def test_a_direction_of_length_zero_is_refused(model):
    with pytest.raises(ArtefactError, match="has length 0"):
        steer(model, PROMPTS[:1], given(np.eye(128)[0], SITE, 0.0, model.provenance))


def test_a_direction_that_other_scenarios_do_not_share_is_refused_or_left_out(model, directions):
    joy = directions["joy"]
    lost = given(joy.vector, SITE, -0.02, model.provenance)
    with pytest.raises(ArtefactError, match=r"length -0.02, measured on held-out scenarios"):
        steer(model, PROMPTS[:1], lost)
    readout = Readout(planted.readout(SPEC), "")
    both = {"joy": joy, "fear": lost}
    with pytest.warns(UserWarning, match=r"leaves out fear \(-0.02\)"):
        rows = sweep(model, PROMPTS[:4], [Place(both)], ORACLE, scales=(1.0,), decoding=ONE).rows
    assert {row["emotion"] for row in rows} == {"joy", "all"}
    with pytest.warns(UserWarning, match=r"leaves out fear \(-0.02\)"):
        rows = dose_response(model, NEUTRAL[:4], both, readout, scales=(1.0,))
    assert {row["emotion"] for row in rows} == {"joy", "all"}
    for way in (
        lambda: sweep(model, PROMPTS[:4], [Place({"fear": lost})], ORACLE),
        lambda: dose_response(model, NEUTRAL[:4], {"fear": lost}, readout),
    ):
        with pytest.raises(StatisticsError, match="no direction has a held-out length above zero"):
            way()
    doubted = given(
        joy.vector, SITE, joy.length, {**model.provenance, "warnings": ["its length may be zero."]}
    )
    with pytest.warns(UserWarning, match="in doubt, at blocks.*: its length may be zero"):
        steer(model, PROMPTS[:1], doubted, max_new_tokens=1)


def test_the_prompts_of_a_scenario_lie_in_one_half(model, directions):
    """Eight prompts of three scenarios, five of them of one: what chooses and what reports share
    none.
    """
    seen = []

    def listening(texts):
        seen.append(len(texts))
        return [None] * len(texts)

    place = Place({"joy": directions["joy"]})
    told = [replace(one, group=group) for one, group in zip(NEUTRAL, "aaaaabcc", strict=False)]
    rows = sweep(model, told, [place], {"ear": listening}, scales=(1.0,), decoding=ONE).rows
    sizes = {row["half"]: row["n"] for row in rows}
    assert sorted(sizes.values()) in ([1, 7], [2, 6], [3, 5])
    assert sizes["choose"] + sizes["report"] == 8
    with pytest.raises(StatisticsError, match="two scenarios"):
        sweep(model, told[:3], [place], ORACLE)


@pytest.mark.parametrize("scale", [math.inf, -math.inf, math.nan, [1.0, math.nan]])
def test_a_strength_that_is_not_finite_is_refused(model, directions, scale):
    with pytest.raises(UsageError, match="finite"):
        steer(model, PROMPTS[:2], directions["joy"], scale=scale)


def test_a_huge_vector_is_warned_of_with_its_ratio(tiny):
    made = given(np.eye(32)[0], Site("resid_post", 0), 1.0, tiny.provenance)
    with pytest.warns(UserWarning, match=r"length 1e\+06 .* times the stream's own"):
        steer(tiny, ["the dog"], made, scale=1e6, max_new_tokens=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steer(tiny, ["the dog"], made, scale=1.0, max_new_tokens=1)


def test_settings_that_make_the_comparison_void_are_refused(model, directions):
    joy = directions["joy"]
    for settings in ({"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": math.nan}):
        with pytest.raises(UsageError, match=r"max_new_tokens|temperature"):
            steer(model, PROMPTS[:1], joy, **settings)
    with pytest.raises(UsageError, match="3 prompts and 2 scales"):
        steer(model, PROMPTS[:3], joy, scale=[1.0, 2.0])
    with pytest.raises(UsageError, match="0 prompts"):
        steer(model, [], joy)
    for scales in ((), (0.0, 1.0), (math.inf,), (-1.0,)):
        with pytest.raises(UsageError, match="above 0"):
            sweep(model, PROMPTS, [Place({"joy": joy})], ORACLE, scales=scales)
        with pytest.raises(UsageError, match="above 0"):
            dose_response(
                model, NEUTRAL, {"joy": joy}, Readout(planted.readout(SPEC), ""), scales=scales
            )
    with pytest.raises(StatisticsError, match="two prompts"):
        sweep(model, PROMPTS[:1], [Place({"joy": joy})], ORACLE)
    with pytest.raises(UsageError, match="not in the residual stream"):
        steer(model, PROMPTS[:1], given(joy.vector, Site("post", 1), 1.0, model.provenance))
    assert model.hooks_clean()
