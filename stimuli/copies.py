"""Texts that are one text to a reader, and texts that nearly are, found in time linear in their
number.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

MOST_SHARED = 0.6
"""Share of common word triples (Jaccard) above which two texts count as nearly alike."""

_WORD = re.compile(r"\w+")
_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_WINDOW = 12
_MOST_SHARERS = 5


def squeezed(text: str) -> str:
    """The text up to Unicode form and white space: what is alike in this is one text to a
    reader.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def wording(text: str) -> str:
    """The words of a text in small letters; of a text without any, what it has."""
    if not text.isascii():
        text = _HIDDEN.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(_WORD.findall(text.casefold())) or squeezed(text)


def near_copies(items: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str, float]]:
    """Pairs of (id, text, group) of different groups whose texts share over `MOST_SHARED` of their
    word triples, as (id, id, share).

    Compared are texts of 24 words or more that begin or end with the same twelve words, as a text
    edited in one place does. Words shared by more than five groups are a template and tell nothing.
    """
    sharers: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for place, (_, text, _) in enumerate(items):
        words = wording(text).split()
        if len(words) >= 2 * _WINDOW:
            sharers[True, " ".join(words[:_WINDOW])].append(place)
            sharers[False, " ".join(words[-_WINDOW:])].append(place)
    told = set()
    for places in sharers.values():
        groups = {items[place][2] for place in places}
        if not 1 < len(groups) <= _MOST_SHARERS or len(places) > 4 * _MOST_SHARERS:
            continue
        for one, other in combinations(places, 2):
            apart = items[one][2] != items[other][2] and (one, other) not in told
            if apart and (shared := _shared(items[one][1], items[other][1])) > MOST_SHARED:
                told.add((one, other))
                yield items[one][0], items[other][0], shared


def _shared(one: str, other: str) -> float:
    a, b = _triples(one), _triples(other)
    return len(a & b) / len(a | b)


def _triples(text: str) -> set[tuple[str, ...]]:
    words = wording(text).split()
    return set(zip(words, words[1:], words[2:], strict=False))
