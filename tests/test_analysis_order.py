"""The order of rows, the names of ids, pairs and groups, and the file's format change no number."""

import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stimuli
from interp.analysis.audit import audit
from interp.analysis.design import Design
from interp.analysis.directions import separation
from interp.analysis.folds import grouped_folds, transfer_folds
from interp.analysis.site_probes import prepare, probe_rows, text_predictions, text_score_rows
from stimuli import Battery
from stimuli.battery import Pairs, in_content_order
from stimuli.splits import balanced, strangers
from test_analysis_audit import EMOTION_WORDS, LEXICONS, clean

MADE = Battery("made", tuple(clean(16)))
SEEDS = st.integers(0, 10**6)


def shuffled(battery: Battery, seed: int) -> Battery:
    items = list(battery.items)
    random.Random(seed).shuffle(items)
    return replace(battery, items=tuple(items))


def renamed(battery: Battery, seed: int) -> Battery:
    """New ids, pairs, groups and domains, consistently, in another alphabetical order."""
    draw = random.Random(seed)
    names: dict[str, str] = {}

    def name(old: str) -> str:
        return names.setdefault(old, f"{draw.random():.12f}")

    return replace(
        battery,
        items=tuple(
            replace(
                i,
                id=name(f"id {i.id}"),
                pair=i.pair and name(f"pair {i.pair}"),
                group=name(f"group {i.group}"),
                domain=name(f"domain {i.domain}"),
            )
            for i in battery
        ),
    )


def activations(text: str) -> np.ndarray:
    """What a model might hold of a text, a function of the text alone."""
    draw = np.random.default_rng(sum(ord(c) * 7**n for n, c in enumerate(text[-40:])) % 2**32)
    return draw.normal(size=6) + np.array([text.count("ba"), text.count("ke"), 0, 0, 0, 0])


def numbers(battery: Battery) -> list[dict]:
    """What the array half of a study says of a battery: probes, controls, text baselines,
    directions, the audit.
    """
    pairs = in_content_order(
        pair for pair in battery.pairs() if pair.affective.arm == "keyword_free"
    )
    rows: list[dict] = []
    for name, chosen in (("reception", [i for pair in pairs for i in pair]),
                         ("categorisation", [pair.affective for pair in pairs])):  # fmt: skip
        labels = [i.emotion if name == "categorisation" else i.arm for i in chosen]
        task = prepare(name, Design.infer(labels, [i.group for i in chosen]), n_splits=3, n_perm=50)
        rows += probe_rows(np.array([activations(i.text) for i in chosen]), task)[0]
        rows += text_score_rows(
            text_predictions([i.text for i in chosen], task, lexicons=LEXICONS), task
        )
    sides = ([activations(pair[side].text) for pair in pairs] for side in (0, 1))
    rows += separation(*map(np.array, sides), [pair.affective.group for pair in pairs], n_splits=3)
    for part in Pairs(pairs).split():
        rows.append({"half": [pair.affective.text for pair in part]})
    rows.append(
        {
            "some": [pair.affective.text for pair in balanced(pairs, n=9)],
            "strangers": strangers(pairs).tolist(),
        }
    )
    rows += audit(battery, emotion_words=EMOTION_WORDS, lexicons=LEXICONS).content()["baselines"]
    return rows


@cache
def known() -> list[dict]:
    """The numbers of the battery as it was made."""
    return numbers(MADE)


def same(one: list[dict], other: list[dict]) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other), check_exact=True)


@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_a_permutation_of_the_rows_changes_nothing(seed: int) -> None:
    same(numbers(shuffled(MADE, seed)), known())


@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_other_names_change_nothing(seed: int) -> None:
    same(numbers(renamed(MADE, seed)), known())


@pytest.mark.parametrize("name", ["made.csv", "made.jsonl"])
def test_another_format_changes_nothing(tmp_path: Path, name: str) -> None:
    read = stimuli.load(stimuli.save(shuffled(renamed(MADE, 1), 2), tmp_path / name))
    same(numbers(read), known())


def test_the_rules_of_the_audit_keep_their_values() -> None:
    def values(battery: Battery) -> dict[str, float | None]:
        found = audit(battery, emotion_words=EMOTION_WORDS, lexicons=LEXICONS)
        return {rule.rule: rule.value for rule in found.rules}

    assert values(shuffled(renamed(MADE, 3), 4)) == values(MADE)


@given(seed=SEEDS, n=st.integers(6, 30))
@settings(max_examples=30, deadline=None)
def test_folds_do_not_hear_names(seed: int, n: int) -> None:
    draw = random.Random(seed)
    groups = [str(number) for number in range(n) for _ in range(2)]
    other = {name: f"{draw.random():.9f}" for name in dict.fromkeys(groups)}
    named = [other[name] for name in groups]
    y = ["joy", "neutral"] * n
    every = np.ones(2 * n, dtype=bool)
    for make in (
        grouped_folds,
        lambda *a, **k: transfer_folds(*a, source=every, target=every, **k),
    ):
        for one, two in zip(make(y, groups, n_splits=3), make(y, named, n_splits=3), strict=True):
            assert one.test.tolist() == two.test.tolist()
            assert [part[1].tolist() for part in one.inner] == [
                part[1].tolist() for part in two.inner
            ]
