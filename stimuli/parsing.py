"""JSON from anywhere: every reading that hides a mistake is refused; text is made safe to print."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from interp.errors import DataError

_LONGEST_NUMBER = 300
_MOST_PARTS = 4_000_000
"""Lists and objects in one piece of JSON: each takes at least 56 bytes of memory for two of
file.
"""

_MEASURED = 1 << 20
"""Characters in which the depth is counted, for the message, once the parser gave up."""

_BLANK = re.compile(r"\s*")


def make_printable(text: str) -> str:
    """The text with what a terminal would obey or hide written as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def parse_json(text: str, place: str, *, depth: int, whole: bool = False) -> Any:
    """JSON with what hides mistakes refused: repeated keys, NaN, and nesting beyond `depth`.

    Raises `DataError` at `place`, which names the file and the line, or the `whole` file alone.
    """
    with _refusing(place, text, depth, whole=whole):
        _check_parts(text)
        value = json.loads(text, **_HOOKS)
        _check_depth(value, depth)
        return value


def parse_list(text: str, place: str, *, depth: int, longest: int) -> Iterator[tuple[int, Any]]:
    """The members of a JSON list, one after the other, each with the line on which it begins.

    Raises as `parse_json`, and `DataError` for a member of over `longest` characters.
    """
    decoder = json.JSONDecoder(**_HOOKS)
    with _refusing(place, text, depth, whole=True):
        _check_parts(text)
        at, line, seen = text.index("[") + 1, 1, 0
        while True:
            start = _skip_blanks(text, at)
            if text[start : start + 1] == "]" and not text[at:start].strip():
                break
            line, seen = line + text.count("\n", seen, start), start
            value, end = decoder.raw_decode(text, start)
            if end - start > longest:
                raise ValueError(f"line {line}: a member of the list has over {longest:,} bytes.")
            _check_depth(value, depth - 1)
            yield line, value
            at = _skip_blanks(text, end)
            if text[at : at + 1] == "]":
                start = at
                break
            if text[at : at + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
            at += 1
        if text[start + 1 :].strip():
            raise json.JSONDecodeError("Extra data", text, start + 1)


def _skip_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


@contextmanager
def _refusing(place: str, text: str, depth: int, *, whole: bool) -> Iterator[None]:
    """What the parser raises, told as a `DataError` that begins with the place."""
    try:
        yield
    except json.JSONDecodeError as error:
        where = f"{place}:{error.colno}"
        if whole or error.lineno > 1:
            where = f"{place}:{error.lineno}:{error.colno}"
        raise DataError(
            f"{where}: not JSON ({error.msg}). JSON lines need one whole object on each line."
        ) from error
    except RecursionError as error:
        found = f"{_depth(text[:_MEASURED])} deep, the limit is {depth}: limits=Limits(depth=...)"
        raise DataError(f"{place}:1: JSON nested {found}.") from error
    except ValueError as error:
        raise DataError(f"{place}:1: {make_printable(str(error))}") from error


def _check_parts(text: str) -> None:
    if (parts := sum(map(text.count, "[{"))) > _MOST_PARTS:
        raise ValueError(f"{parts:,} lists and objects at once: write JSON lines instead.")


def _check_depth(value: Any, most: int) -> None:
    found, level = 0, [value]
    while level := [part for part in level if isinstance(part, list | dict)]:
        found += 1
        inside = (part.values() if isinstance(part, dict) else part for part in level)
        level = [part for parts in inside for part in parts]
    if found > most:
        raise ValueError(
            f"JSON nested {found} deep, the limit is {most}: limits=Limits(depth=...)."
        )


def _depth(text: str) -> int:
    deepest = depth = 0
    inside = escaped = False
    for char in text:
        if inside:
            inside, escaped = (char != '"' or escaped), (char == "\\" and not escaped)
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object; keep one.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value for a stimulus; write null or a number.")


def _short_number(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits is no value for a stimulus.")
    return int(digits)


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _unique,
    "parse_constant": _no_constant,
    "parse_int": _short_number,
}
