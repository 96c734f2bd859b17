"""All emotions together: what reaches its own emotion is told from what makes any text joyful."""

from math import factorial

import numpy as np
import pytest

from interp.causal.pooled import gain_rows, success_rows
from interp.causal.steered_texts import Written, share_rows

EMOTIONS = ("anger", "fear", "joy", "trust", "disgust")
GROUPS = list(range(12))


def pick(rows: list[dict], **where) -> dict:
    (row,) = [
        row for row in rows if all(row.get(name, "") == value for name, value in where.items())
    ]
    return row


def arms(written) -> dict:
    """Verdicts on 12 prompts: steered as `written(emotion)` says, unsteered and random as
    neutral.
    """
    nothing = {emotion: ["neutral"] * 12 for emotion in EMOTIONS}
    steered = {emotion: written(emotion) for emotion in EMOTIONS}
    return {("unsteered", 0.0): nothing, ("", 2.0): steered, ("random", 2.0): nothing}


def test_directions_that_reach_their_own_emotion_are_found() -> None:
    rows = success_rows(arms(lambda emotion: [emotion] * 11 + [None]), GROUPS)
    row = pick(rows, metric="success", control="", scale=2.0)
    assert (row["value"], row["n"], row["emotion"]) == (pytest.approx(11 / 12), 12, "all")
    assert row["p"] == pytest.approx(1 / 120)
    for control in ("unsteered", "random"):
        above = pick(rows, metric="success_above", target=control)
        assert above["value"] == pytest.approx(11 / 12)
        assert 0.3 < above["ci_low"] < above["value"]  # one prompt of twelve says nothing surely
    assert "p" not in pick(rows, metric="success", control="random")


def test_a_vector_that_brings_joy_under_every_name_is_not() -> None:
    rows = success_rows(arms(lambda emotion: ["joy"] * 12), GROUPS)
    row = pick(rows, metric="success", control="", scale=2.0)
    assert row["value"] == pytest.approx(1 / 5)
    assert row["p"] == 1.0
    assert row["ci_low"] < 1 / 5 < row["ci_high"]  # every prompt alike is no certainty


def test_the_interval_is_over_scenarios_and_not_over_emotions_times_prompts() -> None:
    random = np.random.default_rng(0)
    hit = random.random(12) < 0.5
    rows = success_rows(arms(lambda emotion: [emotion if one else None for one in hit]), GROUPS)
    row = pick(rows, metric="success", control="", scale=2.0)
    spread = 1.96 * np.sqrt(hit.mean() * (1 - hit.mean()) / 12)
    assert row["ci_high"] - row["ci_low"] > 1.6 * spread  # of 60 independent texts it would be .9
    one_scenario = pick(
        success_rows(arms(lambda e: [e] * 12), ["a"] * 12), metric="success", control=""
    )
    assert np.isnan(one_scenario["ci_low"])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_emotions_are_held_against_random_directions(n: int) -> None:
    random = np.random.default_rng(1)
    drawn = random.normal(size=(n, 20, n))
    strong = pick(
        gain_rows({("", 1.0): drawn + 9, ("random", 1.0): drawn}, list(range(20))),
        control="",
        metric="label_logprob_gain",
    )
    assert strong["p"] == pytest.approx(21.0**-n, abs=0.01)
    assert "random directions" in strong["p_of"]
    assert strong["least_p"] == pytest.approx(max(21.0**-n, 1e-4))
    # One vector does the same to every prompt: an interval over prompts alone takes that for an
    # effect.
    steady = drawn * 0 + 0.7
    rows = gain_rows({("", 1.0): steady, ("random", 1.0): drawn}, list(range(20)))
    assert pick(rows, metric="gain_above")["ci_low"] > 0
    assert n > 1 or pick(rows, control="", metric="label_logprob_gain")["p"] > 0.05
    assert "p" not in pick(gain_rows({("", 1.0): drawn}, list(range(20))), control="")


@pytest.mark.parametrize("n", [4, 5, 8])
def test_what_few_emotions_allow_stands_beside_the_p(n: int) -> None:
    found = np.random.default_rng(1).normal(size=(n, 12, n)) + 9 * np.eye(n)[:, None, :]
    row = pick(gain_rows({("", 1.0): found}, GROUPS), control="", metric="label_logprob_gain")
    assert (
        row["p"] == row["least_p"] == pytest.approx(max(1 / factorial(n), 1 / 1001 if n > 6 else 0))
    )
    assert row["p_of"] == "emotions dealt to the directions at random"


def test_ten_prompts_of_a_scenario_are_not_ten_times_the_evidence() -> None:
    def rows(times: int) -> list[dict]:
        said = np.repeat(["joy", None, "joy", "fear", "joy", "joy"], times).tolist()
        written = Written(("", 1.0), "joy", None, ("last",), [""] * len(said), {"ear": said})
        return share_rows([written], np.repeat(np.arange(6), times))

    for metric in ("success", "valid"):
        once, often = (pick(rows(times), metric=metric, emotion="joy") for times in (1, 10))
        assert (once["n"], often["n"]) == (6, 60)
        for name in ("value", "ci_low", "ci_high"):
            assert often[name] == pytest.approx(once[name])


def test_gains_are_of_the_own_words_and_of_the_others() -> None:
    random = np.random.default_rng(2)
    found = random.normal(size=(5, 12, 5)) + 3 * np.eye(5)[:, None, :] + 2
    rows = gain_rows({("", 1.0): found, ("random", 1.0): found - 5}, GROUPS)
    own, other = (
        pick(rows, control=control, metric="label_logprob_gain", scale=1.0)
        for control in ("", "other")
    )
    assert pick(rows, metric="gain_above")["value"] == pytest.approx(5.0)
    off = ~np.eye(5, dtype=bool)
    assert own["value"] == pytest.approx(np.mean([found[i, :, i] for i in range(5)]))
    assert other["value"] == pytest.approx(found.mean(axis=1)[off].mean())
    assert own["p"] == pytest.approx(1 / 120)
    assert own["ci_low"] > 4 > own["value"] - 2
    assert pick(rows, control="random")["value"] == pytest.approx(own["value"] - 5)
