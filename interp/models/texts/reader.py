"""Reader: a model's tokenizer at work, from texts and conversations to ids, batches, and back."""

from collections.abc import Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from interp.errors import DataError, UsageError
from interp.models.sizes import Dims
from interp.models.texts.chat import UNCUT, ChatTemplate, encode_prompts
from interp.models.texts.conversations import Prompt, followed_by, text_of
from interp.models.texts.ends import refuse_unembedded
from interp.models.texts.tokens import Batch, Reading, Tokens, added_specials, cut, pad_rows


class Reader:
    """Texts as one model takes them; `LanguageModel` is one.

    `chat` is the template that they are given under, or None. `reading` says how they are given
    where nothing else is said; who loads the model may set it.
    """

    def __init__(
        self,
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        dims: Dims,
        chat: ChatTemplate | None,
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.dims = dims
        self.chat = chat
        self.reading = Reading()
        self._leading, self._trailing = map(len, added_specials(tokenizer))

    def tokenize(
        self,
        texts: Sequence[Prompt],
        *,
        ids: Sequence[str] | None = None,
        truncate: str | None = None,
        allow_special: bool = False,
        open_turn: bool = False,
    ) -> list[list[int]]:
        """Token ids of each text, the tokenizer's own special tokens (BOS) added once; `ids` name
        the texts in messages.

        Under a chat template a text is one user turn, a list of messages the conversation it is,
        and the template alone writes what stands around them. `open_turn` is for texts that are to
        be continued: it opens the assistant's turn behind them, or, without a template, leaves out
        what the tokenizer puts behind a text (EOS). What is not said here is as `reading` says.

        Raises `DataError` for a text that is longer than the model's context (unless `truncate`
        says which end to cut), that has no token, that holds special tokens (unless
        `allow_special`) or a token that the model does not embed, and for messages without a
        template; `UsageError` for `truncate` under a template.
        """
        rows = self.encode(
            texts, ids=ids, truncate=truncate, allow_special=allow_special, open_turn=open_turn
        )
        return [row.ids for row in rows]

    def encode(
        self,
        texts: Sequence[Prompt],
        *,
        ids: Sequence[str] | None = None,
        suffixes: Sequence[str] | None = None,
        truncate: str | None = None,
        allow_special: bool = False,
        open_turn: bool = False,
    ) -> list[Tokens]:
        """The tokens of each text as `tokenize` gives them, with the span of characters [start,
        end) that each covers.

        `suffixes` stand behind the texts and are never cut. Spans speak of the text (and its
        suffix) itself: what tokenizer and chat template write has (0, 0), and the text of a
        conversation is its contents, joined by newlines. Raises as `tokenize` does.
        """
        if isinstance(texts, str) or truncate not in (None, "left", "right"):
            raise UsageError(
                "tokenize takes a list of texts, and truncate is None, 'left' or 'right'."
            )
        names = list(ids) if ids is not None else [f"text {place}" for place in range(len(texts))]
        truncate, allow_special = (
            truncate or self.reading.truncate,
            allow_special or self.reading.allow_special,
        )
        if truncate is not None and self.chat is not None:
            raise UsageError(UNCUT)
        behind = [""] * len(texts) if suffixes is None else suffixes
        given = [
            followed_by(text, more) if more else text
            for text, more in zip(texts, behind, strict=True)
        ]
        rows = encode_prompts(
            self.tokenizer,
            self.chat,
            given,
            names=names,
            allow_special=allow_special,
            open_turn=open_turn,
        )
        refuse_unembedded(self.tokenizer, rows, self.dims.d_vocab, names=names)
        if truncate is not None:
            rows = [self._cut(row, text, truncate) for row, text in zip(rows, texts, strict=True)]
        self._check_lengths(rows, names, shortened=truncate is not None)
        if open_turn and self.chat is None and self._trailing:
            rows = [
                Tokens(row.ids[: -self._trailing], row.spans[: -self._trailing]) for row in rows
            ]
        return rows

    def _cut(self, row: Tokens, text: Prompt, side: str) -> Tokens:
        """`row` with its text cut; what stands behind the text (a suffix, end tokens) is kept."""
        length = len(text_of(text))
        first = next(
            (i for i, (_, end) in enumerate(row.spans) if end > length),
            len(row.ids) - self._trailing,
        )
        limit = self.dims.n_ctx - self._trailing - self.reading.room
        return cut(row, limit=limit, side=side, leading=self._leading, behind=len(row.ids) - first)

    def _check_lengths(
        self, rows: Sequence[Tokens], names: Sequence[str], *, shortened: bool
    ) -> None:
        limit = self.dims.n_ctx
        or_cut = "" if self.chat or shortened else ", or pass --truncate left|right to cut that end"
        for name, row in zip(names, rows, strict=True):
            if len(row.ids) > limit:
                raise DataError(
                    f"{name}: the text has {len(row.ids)} tokens and the context of {self.name} "
                    f"holds {limit} (n_ctx): shorten it{or_cut}."
                )

    def pad(self, rows: Sequence[Sequence[int]], *, side: str = "right") -> Batch:
        """`rows` as one batch; the mask comes from their lengths. Raises `UsageError` for ids
        outside the vocabulary.
        """
        pad = self.tokenizer.pad_token_id
        filler = pad if pad is not None and pad < self.dims.d_vocab else 0
        return pad_rows(rows, side=side, filler=filler, d_vocab=self.dims.d_vocab)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, special tokens left out, spaces as the tokenizer has them."""
        return cast(
            str,
            self.tokenizer.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            ),
        )
