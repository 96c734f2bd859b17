"""Pairs as a type, and batteries of what is in memory already."""

import dataclasses

import pandas as pd
import pytest

import stimuli
from interp.errors import DataError, UsageError
from stimuli.battery import Pair, Pairs

TRIPLES = [
    ("she ran from the bear", "she ran to the bear", "fear"),
    ("the bus was late again", "the bus was there again", "anger"),
    ("a shadow moved behind him", "a shadow lay behind him", "fear"),
]


def table() -> pd.DataFrame:
    rows = []
    for number, (affective, neutral, emotion) in enumerate(TRIPLES):
        rows.append({"Text": affective, "emotion": emotion, "pair": f"p{number}", "length": 1.5})
        rows.append({"Text": neutral, "emotion": "neutral", "pair": f"p{number}", "length": None})
    return pd.DataFrame(rows)


class Names:
    """As `datasets.ClassLabel`."""

    names = ("fear", "anger", "neutral")

    def int2str(self, value):
        return self.names[value]


class Dataset:
    """As `datasets.Dataset`: label numbers, whose names stand in the features."""

    def __init__(self):
        self.features = {"text": object(), "label": Names(), "pair": object()}

    def to_pandas(self):
        frame = table().rename(columns={"Text": "text", "emotion": "label"}).drop(columns="length")
        return frame.assign(label=frame["label"].map(Names.names.index))


def told(battery):
    return [(a.text, n.text, a.emotion) for a, n in battery.pairs()]


GIVEN = {"triples": TRIPLES, "table": table(), "dataset": Dataset()}


@pytest.mark.parametrize("source", GIVEN.values(), ids=GIVEN)
def test_the_same_twins_come_of_triples_a_table_and_a_dataset(source, tmp_path):
    battery = stimuli.load(source)
    assert told(battery) == TRIPLES
    assert [item.arm for item in battery] == ["keyword_free", "neutral"] * 3
    saved = stimuli.load(stimuli.save(battery, tmp_path / "saved.jsonl"))
    assert saved.sha256 == battery.sha256
    assert stimuli.load(source, emotions=["anger"]).emotions == ("anger",)


def test_other_columns_are_kept_and_a_missing_value_is_none():
    affective, neutral = stimuli.load(table()).pairs()[0]
    assert (affective.fields["length"], neutral.fields["length"]) == (1.5, None)
    by_hand = table().rename(columns={"Text": "Satz"})
    assert told(stimuli.load(by_hand, columns={"text": "Satz"})) == TRIPLES


def test_a_list_of_messages_survives_a_table():
    talk = [{"role": "user", "content": "she ran from the bear"}]
    frame = table().head(1).drop(columns="pair").assign(messages=[talk])
    assert stimuli.load(frame).items[0].fields["messages"] == talk


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([*TRIPLES, ("one", "two")], DataError, r"pairs:4: expected \(affective text"),
        (["only a text"], DataError, "pairs:1: expected"),
        ([("a text", 3, "joy")], DataError, "pairs:1: expected"),
        ([], DataError, "0 usable texts in pairs"),
        (3.5, UsageError, "stimuli cannot be read from a float"),
        ({"text": "one"}, UsageError, "stimuli cannot be read from a dict"),
        (pd.DataFrame({"text": ["a b"], "emotion": [2]}), DataError, "nothing says what they mean"),
        (pd.DataFrame({"text": ["a b"]}), DataError, "DataFrame:1:1: .*emotion"),
        (
            [("a b", "c d", "jooy"), *[("a b c", "d e", "joy")] * 9],
            DataError,
            "unknown emotion 'jooy'",
        ),
    ],
)
def test_what_holds_no_stimuli_is_refused_by_row(source, error, message, tmp_path, monkeypatch):
    (tmp_path / "labels.txt").write_text("joy\nfear\nanger\n")  # a codebook, of other texts
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        stimuli.load(source)


def test_too_many_rows_are_refused():
    with pytest.raises(DataError, match="DataFrame has more than 2 rows"):
        stimuli.load(table(), limits=stimuli.Limits(rows=2))


def test_pairs_are_a_frozen_sequence_of_pairs():
    pairs = stimuli.load(TRIPLES).pairs()
    assert isinstance(pairs, Pairs)
    assert pairs == tuple(Pair(a, n) for a, n in zip(pairs.affective, pairs.neutral, strict=True))
    assert [item.text for item in pairs.affective] == [affective for affective, _, _ in TRIPLES]
    assert [item.text for item in pairs.neutral] == [neutral for _, neutral, _ in TRIPLES]
    assert pairs.groups == tuple(pair.affective.group for pair in pairs)
    assert len(set(pairs.groups)) == 3
    assert pairs.emotions == ("anger", "fear")
    fear = pairs.of("fear")
    assert fear == (pairs[0], pairs[2])
    assert pairs[::2] == fear
    assert {type(part) for part in (pairs[1:], fear, pairs.of("joy"))} == {Pairs}
    assert pairs.of("joy") == ()
    with pytest.raises(TypeError):
        pairs[0] = pairs[1]


def test_a_notebook_shows_counts_and_two_twins_escaped():
    battery = stimuli.load([("<b>rage</b> & ruin", "plain & calm", "anger"), *TRIPLES])
    shown = dataclasses.replace(battery, name="<i>mine</i>")._repr_html_()
    assert "&lt;i&gt;mine&lt;/i&gt;" in shown
    assert "&lt;b&gt;rage&lt;/b&gt; &amp; ruin" in shown
    assert "<b>" not in shown
    assert "<th>texts</th><td>8</td>" in shown
    assert "<th>twins</th><td>4</td>" in shown
    assert TRIPLES[0][1] in shown
    assert TRIPLES[1][0] not in shown
