"""A chat template: rendered for a conversation, with the place of each turn's own text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase

from interp.errors import DataError, UsageError
from interp.files import sha256_bytes
from interp.models.texts.bounded import BeyondBounds, bounded
from interp.models.texts.conversations import Message, abridged, turns_of

ON, OFF = "on", "off"

MOST_LENGTH, MOST_SECONDS, MOST_MEGABYTES = 1_000_000, 2.0, 300
"""What a template may write around a conversation, and what that may take."""

JINJA = jinja2.Environment(autoescape=True)  # it only splits templates into words


_MARK = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as one string, and where its contents lie: (start, end) in the string, and the
    start in the text.

    White space at a content's ends counts as the template's, which may strip it.
    """

    string: str
    contents: tuple[tuple[int, int, int], ...]

    def within(self, start: int, end: int) -> tuple[int, int]:
        """The part of the text that characters [start, end) of the string hold; (0, 0) where they
        are all the template's.
        """
        parts = [
            (max(start, a) - a + at, min(end, b) - a + at)
            for a, b, at in self.contents
            if start < b and end > a
        ]
        return (min(parts)[0], max(stop for _, stop in parts)) if parts else (0, 0)


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A Jinja chat template, applied by `tokenizer`; `source` is how `load` was asked for it: "on",
    or the file's path.
    """

    text: str
    tokenizer: PreTrainedTokenizerBase = field(repr=False, compare=False)
    source: str = ON

    @property
    def sha256(self) -> str:
        """The digest of the template: of the file's bytes, where it came from a file."""
        return sha256_bytes(self.text.encode())

    def render(
        self,
        messages: Sequence[Message],
        *,
        open_turn: bool = False,
        name: str = "the conversation",
    ) -> str:
        """The messages as one string, the opening of the assistant's turn behind them if
        `open_turn`.

        Raises `DataError` naming the item (`name`) where the template refuses the messages, or
        fails.
        """
        given: Any = [dict(message) for message in messages]
        most = MOST_LENGTH + 4 * sum(len(message["content"]) for message in given)
        try:
            with bounded(seconds=MOST_SECONDS, megabytes=MOST_MEGABYTES):
                string: Any = self.tokenizer.apply_chat_template(
                    given, chat_template=self.text, tokenize=False, add_generation_prompt=open_turn
                )
            if len(string) > most:
                raise BeyondBounds(f"more than {most:,} characters")
        except BeyondBounds as error:
            raise UsageError(
                f"{name}: the chat template ({self.source}) takes {error} to write this "
                "conversation, and no template of a model does: name a file with another one "
                "(--chat-template FILE)."
            ) from error
        # a template is somebody's program: it may raise whatever Python can
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            roles = ", ".join(str(message.get("role")) for message in given)
            raise DataError(
                f"{name}: the chat template cannot write these turns ({roles}): {reason}. Change "
                "the messages, or name a file with another template (--chat-template FILE)."
            ) from error
        return str(string)

    def lay_out(
        self,
        messages: Sequence[Message],
        *,
        open_turn: bool = False,
        name: str = "the conversation",
    ) -> Rendered:
        """`render`, and where each content stands in it. Raises `DataError` for a template that
        leaves a content out, writes it twice, or changes more of it than the white space at its
        ends.
        """
        cores = [message["content"].strip() for message in messages]
        marked = [
            {**message, "content": message["content"].replace(core, f"\ue000{place}\ue001", 1)}
            for place, (message, core) in enumerate(zip(messages, cores, strict=True))
        ]
        string = self.render(messages, open_turn=open_turn, name=name)
        *pieces, tail = _MARK.split(self.render(marked, open_turn=open_turn, name=name))
        written = [int(place) for place in pieces[1::2]]
        for place, message in enumerate(messages):
            if written.count(place) != 1:
                raise _unfaithful(name, place, message, f"{written.count(place)} times")
        turns = turns_of(messages)
        at, contents = 0, []
        for piece, place in zip(pieces[::2], written, strict=True):
            expected = piece + cores[place]
            if not string.startswith(expected, at):
                raise _unfaithful(name, place, messages[place], "otherwise than it stands")
            at += len(expected)
            start = turns[place][1] + messages[place]["content"].index(cores[place])
            contents.append((at - len(cores[place]), at, start))
        if string[at:] != tail:
            raise _unfaithful(name, written[-1], messages[written[-1]], "otherwise than it stands")
        return Rendered(string, tuple(contents))


def _unfaithful(name: str, place: int, message: Message, what: str) -> DataError:
    return DataError(
        f"{name}: the chat template writes message {place + 1} ({message['role']}: "
        f"{abridged(message['content'])}) {what}, so that the text's tokens cannot be told from "
        "the template's. Choose another template, or --chat-template off."
    )
