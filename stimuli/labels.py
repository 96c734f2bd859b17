"""Emotion labels: which spellings are mistakes, and maps between label schemes.

A user's labels are theirs: any word may be one. A label is refused only when it is almost surely a
slip:
- a *variant*: it differs from another label of the file, from a label of a known scheme, or from
  one named in `emotions=` by capitals, white space, hyphens or Unicode form alone ("Joy ", "joy");
  these can be merged by `normalise_labels`;
- a *misspelling*: it is no word of the lexicon, and is one letter (two, from eight letters on) away
  from a label of a known scheme, or from a label of the file that is at least ten times as
  frequent.
Labels with digits ("emotion_1") are never misspellings, and whatever is named in `emotions=` is
meant as written.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from interp.errors import UsageError
from stimuli.battery import NEUTRAL, Battery
from stimuli.words import emotion_words, lexicon

_RARE = 10
_LONG = 8


@cache
def _schemes() -> dict[str, dict[str, str | None]]:
    return dict(lexicon("schemes"))


def scheme(name: str) -> Mapping[str, str | None]:
    """A label scheme as a map to the eight primaries: peaks, mild, six, goemotions, valence;
    `to_six` maps the other way.

    None says that the scheme's label has no counterpart. Raises `UsageError` for a name that is no
    scheme.
    """
    if name not in _schemes():
        raise UsageError(f"no label scheme {name!r}: expected one of {', '.join(_schemes())}.")
    return dict(_schemes()[name])


@cache
def known_labels() -> frozenset[str]:
    """The labels of all schemes, `neutral` among them."""
    return frozenset(label for table in _schemes().values() for label in table)


def relabel(battery: Battery, mapping: str | Mapping[str, str | None]) -> Battery:
    """The battery under other labels: a scheme's name (`"peaks"`) or a map; the old label stays in
    the field `label`.

    Labels that the map does not mention are kept; those it maps to None are left out with their
    twins, which a warning counts.
    """
    table = scheme(mapping) if isinstance(mapping, str) else mapping
    lost = {i.pair or i.id for i in battery if table.get(i.emotion, i.emotion) is None}
    items = tuple(
        replace(
            item,
            emotion=str(table.get(item.emotion, item.emotion)),
            fields={**item.fields, "label": item.emotion},
        )
        for item in battery
        if (item.pair or item.id) not in lost
    )
    gone = len(battery) - len(items)
    warning = (f"{gone} items have no label in the scheme and were left out",) if gone else ()
    return replace(battery, items=items, warnings=battery.warnings + warning)


def is_label(text: str) -> bool:
    """Whether a text is the name of an emotion in a known scheme or in the lexicon, capitals
    apart.
    """
    plain = plain_label(text)
    return plain in known_labels() or plain in lexicon_words()


def plain_label(label: str) -> str:
    """The form in which variants of a label agree: NFKC, lower case, single blanks for white space,
    hyphen and underscore.
    """
    folded = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(folded.replace("-", " ").replace("_", " ").split())


def slip(
    label: str, counts: Counter[str], declared: Collection[str] = ()
) -> tuple[str, str] | None:
    """Why `label` is taken for a slip: ("variant" or "misspelling", the label that was probably
    meant), or None.

    `counts` are the labels of the whole file with their frequencies, `declared` those that the
    caller named as meant.
    """
    if label in declared:
        return None
    known = {NEUTRAL, *declared, *known_labels()}
    meant = _variant(label, counts, known)
    if meant is not None:
        return "variant", meant
    meant = _misspelt(label, counts, known)
    return None if meant is None else ("misspelling", meant)


def _variant(label: str, counts: Counter[str], known: Iterable[str]) -> str | None:
    if label in known:
        return None
    plain = plain_label(label)
    for other in known:
        if plain_label(other) == plain:
            return other
    alike = [other for other in counts if plain_label(other) == plain]
    best = min(
        alike, key=lambda other: (other != other.strip(), -counts[other], other), default=label
    )
    if best != label:
        return best
    return plain if label != label.strip() else None


def _misspelt(label: str, counts: Counter[str], known: Collection[str]) -> str | None:
    if label in known or any(c.isdigit() for c in label) or len(label) < 3:
        return None
    frequent = [
        other for other in counts if other != label and counts[other] >= _RARE * counts[label]
    ]
    allowed = 2 if len(label) >= _LONG else 1
    near = [
        other
        for other in [*sorted(known), *frequent]
        if 0 < edits(label, other, allowed) <= allowed
    ]
    if not near or plain_label(label) in lexicon_words():
        return None
    return min(near, key=lambda other: (edits(label, other, allowed), -counts[other], other))


@cache
def lexicon_words() -> frozenset[str]:
    """Every emotion word of the lexicon, derived forms too."""
    return frozenset(word for words in emotion_words().values() for word in words)


def edits(a: str, b: str, most: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`; `most` +
    1 when there are more.

    The restricted Damerau-Levenshtein distance.
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return min(last[-1], most + 1)


def nearest(word: str, choices: Iterable[str], most: int = 2) -> str | None:
    """The choice closest to `word` within `most` edits (one, for words under five letters),
    capitals apart.
    """
    allowed = 1 if len(word) < 5 else most
    ranked = sorted(
        (edits(word.casefold(), choice.casefold(), allowed), choice) for choice in choices
    )
    return ranked[0][1] if ranked and ranked[0][0] <= allowed else None


def several(label: str, counts: Collection[str], declared: Collection[str] = ()) -> list[str]:
    """The labels into which a label falls at `, ; / | & +`, all of them known or in the file; none
    where it is one label, or declared as meant.
    """
    parts = [part.strip() for part in re.split(r"[,;/|&+]", label) if part.strip()]
    if len(parts) < 2 or label in declared:
        return []
    return parts if all(part in counts or is_label(part) for part in parts) else []


def did_you_mean(meant: Any) -> str:
    """`; did you mean 'joy'?` to end a sentence with, or its full stop when there is no near
    name.
    """
    return f"; did you mean {meant!r}?" if meant else "."
