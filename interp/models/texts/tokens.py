"""Texts to token ids and ids to padded batches, with nothing cut, added or masked behind the
caller's back.

The tokenizer adds its own special tokens (a BOS, where it has one) once. Masks come from lengths,
never from comparing ids with a padding id: many tokenizers have none, and in others it is an
ordinary token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from interp.errors import ArtefactError, DataError, UsageError


@dataclass(frozen=True)
class Batch:
    """Token ids padded to one length. `mask` is True on real tokens; `lengths` counts them in each
    row.

    Raises `UsageError` when ids, mask, lengths and side do not agree.
    """

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    lengths: tuple[int, ...]
    side: str = "right"

    def __post_init__(self) -> None:
        if self.ids.shape != self.mask.shape or not torch.equal(
            self.mask, mask_of(self.lengths, self.ids.shape[1], self.side)
        ):
            raise UsageError(
                f"a batch of shape {tuple(self.ids.shape)} does not agree with its mask and "
                f"lengths {self.lengths}."
            )

    @property
    def pads(self) -> Int[Tensor, " batch"]:
        """How many padding tokens stand before each row's text: the absolute position of column c
        is c - pads.
        """
        if self.side == "right":
            return torch.zeros(len(self.lengths), dtype=torch.long)
        return self.ids.shape[1] - torch.tensor(self.lengths)

    @property
    def last(self) -> Int[Tensor, " batch"]:
        """The column of each row's last real token."""
        return self.pads + torch.tensor(self.lengths) - 1


def mask_of(lengths: Sequence[int], width: int, side: str) -> Bool[Tensor, "batch pos"]:
    """True on the first (`right` padding) or last (`left`) `lengths[row]` of `width` columns."""
    column, count = torch.arange(width), torch.tensor(list(lengths)).unsqueeze(1)
    return column < count if side == "right" else column >= width - count


def pad_rows(rows: Sequence[Sequence[int]], *, side: str, filler: int, d_vocab: int) -> Batch:
    """`rows` as one batch, padded with the id `filler`, which nobody reads.

    Raises `UsageError` for no rows, an empty row, or an id outside the vocabulary.
    """
    if side not in ("left", "right"):
        raise UsageError(f"padding side {side!r}: expected 'left' or 'right'.")
    if not rows or not all(len(row) for row in rows):
        raise UsageError("cannot pad: there is no row, or a row has no token.")
    largest, smallest = max(max(row) for row in rows), min(min(row) for row in rows)
    if smallest < 0 or largest >= d_vocab:
        raise UsageError(
            f"token ids run from {smallest} to {largest}: the model's vocabulary has ids "
            f"0..{d_vocab - 1}."
        )
    lengths = tuple(len(row) for row in rows)
    width = max(lengths)
    ids = torch.full((len(rows), width), filler, dtype=torch.long)
    for place, row in enumerate(rows):
        start = 0 if side == "right" else width - len(row)
        ids[place, start : start + len(row)] = torch.tensor(list(row), dtype=torch.long)
    return Batch(ids, mask_of(lengths, width, side), lengths, side)


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text's token ids and, for each, the characters it covers ((0, 0) for tokens that the
    tokenizer added).
    """

    ids: list[int]
    spans: list[tuple[int, int]]


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    names: Sequence[str],
    allow_special: bool,
) -> list[Tokens]:
    """`texts` as the tokenizer writes them, uncut; `names` (the items' ids) are for the messages.

    Raises `DataError` for a text that holds a special token (unless `allow_special`), has no token
    of its own, or ends up with its first special token doubled; `ArtefactError` for a tokenizer
    that cannot say which characters a token covers.
    """
    require_offsets(tokenizer)
    if not allow_special:
        refuse_special(tokenizer, texts, names)
    if not texts:
        return []
    encoded = run_tokenizer(tokenizer, texts, names=names)
    added = tokenizer.num_special_tokens_to_add()
    found = []
    for name, ids, spans in zip(
        names, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        if len(ids) <= added:
            raise DataError(
                f"{name}: the text has no token once special tokens are set aside: write it, or "
                "drop the row."
            )
        if added:
            refuse_doubled(tokenizer, ids, name, writer="the tokenizer adds one itself")
        found.append(Tokens(list(ids), [(int(start), int(end)) for start, end in spans]))
    return found


def run_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    names: Sequence[str],
    add_special_tokens: bool = True,
) -> Any:
    """What the tokenizer makes of `texts`: `input_ids` and `offset_mapping`, uncut and unpadded.

    Raises `ArtefactError` for a tokenizer that breaks down on one of them; `names` are the items'.
    """
    with panics_told(f"the tokenizer, given the texts {', '.join(map(repr, names[:5]))},"):
        return tokenizer(
            list(texts),
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=True,
            truncation=False,
            padding=False,
            verbose=False,
        )


@contextmanager
def panics_told(what: str) -> Iterator[None]:
    """Raise `ArtefactError` where the tokenizers library, which is written in Rust, panics.

    Its exception is no `Exception`: nobody else on the way up would take it for an error.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        raise ArtefactError(
            f"{what} broke down ({reason}): its tokenizer.json is damaged or hostile, or one of "
            "the texts is more than it can split. Get the model's own tokenizer again."
        ) from None


def special_strings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Strings that this tokenizer reads as control tokens wherever they stand in a text."""
    marked = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(marked | set(tokenizer.all_special_tokens))


def cut(tokens: Tokens, *, limit: int, side: str, leading: int, behind: int = 0) -> Tokens:
    """At most `limit` tokens, those `behind` the text not counted: of the text its end (`right`) or
    beginning (`left`) goes; the `leading` special tokens and those behind it stay.
    """
    end = len(tokens.ids) - behind
    if end <= limit:
        return tokens
    gone = slice(limit, end) if side == "right" else slice(leading, end - limit + leading)
    ids, spans = list(tokens.ids), list(tokens.spans)
    del ids[gone], spans[gone]
    return Tokens(ids, spans)


def require_offsets(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ArtefactError` for a tokenizer that cannot say which characters a token covers."""
    if not tokenizer.is_fast:
        raise ArtefactError(
            f"the tokenizer {type(tokenizer).__name__} gives no character offsets: use a model "
            "with a tokenizer.json."
        )


def added_specials(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids of the special tokens that the tokenizer puts before a text, and of those behind
    it.
    """
    with panics_told("the tokenizer"):
        encoded: Any = tokenizer("a", return_special_tokens_mask=True, verbose=False)
    ids, added = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    if 0 not in added:  # it knows no such text
        return ids, []
    first, last = added.index(0), len(added) - added[::-1].index(0)
    return ids[:first], ids[last:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a model takes its texts where nothing else is said.

    `truncate` cuts this end (left, right) of texts that are too long (None refuses them), and
    leaves `room` tokens of the context free behind each, for a suffix and what is written;
    `allow_special` accepts special tokens in texts.
    """

    truncate: str | None = None
    allow_special: bool = False
    room: int = 0


def refuse_special(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], names: Sequence[str]
) -> None:
    """Raise `DataError` naming the first text that holds a special token."""
    special = special_strings(tokenizer)
    for name, text in zip(names, texts, strict=True):
        inside = [token for token in special if token in text]
        if inside:
            raise DataError(
                f"{name}: the text holds the special token {inside[0]!r}, which the model reads "
                "as a command and not as text: take it out, or pass --allow-special "
                "(allow_special=True) if it is meant."
            )


def refuse_doubled(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], name: str, *, writer: str
) -> None:
    """Raise `DataError` for ids that begin with two BOS tokens; `writer` says where one of them
    comes from.
    """
    bos = tokenizer.bos_token_id
    if bos is not None and list(ids[:2]) == [bos, bos]:
        first = tokenizer.convert_ids_to_tokens(list(ids[:8]))
        raise DataError(
            f"{name}: the text begins with two BOS tokens, {writer}. First tokens: {first}."
        )
