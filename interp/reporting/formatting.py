"""Numbers and strings as a reader meets them: in a figure's labels and on the report's page.

Strings come from batteries and file names, so they may hold anything: what would be invisible or
would turn the line around (control, zero-width and bidirectional characters, lone surrogates) is
written as its code point.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_HOOK = re.compile(r"blocks\.\d+\.(?:attn\.|mlp\.)?hook_(.+)")
_LABEL_LENGTH = 28


def visible(text: str) -> str:
    """`text` with every character that shows nothing, or moves others, as its code point: ⟨U+202E⟩;
    line ends are spaces.
    """
    if text.isascii() and text.isprintable():  # most text is, and pages are long
        return text
    return "".join(_seen(character) for character in text)


def _seen(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in _UNSEEN else character


def label(text: str) -> str:
    """`text` made fit for a figure: visible and at most 28 characters; never one that a legend
    would leave out.
    """
    seen = visible(text)
    short = seen if len(seen) <= _LABEL_LENGTH else f"{seen[: _LABEL_LENGTH - 1]}…"
    return f" {short}" if short.startswith("_") else short


def site_name(text: str) -> str:
    """The short name of a site written in full (`blocks.3.hook_resid_post` gives `resid_post`);
    others stay as they are.
    """
    match = _HOOK.fullmatch(text)
    return match[1] if match else text


def number(value: float) -> str:
    """`value` as printed everywhere: three decimals below 100, none above, `not measured` for
    NaN.
    """
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    return decimals(value, 3 if abs(value) < 100 else 0)


def decimals(value: float, places: int) -> str:
    """`value` with so many decimals, and no minus before a zero."""
    told = f"{value:.{places}f}"
    return told.removeprefix("-") if float(told) == 0 else told


def whole(value: float) -> str:
    """A layer, head, n or other count as printed; other numbers in their shortest form."""
    return "not measured" if math.isnan(value) else f"{value:g}"


def interval(value: float, low: float, high: float) -> str:
    """A value with its interval, `0.912 [0.870, 0.944]`, or said to have none."""
    if math.isnan(value):
        return "not measured"
    if math.isnan(low) or math.isnan(high):
        return f"{number(value)} (no interval)"
    return f"{number(value)} [{number(low)}, {number(high)}]"


def told_number(row: Mapping[str, Any]) -> str:
    """A row's number with its interval; of random draws with their range, which is none."""
    if "draw_low" not in row:
        return interval(row["value"], row["ci_low"], row["ci_high"])
    low, high = (number(row[name]) for name in ("draw_low", "draw_high"))
    return f"{number(row['value'])} (draws {low} to {high})"


def p_value(value: float) -> str:
    """A p value as printed: `p = 0.031`, or `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
