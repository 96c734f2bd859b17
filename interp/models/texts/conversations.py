"""Prompts: a text, or a conversation, a list of messages {"role": ..., "content": ...}; and the
text that both have.

The text of a conversation is its contents joined by newlines: spans, turns and offsets speak of its
characters.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from interp.errors import DataError

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]

FIELD = "messages"
"""The field of a stimulus that holds a conversation."""

_ROLE = re.compile(r"[\w-]+", re.ASCII)


def prompt_of(text: str, fields: Mapping[str, Any], *, name: str) -> Prompt:
    """What a model is given of the stimulus `name`: the conversation in its field `messages`, or
    else its text.

    Raises `DataError` for messages that are none, saying which, and what is wrong with it.
    """
    value = fields.get(FIELD)
    return text if value in (None, "") else _checked(value, name)


def as_messages(prompt: Prompt, *, name: str) -> Sequence[Message]:
    """`prompt` as messages: a text is one user turn. Raises `DataError` as `prompt_of`."""
    return (
        [{"role": "user", "content": prompt}] if isinstance(prompt, str) else _checked(prompt, name)
    )


def text_of(prompt: Prompt) -> str:
    """The prompt itself, or its contents joined by newlines."""
    return (
        prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
    )


def followed_by(prompt: Prompt, suffix: str) -> Prompt:
    """The prompt with `suffix` behind its text; in a conversation, behind the last content."""
    if isinstance(prompt, str):
        return prompt + suffix
    *before, last = prompt
    return [*before, {**last, "content": last["content"] + suffix}]


def turns_of(prompt: Prompt) -> tuple[tuple[str, int, int], ...]:
    """The turns of a prompt: role, start and end in the characters of `text_of`. A text is one user
    turn.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    ends = accumulate(len(message["content"]) + 1 for message in messages)
    return tuple(
        (message["role"], end - 1 - len(message["content"]), end - 1)
        for message, end in zip(messages, ends, strict=True)
    )


def _checked(value: Any, name: str) -> Sequence[Message]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise DataError(
            f"{name}: {FIELD} is {abridged(value)}; expected a list of at least one message, such "
            'as [{"role": "user", "content": "..."}].'
        )
    for place, message in enumerate(value, start=1):
        if fault := _fault(message):
            raise DataError(
                f"{name}: message {place} of {len(value)} {fault}. A message is "
                '{"role": ..., "content": ...}.'
            )
    return value


def _fault(message: Any) -> str | None:
    """What keeps `message` from being one. A key without a value does not count."""
    if not isinstance(message, Mapping):
        return f"is {abridged(message)}, which has no role and no content"
    given = {str(key): value for key, value in message.items() if value is not None}
    for key in ("role", "content"):
        if key not in given:
            return f"has no {key}"
    if not isinstance(given["role"], str) or not _ROLE.fullmatch(given["role"]):
        return f"has the role {abridged(given['role'])}; a role is one word, such as user"
    if not isinstance(given["content"], str) or not given["content"].strip():
        return (
            f"has the content {abridged(given['content'])}; a content is a text that is not empty"
        )
    others = sorted(given.keys() - {"role", "content"})
    return (
        f"also has {others[0]!r}, which no position rule could tell from the text"
        if others
        else None
    )


def abridged(value: Any) -> str:
    """A value as Python writes it, at most 60 characters of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
