"""Word lists, the table of primaries, and prompt wordings: data files beside this module, read once
and checked.

Words and prompts stand nowhere else in the project, so that every stage uses the same ones.
"""

import csv
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
    words), primaries (emotion -> valence, arousal, dominance, place on the wheel), hierarchy
    (emotion -> its valence and family), schemes (scheme -> map). Raises `UsageError` for any other
    name.
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


def ratings() -> dict[str, dict[str, float]]:
    """How people rated the words of the eight primaries: emotion -> valence, arousal, dominance,
    each the mean on a scale from 1 to 9.

    Source: Warriner, Kuperman & Brysbaert (2013), "Norms of valence, arousal, and dominance for
    13,915 English lemmas", Behavior Research Methods 45, 1191-1207. Eight of its words, each under
    the emotion's own name.
    """
    with (_HERE / "lexicons" / "ratings.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row.pop("emotion"): {name: float(value) for name, value in row.items()} for row in rows}


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
