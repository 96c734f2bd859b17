"""A state moves as its equations say, a model is told it and read as Hugging Face's own is, and
what is planted in conversations is found: nothing where no state is told.
"""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
import stimuli
from interp.analysis.dynamics import AffectAxes, StateDynamics, affect_axes
from interp.analysis.released import AT_RANDOM, REREAD
from interp.analysis.turn_rows import (
    FIRST_ORDER,
    MEMORYLESS,
    SECOND_ORDER,
    SHUFFLED_TURNS,
    UNTOLD,
    Stretches,
    TurnReadings,
    turn_rows,
)
from interp.errors import StatisticsError, UsageError
from interp.evaluation.state_dynamics import converse
from interp.evaluation.told_states import TOLD_IN_WORDS, TellingOfStates, ToldStates, states_of
from interp.models.generation import Decoding
from interp.reporting.state_dynamics import (
    adverse_stretch,
    state_trajectories,
    told_of_dynamics,
)
from interp.results import read_table, table
from interp.sites import Site
from interp.study.dynamics_trial import affect_of, scripts_of
from stimuli.battery import NEUTRAL, Stimulus
from support.commands import outcome
from support.given_directions import given
from support.steered_hf import SteeredLlama

STRETCHES = Stretches(4, 6, 8)
EMOTIONS = ("anger", "fear", "joy", "sadness", "trust")


def how(**changes) -> TellingOfStates:
    usual = TellingOfStates(
        first=StateDynamics(retention=0.8),
        second=StateDynamics(retention=0.8, momentum=0.7),
        decoding=Decoding(max_new_tokens=3),
        stretches=STRETCHES,
        unit="length",
    )
    return replace(usual, **changes)


def stepped(turns: int) -> np.ndarray:
    """One conversation, one axis: affect 1 from the first turn on."""
    return np.ones((1, turns, 1))


def test_the_first_order_comes_near_by_an_exponential():
    """The solution of x' = (e - x) / tau at whole times, retention = exp(-1 / tau)."""
    tau = 3.0
    found = StateDynamics(retention=np.exp(-1 / tau)).over(stepped(20))[0, :, 0]
    np.testing.assert_allclose(found, 1 - np.exp(-np.arange(1, 21) / tau))


@pytest.mark.parametrize(("retention", "momentum"), [(0.8, 0.7), (0.5, 0.3), (0.9, 0.1)])
def test_the_second_order_has_the_modes_of_its_equation(retention, momentum):
    """Complex modes swing, r^t (cos wt + c sin wt); real ones do not pass what they come to."""
    found = StateDynamics(retention=retention, momentum=momentum).over(stepped(40))[0, :, 0]
    half, t = (1 + momentum - (1 - retention)) / 2, np.arange(1, 41)
    if half**2 < momentum:
        r = np.sqrt(momentum)
        w = np.arccos(half / r)
        c = (r * np.cos(w) - retention) / (r * np.sin(w))
        left = r**t * (np.cos(w * t) - c * np.sin(w * t))
        assert found.max() == pytest.approx(1 + r ** (np.pi / w), rel=0.05)
    else:
        wide = np.sqrt(half**2 - momentum)
        one, other = half + wide, half - wide
        share = (retention - other) / (one - other)
        left = share * one**t + (1 - share) * other**t
        assert found.max() < 1
    np.testing.assert_allclose(found, 1 - left, atol=1e-12)


def test_without_momentum_it_is_the_first_order_and_each_axis_is_alone():
    affect = np.random.default_rng(0).normal(size=(3, 7, 2))
    found = StateDynamics(retention=0.6).over(affect)
    state = np.zeros((3, 2))
    for turn in range(7):
        state = 0.6 * state + 0.4 * affect[:, turn]
        np.testing.assert_allclose(found[:, turn], state)
    for wrong in ({"retention": 1.0}, {"retention": -0.1}, {"retention": 0.5, "momentum": 1.0}):
        with pytest.raises(UsageError, match="expected 0 or more, and less than 1"):
            StateDynamics(**wrong)


def test_a_state_is_a_mixture_whose_ratings_add_up_to_it():
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    states = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(axes.weights(states) @ axes.ratings, states)
    np.testing.assert_allclose(axes.affect(["joy", NEUTRAL, "mixed"])[1:], 0)
    rated = np.array([stimuli.ratings()[one]["valence"] for one in EMOTIONS])
    assert axes.affect(["joy"])[0, 0] == pytest.approx(rated[2] - rated.mean())
    assert np.isnan(axes.affect([None])).all()
    with pytest.raises(UsageError, match="no ratings of envy"):
        affect_axes(("joy", "envy"), stimuli.ratings())
    with pytest.raises(UsageError, match="3 emotions span fewer axes"):
        affect_axes(EMOTIONS[:3], stimuli.ratings())


def test_what_is_read_of_steps_that_go_with_valence_is_valence():
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    valence, others = axes.ratings[:, 0], np.eye(8)[3:]
    steps = valence[:, None] * np.eye(8)[0] * 2
    np.testing.assert_allclose(axes.readers(steps)[0] @ steps.T, valence)
    noise = np.random.default_rng(0).normal(size=(5, 5))
    noise -= np.outer(valence, valence @ noise) / (valence @ valence)
    np.testing.assert_allclose(axes.readers(steps + noise @ others)[0] @ steps.T, valence)


def planted(*, gain: float, words: float = 0.0, noise: float = 0.1, n: int = 10, seed: int = 0):
    """Conversations whose stream follows the state it is told by `gain`, of which the words of the
    replies carry the share `words`; the turns themselves do as much in all arms.
    """
    draw = np.random.default_rng(seed)
    affect = np.zeros((n, sum(STRETCHES), 1))
    affect[:, STRETCHES.before : STRETCHES.end] = -2.0
    states = states_of(affect, how())
    told = states | {AT_RANDOM: 0 * affect, REREAD: words * states[FIRST_ORDER]}
    read = {
        arm: 3 + affect + gain * x + noise * draw.normal(size=affect.shape)
        for arm, x in told.items()
    }
    heard = {
        arm: affect + 0.5 * gain * x + noise * draw.normal(size=affect.shape)
        for arm, x in told.items()
        if arm != REREAD
    }
    heard[FIRST_ORDER][0, :3] = np.nan
    return TurnReadings(("valence",), STRETCHES, states, read, heard)


def value(found, metric, **columns):
    rows = found[found.metric == metric]
    for name, wanted in columns.items():
        rows = rows[rows[name] == wanted]
    (row,) = rows.itertuples()
    return row


def test_what_was_planted_is_found():
    found = table(turn_rows(planted(gain=1.5)))
    for arm in (FIRST_ORDER, SECOND_ORDER, MEMORYLESS, SHUFFLED_TURNS):
        row = value(found, "follows", arm=arm)
        assert row.ci_low < 1.5 < row.ci_high
        assert row.value == pytest.approx(1.5, abs=0.1)
    assert value(found, "follows", arm=AT_RANDOM).value == pytest.approx(0, abs=0.1)
    assert value(found, "heard_follows", arm=FIRST_ORDER).value == pytest.approx(0.75, abs=0.1)
    assert value(found, "heard_follows", arm=FIRST_ORDER).n == 10
    peak = 2 * (1 - 0.8**6)
    left = 1.5 * peak * (0.8 + 0.8**2 + 0.8**3) / 3
    assert value(found, "carried", arm=FIRST_ORDER).value == pytest.approx(left, abs=0.2)
    assert value(found, "carried_above", target=UNTOLD).value == pytest.approx(left, abs=0.2)
    for offset in range(6):
        kept = value(found, "retained", arm=FIRST_ORDER, target="reading", offset=offset)
        assert kept.value == pytest.approx(0.8**offset, abs=0.07)
    assert value(found, "half_life", arm=FIRST_ORDER, target="state").value == pytest.approx(
        np.log(0.5) / np.log(0.8), abs=0.05
    )
    assert value(found, "half_life", arm=FIRST_ORDER, target="reading").value == pytest.approx(
        3.1, abs=0.5
    )


def test_the_overshoot_is_that_of_the_second_order():
    found = table(turn_rows(planted(gain=1.5)))
    state = found[(found.metric == "state") & (found.arm == SECOND_ORDER)].set_index("turn").value
    row = value(found, "overshoot", arm=SECOND_ORDER)
    assert state[row.turn] == state.max() > 0.2
    assert row.value == pytest.approx(1.5 * state.max(), abs=0.2)
    first = value(found, "overshoot", arm=FIRST_ORDER)
    assert first.turn == row.turn
    assert first.value < 0.05
    assert value(found, "overshoot_above").ci_low > 0


def test_what_is_found_is_said():
    follows, carries, *halves, beyond, heard = told_of_dynamics(table(turn_rows(planted(gain=1.5))))
    assert follows.startswith("The stream follows the state that it is told, more than a random")
    assert "stays displaced in calm turns, more than without a state and more than" in carries
    assert [re.sub(r"\d\.\d", "#", one) for one in halves] == [
        f"Half-life of the shift behind the adverse turns, under the {arm} order: # turns (# to #)"
        "; of the state itself: # turns (# to #)."
        for arm in ("first", "second")
    ]
    assert beyond.startswith("Under the second order the stream passes beyond its calm")
    assert heard.startswith("The replies follow the state, too")


def test_nothing_is_found_where_no_state_acts():
    said = [told_of_dynamics(table(turn_rows(planted(gain=0, seed=seed)))) for seed in range(20)]
    for begin in (0, 1, -1):
        assert sum("is not found" in one[begin] for one in said) >= 18
    metrics = table(turn_rows(planted(gain=0))).metric
    assert metrics[metrics == "retained"].count() == 2 * (1 + STRETCHES.after)  # the states alone


def test_what_the_words_carry_is_told():
    follows, carries, *_ = told_of_dynamics(table(turn_rows(planted(gain=1.5, words=1.0))))
    assert "not told apart from what the words of the replies carry" in follows
    assert "but a control does as much" in carries
    assert "above replies read untold" in carries


def test_few_conversations_decide_nothing():
    for one in told_of_dynamics(table(turn_rows(planted(gain=1.5, noise=0.01, n=3))))[:2]:
        assert "cannot be said" in one
        assert "never below 0.125" in one


def test_turns_without_affect_decide_nothing():
    nothing = planted(gain=1.5)
    quiet = replace(nothing, states={arm: 0 * x for arm, x in nothing.states.items()})
    found = table(turn_rows(quiet))
    assert value(found, "follows", arm=FIRST_ORDER).n == 0
    assert told_of_dynamics(found)[0].startswith("Whether the stream follows the state")
    assert "retained" not in set(found.metric)


def test_the_figures_show_the_arms_and_the_adverse_turns():
    found = table(turn_rows(planted(gain=1.5)))
    state, reading, _ = state_trajectories(found).axes
    arms = [one for one in reading.lines if len(one.get_xdata()) == sum(STRETCHES)]
    assert len(arms) == 7
    assert len([one for one in state.lines if len(one.get_xdata()) == sum(STRETCHES)]) == 5
    (span,) = state.patches
    assert (span.get_x(), span.get_x() + span.get_width()) == (4.5, 10.5)
    follows, carried, kept = adverse_stretch(found).axes
    assert len(follows.get_yticklabels()) == 6
    assert len(carried.get_yticklabels()) == 7
    np.testing.assert_allclose(kept.lines[0].get_ydata()[0], 1.0)


def scripts(*texts: str) -> list[list[Stimulus]]:
    return [[Stimulus(f"{at}", text, NEUTRAL) for at, text in enumerate(texts)]]


def directions_of(model, site, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(EMOTIONS), model.dims.d_model))
    return {
        emotion: given(one / np.linalg.norm(one), site, 2.0, model.provenance)
        for emotion, one in zip(EMOTIONS, vectors, strict=True)
    }


JUDGE = ("last", lambda texts: ["joy" if text else None for text in texts])


@pytest.mark.parametrize("history", [0, 1])
def test_what_is_told_and_read_is_what_hugging_face_holds(tiny_model, history):
    """Written greedily without a cache, steered from the last token of the prompt on."""
    llama = tiny_model("llama")
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    low, high = (directions_of(llama, Site("resid_post", layer), layer) for layer in (0, 1))
    texts = ("the old dog", "she went home and", "it was cold")
    affect = axes.affect(["sadness", "joy", NEUTRAL])[None]
    plan = how(history=history, stretches=Stretches(1, 1, 1), scale=20.0)
    told, rows = converse(llama, scripts(*texts), affect, axes, low, high, JUDGE, plan)
    steps = np.stack([2.0 * one.vector for one in low.values()])
    along = axes.readers(np.stack([2.0 * one.vector for one in high.values()]))
    for arm in (FIRST_ORDER, UNTOLD):
        said = []
        for turn, text in enumerate(texts):
            prompt = " ".join([*said[len(said) - 2 * history :], text] if history else [text])
            (ids,) = llama.tokenize([prompt], open_turn=True)
            state = told.states[arm][0, turn]
            vector = torch.from_numpy(20.0 * axes.weights(state) @ steps).float()
            push = SteeredLlama(llama, vector, range(len(ids) - 1, 1000))
            whole = list(ids)
            for _ in range(3):
                logits, _ = push(whole)
                whole.append(int(logits.argmax()))
            _, held = push(whole)
            expected = (held[len(ids) - 1 : len(ids) + 2] @ along.T).mean(axis=0)
            np.testing.assert_allclose(told.readings[arm][0, turn], expected, atol=1e-4)
            if arm == FIRST_ORDER:
                _, held = SteeredLlama(llama, vector, ())(whole)
                expected = (held[len(ids) - 1 : len(ids) + 2] @ along.T).mean(axis=0)
                np.testing.assert_allclose(told.readings[REREAD][0, turn], expected, atol=1e-4)
            reply = llama.decode(whole[len(ids) :])
            (row,) = (one for one in rows if (one["arm"], one["turn"]) == (arm, turn + 1))
            assert row["text"] == reply
            said += [text, reply.strip()]
    replies = {
        arm: [one["text"] for one in rows if one["arm"] == arm] for arm in (FIRST_ORDER, UNTOLD)
    }
    assert replies[FIRST_ORDER] != replies[UNTOLD]
    np.testing.assert_allclose(told.heard[FIRST_ORDER], np.tile(axes.affect(["joy"]), (1, 3, 1)))


@pytest.mark.filterwarnings("ignore:the vocabulary of")
def test_in_words_the_mood_stands_before_what_the_user_says(chat_model, chat_tokenizer):
    """Nothing is added; what was said before stands in turns, without its moods."""
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    low, high = (directions_of(chat_model, Site("resid_post", layer), layer) for layer in (0, 1))
    texts = ("the old dog", "she went home")
    affect = axes.affect(["sadness", "joy"])[None]
    plan = how(by=TOLD_IN_WORDS, history=3, stretches=Stretches(1, 1, 0))
    told, rows = converse(chat_model, scripts(*texts), affect, axes, low, high, JUDGE, plan)
    said = {(one["arm"], one["turn"]): one["text"].strip() for one in rows}
    along = axes.readers(np.stack([2.0 * one.vector for one in high.values()]))
    moods = ToldStates(axes, low, plan, n=1)
    read = SteeredLlama(chat_model, torch.zeros(chat_model.dims.d_model), ())
    for arm in (SECOND_ORDER, UNTOLD):
        (mood,) = moods.moods({arm: told.states[arm][:, 1], AT_RANDOM: affect[:, 1]})[arm]
        asked = [
            {"role": "user", "content": texts[0]},
            {"role": "assistant", "content": said[arm, 1]},
            {"role": "user", "content": mood + texts[1]},
        ]
        assert mood.startswith("(Your mood now, each from 1 to 9: valence ")
        asked = [one for one in asked if one["content"]]
        ids = chat_tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        whole = [*ids]
        for _ in range(3):
            logits, _ = read(whole)
            whole.append(int(logits.argmax()))
        new = [one for one in whole[len(ids) :] if one not in chat_model.end_tokens]
        _, held = read(whole)
        places = slice(len(ids) - 1, len(ids) - 1 + min(len(new) + 1, 3))
        expected = (held[places] @ along.T).mean(axis=0)
        np.testing.assert_allclose(told.readings[arm][0, 1], expected, atol=1e-4)


def test_a_reader_below_is_refused(tiny_model):
    llama = tiny_model("llama")
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    one = directions_of(llama, Site("resid_post", 1), 0)
    with pytest.raises(UsageError, match="layer 1 is read and layer 1 steered"):
        converse(llama, scripts("the dog"), np.zeros((1, 1, 3)), axes, one, one, JUDGE, how())


def test_planted_holds_the_state_that_it_is_told():
    """Behind its circuit nothing changes what was added: the stream has the state in closed form,
    but for the final rounding; a random one is told as long.
    """
    model = interp.load("planted")
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    low, high = (directions_of(model, Site("resid_post", layer), 7) for layer in (2, 3))
    battery = interp.battery("planted")
    talks = scripts_of(battery, ("fear", "sadness"), Stretches(2, 2, 2), n=2)
    plan = how(history=0, stretches=Stretches(2, 2, 2))
    affect = affect_of(talks, axes, None)
    told, _ = converse(model, talks, affect, axes, low, high, JUDGE, plan)
    steps = np.stack([2.0 * one.vector for one in low.values()])
    for arm in (FIRST_ORDER, SECOND_ORDER, MEMORYLESS):
        expected = axes.weights(told.states[arm]) @ steps @ axes.readers(steps).T
        shift = told.readings[arm] - told.readings[UNTOLD]
        np.testing.assert_allclose(shift, expected, atol=0.05)
    assert np.abs(told.readings[FIRST_ORDER] - told.readings[UNTOLD]).max() > 0.5
    vectors = ToldStates(axes, low, plan, n=2).vectors(
        {FIRST_ORDER: told.states[FIRST_ORDER][:, 3], AT_RANDOM: told.states[FIRST_ORDER][:, 3]}
    )
    sizes = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(sizes[:2], sizes[2:])
    assert abs(vectors[0] @ vectors[2]) < 0.5 * sizes[0] ** 2


def test_a_state_in_words_is_a_sentence_of_its_numbers(tiny_model):
    axes = AffectAxes(("valence", "arousal"), EMOTIONS, np.zeros((5, 2)), np.array([5.0, 5.2]))
    low = directions_of(tiny_model("llama"), Site("resid_post", 0), 0)
    told = ToldStates(axes, low, how(by=TOLD_IN_WORDS), n=1)
    state = np.array([[-1.5, 1.0]])
    now = {FIRST_ORDER: state, UNTOLD: 0 * state, AT_RANDOM: state}
    moods = told.moods(now)
    assert moods[FIRST_ORDER] == ["(Your mood now, each from 1 to 9: valence 3.5, arousal 6.2.) "]
    assert moods[UNTOLD] == ["(Your mood now, each from 1 to 9: valence 5.0, arousal 5.2.) "]
    numbers = [float(one) for one in re.findall(r"\d\.\d", moods[AT_RANDOM][0])]
    assert np.linalg.norm(numbers - axes.middle) == pytest.approx(np.linalg.norm(state), abs=0.1)
    assert moods[AT_RANDOM] != moods[FIRST_ORDER]
    assert not told.vectors(now).any()


def test_conversations_share_no_scenario():
    battery = interp.battery("plain")
    found = scripts_of(battery, ("fear", "anger"), STRETCHES, n=8, seed=1)
    groups = [{item.group for item in one} for one in found]
    assert max(Counter(group for one in groups for group in one).values()) == 1
    for one in found:
        kinds = [item.emotion for item in one]
        assert set(kinds[:4] + kinds[10:]) == {NEUTRAL}
        assert set(kinds[4:10]) <= {"fear", "anger"}
        assert {item.arm for item in one} == {NEUTRAL, "keyword_free"}
    assert found != scripts_of(battery, ("fear", "anger"), STRETCHES, n=8, seed=2)
    with pytest.raises(StatisticsError, match=r"60 scenarios .* and 61 conversations"):
        scripts_of(battery, ("fear",), STRETCHES, n=61)


def test_affect_is_of_the_label_or_of_what_is_heard():
    axes = affect_axes(EMOTIONS, stimuli.ratings())
    talks = scripts("a", "b")
    assert not affect_of(talks, axes, None).any()
    judge = ("hears", lambda texts: ["joy" if one == "a" else None for one in texts])
    np.testing.assert_allclose(affect_of(talks, axes, judge)[0], axes.affect(["joy", NEUTRAL]))


def test_the_command_goes_along(tmp_path):
    out = tmp_path / "out"
    asked = ("dynamics", "--model", "planted", "--no-cache", "--out", out, "--layer", 2)
    for wrong, message in (
        (("--tell", "words"), "knows no English"),
        (("--turns", "3,4"), "give three counts"),
        (("--emotions", "joy,fear"), "2 emotions span fewer axes"),
        (("--adverse", "envy"), "there is no 'envy'"),
        (("--judge", "nobody"), "nobody"),
        (("--read-layer", 2), "layer 2 is read and layer 2 steered"),
        (("--momentum", 1), "momentum is 1.0"),
    ):
        code, told = outcome(*asked, *wrong)
        assert (code, message in told) == (2, True), told
    assert not out.exists()
    few = ("--unit", "length", "--conversations", 5, "--turns", "2,2,3", "--max-new-tokens", 2)
    more = ("--history", 0, "--adverse", "fear", "--judge", "lexicon", "--retention", 0.5)
    code, told = outcome(*asked, *few, *more)
    assert code == 0, told
    assert "The stream follows the state that it is told, more than a random one" in told
    rows = read_table(out / "tables" / "dynamics.csv")
    slope = value(rows[rows.axis == "valence"], "follows", arm=FIRST_ORDER)
    assert slope.value == pytest.approx(1, abs=0.2)
    replies = read_table(out / "tables" / "replies.csv")
    assert len(replies) == 6 * 5 * 7
    assert set(replies[replies.turn.between(3, 4)].emotion) == {"fear"}
    assert set(replies.judge) == {"lexicon"}
    assert (out / "figures" / "state_trajectories.svg").exists()
    heard = ("--affect", "judge", "--judge", "lexicon", "--conversations", 2, "--turns", "1,1,1")
    other = (*asked[:4], "--out", tmp_path / "heard", "--layer", 2, "--max-new-tokens", 1)
    code, told = outcome(*other, "--history", 0, *heard)
    assert code == 0, told
    assert told.startswith("Whether the stream follows the state that it is told cannot be said")
    rows = read_table(tmp_path / "heard" / "tables" / "dynamics.csv")
    assert (rows[rows.metric == "state"].value == 0).all()  # no word of these texts names a feeling
    assert (out / "figures" / "adverse_stretch.png").exists()
