"""Sealed JSON: text that carries the digest of its own content, so that a flipped bit is found and
never believed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError
from interp.files import sha256_bytes

LONGEST = 64 << 20
"""The longest line, and the longest run.json, that is parsed at all."""


def seal(content: Mapping[str, Any]) -> str:
    """`content` as one line of JSON that also holds its SHA-256 (no newline at its end)."""
    body = _canonical(content)
    return f'{{"content":{body},"sha256":"{sha256_bytes(body.encode())}"}}'


def unseal(text: str | bytes, *, path: Path) -> dict[str, Any]:
    """The content of a sealed line; raises `ArtefactError` when it is not one, or was changed after
    it was written.
    """
    if len(text) > LONGEST:
        raise ArtefactError(
            f"{path} holds a line of {len(text)} bytes, and none of ours is above {LONGEST}."
        )
    try:
        outer = json.loads(text)
        content, digest = outer["content"], outer["sha256"]
        whole = isinstance(content, dict) and sha256_bytes(_canonical(content).encode()) == digest
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(
            f"{path} holds a line that is not sealed JSON ({error}); it is damaged or not ours."
        ) from error
    if not whole:
        raise ArtefactError(
            f"{path} was changed after it was written: its content does not have the digest it "
            "carries."
        )
    return content


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """The fields in which two nested mappings differ, each as `field: old -> new`."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, prefix=f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {_short(before)} -> {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
