"""What a reader does not see and a tokenizer does: systematic differences between twins in form.

A line break at the end of one arm, a double blank, curved quotes against straight ones: a probe
reads them off the last token, and a bag of words never sees them. Each such *trait* of a text is
tested between twins: the paired difference of a scenario counts as one sign, and the two-sided
exact sign test is corrected for all traits (Bonferroni). A difference is told where it is beyond
chance and large enough to matter.
"""

import math
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MOST_P = 0.05
LEAST_SHARE = 0.1
"""Difference between the arms' shares from which on a trait is told."""

LEAST_AUROC = 0.65
"""The same for a trait that is a number: how well it alone tells the arms apart."""

_OPEN, _CLOSED = "\"'“‘«„‚", "\"'”’»“‘"
_CURVED = re.compile("[“”‘’«»„‚]")
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
_ODD_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_HIDDEN = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SENTENCE_ENDS = ".!?…。！？"


def _ends(text: str, marks: str) -> bool:
    """Whether the last character, closing quotes apart, is one of `marks`."""
    last = text.rstrip().rstrip(_CLOSED)[-1:]
    return last != "" and last in marks


TRAITS: Mapping[str, Callable[[str], float]] = {
    "a blank at the beginning": lambda text: text[:1].isspace(),
    "a blank at the end": lambda text: text[-1:].isspace() and "\n" not in _tail(text),
    "a line break at the end": lambda text: "\n" in _tail(text),
    "a line break inside": lambda text: "\n" in text.strip(),
    "two blanks in a row, or a tab": lambda text: "  " in text.strip() or "\t" in text.strip(),
    "a small letter at the beginning": lambda text: text.lstrip()[:1].islower(),
    "no capital letter at all": lambda text: text == text.lower(),
    "words in capitals": lambda text: bool(_CAPITALS.search(text)),
    "curved quotes": lambda text: not text.isascii() and bool(_CURVED.search(text)),
    "quotes around the whole text": lambda text: _is_enclosed(text.strip()),
    "long dashes": lambda text: "–" in text or "—" in text,
    "hyphens as dashes": lambda text: " - " in text or "--" in text,
    "an ellipsis": lambda text: "…" in text or "..." in text,
    "no full stop at the end": lambda text: not _ends(text, _SENTENCE_ENDS),
    "an exclamation mark at the end": lambda text: _ends(text, "!！"),
    "a question mark at the end": lambda text: _ends(text, "?？"),
    "letters that are not in the Unicode form NFC": lambda text: (
        not text.isascii() and not unicodedata.is_normalized("NFC", text)
    ),
    "blanks that are no plain blanks": lambda text: (
        not text.isascii() and bool(_ODD_BLANK.search(text))
    ),
    "zero-width or direction characters": lambda text: (
        not text.isascii() and bool(_HIDDEN.search(text))
    ),
}
"""Name -> whether a text has it."""

PLAIN_TRAITS = (
    "a blank at the beginning",
    "a blank at the end",
    "a line break at the end",
    "a line break inside",
    "two blanks in a row, or a tab",
    "a small letter at the beginning",
    "no capital letter at all",
    "curved quotes",
    "letters that are not in the Unicode form NFC",
    "blanks that are no plain blanks",
    "zero-width or direction characters",
)
"""Those that no emotion explains: they are compared between labels, too, where there are no
twins.
"""

LENGTH = "length in characters"


@dataclass(frozen=True, slots=True)
class Difference:
    """A trait in which twins differ systematically: the mean over affective and over neutral texts
    (a share; for the length, characters) and the corrected p.
    """

    trait: str
    affective: float
    neutral: float
    p: float

    def __str__(self) -> str:
        if self.trait == LENGTH:
            return f"{self.affective:.1f} against {self.neutral:.1f} (p = {self.p:.1g})"
        return (
            f"{self.affective:.0%} of affective and {self.neutral:.0%} of neutral texts (p = "
            f"{self.p:.1g})"
        )


def unseen_differences(
    affective: Sequence[str], neutral: Sequence[str], groups: Sequence[str], *, length: bool = True
) -> list[Difference]:
    """The traits in which twins differ, the surest first; `groups` are their scenarios, and each
    scenario is one sign of the test. `length` asks for the length in characters too.
    """
    found = []
    traits = {**TRAITS, **({LENGTH: len} if length else {})}
    for trait, of in traits.items():
        a, n = [float(of(text)) for text in affective], [float(of(text)) for text in neutral]
        if a == n:
            continue
        p = min(1.0, len(traits) * sign_test(_signs(a, n, groups)))
        if p < MOST_P and _is_large(trait, a, n):
            found.append(Difference(trait, math.fsum(a) / len(a), math.fsum(n) / len(n), p))
    return sorted(found, key=lambda one: one.p)


def unseen_by_label(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str]
) -> list[tuple[str, str, float, float, float]]:
    """The traits in `PLAIN_TRAITS` that the texts of one label have more or less often than all
    others, as (trait, label, share, share of the others, corrected p), the surest first.

    Fisher's exact test, doubled and corrected for traits and labels; one text per scenario counts.
    """
    first = dict(reversed(list(zip(groups, range(len(texts)), strict=True)))).values()
    label_of = [labels[place] for place in first]
    sizes = Counter(label_of)
    found = []
    for trait in PLAIN_TRAITS:
        having = [TRAITS[trait](texts[place]) for place in first]
        held = Counter(label for label, has in zip(label_of, having, strict=True) if has)
        for label, size in sizes.items():
            rest = len(label_of) - size
            if not rest or not held:
                continue
            share, other = held[label] / size, (held.total() - held[label]) / rest
            if abs(share - other) < LEAST_SHARE:
                continue
            p = fisher_test(held[label], size, held.total(), len(label_of))
            p = min(1.0, p * len(PLAIN_TRAITS) * len(sizes))
            if p < MOST_P:
                found.append((trait, label, share, other, p))
    return sorted(found, key=lambda one: one[-1])


def fisher_test(k: int, size: int, held: int, n: int) -> float:
    """Two-sided p of `k` hits among `size` draws out of `n` of which `held` are hits.

    Twice the smaller tail of the hypergeometric distribution, at most 1.
    """

    def log_choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    def tail(counts: range) -> float:
        logs = (log_choose(held, i) + log_choose(n - held, size - i) for i in counts)
        return math.fsum(math.exp(one - log_choose(n, size)) for one in logs)

    least, most = max(0, size + held - n), min(size, held)
    return min(1.0, 2 * min(tail(range(least, k + 1)), tail(range(k, most + 1))))


def sign_test(signs: Sequence[float]) -> float:
    """Two-sided p that positive and negative `signs` are equally likely; zeros tell nothing.

    Exact: twice the binomial tail of the rarer sign.
    """
    up, down = sum(sign > 0 for sign in signs), sum(sign < 0 for sign in signs)
    n, rarer = up + down, min(up, down)
    if n == 0:
        return 1.0
    log_term, total = -n * math.log(2), 0.0
    for k in range(rarer + 1):
        total += math.exp(log_term)
        log_term += math.log(n - k) - math.log(k + 1) if k < n else 0.0
    return min(1.0, 2 * total)


def _signs(a: Sequence[float], n: Sequence[float], groups: Sequence[str]) -> list[float]:
    total: dict[str, float] = defaultdict(float)
    for one, other, group in zip(a, n, groups, strict=True):
        total[group] += (one > other) - (one < other)
    return list(total.values())


def _is_large(trait: str, a: Sequence[float], n: Sequence[float]) -> bool:
    if trait != LENGTH:
        return abs(math.fsum(a) - math.fsum(n)) >= LEAST_SHARE * len(a)
    ordered = sorted(n)
    won = sum(bisect_left(ordered, x) + bisect_right(ordered, x) for x in a) / 2
    auroc = won / (len(a) * len(n))
    return max(auroc, 1 - auroc) >= LEAST_AUROC


def _tail(text: str) -> str:
    return text[len(text.rstrip()) :]


def _is_enclosed(text: str) -> bool:
    return len(text) > 1 and text[0] in _OPEN and text[-1] in _CLOSED
