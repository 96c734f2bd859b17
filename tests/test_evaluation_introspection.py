"""Introspection: a model that is only pushed towards words is told apart from one that knows what
was added; and what is asked is what is said to be asked.
"""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from interp.causal.readout import Readout
from interp.errors import StatisticsError, UsageError
from interp.evaluation import introspection
from interp.evaluation.introspection import (
    CHOICES,
    Questions,
    answers,
    introspect,
    questions_of,
    unshifted,
)
from interp.models import load
from interp.reporting.introspection import introspection_controls, introspection_map, said_of
from interp.results import read_table, table
from interp.sites import Site
from interp.testbeds import planted
from stimuli import save
from stimuli.battery import NEUTRAL, Battery, Stimulus
from support import crossed_texts
from support.commands import outcome
from support.given_directions import given

SPEC = planted.SPECS["planted"]
TRUTH = planted.truth(SPEC)
EMOTIONS = ("anger", "fear", "joy", "sadness")
SITES = [Site("resid_post", layer) for layer in (SPEC.neuron_layer, SPEC.neuron_layer + 1)]
WORDS = {one: planted.readout(SPEC)[one] for one in EMOTIONS}
LETTERS = {"A": ["lamp"], "B": ["stone"], "C": ["coat"], "D": ["wall"]}
YES = {"yes": ["river"], "no": ["table"]}
OWN = Questions(
    notice=Readout(YES, ""),
    denied=Readout(YES, " the road"),
    name=Readout(WORDS, ""),
    unrelated=Readout(WORDS, " the road"),
    relabelled=Readout(LETTERS, " near"),
)
PAIRS = planted.stimuli(SPEC, n=6).pairs()
HALVES = [one for one in PAIRS if one.affective.emotion in EMOTIONS]


@cache
def model():
    return load("planted", check=False)


@cache
def candidates():
    def at(site):
        return {
            one: given(TRUTH.direction(one, SITES[0]), site, 5.0, model().provenance)
            for one in EMOTIONS
        }

    return [at(site) for site in SITES[:1]]


def halves():
    return type(PAIRS)(HALVES).split()


@pytest.fixture(scope="module")
def found():
    rows = introspect(model(), halves(), candidates(), OWN, scales=(0.01, 1.0), unit="length")
    return table(rows, n_layers=4)


def value(found, metric, control="", target=""):
    rows = found[(found.half == "report") & (found.metric == metric) & (found.control == control)]
    (row,) = rows[rows.target == target].itertuples()
    return row


def test_a_model_that_is_pushed_names_what_is_added_and_knows_nothing_of_it(found):
    """The planted model writes an emotion's words under its direction, whatever is asked. It has no
    word for noticing, and its letters mean nothing."""
    for target in ("name", "unrelated"):
        assert value(found, "identified", target=target).value == 1
        assert value(found, "identified", "random", target).value < 0.6
    letters = value(found, "identified", target="relabelled")
    assert letters.ci_low < 1 / 4 < letters.ci_high
    assert letters.choices == 4
    assert value(found, "identified_above", target="unrelated").value == 0
    assert value(found, "detected").value == value(found, "detected", "unsteered").value
    assert value(found, "detected_above", target="denied").value == 0
    assert value(found, "identified", "input", "name").value > 0.9
    notices, knows = said_of(found)
    assert "notices an added direction is not found" in notices
    assert "knows which emotion was added is not found" in knows
    assert "gives the emotion in 1.000 [" in knows


def test_words_alone_read_the_input_where_they_can(found):
    """The planted texts share no situation word between scenarios: words alone tell nothing."""
    assert value(found, "text_only", "input").value < 0.7


def aware(model, items, readout, site, added):
    """The answers of a model that knows what is added to it: it says yes, but not that stones swim,
    and it finds the letter that stands for the emotion in this very text.
    """
    steps = np.stack([TRUTH.direction(one, SITES[0]) for one in EMOTIONS])
    scores = np.zeros((len(added), len(items), len(readout.emotions)))
    for arm, vector in enumerate(added):
        along = steps @ vector
        if along.max() < 0.9 * max(np.linalg.norm(vector), 1e-9):
            if readout is OWN.notice or readout is OWN.denied:
                scores[arm, :, 1] = 1.0
            continue
        emotion = EMOTIONS[int(along.argmax())]
        for text, item in enumerate(items):
            if readout is OWN.notice:
                scores[arm, text, 0] = 1.0
            elif readout is OWN.denied:
                scores[arm, text, 1] = 1.0
            elif readout is OWN.name:
                scores[arm, text, readout.emotions.index(emotion)] = 1.0
            elif readout is OWN.relabelled:
                letter = re.search(rf"(\w) is {emotion}", item.fields[CHOICES])[1]
                scores[arm, text, readout.emotions.index(letter)] = 1.0
    return scores


def test_a_model_that_knows_what_is_added_is_found(monkeypatch):
    monkeypatch.setattr(introspection, "answers", aware)
    rows = introspect(model(), halves(), candidates(), OWN, scales=(1.0,), unit="length")
    known = table(rows, n_layers=4)
    assert value(known, "identified", target="relabelled").value == 1
    assert value(known, "detected").value == 1
    for control in ("unsteered", "random"):
        assert value(known, "detected", control).value == 0
    assert value(known, "detected_above", target="denied").value == 1
    assert value(known, "identified_above", target="unrelated").value == 0.75
    notices, knows = said_of(known)
    assert notices.startswith("Adding an emotion's direction makes the model say that it notices")
    assert knows.startswith("It tells which emotion was added by a letter")


def test_letters_are_read_as_what_they_stand_for_in_each_text():
    scores = np.arange(6.0).reshape(1, 2, 3)
    found = unshifted(scores, np.array([0, 1]))
    np.testing.assert_array_equal(found, [[[0, 1, 2], [5, 3, 4]]])


def test_answers_are_the_words_under_the_vector(tiny_model):
    """Against Hugging Face: the vector is added from the text's last token to the question's."""
    tiny = tiny_model("llama")
    readout = Readout({"a": ["dog"], "b": ["cold"]}, " ran home")
    items = [Stimulus("one", "the dog", "neutral"), Stimulus("two", "it was cold in", "neutral")]
    vector = np.random.default_rng(0).normal(size=tiny.dims.d_model)
    site = Site("resid_post", 1)
    found = answers(tiny, items, readout, site, np.stack([0 * vector, vector]))
    hf, tokens = tiny.plain().eval(), readout.bind(tiny).tokens
    for at, item in enumerate(items):
        whole, start = (tiny.tokenize([text])[0] for text in (item.text + " ran home", item.text))

        def push(module, inputs, output, behind=start):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, len(behind) - 1 :] += torch.from_numpy(vector).float()
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = hf.model.layers[1].register_forward_hook(push)
        with torch.no_grad():
            logs = hf(torch.tensor([whole])).logits[0, -1].log_softmax(-1)
        handle.remove()
        expected = [float(logs[list(tokens[one])].logsumexp(0)) for one in ("a", "b")]
        np.testing.assert_allclose(found[1, at], expected, atol=1e-4)
        assert np.abs(found[0, at] - expected).max() > 1e-3
    lacking = pytest.warns(UserWarning, match="for c have no tokens")
    with lacking, pytest.raises(UsageError, match="has no word for c"):
        answers(tiny, items, Readout({"a": ["dog"], "c": ["zzz"]}, ""), site, vector[None])


def test_the_usual_questions_ask_alike_but_for_what_they_control():
    asked = questions_of({"joy": ["glad"], "fear": ["afraid"]})
    assert asked.notice.words == asked.denied.words
    assert asked.name.words == asked.unrelated.words
    assert list(asked.relabelled.words) == ["A", "B"]
    assert "{choices}" in asked.relabelled.suffix
    assert "feeling" not in asked.denied.suffix + asked.unrelated.suffix


def test_what_cannot_be_asked_is_refused():
    one = {"joy": candidates()[0]["joy"]}
    with pytest.raises(StatisticsError, match="give 2 to 26 emotions"):
        introspect(model(), halves(), [one], OWN, scales=(1.0,))
    with pytest.raises(StatisticsError, match="a half has no twins"):
        introspect(model(), (halves()[0], type(PAIRS)()), candidates(), OWN, scales=(1.0,))


def test_the_figures_show_the_table(found):
    controls, maps = introspection_controls(found), introspection_map(found)
    (panel,) = controls.axes
    drawn = {round(float(line.get_xdata()[0]), 6) for line in panel.lines}
    for control in ("", "random", "input"):
        assert round(float(value(found, "identified", control, "name").value), 6) in drawn
    titles = [one.get_title(loc="left") for one in maps.axes if one.images]
    assert titles[-1] == "gives its letter"
    assert {one.images[0].get_clim() for one in maps.axes if one.images} == {(-1.0, 1.0)}
    bars = [one for one in maps.axes if one.get_label() == "<colorbar>"]
    assert {bar.get_ylim() for bar in bars} == {(0.0, 1.0)}
    assert maps.axes[2].images[0].get_array().tolist() == [
        found[(found.half == "choose") & (found.metric == "identified") & (found.target == "name")]
        .query("control == ''")
        .value.tolist()
    ]


def in_few_words(words):
    """Questions in the words that tiny models know."""
    known = {one: [word] for one, word in zip(words, ("dog", "cold", "home"), strict=True)}
    yes = {"yes": ["dog"], "no": ["cold"]}
    return Questions(
        notice=Readout(yes, " she was"),
        denied=Readout(yes, " it was"),
        name=Readout(known, " she was"),
        unrelated=Readout(known, " it was"),
        relabelled=Readout({one[0]: one for one in known.values()}, " she was"),
    )


def with_twins():
    """The crossed battery, each text with a neutral twin."""
    found = []
    for item in crossed_texts.battery():
        text = item.text.partition(" She ")[0]
        found.append(replace(item, pair=item.id))
        found.append(Stimulus(f"{item.id}-n", text, NEUTRAL, NEUTRAL, item.id, item.group))
    return Battery("twins", tuple(found))


def test_the_command_asks_and_says_no_more_than_it_found(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr("interp.study.introspection_trial.questions_of", in_few_words)
    out = tmp_path / "out"
    save(with_twins(), tmp_path / "twins.jsonl")
    given = ("--model", tiny_folder("llama"), "--stimuli", tmp_path / "twins.jsonl")
    given += ("--layers", "1,2", "--n-pairs", 12)
    code, printed = outcome("introspect", *given, "--scales", "1", "--out", out)
    assert code == 0, printed
    assert "is not found" in printed or "cannot be said" in printed
    assert {one.name for one in (out / "figures").iterdir()} == {
        f"introspection_{name}.{kind}" for name in ("map", "controls") for kind in ("svg", "png")
    }
    rows = read_table(out / "tables" / "introspection.csv")
    assert set(rows.half) == {"choose", "report"}
    code, printed = outcome("introspect", *given, "--out", out)
    assert (code, "is there already" in printed) == (4, True)
    code, printed = outcome("introspect", "--model", "planted", "--out", tmp_path / "new")
    assert (code, "knows no questions" in printed) == (2, True)
