"""The pairs that a record keeps for a reader: short, of different emotions, the same each time."""

import stimuli
from interp.study.examples import HOW_MANY, LONGEST_SHOWN, examples
from stimuli.battery import Battery, Stimulus

TRIPLES = [
    ("She found the ring that was lost.", "She found the ring that was old.", "joy"),
    ("He won!", "He ran.", "joy"),
    ("The bridge broke under him.", "The bridge lay under him.", "fear"),
    ("She wept at the grave.", "She stood at the gate.", "sadness"),
    ("x" * LONGEST_SHOWN, "y" * LONGEST_SHOWN, "anger"),
]


def test_the_shortest_pair_of_each_of_the_first_emotions_is_kept():
    expected = [
        {
            "emotion": "fear",
            "affective": "The bridge broke under him.",
            "neutral": "The bridge lay under him.",
        },
        {"emotion": "joy", "affective": "He won!", "neutral": "He ran."},
    ]
    assert examples(stimuli.load(TRIPLES)) == expected
    assert examples(stimuli.load(TRIPLES[::-1])) == expected
    assert len(expected) == HOW_MANY


def test_a_battery_without_twins_has_no_example():
    alone = (Stimulus(id="a", text="He won!", emotion="joy", arm="keyword_free"),)
    assert examples(Battery("alone", alone)) == []
