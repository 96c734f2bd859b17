"""Word lists, the table of primaries, and prompt wordings: data files beside this module, read once
and checked.

Words and prompts stand nowhere else in the project, so that every stage uses the same ones.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from interp.errors import InternalError, UsageError

_HERE = Path(__file__).parent


def lexicon(name: str) -> dict[str, Any]:
    """A word list of `stimuli/lexicons`, without its `about`.

    emotions (emotion -> words), everyday_senses (those of them that often name no feeling), affect
    (words that carry affect without naming an emotion), negations and function_words (class ->
    words), primaries (emotion -> valence, arousal, dominance, place on the wheel), schemes (scheme
    -> map). Raises `UsageError` for any other name.
    """
    content = _read("lexicons", name)
    return {key: deepcopy(value) for key, value in content.items() if key != "about"}


def prompts(name: str) -> dict[str, Any]:
    """A family of prompt wordings of `stimuli/prompts`, with its `purpose`.

    continuations, instructions, openings, system, framings, stress (level -> statements),
    emotional; readout (scheme -> suffix and label words). Raises `UsageError` for an unknown name.
    """
    return deepcopy(_read("prompts", name))


def lexicon_names() -> list[str]:
    """What `lexicon` knows."""
    return _names("lexicons")


def prompt_names() -> list[str]:
    """What `prompts` knows."""
    return _names("prompts")


def emotion_words() -> Mapping[str, Sequence[str]]:
    """Emotion words by primary emotion, derived forms included, each word under one emotion
    only.
    """
    return lexicon("emotions")


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (_HERE / folder).glob("*.json"))


@cache
def _read(folder: str, name: str) -> dict[str, Any]:
    if name not in _names(folder):
        raise UsageError(
            f"no file {name!r} in stimuli/{folder}: expected one of {', '.join(_names(folder))}."
        )
    try:
        content: dict[str, Any] = json.loads(
            (_HERE / folder / f"{name}.json").read_text(encoding="utf-8")
        )
    except ValueError as error:
        raise InternalError(
            f"stimuli/{folder}/{name}.json is damaged ({error}): install the package again."
        ) from error
    return content
