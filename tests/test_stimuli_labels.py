"""A label is refused only when it is a slip; schemes are offered and change nothing unless
asked.
"""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import UsageError
from stimuli import Battery, Stimulus, relabel, scheme
from stimuli.labels import edits, known_labels, slip


def counts(*labels: str) -> Counter[str]:
    return Counter(dict.fromkeys(labels, 20))


@pytest.mark.parametrize(
    "labels",
    [
        (
            "joy",
            "trust",
            "fear",
            "surprise",
            "sadness",
            "disgust",
            "anger",
            "anticipation",
            "neutral",
        ),
        (
            "rage",
            "terror",
            "admiration",
            "grief",
            "ecstasy",
            "loathing",
            "amazement",
            "vigilance",
            "neutral",
        ),
        ("happiness", "sadness", "anger", "fear", "surprise", "disgust"),
        ("happy", "sad", "angry", "afraid", "surprised", "disgusted"),
        ("emotion_1", "emotion_2", "emotion_3"),
        ("A", "B", "C"),
        ("Saudade", "Schadenfreude", "Hygge"),
        ("tristesse", "colère", "peur", "joie", "dégoût"),
        ("喜", "怒", "哀", "楽"),
        ("positive", "negative", "neutral"),
        ("calm", "urgency"),
    ],
)
def test_any_consistent_set_of_labels_is_accepted(labels: tuple[str, ...]) -> None:
    assert {label: slip(label, counts(*labels)) for label in labels} == dict.fromkeys(labels)


@pytest.mark.parametrize(
    ("label", "others", "kind", "meant"),
    [
        ("Joy ", ("joy",), "variant", "joy"),
        ("JOY", (), "variant", "joy"),
        ("Neutral", ("joy",), "variant", "neutral"),
        ("saudade", ("Saudade", "Saudade "), "variant", "Saudade"),
        ("deep_calm", ("deep calm",), "variant", "deep calm"),
        (" hygge", (), "variant", "hygge"),
        ("joi", ("joy",), "misspelling", "joy"),
        ("angre", (), "misspelling", "anger"),
        ("anticipaton", ("joy",), "misspelling", "anticipation"),
        ("netural", ("joy",), "misspelling", "neutral"),
    ],
)
def test_slips_are_named_with_what_was_meant(
    label: str, others: tuple[str, ...], kind: str, meant: str
) -> None:
    seen = counts(*others)
    seen[label] = 1
    assert slip(label, seen) == (kind, meant)
    assert slip(label, seen, declared=[label]) is None


def test_a_label_is_a_misspelling_of_one_in_the_file_only_when_it_is_rare() -> None:
    seen = Counter({"hygge": 40, "hyggo": 2})
    assert slip("hyggo", seen) == ("misspelling", "hygge")
    assert slip("hygge", seen) is None
    assert slip("hyggo", Counter({"hygge": 40, "hyggo": 20})) is None


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_is_a_capped_distance(a: str, b: str) -> None:
    far = edits(a, b, 9)
    assert far == edits(b, a, 9)
    assert (far == 0) == (a == b)
    assert edits(a, b, 1) == min(far, 2)
    assert abs(len(a) - len(b)) <= far <= max(len(a), len(b))


def test_edits_counts_each_kind_once() -> None:
    assert [edits("joy", other, 3) for other in ("joy", "jo", "joyy", "jay", "ojy", "fear")] == [
        0,
        1,
        1,
        1,
        1,
        4,
    ]


def test_schemes_lead_to_the_primaries() -> None:
    primaries = set(scheme("primaries"))
    for name in ("peaks", "mild", "six", "goemotions", "valence"):
        assert {meant for meant in scheme(name).values() if meant} <= primaries
    assert scheme("peaks") == {
        "ecstasy": "joy",
        "admiration": "trust",
        "terror": "fear",
        "amazement": "surprise",
        "grief": "sadness",
        "loathing": "disgust",
        "rage": "anger",
        "vigilance": "anticipation",
        "neutral": "neutral",
    }
    assert {scheme("six")[six]: six for six in scheme("six")} == {
        k: v for k, v in scheme("to_six").items() if v
    }
    assert list(scheme("goemotions"))[:27] == sorted(list(scheme("goemotions"))[:27])
    assert len(scheme("goemotions")) == 28
    assert "neutral" in known_labels()
    with pytest.raises(UsageError, match="peaks"):
        scheme("peak")


def test_relabel_keeps_the_old_label_and_counts_what_has_none() -> None:
    items = [
        Stimulus("a", "One.", "rage", pair="p"),
        Stimulus("b", "Two.", "neutral", arm="neutral", pair="p"),
        Stimulus("c", "Three.", "admiration", pair="q"),
        Stimulus("d", "Four.", "neutral", arm="neutral", pair="q"),
        Stimulus("e", "Five.", "wistful"),
    ]
    primary = relabel(Battery("b", tuple(items)), "peaks")
    assert [i.emotion for i in primary] == ["anger", "neutral", "trust", "neutral", "wistful"]
    assert primary.items[0].fields == {"label": "rage"}
    six = relabel(primary, "to_six")
    assert [i.id for i in six] == ["a", "b", "e"]
    assert six.warnings == ("2 items have no label in the scheme and were left out",)
    assert relabel(primary, {"anger": "ira"}).emotions == ("ira", "trust", "wistful")
