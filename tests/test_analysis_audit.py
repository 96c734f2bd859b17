"""The gate passes a clean battery, and names each fault that is planted in it."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from interp.analysis.audit import (
    MOST_AUROC,
    AuditResult,
    audit,
    categorisation_rows,
    closed_class_rule,
    reception_rows,
)
from interp.analysis.text_rules import Rule, names_in, sentences, text_rules
from interp.errors import DataError
from stimuli.battery import Battery, Stimulus

EMOTIONS = ("anger", "fear", "joy", "trust")
EMOTION_WORDS = {
    "anger": ["angry", "anger"],
    "fear": ["afraid", "dread"],
    "joy": ["happy", "glad"],
    "trust": ["trusting", "fund"],
}
LEXICONS = {
    "negation": ["not", "never", "no", "n't"],
    "function_words": ["the", "a", "of", "because", "and", "while"],
    "everyday_senses": ["fund"],
}
SYLLABLES = [
    "ba",
    "ke",
    "li",
    "mo",
    "nu",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
    "da",
    "fe",
    "gi",
    "ho",
    "pu",
]


def clean(n_scenarios: int = 60, seed: int = 0) -> list[Stimulus]:
    """Scenarios of invented words; each twin swaps two words of the common stock for two others."""
    random = np.random.default_rng(seed)
    stock = ["".join(random.choice(SYLLABLES, 3)) for _ in range(60)]
    items = []
    for k in range(n_scenarios):
        emotion, group = EMOTIONS[k % 4], f"s{k}"
        body = [*random.choice(stock, 24), "the", "of", "and"]
        random.shuffle(body)
        arms = {arm: list(body) for arm in ("keyword_free", "neutral", "keyword_rich")}
        for arm, text in arms.items():
            if arm != "keyword_rich":
                for place in random.choice(27, 2, replace=False):
                    if text[place] in stock:
                        text[place] = str(random.choice(stock))
            else:
                text.append(EMOTION_WORDS[emotion][0])
            told = f"Then Mara {' '.join(text[:13])}. Soon {' '.join(text[13:])}."
            label = "neutral" if arm == "neutral" else emotion
            pair = None if arm == "keyword_rich" else group
            fields = {"person": "third", "tense": "past"}
            items.append(
                Stimulus(
                    f"{group}-{arm}", told, label, arm, pair, group, None, f"d{k // 4 % 6}", fields
                )
            )
    return items


def result(items: list[Stimulus], *, seed: int = 0) -> AuditResult:
    return audit(
        Battery("made", tuple(items)), emotion_words=EMOTION_WORDS, lexicons=LEXICONS, seed=seed
    )


def rules_of(items: list[Stimulus]) -> dict[str, Rule]:
    found = text_rules(
        Battery("made", tuple(items)), emotion_words=EMOTION_WORDS, lexicons=LEXICONS
    )
    return {rule.rule: rule for rule in found}


def failed(items: list[Stimulus]) -> dict[str, str]:
    """The rules about texts that do not hold, with what they name."""
    return {name: rule.detail for name, rule in rules_of(items).items() if not rule.passed}


def failed_baselines(items: list[Stimulus]) -> set[str]:
    rows = reception_rows(Battery("made", tuple(items)), lexicons=LEXICONS)
    return {row["baseline"] for row in rows if row["auroc"] > MOST_AUROC}


def change(
    items: list[Stimulus], which: Callable[[Stimulus], bool], edit: Callable[[str], str]
) -> list[Stimulus]:
    return [replace(item, text=edit(item.text)) if which(item) else item for item in items]


def test_a_clean_battery_passes_and_its_baselines_are_listed() -> None:
    found = result(clean())
    assert [rule.rule for rule in found.rules if not rule.passed] == []
    assert found.passed
    names = ["bag_of_words", "tfidf", "char", "negation", "length", "function_words"]
    assert [(row["baseline"], row["task"]) for row in found.baselines] == [
        *((name, "reception") for name in names), *((name, "categorisation") for name in names),
    ]  # fmt: skip
    assert all(row["ci_low"] <= row["auroc"] <= row["ci_high"] for row in found.baselines)
    content = json.loads(json.dumps(found.content(), allow_nan=False))
    assert set(content["gate"]["rules"][0]) == {"rule", "passed", "value", "bound", "detail"}
    assert found.coverage["n"].sum() == 180
    assert found.coverage.query("arm == 'neutral'")["n"].sum() == 60


def test_a_planted_emotion_word_is_named_and_an_everyday_sense_reported_apart() -> None:
    items = change(
        clean(),
        lambda i: i.id == "s7-keyword_free",
        lambda text: text.replace("Soon", "Soon angry"),
    )
    assert failed(items) == {"emotion_words": "s7-keyword_free: angry"}
    items = change(
        clean(), lambda i: i.id == "s7-neutral", lambda text: text.replace("Soon", "Soon fund")
    )
    found = rules_of(items)
    assert found["emotion_words"].passed
    assert found["everyday_senses"].detail == "s7-neutral: fund"
    assert (found["everyday_senses"].passed, found["everyday_senses"].value) == (True, 1.0)


def test_a_length_bias_is_found_by_the_rule_and_by_the_baseline() -> None:
    items = change(
        clean(),
        lambda i: i.arm == "keyword_free",
        lambda text: text.replace(".", " bakeli bakeli.", 1),
    )
    assert failed(items) == {}
    assert "length" in failed_baselines(items)
    items = change(
        items,
        lambda i: i.id == "s3-keyword_free",
        lambda text: text.replace(".", " bakeli bakeli.", 1),
    )
    assert failed(items) == {"length_words": "s3: 0.12"}


def test_own_token_counts_are_used() -> None:
    counts = {"letters": len, "one": lambda text: 1}
    battery = Battery("made", tuple(clean(20)))
    rules = text_rules(battery, emotion_words=EMOTION_WORDS, lexicons=LEXICONS, count_tokens=counts)
    named = {rule.rule: rule for rule in rules if rule.rule.startswith("length_")}
    assert set(named) == {"length_letters", "length_one"}
    assert named["length_one"].value == 0


def test_a_planted_not_is_found_three_times() -> None:
    """One "not" an affective text is within the pair rule's bound, yet both statistics see it; two
    break the pair rule.
    """
    items = change(
        clean(), lambda i: i.arm == "keyword_free", lambda text: text.replace("Soon ", "Soon not ")
    )
    assert failed(items) == {}
    assert "negation" in failed_baselines(items)
    found = closed_class_rule(Battery("b", tuple(items)), lexicons=LEXICONS)
    assert not found.passed
    assert found.detail.startswith("not (AUROC 1.00, p 0.00")
    doubled = change(
        items, lambda i: i.id == "s5-keyword_free", lambda text: text.replace("not ", "not never ")
    )
    assert failed(doubled)["negation_count"] == "s5: 2"


def test_a_function_word_of_the_neutral_twins_is_found_too() -> None:
    items = change(
        clean(),
        lambda i: i.arm == "neutral" and int(i.group[1:]) % 2 == 0,
        lambda t: t.replace("Soon", "Soon while"),
    )
    assert closed_class_rule(Battery("b", tuple(items)), lexicons=LEXICONS).detail.startswith(
        "while (AUROC 0.25"
    )
    assert closed_class_rule(Battery("b", tuple(clean())), lexicons=LEXICONS).passed


def test_duplicates_and_near_duplicates_are_named() -> None:
    items = clean()
    text = items[0].text
    copied = change(items, lambda i: i.id == "s9-keyword_rich", lambda _: text.upper())
    found = failed(copied)
    assert found["duplicate_text"] == "s9-keyword_rich repeats s0-keyword_free"
    near = change(
        items,
        lambda i: i.id == "s9-keyword_rich",
        lambda _: text.replace(text.split()[-1], "kelimo."),
    )
    found = failed(near)
    assert "duplicate_text" not in found
    assert "s0-keyword_free and s9-keyword_rich share 0.9" in found["near_duplicate_text"]


def test_broken_pairs_are_named() -> None:
    items = [item for item in clean() if item.id != "s4-neutral"]
    assert failed(items)["pairs_complete"] == "s4"
    alone = [replace(item, pair=None) if item.group == "s4" else item for item in clean()]
    assert failed(alone)["arms_aligned"] == "s4-keyword_free has no twin"
    apart = [
        replace(item, domain="elsewhere") if item.id == "s4-neutral" else item for item in clean()
    ]
    assert failed(apart)["arms_aligned"] == "s4: s4-keyword_free and s4-neutral"


@pytest.mark.parametrize(
    ("id", "emotion", "detail"),
    [
        ("s2-keyword_rich", "fear", "s2-keyword_rich: fear in a scenario of joy"),
        ("s2-keyword_free", "fear", "s2-keyword_rich: joy in a scenario of fear"),
        ("s2-keyword_rich", "neutral", "s2-keyword_rich: arm keyword_rich, emotion neutral"),
    ],
)
def test_a_wrong_label_is_named(id: str, emotion: str, detail: str) -> None:
    items = [replace(item, emotion=emotion) if item.id == id else item for item in clean()]
    assert detail in failed(items)["labels_agree"]


def test_a_scenario_labelled_wrong_throughout_is_given_away_by_its_own_words() -> None:
    items = [
        replace(item, emotion="fear") if item.group == "s2" and item.emotion == "joy" else item
        for item in clean()
    ]
    assert failed(items) == {"labels_agree": "s2-keyword_rich: fear, but it names joy"}


def test_sentences_names_person_and_tense_of_twins_are_compared() -> None:
    items = change(
        clean(), lambda i: i.id == "s6-neutral", lambda text: text.replace("Mara", "Omar")
    )
    assert failed(items) == {"named_entities": "s6: Mara, Omar"}
    items = change(
        clean(),
        lambda i: i.id == "s6-neutral",
        lambda text: text.replace(" of", ". Of. And", 1).replace(" the", ". The", 1),
    )
    assert failed(items)["sentence_count"] == "s6: 3"
    items = [
        replace(i, fields={"person": "first", "tense": "past"}) if i.id == "s6-neutral" else i
        for i in clean()
    ]
    assert failed(items) == {"person_and_tense": "s6: person 'third' and 'first'"}


def test_names_and_sentences_are_read() -> None:
    assert names_in("Today Mara and I met Omar, Zoë too. Then we left; Éva stayed.") == {
        "Mara",
        "Omar",
        "Zoë",
        "Éva",
    }
    pair = (
        Stimulus("a", "One... two! Three?", "joy", pair="p"),
        Stimulus("n", "One", "neutral", "neutral", pair="p"),
    )
    assert sentences(Battery("b", pair)).value == 2


def test_a_battery_too_small_to_test_fails_and_says_why() -> None:
    found = {rule.rule: rule for rule in result(clean(1)).rules}
    assert not found["baseline_all"].passed
    assert "no number of folds is valid" in found["baseline_all"].detail
    assert found["baseline_all"].value is None
    with pytest.raises(DataError, match="has no items"):
        result([])


def test_few_scenarios_take_fewer_folds() -> None:
    rows = categorisation_rows(Battery("b", tuple(clean(12, seed=3))), lexicons=LEXICONS)
    assert [row["n"] for row in rows] == [12] * 6
    assert all(0 <= row["auroc"] <= 1 for row in rows)


def test_the_audit_repeats_itself() -> None:
    first, again = (result(clean(20), seed=3).content() for _ in range(2))
    assert first == again
