"""Looking at one row: types, and characters that a reader cannot see but a tokenizer can.

What no store or encoder can keep (NUL, lone surrogates), and control characters, are errors; what
only deceives the eye (direction marks, zero-width characters, look-alike letters) is a finding.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from stimuli.battery import ARMS
from stimuli.columns import HINTS, OURS, REQUIRED
from stimuli.drafts import Draft, blank
from stimuli.labels import did_you_mean, nearest
from stimuli.missing import check_missing
from stimuli.rows import Ledger

_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
_ZERO_WIDTH = {0x00AD, 0x180E, 0x200B, 0x2060, 0xFEFF, *range(0xE0000, 0xE0080)}
_JOINERS = {0x200C, 0x200D}
_SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?s>|<(?:pad|unk|bos|eos|mask|start_of_turn|end_of_turn)>"
    r"|\[(?:PAD|CLS|SEP|MASK|UNK|INST)\]"
)
_LOOK_ALIKE = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_WORD = re.compile(r"[^\W\d_]+")


def check_types(draft: Draft, *, declared: Collection[str] = ()) -> dict[str, Any]:
    """The draft's values with each of our columns a string or None; whole numbers as ids and the
    like become their digits.

    Raises `DataError` at file:line:column for a missing column, a value of the wrong type, an
    unknown arm, or a missing value that is written as a word; labels in `declared` are meant.
    """
    _check_columns(draft)
    values = dict(draft.values)
    for name in OURS:
        value = blank(values.get(name))
        if name in values:
            values[name] = value
        if value is None or isinstance(value, str):
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if (
            name in REQUIRED
            or name == "arm"
            or not (whole or (name == "intensity" and isinstance(value, float)))
        ):
            draft.fail(name, f"{name} is {value!r}, a {type(value).__name__}; expected a string.")
        values[name] = str(value)
    check_missing(draft, values, declared)
    if _is_number(values["emotion"]):
        draft.fail(
            "emotion",
            f"the emotion is the number {values['emotion']!r}; expected a name, such as 'joy'.",
        )
    if values["arm"] not in ARMS:
        meant = did_you_mean(nearest(values["arm"], ARMS))
        draft.fail(
            "arm", f"unknown arm {values['arm']!r}{meant} Expected one of {', '.join(ARMS)}."
        )
    return values


def _check_columns(draft: Draft) -> None:
    present = list(draft.values)
    for name in (*REQUIRED, *OURS):
        if name in present:
            continue
        strange = [column for column in present if column not in OURS and isinstance(column, str)]
        near = nearest(name, strange)
        if name in REQUIRED:
            near = near or next(
                (column for column in strange if column.casefold() in HINTS[name]), None
            )
            draft.row.fail(
                near,
                f"the column {name!r} is missing{did_you_mean(near)} "
                f"Name it with --columns {name}={near or 'NAME'}. "
                f"Columns here: {', '.join(map(repr, present))}.",
            )
        if near is not None:
            draft.row.fail(
                near,
                f"unknown column {near!r}{did_you_mean(name)} Rename it; other columns may have "
                "any name.",
            )
    for name in ("id", *REQUIRED):
        value = draft.values[name]
        if value is None or (isinstance(value, str) and not _visible(value)):
            draft.fail(
                name,
                f"row {draft.values.get('id')!r} has an empty {name}: write it or drop the row.",
            )


def _visible(text: str) -> bool:
    return any(not char.isspace() and unicodedata.category(char) != "Cf" for char in text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.casefold().strip("+-") not in ("inf", "infinity", "nan")


def check_characters(
    draft: Draft, values: Mapping[str, Any], ledger: Ledger, *, allow_control: bool
) -> None:
    """Raise `DataError` for NUL, lone surrogates and control characters in any string of a row;
    note what deceives the eye.
    """
    for name, text in _strings(values):
        for found in _REFUSED.finditer(text):
            _check_character(draft, name, found, ledger, allow_control=allow_control)
        if not text.isascii():
            _find_hidden(repr(values["id"]), text, ledger)
    for special in dict.fromkeys(_SPECIAL.findall(values["text"])):
        ledger.find(
            "texts that hold a special token's name (a model's tokenizer may refuse it)",
            f"{values['id']!r} {special!r}",
        )


def _strings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        yield name, str(name)
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            yield from ((name, text) for _, text in _strings(value))
        elif isinstance(value, list):
            yield from (
                (name, text) for _, text in _strings({str(i): part for i, part in enumerate(value)})
            )


def _check_character(
    draft: Draft, name: str, found: re.Match[str], ledger: Ledger, *, allow_control: bool
) -> None:
    char, position = found.group(), found.start()
    point = f"U+{ord(char):04X}"
    if char == "\0":
        draft.fail(
            name,
            f"{name} holds NUL ({point}) at character {position}: no store can keep it; remove it.",
        )
    if "\ud800" <= char <= "\udfff":
        draft.fail(
            name,
            f"{name} holds the lone surrogate {point} at character {position}, which no encoding "
            "can write; mend the escape.",
        )
    if not allow_control:
        draft.fail(
            name,
            f"{name} holds the control character {point} at character {position}: remove it, or "
            "pass --allow-control.",
        )
    ledger.find("control characters were let through", f"{draft.values['id']!r} {point}")


def _find_hidden(owner: str, text: str, ledger: Ledger) -> None:
    for position, char in enumerate(text):
        point = ord(char)
        if point in _BIDI:
            ledger.find("direction marks that reorder the text on screen", f"{owner} U+{point:04X}")
        elif point in _ZERO_WIDTH or (
            point in _JOINERS and "a" <= text[max(0, position - 1)].lower() <= "z"
        ):
            ledger.find("zero-width characters", f"{owner} U+{point:04X}")
    for word in _WORD.findall(text):
        strange = [c for c in word if unicodedata.name(c, "").startswith(_LOOK_ALIKE)]
        if strange and any("a" <= c.lower() <= "z" for c in word):
            points = ", ".join(f"U+{ord(c):04X}" for c in strange)
            ledger.find(
                "words that mix Latin with look-alike letters", f"{owner} {word!a} ({points})"
            )


def normalise_newlines(text: str) -> str:
    """CRLF and CR inside a text as LF, so that the same text gives the same tokens from either kind
    of file.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n")
