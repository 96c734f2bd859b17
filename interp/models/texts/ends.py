"""Where a text ends: which tokens are its own, which is the last, and what may be continued.

Every room asks here, so that all of them mean the same token. A tokenizer may add tokens before a
text (BOS), behind it (EOS), both or neither; a chat template closes the turn; a text may end in
blanks. None of that is content. What is continued never ends in an end token: behind it a model
begins a new text.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from interp.errors import DataError
from interp.models.texts.tokens import Tokens


def content_positions(text: str, spans: Sequence[tuple[int, int]]) -> Int[np.ndarray, " token"]:
    """Positions of the tokens that belong to `text`: not added by tokenizer or template, not only
    white space. `spans` are the characters of `text` that each token covers.
    """
    own = [place for place, (start, end) in enumerate(spans) if text[start:end].strip()]
    return np.array(own, dtype=np.int64)


def last_content(text: str, spans: Sequence[tuple[int, int]], *, name: str) -> int:
    """The position of the last token of `text` itself, whatever follows it in the tokens that
    `spans` speaks of (a readout's suffix, end tokens, blanks).

    Raises `DataError` naming the text where a token reaches from the text into what follows, so
    that no token is its last.
    """
    end = len(text.rstrip())
    own = content_positions(text[:end], spans)
    if not len(own) or spans[own[-1]][1] > len(text):
        raise DataError(
            f"{name}: no token of the text ends before the suffix; put a space before the "
            "suffix, or write the text."
        )
    return int(own[-1])


def refuse_ended(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Sequence[int]],
    ends: Collection[int],
    *,
    names: Sequence[str],
) -> None:
    """Raise `DataError` naming the first row that is to be continued and ends in an end token."""
    for name, row in zip(names, rows, strict=True):
        if len(row) > 1 and row[-1] in ends:  # alone, such a token is the beginning of a text
            token = tokenizer.convert_ids_to_tokens(int(row[-1]))
            raise DataError(
                f"{name} ends in the end token {token!r}, behind which a model begins a new "
                "text, and it is to be continued: take the token out of the text, or choose a "
                "chat template that opens the assistant's turn."
            )


def refuse_unembedded(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Tokens],
    d_vocab: int,
    *,
    names: Sequence[str],
) -> None:
    """Raise `DataError` naming the first text with a token that the model has no embedding for."""
    for name, row in zip(names, rows, strict=True):
        beyond = [token for token in row.ids if token >= d_vocab]
        if beyond:
            token = tokenizer.convert_ids_to_tokens(beyond[0])
            raise DataError(
                f"{name}: the token {token!r} (id {beyond[0]}) is the tokenizer's, and the model "
                f"embeds ids 0..{d_vocab - 1} only: take it out of the text."
            )
