"""Position rules: which tokens of a text an activation is read at, and with what weights they are
pooled.

Positions are absolute: 0 is the first token that the tokenizer made, its own specials (BOS)
included, and padding has none.

| rule | tokens |
|---|---|
| `last` | the last token there is: an end token, a blank, or one that closes a chat turn |
| `last_content` | the last token that belongs to the text and is not only white space |
| `mean_content` | the mean over all tokens that belong to the text |
| `mean_from(k)` | the mean over tokens k, k + 1, ... (the first k tokens are left out) |
| `span(field)` | the mean over the tokens that the item's field marks |
| `role(assistant)` | the mean over the tokens of all turns of that role (user, system, ...) |
| `all` | every token, unpooled |

What the tokenizer or the template adds belongs to no text and no turn. The field of `span` holds
a substring that occurs once, a character range `[start, end]`, a list of such ranges, or a token
range `{"tokens": [start, end]}`; ends are exclusive. Roles need a chat template; under one, a
text is a user turn.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import DataError, UsageError
from interp.models.texts.ends import content_positions

RULES = ("last", "last_content", "mean_content", "mean_from", "span", "role", "all")
"""The names of rules; `mean_from`, `span` and `role` take an argument in parentheses."""

_STORABLE = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_RULE = re.compile(r"(\w+)(?:\(([^()]*)\))?")
_ARGUMENT = ("mean_from", "span", "role")


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """A text as a model sees it: its token ids and the characters `[start, end)` each stands for
    ((0, 0) for specials).

    `turns` are the role and the characters of each turn; there are none where no chat template is
    on.
    """

    id: str
    text: str
    tokens: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    turns: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.offsets):
            raise DataError(
                f"text {self.id!r} has {len(self.tokens)} tokens and {len(self.offsets)} offsets."
            )

    @property
    def content(self) -> Int[np.ndarray, " token"]:
        """Positions of the tokens that belong to the text
        (`interp.models.texts.ends.content_positions`).
        """
        return content_positions(self.text, self.offsets)


@dataclass(frozen=True, slots=True)
class PositionRule:
    """A rule of the module's table; `str` gives back what `parse_position` read."""

    kind: str
    argument: str | int | None = None

    def __str__(self) -> str:
        return self.kind if self.argument is None else f"{self.kind}({self.argument})"

    @property
    def pooled(self) -> bool:
        """Whether a text gives one vector (all rules but `all`)."""
        return self.kind != "all"

    def select(self, text: TokenisedText) -> Int[np.ndarray, " token"]:
        """The positions of `text` that the rule speaks of, ascending; `DataError` names the text
        where there are none.
        """
        length = len(text.tokens)
        if self.kind == "span":
            found = _spanned(text, str(self.argument))
        elif self.kind == "role":
            found = _spoken(text, str(self.argument))
        elif self.kind in ("last_content", "mean_content"):
            found = text.content[-1:] if self.kind == "last_content" else text.content
        else:
            first = {"last": length - 1, "all": 0}.get(self.kind, self.argument)
            found = np.arange(int(first or 0), length, dtype=np.int64)
        if len(found) == 0:
            raise DataError(
                f"position rule {str(self)!r} selects no token of text {text.id!r} ({length} "
                f"tokens: {text.text[:60]!r}): lengthen or drop the text, or choose another rule."
            )
        return found


def parse_position(text: str) -> PositionRule:
    """The rule whose `str` is `text`; raises `UsageError` with the rules there are."""
    match = _RULE.fullmatch(text.strip())
    kind, argument = (match[1], match[2]) if match else ("", None)
    if kind in ("span", "role") and argument and not _STORABLE.fullmatch(argument):
        raise UsageError(
            f"position rule {text!r}: the name in parentheses may have up to 80 letters (a to "
            "z), digits and _ . -, since it names data in the store. Rename the field."
        )
    if kind not in RULES or (argument is None) != (kind not in _ARGUMENT) or argument == "":
        raise UsageError(
            f"unknown position rule {text!r}: write last, last_content, mean_content, "
            "mean_from(20), span(field), role(assistant) or all."
        )
    if kind != "mean_from":
        return PositionRule(kind, argument)
    if not str(argument).isdecimal():
        raise UsageError(
            f"position rule {text!r}: mean_from takes a count of tokens to leave out, such as "
            "mean_from(20)."
        )
    return PositionRule(kind, int(str(argument)))


def pooling_weights(
    selected: Sequence[Int[np.ndarray, " _"]], *, width: int, pads: Sequence[int] | None = None
) -> Float[Tensor, "batch pos"]:
    """Weights that pool a padded batch: 1/n at a text's n selected positions, 0 elsewhere, so that
    rows sum to 1.

    `selected[i]` holds text i's absolute positions, `pads[i]` the number of pads left of it (none
    if `pads` is not given).
    """
    weights = torch.zeros(len(selected), width)
    for row, positions in enumerate(selected):
        shift = pads[row] if pads is not None else 0
        weights[row, torch.from_numpy(positions) + shift] = 1.0 / len(positions)
    return weights


def _spanned(text: TokenisedText, name: str) -> Int[np.ndarray, " token"]:
    if name not in text.fields:
        raise DataError(
            f"text {text.id!r} has no field {name!r} for span({name}); it has "
            f"{', '.join(sorted(text.fields)) or 'none'}."
        )
    value = text.fields[name]
    if isinstance(value, Mapping) and _is_range(value.get("tokens")):
        start, end = value["tokens"]
        if not 0 <= start < end <= len(text.tokens):
            raise DataError(
                f"text {text.id!r}: field {name!r} asks for tokens {start} to {end}, and the "
                f"text has 0 to {len(text.tokens)} (as it was cut, if --truncate was given)."
            )
        return np.arange(start, end, dtype=np.int64)
    return _overlapping(text, _character_ranges(text, name, value))


def _spoken(text: TokenisedText, role: str) -> Int[np.ndarray, " token"]:
    turns = [(start, end) for speaker, start, end in text.turns if speaker == role]
    if not text.turns:
        raise DataError(
            f"text {text.id!r} has no turns for role({role}): the model is given plain texts. "
            "Say --chat-template on (chat_template='on'), or choose another rule."
        )
    if not turns:
        speakers = ", ".join(dict.fromkeys(speaker for speaker, _, _ in text.turns))
        raise DataError(
            f"text {text.id!r} has no turn of the role {role!r} for role({role}); its turns are "
            f"of: {speakers}. Give its messages one, drop it, or choose another rule."
        )
    return _overlapping(text, turns)


def _overlapping(
    text: TokenisedText, ranges: Sequence[tuple[int, int]]
) -> Int[np.ndarray, " token"]:
    """Positions of the tokens that reach into one of the character ranges."""
    overlap = [
        any(a < end and b > start for start, end in ranges) and b > a for a, b in text.offsets
    ]
    return np.flatnonzero(np.array(overlap, dtype=bool)).astype(np.int64)


def _character_ranges(text: TokenisedText, name: str, value: Any) -> list[tuple[int, int]]:
    if isinstance(value, str) and value:
        count = text.text.count(value)
        if count != 1:
            raise DataError(
                f"text {text.id!r}: the span {value!r} of field {name!r} occurs {count} times, "
                "and must occur once."
            )
        return [(text.text.index(value), text.text.index(value) + len(value))]
    ranges = [value] if _is_range(value) else value
    if (
        isinstance(ranges, list | tuple)
        and ranges
        and all(_is_range(r) and 0 <= r[0] < r[1] <= len(text.text) for r in ranges)
    ):
        return [(start, end) for start, end in ranges]
    raise DataError(
        f"text {text.id!r}: field {name!r} is {value!r}, and span({name}) needs a substring, a "
        f"character range [start, end] inside the text (0 to {len(text.text)}), a list of "
        "ranges, or {'tokens': [start, end]}."
    )


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) == 2 and all(type(v) is int for v in value)
    )
