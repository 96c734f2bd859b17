"""The gate's rules that look at the texts themselves: one function per rule, each naming the items
at fault.

A `Rule` says what was measured (`value`), what is allowed (`bound`) and where it failed (`detail`,
at most ten places).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from interp.analysis.alike import alike
from interp.analysis.baselines import Lexicons, count_listed, words
from stimuli.battery import NEUTRAL, Battery, Pair, Stimulus
from stimuli.copies import MOST_SHARED

KEYWORD_FREE_ARMS = ("keyword_free", "neutral", "moderate", "strong", "complex_neutral")
"""Arms whose texts name no emotion."""

MOST_LENGTH_DIFFERENCE = 0.10
MOST_COUNT_DIFFERENCE = 1.0
_MOST_PLACES = 10
_SENTENCE = re.compile(r"[^.!?…]*[^.!?…\s][^.!?…]*(?:[.!?…]+|$)")
_NAME = re.compile(r"(?<=[\w,;] )[A-ZÀ-ÖØ-Þ][^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the gate; `bound` is None where the rule only reports, `value` where nothing
    could be measured.
    """

    rule: str
    passed: bool
    value: float | None
    bound: float | None
    detail: str = ""

    def row(self) -> dict[str, Any]:
        """The rule as a row."""
        return asdict(self)


def text_rules(
    battery: Battery,
    *,
    emotion_words: Mapping[str, Sequence[str]],
    lexicons: Lexicons,
    count_tokens: Mapping[str, Callable[[str], int]] | None = None,
) -> list[Rule]:
    """Every rule of this module on `battery`; what the arguments hold is said at
    `interp.analysis.audit.audit`.
    """
    counts = count_tokens or {"words": lambda text: len(words(text))}
    return [
        Rule("ids_unique", True, 0.0, 0.0),  # a Battery cannot be made otherwise
        pairs_complete(battery),
        arms_aligned(battery),
        labels_agree(battery, emotion_words, lexicons.get("everyday_senses", ())),
        duplicates(battery),
        near_duplicates(battery),
        *emotion_word_rules(battery, emotion_words, lexicons.get("everyday_senses", ())),
        *lengths(battery, counts),
        negations(battery, lexicons["negation"]),
        sentences(battery),
        entities(battery),
        tellings(battery),
    ]


def whole_pairs(battery: Battery) -> tuple[list[Pair], list[str]]:
    """The matched twins, and the pair ids that are not one affective and one neutral text."""
    members: dict[str, list[Stimulus]] = defaultdict(list)
    for item in battery:
        if item.pair is not None:
            members[item.pair].append(item)
    pairs, broken = [], []
    for name, items in members.items():
        twins = sorted(items, key=lambda item: item.emotion == NEUTRAL)
        if len(twins) == 2 and twins[0].emotion != NEUTRAL and twins[1].emotion == NEUTRAL:
            pairs.append(Pair(*twins))
        else:
            broken.append(name)
    return pairs, broken


def pairs_complete(battery: Battery) -> Rule:
    """Every pair is one affective and one neutral text."""
    return _counted("pairs_complete", whole_pairs(battery)[1])


def arms_aligned(battery: Battery) -> Rule:
    """Twins share scenario and domain and are told in different arms; every keyword_free item has
    its twin.
    """
    pairs, _ = whole_pairs(battery)
    faults = [
        f"{a.pair}: {a.id} and {n.id}"
        for a, n in pairs
        if a.group != n.group or a.domain != n.domain or a.arm == n.arm or a.text == n.text
    ]
    faults += [
        f"{item.id} has no twin"
        for item in battery
        if item.arm == "keyword_free" and item.pair is None
    ]
    return _counted("arms_aligned", faults)


def labels_agree(
    battery: Battery, emotion_words: Mapping[str, Sequence[str]], everyday: Iterable[str]
) -> Rule:
    """Arm and label say the same; the arms of a scenario agree on its emotion; keyword_rich texts
    name their own emotion.

    A keyword_rich text is at fault when it names feelings of other emotions (words of `everyday`
    name none) and none of its own.
    """
    excused = set(everyday)
    faults = []
    told: dict[str, set[str]] = defaultdict(set)
    for item in battery:
        if item.arm == "keyword_free":
            told[item.group].add(item.emotion)
        if (item.arm in ("neutral", "complex_neutral")) != (
            item.emotion == NEUTRAL
        ) and item.arm != "counter_valence":
            faults.append(f"{item.id}: arm {item.arm}, emotion {item.emotion}")
    for item in battery:
        others = told[item.group]
        if (
            item.arm in ("keyword_rich", "moderate", "strong")
            and others
            and item.emotion not in others
        ):
            faults.append(f"{item.id}: {item.emotion} in a scenario of {', '.join(sorted(others))}")
        elif item.arm == "keyword_rich" and item.emotion in emotion_words:
            own = count_listed(item.text, emotion_words[item.emotion])
            named = {
                name
                for name, listed in emotion_words.items()
                if count_listed(item.text, [*set(listed) - excused])
            }
            if named and not own:
                faults.append(f"{item.id}: {item.emotion}, but it names {', '.join(sorted(named))}")
    return _counted("labels_agree", faults)


def duplicates(battery: Battery) -> Rule:
    """No two items have the same text, up to case, white space and punctuation."""
    seen: dict[str, str] = {}
    faults = []
    for item in battery:
        first = seen.setdefault(" ".join(words(item.text)), item.id)
        if first != item.id:
            faults.append(f"{item.id} repeats {first}")
    return _counted("duplicate_text", faults)


def near_duplicates(battery: Battery) -> Rule:
    """No two texts of different scenarios share more than `MOST_SHARED` of their word triples
    (Jaccard); `value` is the number of such pairs.
    """
    items = battery.items
    triples = CountVectorizer(tokenizer=words, token_pattern=None, ngram_range=(3, 3), binary=True)
    try:
        found = sparse.csr_array(triples.fit_transform([item.text for item in items]))
    except ValueError:  # no text has three words
        return _counted("near_duplicate_text", [])
    n, places = 0, list[str]()
    for pairs in alike(found, [item.group for item in items], above=MOST_SHARED):
        n += len(pairs.one)
        places += [
            f"{items[one].id} and {items[other].id} share {share:.2f}"
            for one, other, share in islice(zip(*pairs, strict=True), _MOST_PLACES - len(places))
        ]
    return Rule("near_duplicate_text", not n, float(n), 0.0, _places(places, n))


def emotion_word_rules(
    battery: Battery, emotion_words: Mapping[str, Sequence[str]], everyday: Iterable[str]
) -> tuple[Rule, Rule]:
    """No emotion word in the keyword-free arms; words of the list `everyday` (a trust fund) are
    reported apart.
    """
    listed = {word for found in emotion_words.values() for word in found}
    excused = set(everyday)
    plain, apart = [], []
    for item in battery:
        if item.arm in KEYWORD_FREE_ARMS:
            hits = sorted(listed & set(words(item.text)))
            plain += [f"{item.id}: {word}" for word in hits if word not in excused]
            apart += [f"{item.id}: {word}" for word in hits if word in excused]
    return _counted("emotion_words", plain), Rule(
        "everyday_senses", True, float(len(apart)), None, _places(apart)
    )


def lengths(battery: Battery, count_tokens: Mapping[str, Callable[[str], int]]) -> list[Rule]:
    """For each way of counting tokens: twins differ by at most 10 % of the longer one."""
    pairs, _ = whole_pairs(battery)
    rules = []
    for name, count in count_tokens.items():
        differences = []
        for affective, neutral in pairs:
            a, n = count(affective.text), count(neutral.text)
            differences.append(abs(a - n) / max(a, n, 1))
        rules.append(_bounded(f"length_{name}", pairs, differences, MOST_LENGTH_DIFFERENCE))
    return rules


def negations(battery: Battery, negation: Sequence[str]) -> Rule:
    """Twins' negation counts differ by at most one."""
    pairs, _ = whole_pairs(battery)
    differences = [
        float(abs(count_listed(a.text, negation) - count_listed(n.text, negation)))
        for a, n in pairs
    ]
    return _bounded("negation_count", pairs, differences, MOST_COUNT_DIFFERENCE)


def sentences(battery: Battery) -> Rule:
    """Twins' sentence counts differ by at most one."""
    pairs, _ = whole_pairs(battery)
    differences = [float(abs(count_sentences(a.text) - count_sentences(n.text))) for a, n in pairs]
    return _bounded("sentence_count", pairs, differences, MOST_COUNT_DIFFERENCE)


def entities(battery: Battery) -> Rule:
    """Twins name the same people and places: capitalised words that do not begin a sentence."""
    faults = []
    for affective, neutral in whole_pairs(battery)[0]:
        odd = names_in(affective.text) ^ names_in(neutral.text)
        # A name may begin a sentence in one twin and stand inside one in the other.
        known = set(words(affective.text)) & set(words(neutral.text))
        if odd := {name for name in odd if name.lower() not in known}:
            faults.append(f"{affective.pair}: {', '.join(sorted(odd))}")
    return _counted("named_entities", faults)


def tellings(battery: Battery) -> Rule:
    """Twins are told in the same person and tense, where the file says which."""
    faults = []
    for affective, neutral in whole_pairs(battery)[0]:
        for name in ("person", "tense"):
            a, n = affective.fields.get(name), neutral.fields.get(name)
            if a != n:
                faults.append(f"{affective.pair}: {name} {a!r} and {n!r}")
    return _counted("person_and_tense", faults)


def count_sentences(text: str) -> int:
    """Stretches that end in a full stop, a question or exclamation mark, an ellipsis, or the end of
    the text.
    """
    return len(_SENTENCE.findall(text))


def names_in(text: str) -> set[str]:
    """Capitalised words inside sentences, the pronoun I left out."""
    return set(_NAME.findall(text))


def _counted(rule: str, faults: list[str]) -> Rule:
    return Rule(rule, not faults, float(len(faults)), 0.0, _places(faults))


def _bounded(rule: str, pairs: list[Pair], differences: list[float], bound: float) -> Rule:
    places = [
        f"{pair.affective.pair}: {d:.2g}"
        for pair, d in zip(pairs, differences, strict=True)
        if d > bound
    ]
    return Rule(rule, not places, float(max(differences, default=0)), bound, _places(places))


def _places(faults: list[str], n: int | None = None) -> str:
    """The first places at fault, and how many of all `n` (as many as are given) there are more."""
    more = (len(faults) if n is None else n) - _MOST_PLACES
    return "; ".join(faults[:_MOST_PLACES]) + (f"; and {more} more" if more > 0 else "")
