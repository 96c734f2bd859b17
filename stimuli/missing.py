"""Missing values that programs and people write as words: refused where they would count as
data.
"""

from collections.abc import Collection, Mapping
from typing import Any

from stimuli.drafts import Draft

MISSING = frozenset({
    "nan", "null", "n/a", "na", "#n/a", "#na", "<na>", "nil", "nat", "none", "undefined", "empty",
    "-", "--", "---", "–", "—", ".", "?", "(empty)", "<empty>", "(blank)", "<blank>", "(null)",
    "<null>", "(none)", "<none>", "[null]", "[none]", "#value!", "#ref!", "#div/0!", "#name?",
    "#null!", "#num!", "\\n",
})  # fmt: skip
"""In small letters; an empty cell is missing without any word."""

ALSO_TEXTS = (".", "?")
"""Nothing as a label, and yet what people write."""

ALSO_A_LABEL = "none"
"""Written so it may be the name of a class; `None` is Python's word for nothing."""

_FIX = {
    "text": "write the text or drop the row",
    "emotion": "write the label or drop the row, or declare it as meant by naming it in --emotions",
    "pair": "leave the cell empty where a text has no twin",
    "group": "leave the cell empty where a text has no group",
}


def check_missing(draft: Draft, values: Mapping[str, Any], declared: Collection[str] = ()) -> None:
    """Raise `DataError` at the first text, label, pair or group of a row that is such a word."""
    for name, fix in _FIX.items():
        value = values.get(name)
        if not isinstance(value, str) or not is_missing(value):
            continue
        if name == "text" and value.strip() in ALSO_TEXTS:
            continue
        if name == "emotion" and (value == ALSO_A_LABEL or value in declared):
            continue
        draft.fail(name, f"row {values['id']!r}: {name} is {value!r}, a word for nothing: {fix}.")


def is_missing(value: str) -> bool:
    """Whether a value is a word that says that there is none."""
    return len(value) <= 12 and value.strip().casefold() in MISSING
