"""JSON from anywhere: parsed with every reading that hides a mistake refused, and text made safe to print."""

import json
from collections import Counter
from typing import Any, NoReturn

from interp.errors import DataError

_OPENERS = "[{"
_LONGEST_NUMBER = 300


def printable(text: str) -> str:
    """The text with what a terminal would obey or hide written as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def parse_json(text: str, place: str, *, depth: int) -> Any:
    """JSON with what hides mistakes refused: repeated keys, NaN, and nesting beyond `depth`. Raises `DataError` at `place`."""
    if sum(map(text.count, _OPENERS)) > depth and (found := _depth(text)) > depth:
        raise DataError(f"{place}:1: JSON nested {found} deep, the limit is {depth}: limits=Limits(depth=...).")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_short_number)
    except json.JSONDecodeError as error:
        where = f"{place}:{error.colno}" if error.lineno == 1 else f"{place}:{error.lineno}:{error.colno}"
        raise DataError(f"{where}: not JSON ({error.msg}). JSON lines need one whole object on each line.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}:1: {printable(str(error))}") from error


def _depth(text: str) -> int:
    deepest = depth = 0
    inside = escaped = False
    for char in text:
        if inside:
            inside, escaped = (char != '"' or escaped), (char == "\\" and not escaped)
        elif char == '"':
            inside = True
        elif char in _OPENERS:
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"the key {twice[0]!r} occurs twice in one object; keep one.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value for a stimulus; write null or a number.")


def _short_number(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits is no value for a stimulus.")
    return int(digits)
