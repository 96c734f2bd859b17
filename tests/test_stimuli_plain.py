"""The battery `plain`: its crossed composition, the rules its texts keep, and what blind readers
said of them.
"""

import csv
import hashlib
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

import stimuli
from interp.analysis.audit import reception_rows
from interp.analysis.baselines import predict_text
from interp.analysis.folds import grouped_folds
from interp.analysis.predictions import score
from interp.analysis.questions import lexicons
from interp.study.audit import token_counters
from stimuli.battery import Stimulus

EMOTIONS = ("joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
BATTERY = stimuli.load("plain")
ITEMS = {item.id: item for item in BATTERY}
FOLDER = Path(stimuli.__file__).parent
LONGEST_SENTENCE = {"plain-35-surprise": 16}  # in its four versions; 15 elsewhere


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((FOLDER / name).read_text(encoding="utf-8").splitlines()))


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z']+", text)


def of(arm: str) -> list[Stimulus]:
    return [item for item in BATTERY if item.arm == arm]


def test_every_scene_is_told_under_every_emotion_in_every_dose() -> None:
    scenes: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for item in BATTERY:
        if item.arm not in ("complex_neutral", "counter_valence"):
            scenes[item.group][item.arm, item.emotion] += 1
    evoking = [
        (arm, one)
        for arm in ("moderate", "keyword_free", "strong", "keyword_rich")
        for one in EMOTIONS
    ]
    whole = Counter(evoking) + Counter({("neutral", "neutral"): 8})
    assert len(scenes) == 60
    assert all(found == whole for found in scenes.values())
    assert (len(of("complex_neutral")), len(of("counter_valence"))) == (64, 64)
    assert Counter(item.fields["about"] for item in of("counter_valence")) == dict.fromkeys(
        EMOTIONS, 8
    )


def test_person_tense_and_domain_are_the_same_for_every_emotion() -> None:
    told = defaultdict(Counter)
    for item in of("keyword_free"):
        told[item.emotion][item.fields["person"], item.fields["tense"], item.domain] += 1
    assert len({frozenset(found.items()) for found in told.values()}) == 1
    assert len({item.domain for item in of("keyword_free")}) == 8


def test_texts_are_short_and_plain() -> None:
    for item in BATTERY:
        assert 12 <= len(words(item.text)) <= 40, item.id
        most = next((n for name, n in LONGEST_SENTENCE.items() if item.id.startswith(name)), 15)
        assert max(len(words(one)) for one in re.split(r"[.!?]", item.text)) <= most, item.id
        assert item.text.isascii(), item.id


def test_doses_stand_beside_the_twin_of_their_scenario() -> None:
    doses = BATTERY.doses()
    assert {arm: len(pairs) for arm, pairs in doses.items()} == {
        "moderate": 480,
        "keyword_free": 480,
        "strong": 480,
    }
    for pairs in doses.values():
        assert all(
            neutral.id == f"{affective.group}-{affective.emotion}-neutral"
            for affective, neutral in pairs
        )


def test_twins_are_as_long_in_words_and_in_tokens() -> None:
    """The audit's rule of length, by each way to count."""
    for count in token_counters([item.text for item in BATTERY]).values():
        for affective, neutral in BATTERY.pairs():
            lengths = sorted((count(affective.text), count(neutral.text)))
            assert lengths[1] - lengths[0] <= 0.1 * lengths[1], affective.id


def test_words_alone_do_not_tell_twins_apart() -> None:
    found = {row["baseline"]: row["auroc"] for row in reception_rows(BATTERY, lexicons=lexicons())}
    assert max(found.values()) <= 0.60
    assert found["char"] > 0.5  # it is no battery of equal words


def test_neutral_twins_do_not_tell_the_emotion_of_their_scenario() -> None:
    """Which of a scene's eight neutral texts is whose twin was drawn by lot."""
    pairs = BATTERY.pairs()
    emotions, groups = (
        [getattr(pair.affective, what) for pair in pairs] for what in ("emotion", "group")
    )
    folds = grouped_folds(emotions, groups, seed=0)
    for baseline in ("bag_of_words", "char"):
        texts = [pair.neutral.text for pair in pairs]
        told = predict_text(
            texts, emotions, groups, folds=folds, baseline=baseline, lexicons=lexicons()
        )
        (row,) = [row for row in score(told) if row["metric"] == "auroc"]
        assert row["value"] <= 0.58, baseline


@pytest.fixture(scope="module")
def labels() -> list[dict[str, str]]:
    """What readers said of the texts in their last form."""
    now = {item.id: hashlib.sha256(item.text.encode()).hexdigest()[:16] for item in BATTERY}
    return [row for row in rows_of("plain_labels.csv") if row["text_sha256"] == now[row["id"]]]


def intended(row: dict[str, str]) -> str:
    emotion = ITEMS[row["id"]].emotion
    return "none" if emotion == "neutral" else emotion


def test_every_text_was_read_twice_in_its_last_form(labels) -> None:
    readings = Counter(row["id"] for row in labels)
    assert set(readings) == {item.id for item in BATTERY if item.arm in ("keyword_free", "neutral")}
    assert min(readings.values()) >= 2
    assert len({(row["id"], row["reader"]) for row in labels}) == len(labels)


def test_readers_name_the_emotion_and_call_the_twin_ordinary(labels) -> None:
    right = defaultdict(list)
    for row in labels:
        arm = ITEMS[row["id"]].arm
        right[arm].append(row["label"] == intended(row))
        right[arm, "two"].append(intended(row) in (row["label"], row["second"]))
    assert np.mean(right["keyword_free"]) >= 0.85
    assert np.mean(right["keyword_free", "two"]) >= 0.95
    assert np.mean(right["neutral"]) >= 0.85


def test_no_text_is_mistaken_by_most_of_its_readers(labels) -> None:
    said = defaultdict(list)
    for row in labels:
        said[row["id"]].append(row["label"] == intended(row))
    assert [name for name, right in said.items() if np.mean(right) < 0.5] == []


def test_readers_put_the_doses_in_order() -> None:
    rows = rows_of("plain_doses.csv")
    assert len(rows) == 480
    steps = [("moderate", "keyword_free"), ("keyword_free", "strong")]
    for weaker, stronger in steps:
        right = [
            row["weakest_first"].split().index(weaker)
            < row["weakest_first"].split().index(stronger)
            for row in rows
        ]
        assert np.mean(right) >= 0.80


def test_conversations_are_twins_up_to_the_last_turn() -> None:
    pairs = stimuli.load("plain_chat").pairs()
    assert Counter(pair.affective.emotion for pair in pairs) == dict.fromkeys(EMOTIONS, 8)
    for affective, neutral in pairs:
        a, n = affective.fields["messages"], neutral.fields["messages"]
        assert a[:-1] == n[:-1]
        assert [turn["role"] for turn in a] == ["user", "assistant", "user"]
        assert (a[-1]["content"], n[-1]["content"]) == (affective.text, neutral.text)
