"""Chat templates: texts and conversations written as the turns that a chat model was trained on.

A template is a Jinja program, the tokenizer's own or a file's, that writes messages as one string:
control tokens, BOS and all. Which characters of it are the text's is found by writing the
conversation a second time with a mark in place of each content: what stands around the marks is the
template's. Tokens then carry offsets into the text itself, so that whatever reads offsets (position
rules, spans, the end of a text) means the same with a template as without.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import jinja2
from transformers import PreTrainedTokenizerBase

from interp.errors import DataError, UsageError
from interp.files import read_regular
from interp.models.chat_template import JINJA, OFF, ON, ChatTemplate
from interp.models.texts.conversations import Prompt, as_messages, text_of
from interp.models.texts.tokens import (
    Tokens,
    encode_texts,
    refuse_doubled,
    refuse_special,
    require_offsets,
    run_tokenizer,
)

UNCUT = (
    "texts under a chat template are not cut: the template closes each turn, and a cut would "
    "take away either that or an end of the text. Shorten the texts, or say --chat-template off."
)

_MOST_BYTES = 1 << 20
"""The longest template that is read."""

_MOST_NUMBER = 1_000_000
"""As many digits as this has may a number in a template's code have: strings can be multiplied."""


def read_template(said: str | None) -> str | None:
    """The text of the file that `said` names; None for "on", "off" and None (not said), which name
    no file.

    Raises `UsageError` for a file that cannot be read or holds nothing.
    """
    if said is None or said in (ON, OFF):
        return None
    try:
        text = read_regular(said, most=_MOST_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot read the chat template {said!r} ({reason}): --chat-template is on, off, or "
            "a file with a Jinja template."
        ) from error
    if not text.strip():
        raise UsageError(f"the chat template {said} is empty: it would drop every text.")
    return text


def choose_template(
    said: str | None, written: str | None, tokenizer: PreTrainedTokenizerBase, *, name: str
) -> ChatTemplate | None:
    """The template asked for: `written` (what `read_template(said)` gave), the tokenizer's own for
    "on", None for "off".

    Not said (None) is off, with a warning where the tokenizer of the model `name` has a template.
    Warns of a template that writes today's date. Raises `UsageError` for "on" where the tokenizer
    has none, and for a template that is no Jinja.
    """
    if said is None or said == OFF:
        if said is None and tokenizer.chat_template:
            warnings.warn(
                f"{name} is a chat model (its tokenizer has a chat template), and texts are "
                "given to it plain: say --chat-template on (chat_template='on') to give them as "
                "turns, or off if plain texts are meant.",
                stacklevel=3,
            )
        return None
    text, source = (
        (_own_template(tokenizer, name), ON)
        if written is None
        else (written, str(Path(said).resolve()))
    )
    chat = ChatTemplate(text, tokenizer, source)
    _refuse_broken(chat)
    if "strftime_now" in text:
        warnings.warn(
            f"the chat template of {name} writes today's date, so that on another day the same "
            "texts are other tokens: name a file with a fixed date (--chat-template FILE) for "
            "results that can be repeated.",
            stacklevel=3,
        )
    return chat


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    chat: ChatTemplate | None,
    prompts: Sequence[Prompt],
    *,
    names: Sequence[str],
    allow_special: bool,
    open_turn: bool,
) -> list[Tokens]:
    """The tokens of `prompts`, uncut: under the template `chat` (a text is one user turn), or plain
    (None).

    What the template writes is tokenised as it stands, nothing added; spans speak of the prompt's
    text. Raises as `tokens.encode_texts`, and `DataError` for messages that are none, have no
    template, or cannot be laid out.
    """
    if chat is None:
        _refuse_conversations(prompts, names)
        return encode_texts(
            tokenizer,
            [text_of(prompt) for prompt in prompts],
            names=names,
            allow_special=allow_special,
        )
    require_offsets(tokenizer)
    conversations = [
        as_messages(prompt, name=name) for prompt, name in zip(prompts, names, strict=True)
    ]
    if not allow_special:
        refuse_special(tokenizer, [text_of(messages) for messages in conversations], names)
    if not conversations:
        return []
    laid_out = [
        chat.lay_out(one, open_turn=open_turn, name=name)
        for one, name in zip(conversations, names, strict=True)
    ]
    strings = [one.string for one in laid_out]
    encoded = run_tokenizer(tokenizer, strings, names=names, add_special_tokens=False)
    found = []
    for name, one, ids, spans in zip(
        names, laid_out, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        own = [one.within(int(start), int(end)) for start, end in spans]
        if not any(end > start for start, end in own):
            raise DataError(
                f"{name}: the text has no token once the template's are set aside: write it, or "
                "drop the row."
            )
        refuse_doubled(tokenizer, ids, name, writer="the chat template writes one itself")
        found.append(Tokens(list(ids), own))
    return found


def _refuse_conversations(prompts: Sequence[Prompt], names: Sequence[str]) -> None:
    for name, prompt in zip(names, prompts, strict=True):
        if not isinstance(prompt, str):
            raise DataError(
                f"{name} is a conversation (messages), and without a chat template a model is "
                "given plain texts: say --chat-template on (chat_template='on'), or name a file "
                "with a template."
            )


def _refuse_broken(chat: ChatTemplate) -> None:
    """Raise `UsageError` for a template that does not compile, or is no template of any model: too
    long, with a number in it that nothing needs, or endless. What one makes of messages is told
    item by item.
    """
    if len(chat.text) > _MOST_BYTES:
        raise UsageError(
            f"the chat template ({chat.source}) has more than {_MOST_BYTES:,} characters."
        )
    try:
        numbers = [text for _, kind, text in JINJA.lex(chat.text) if kind == "integer"]
    except jinja2.TemplateSyntaxError:
        numbers = []  # told below, with its line
    if large := [text for text in numbers if len(text) > len(str(_MOST_NUMBER))]:
        raise UsageError(
            f"the chat template ({chat.source}) computes with {large[0][:20]}, which could make "
            "a string that long: no template needs a number of more than "
            f"{len(str(_MOST_NUMBER))} digits."
        )
    try:
        chat.render([{"role": "user", "content": "a"}])
    except DataError as error:
        if isinstance(error.__cause__, jinja2.TemplateSyntaxError):
            told = f"line {error.__cause__.lineno}: {error.__cause__.message}"
            raise UsageError(
                f"the chat template ({chat.source}) is no Jinja ({told}): mend it."
            ) from error


def _own_template(tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        what = (
            "several, none of them the default"
            if tokenizer.chat_template
            else "none (it is a base model's)"
        )
        raise UsageError(
            f"--chat-template on: the tokenizer of {name} has {what}. Name a file with a "
            "template (--chat-template FILE), or give plain texts (--chat-template off)."
        ) from error
