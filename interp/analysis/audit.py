"""The gate that a battery must pass before any probe's score on it means something.

1. Ids, pairs, arms, labels and texts are in order.   2. No emotion word where none may be.
3. Twins are alike in length, negations, sentences, names, person and tense.   4. No text-only
baseline tells the twins apart (AUROC at most .65), no closed-class word does, and nothing in their
form that a reader does not see.   5. What the text alone tells of *which* emotion is reported.
6. So is the coverage.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.analysis.baselines import (
    Lexicons,
    baseline_rows,
    predict_measured,
    predict_texts,
    words,
)
from interp.analysis.folds import Folds, grouped_folds
from interp.analysis.predictions import score
from interp.analysis.stats import auroc, max_t
from interp.analysis.text_rules import Rule, text_rules, whole_pairs
from interp.chance import LEAST_P
from interp.errors import DataError, StatisticsError
from stimuli.battery import Battery, Pair, in_content_order
from stimuli.unseen import TRAITS, unseen_differences

MOST_AUROC = 0.65
"""Largest AUROC at which a text-only baseline may separate keyword_free texts from their neutral
twins.
"""

N_FLIPS = 2000
LEAST_PAIRS = 6
"""A word that differs in fewer pairs cannot be significant: 2 of 2^5 sign patterns are already more
than .05.
"""


@dataclass(frozen=True)
class AuditResult:
    """`rules` are the gate's lines, `baselines` the text-only scores, `coverage` counts items (see
    `coverage`), `lengths` says how long the texts of each arm are (`length_by_arm`).
    """

    battery: str
    rules: tuple[Rule, ...]
    baselines: tuple[Mapping[str, Any], ...]
    coverage: pd.DataFrame
    lengths: pd.DataFrame

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return all(rule.passed for rule in self.rules)

    def content(self) -> dict[str, Any]:
        """What `interp stimuli audit --json` prints."""
        return {
            "gate": {"passed": self.passed, "rules": [rule.row() for rule in self.rules]},
            "baselines": [dict(row) for row in self.baselines],
        }


def audit(
    battery: Battery,
    *,
    emotion_words: Mapping[str, Sequence[str]],
    lexicons: Lexicons,
    count_tokens: Mapping[str, Callable[[str], int]] | None = None,
    seed: int = 0,
) -> AuditResult:
    """Put `battery` through the whole gate.

    `emotion_words` lists the words of each emotion; `lexicons` has `negation`, `function_words`
    and, when wanted, `everyday_senses` (hits reported apart). `count_tokens` names ways to count a
    text's tokens (words, when not given). Raises `DataError` for an empty battery or a missing
    lexicon. A battery too small to be cross-validated fails the baselines' rules and says why.
    """
    if not len(battery):
        raise DataError(f"battery {battery.name!r} has no items: nothing can be audited.")
    rules = text_rules(
        battery, emotion_words=emotion_words, lexicons=lexicons, count_tokens=count_tokens
    )
    found = [
        *reception_rows(battery, lexicons=lexicons, seed=seed),
        *categorisation_rows(battery, lexicons=lexicons, seed=seed),
    ]
    rules += [_baseline_rule(row) for row in found if row["task"] == "reception"]
    rules.append(closed_class_rule(battery, lexicons=lexicons, seed=seed))
    rules.append(unseen_rule(battery, seed=seed))
    return AuditResult(
        battery.name, tuple(rules), tuple(found), coverage(battery), length_by_arm(battery)
    )


def reception_rows(battery: Battery, *, lexicons: Lexicons, seed: int = 0) -> list[dict[str, Any]]:
    """AUROC of every text baseline, keyword_free against neutral, folds by scenario."""
    pairs = _tested_pairs(battery)
    items = [item for pair in pairs for item in pair]
    y = ["affective", "neutral"] * len(pairs)
    return _baselines(
        "reception", [i.text for i in items], y, [[i.group for i in items]], lexicons, seed
    )


def categorisation_rows(
    battery: Battery, *, lexicons: Lexicons, seed: int = 0
) -> list[dict[str, Any]]:
    """Macro one-vs-rest AUROC of every text baseline for which emotion a keyword_free text evokes;
    chance is .5.

    Folds are by domain where every emotion has enough of them, else by scenario.
    """
    items = in_content_order(battery.where(arm="keyword_free").items)
    domains = [i.domain or "" for i in items]
    return _baselines(
        "categorisation",
        [i.text for i in items],
        [i.emotion for i in items],
        [domains, [i.group for i in items]],
        lexicons,
        seed,
    )


def closed_class_rule(battery: Battery, *, lexicons: Lexicons, seed: int = 0) -> Rule:
    """No function word or negation alone tells twins apart: least p over words, by sign flips of
    the paired count differences.

    Corrected for all words at once (max-T). `value` is the least corrected p, `detail` names the
    words below .05 with their own AUROC.
    """
    listed = sorted({*lexicons["function_words"], *lexicons["negation"]})
    pairs = _tested_pairs(battery)
    sides = [_counts([pair[side].text for pair in pairs], listed) for side in (0, 1)]
    differing = np.flatnonzero((sides[0] != sides[1]).sum(axis=0) >= LEAST_PAIRS)
    if len(differing) == 0:
        return Rule("closed_class_words", True, 1.0, LEAST_P)
    difference = (sides[0] - sides[1])[:, differing]
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(N_FLIPS, len(pairs)))
    size = np.sqrt((difference**2).sum(axis=0))
    # Both directions count: a word may give the affective text away or the neutral one.
    p = max_t(np.abs(difference.sum(axis=0)) / size, np.abs(signs @ difference) / size)
    truth = np.repeat([True, False], len(pairs))
    counts = np.concatenate(sides)[:, differing]
    places = [
        f"{listed[differing[k]]} (AUROC {auroc(counts[:, k], truth):.2f}, p {p[k]:.3f})"
        for k in np.argsort(p)
        if p[k] < LEAST_P
    ]
    return Rule("closed_class_words", not places, float(p.min()), LEAST_P, "; ".join(places))


def unseen_rule(battery: Battery, *, seed: int = 0) -> Rule:
    """Form alone does not tell twins apart: no trait of `stimuli.unseen.TRAITS` (blanks and line
    breaks, capitals, quotes, dashes, last marks, Unicode form) differs between the arms, and all of
    them together reach at most `MOST_AUROC`, on the folds of the text baselines.

    `value` is that AUROC, None where nothing can be cross-validated; `detail` names the traits with
    their shares. The length has rules of its own.
    """
    pairs = _tested_pairs(battery)
    affective, neutral = ([pair[side].text for pair in pairs] for side in (0, 1))
    groups = [pair.affective.group for pair in pairs]
    found = unseen_differences(affective, neutral, groups, length=False)
    places = "; ".join(f"{one.trait}: {one}" for one in found)
    y, both = ["affective"] * len(pairs) + ["neutral"] * len(pairs), groups * 2
    try:
        folds, _ = _folds(y, [both], seed)
    except StatisticsError as error:
        return Rule("unseen_form", not found, None, MOST_AUROC, places or str(error))
    measured = np.array(
        [[float(of(text)) for of in TRAITS.values()] for text in (*affective, *neutral)],
    )
    told = score(predict_measured(measured, y, both, folds=folds))
    row = next(row for row in told if row["metric"] == "auroc")
    interval = f"95 % {row['ci_low']:.2f} to {row['ci_high']:.2f}, n {len(y)}"
    passed = not found and row["value"] <= MOST_AUROC
    return Rule("unseen_form", passed, row["value"], MOST_AUROC, places or interval)


def _tested_pairs(battery: Battery) -> list[Pair]:
    """The twins that the statistical rules compare, in the order of their content."""
    return in_content_order(
        pair for pair in whole_pairs(battery)[0] if pair.affective.arm == "keyword_free"
    )


def length_by_arm(battery: Battery) -> pd.DataFrame:
    """Words of the texts of each arm: `median`, and `low` and `high`, between which nine of ten
    lie.
    """
    found: dict[str, list[int]] = {}
    for item in battery:
        found.setdefault(item.arm, []).append(len(words(item.text)))
    parts = {arm: np.quantile(own, [0.05, 0.5, 0.95]) for arm, own in found.items()}
    return pd.DataFrame(
        {"arm": arm, "low": low, "median": median, "high": high, "n": len(found[arm])}
        for arm, (low, median, high) in parts.items()
    )


def coverage(battery: Battery) -> pd.DataFrame:
    """Number of items by arm, emotion, domain, person and tense ("" where the file does not
    say).
    """
    rows = [
        (
            i.arm,
            i.emotion,
            i.domain or "",
            str(i.fields.get("person", "")),
            str(i.fields.get("tense", "")),
        )
        for i in battery
    ]
    columns = ["arm", "emotion", "domain", "person", "tense"]
    return pd.DataFrame(rows, columns=columns).value_counts(sort=False).rename("n").reset_index()


def _baselines(
    task: str,
    texts: list[str],
    y: list[str],
    groupings: list[list[str]],
    lexicons: Lexicons,
    seed: int,
) -> list[dict[str, Any]]:
    try:
        folds, groups = _folds(y, groupings, seed)
    except StatisticsError as error:
        empty = {"auroc": None, "ci_low": None, "ci_high": None, "n": len(y), "detail": str(error)}
        return [{"baseline": "all", "task": task, **empty}]
    rows = baseline_rows(predict_texts(texts, y, groups, folds=folds, lexicons=lexicons))
    return [
        {
            "baseline": row["baseline"], "task": task, "auroc": row["value"],
            "ci_low": row["ci_low"], "ci_high": row["ci_high"], "n": row["n"],
        }
        for row in rows if row["metric"] == "auroc"
    ]  # fmt: skip


def _folds(y: list[str], groupings: list[list[str]], seed: int) -> tuple[Folds, list[str]]:
    """Folds by the first grouping that allows five, else as many as the last one allows."""
    for groups in groupings:
        try:
            return grouped_folds(y, groups, seed=seed), groups
        except StatisticsError:
            continue
    fewest = (
        min(
            len({g for g, label in zip(groupings[-1], y, strict=True) if label == one})
            for one in set(y)
        )
        if y
        else 0
    )
    return grouped_folds(y, groupings[-1], n_splits=max(2, min(5, fewest)), seed=seed), groupings[
        -1
    ]


def _baseline_rule(row: Mapping[str, Any]) -> Rule:
    if row["auroc"] is None:
        return Rule("baseline_all", False, None, MOST_AUROC, row["detail"])
    interval = f"95 % {row['ci_low']:.2f} to {row['ci_high']:.2f}, n {row['n']}"
    return Rule(
        f"baseline_{row['baseline']}",
        row["auroc"] <= MOST_AUROC,
        row["auroc"],
        MOST_AUROC,
        interval,
    )


def _counts(texts: Sequence[str], listed: Sequence[str]) -> Float[np.ndarray, "text word"]:
    place = {word: column for column, word in enumerate(listed)}
    counts = np.zeros((len(texts), len(listed)))
    for row, text in enumerate(texts):
        for word in words(text):
            if word in place:
                counts[row, place[word]] += 1
    return counts
