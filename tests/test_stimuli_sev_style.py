"""The set `sev_style`: complete, free of emotion words, and no gift to a bag of words."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

import stimuli
from stimuli import words as words_module
from stimuli.words import emotion_words

VALENCES = ("positive", "neutral", "negative")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    path = Path(words_module.__file__).parent / "sev_style.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_has_the_shape_of_sev(rows: list[dict]) -> None:
    assert len(rows) >= 80
    assert len({row["theme"] for row in rows}) == 8
    assert all(
        list(row) == ["theme", "scenario", "event", "skeleton_id"]
        and tuple(row["event"]) == VALENCES
        for row in rows
    )
    assert len({row["skeleton_id"] for row in rows}) == len(rows)
    texts = [text for row in rows for text in (row["scenario"], *row["event"].values())]
    assert len(set(texts)) == len(texts) == 4 * len(rows)


def test_it_loads_strictly_as_one_group_a_scenario() -> None:
    battery = stimuli.load("sev_style", strict=True)
    assert "sev_style" in stimuli.names()
    assert battery.emotions == ("negative", "positive")
    assert {len(items) for _, items in battery.split(by="group")} == {3}
    assert [len(items) for _, items in battery.split(by="domain")] == [30] * 8


def test_no_text_names_a_feeling(rows: list[dict]) -> None:
    named = {word for words in emotion_words().values() for word in words} - set(
        stimuli.lexicon("everyday_senses")["words"]
    )
    for row in rows:
        for text in (row["scenario"], *row["event"].values()):
            found = named & set(CountVectorizer(token_pattern=r"[a-z']+").build_analyzer()(text))
            assert not found, (row["skeleton_id"], found)


def test_the_three_events_are_alike_in_length_and_negations(rows: list[dict]) -> None:
    lengths = np.array(
        [[len(row["event"][valence].split()) for valence in VALENCES] for row in rows]
    )
    assert (lengths.max(axis=1) - lengths.min(axis=1)).max() <= 5
    assert np.ptp(lengths.mean(axis=0)) < 1
    negations = stimuli.lexicon("negations")
    negative = {*negations["plain"], *negations["contracted"]}
    counts = [
        sum(
            word.strip(".,:;?") in negative
            for row in rows
            for word in row["event"][v].casefold().split()
        )
        for v in VALENCES
    ]
    assert max(counts) - min(counts) <= 0.1 * len(rows)


@pytest.mark.parametrize("valence", ["positive", "negative"])
def test_a_bag_of_words_tells_little(rows: list[dict], valence: str) -> None:
    def auroc(mark: str) -> float:
        texts = [
            row["event"][kind] + (mark if kind == valence else "")
            for row in rows
            for kind in (valence, "neutral")
        ]
        y, groups = np.tile([1, 0], len(rows)), np.repeat(np.arange(len(rows)), 2)
        model = make_pipeline(
            CountVectorizer(token_pattern=r"[a-z']+"), LogisticRegression(max_iter=1000)
        )
        p = cross_val_predict(
            model, texts, y, groups=groups, cv=GroupKFold(10), method="predict_proba"
        )[:, 1]
        return float(roc_auc_score(y, p))

    assert auroc("") <= 0.67
    assert auroc(" not") > 0.9
