"""The hierarchy of emotions: what is planted at one level is found there and at no other."""

import numpy as np
import pytest

import stimuli
from interp.analysis.folds import grouped_folds
from interp.analysis.hierarchy import hierarchy_rows
from interp.analysis.predictions import Predictions
from interp.analysis.probes import cross_validate

EMOTIONS = tuple(sorted({*stimuli.lexicon("hierarchy")} - {"happiness"}))
KNOWN = stimuli.lexicon("hierarchy")
N = 20
"""Scenarios of each emotion."""

Y = np.repeat(EMOTIONS, N)
GROUPS = np.arange(len(Y)).astype(str)
FOLDS = grouped_folds(Y, GROUPS)


def told_of(told_apart: list[str], *, signal: float = 4.0) -> Predictions:
    """A probe of texts whose stream tells these things apart, and nothing else."""
    x = np.random.default_rng(0).normal(size=(len(Y), 12))
    for axis, name in enumerate(sorted(set(told_apart))):
        x[np.array(told_apart) == name, axis] += signal
    return cross_validate(x, Y, GROUPS, folds=FOLDS)


def found(told: Predictions, texts: dict[str, Predictions] | None = None) -> dict[tuple, dict]:
    rows = hierarchy_rows(told, texts or {})
    return {(row["level"], row["metric"], row["control"] or row["target"]): row for row in rows}


@pytest.mark.parametrize(
    ("level", "read"),
    [("valence", (True, False, False)), ("family", (True, True, False)), ("emotion", (True,) * 3)],
)
def test_what_is_planted_is_read_down_to_its_level(level: str, read: tuple[bool, ...]) -> None:
    branch = [one if level == "emotion" else KNOWN[one][level] for one in Y]
    told = found(told_of(branch))
    for below, wanted in zip(("valence", "family", "emotion"), read, strict=True):
        row = told[below, "level_accuracy", ""]
        if wanted:
            assert row["ci_low"] > row["chance"] + 0.2
        else:
            assert row["ci_low"] < row["chance"] < row["ci_high"]


def test_a_probe_that_reads_nothing_reaches_what_dealt_answers_do() -> None:
    for (_, _, _), row in found(told_of([""] * len(Y), signal=0.0)).items():
        assert row["ci_low"] < row["chance"] < row["ci_high"]


def test_levels_are_counted_by_hand() -> None:
    classes = ("anger", "disgust", "fear", "joy")
    probability = np.array([
        [0.3, 0.3, 0.0, 0.4],  # anger: the valence by the sum of three, though joy has most
        [0.1, 0.0, 0.5, 0.4],  # disgust: the valence; not the family; not the emotion
        [0.2, 0.1, 0.6, 0.1],  # fear: the valence and the family; its family has one emotion
        [0.4, 0.3, 0.2, 0.1],  # joy: not the valence; nothing parts below
    ])  # fmt: skip
    n = np.arange(4)
    told = Predictions(
        probability, classes, np.array(classes), n.astype(str), np.zeros(4, dtype=np.int64), n, ()
    )
    rows = found(told)
    value = {level: rows[level, "level_accuracy", ""] for level in ("valence", "family", "emotion")}
    assert {level: (row["value"], row["n"]) for level, row in value.items()} == {
        "valence": (0.75, 4), "family": (pytest.approx(2 / 3), 3), "emotion": (0.5, 2),
    }  # fmt: skip
    assert value["valence"]["chance"] == 0.75  # unpleasant, always, of which there are three
    assert value["family"]["chance"] == pytest.approx((1 / 3) * (2 / 3) + (2 / 3) * (1 / 3))


def test_the_words_stand_beside_the_probe_and_are_paired_with_it() -> None:
    by_family = [KNOWN[one]["family"] for one in Y]
    by_valence = [KNOWN[one]["valence"] for one in Y]
    rows = found(told_of(by_family), {"length": told_of(by_valence)})
    assert rows["family", "level_accuracy", "length"]["value"] < 0.6
    assert rows["family", "above_text", "length"]["ci_low"] > 0.2
    difference = rows["valence", "above_text", "length"]
    assert difference["ci_low"] < 0 < difference["ci_high"]


def test_no_level_is_told_of_an_emotion_that_the_hierarchy_lacks() -> None:
    y = np.where(Y == "joy", "awe", Y)
    x = np.random.default_rng(0).normal(size=(len(y), 4))
    assert found(cross_validate(x, y, GROUPS, folds=FOLDS, probe="lda")) == {}
