"""Twins side by side: which words of each the other lacks."""

import re
from difflib import SequenceMatcher
from typing import NamedTuple

_PIECES = re.compile(r"\s+|\w+|[^\w\s]")


class Piece(NamedTuple):
    """A stretch of a text; `edited`: its twin lacks it."""

    text: str
    edited: bool


def marked(one: str, other: str) -> tuple[list[Piece], list[Piece]]:
    """The two texts in pieces, whose texts joined are the text again; words, signs and spaces are
    compared whole.
    """
    words = _PIECES.findall(one), _PIECES.findall(other)
    found: tuple[list[Piece], list[Piece]] = ([], [])
    for kind, start, end, begin, stop in SequenceMatcher(
        None, *words, autojunk=False
    ).get_opcodes():
        for pieces, text in (
            (found[0], "".join(words[0][start:end])),
            (found[1], "".join(words[1][begin:stop])),
        ):
            if text:
                pieces.append(Piece(text, kind != "equal"))
    return found
