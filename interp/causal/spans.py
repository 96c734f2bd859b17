"""Spans: which tokens of a text a patch is put at."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from interp.capture.positions import TokenisedText, parse_position
from interp.causal.forward import Encoded
from interp.causal.patches import SpanOf
from interp.models.texts.conversations import prompt_of, text_of
from stimuli.battery import Stimulus

Places = Mapping[str, Int[np.ndarray, " _"]]
"""Positions of a text's tokens, ascending, by the name of the place."""


def places_of(
    item: Stimulus, text: Encoded, positions: Sequence[str], spans: Mapping[str, SpanOf]
) -> Places:
    """The tokens of a stimulus at each of `positions` but for `edit`, which takes two texts.

    Raises `DataError` naming the stimulus for a span that it lacks, or that lies outside its text.
    """
    named = {
        "last": np.array([text.end]),
        "first": np.array([text.first]),
        "all": np.arange(text.first, text.end + 1),
    }
    return {
        one: named[one] if one in named else _marked(item, text, one, spans)
        for one in positions
        if one != "edit"
    }


def check_spans(items: Sequence[Stimulus], positions: Sequence[str]) -> None:
    """Raise `DataError` for the first stimulus whose field marks no span inside its text, as far as
    that can be known without a model: here each character is a token.
    """
    for item in items:
        text = text_of(prompt_of(item.text, item.fields, name=item.id))
        letters = tuple((at, at + 1) for at in range(len(text)))
        for one in positions:
            if one.startswith("span("):
                alike = TokenisedText(item.id, text, (0,) * len(text), letters, item.fields)
                parse_position(one).select(alike)


def _marked(
    item: Stimulus, text: Encoded, position: str, spans: Mapping[str, SpanOf]
) -> Int[np.ndarray, " token"]:
    """The tokens of the text that reach into the span."""
    rule = parse_position(position)
    name = str(rule.argument)
    fields = {**item.fields, name: spans[name](item)} if name in spans else item.fields
    written = text_of(prompt_of(item.text, item.fields, name=item.id))
    offsets = text.spans[: text.end + 1]
    return rule.select(TokenisedText(item.id, written, text.story, offsets, fields))
