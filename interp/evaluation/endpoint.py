"""A judge behind an address: a chat model that speaks OpenAI's protocol (vLLM, llama.cpp, Ollama,
or a service) chooses one of the emotions, or none of them.

The texts leave this process, for the address that was named and for no other: no redirect is
followed and no proxy is used. The key is read from the environment (`JUDGE_KEY`) and written
nowhere. Answers are kept on disk, so that nothing is asked twice.
"""

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp.causal.readout import Readout
from interp.causal.steered_texts import Judge
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.evaluation.chat_address import JUDGE_KEY, ChatAddress, read_address, text_or_none
from interp.evaluation.text_classifiers import abstaining
from interp.files import caches, make_folder, read_regular, sha256_bytes, write_atomic
from interp.models import LanguageModel
from interp.progress import track
from stimuli.battery import NEUTRAL

NO_EMOTION = "none"
"""What the judge is to say of a text that expresses none of the emotions."""

MOST_TOKENS = 512
"""Tokens of an answer: room for a model that thinks aloud before it answers."""

ASKED = (
    "Which emotion does the text below express? Choose exactly one of these: {choices}. Say "
    '"none" if it expresses none of them. Answer with that one word and nothing else.\n\n'
    "Text:\n{text}"
)
"""What is asked of each text."""

_QUOTES = " \t\r\n\"'`*.!"
"""What may stand around an answer."""

_MOST_BYTES = 1 << 20
"""Bytes of a kept answer."""


def endpoint(model: LanguageModel, readout: Readout, behind: str) -> Judge:
    """The choice of the chat model at `behind`, MODEL@URL, at temperature 0: one of the readout's
    emotions, or `neutral` where it says "none". The model that is steered takes no part.

    An answer that is none of the choices is no verdict; how many there were is told in a warning.
    Raises `UsageError` for what is no address, a key that cannot be sent, and an emotion called
    "none"; `ResourceError` where the address cannot be reached, refuses, or answers in another
    form; `ArtefactError` for a kept answer that was damaged.
    """
    address, key = read_address(behind), _key()
    if NO_EMOTION in map(str.casefold, readout.emotions):
        raise UsageError(
            f'an emotion is called {NO_EMOTION!r}, which is the judge\'s word for "neutral".'
        )

    def read(texts: Sequence[str]) -> list[str | None]:
        said = [
            _answer(address, request(address.model, text, readout.emotions), key)
            for text in track(list(texts), f"asking {address.model}", unit="text")
        ]
        found = [choice_of(one, readout.emotions) for one in said]
        lost = [one for one, verdict in zip(said, found, strict=True) if verdict is None]
        if lost:
            warnings.warn(
                f"the judge endpoint:{behind} gave no verdict on {len(lost)} of {len(texts)} "
                f"texts: its answer was none of the choices, such as {(lost[0] or '')[:60]!r}.",
                stacklevel=4,
            )
        return found

    return abstaining(read)


def request(model: str, text: str, emotions: Sequence[str]) -> dict[str, Any]:
    """What is sent for one text; its digest is the name of the kept answer."""
    choices = ", ".join([*emotions, NO_EMOTION])
    asked = ASKED.replace("{choices}", choices).replace("{text}", text)
    return {
        "model": model,
        "messages": [{"role": "user", "content": asked}],
        "temperature": 0,
        "max_tokens": MOST_TOKENS,
    }


def choice_of(answer: str | None, emotions: Sequence[str]) -> str | None:
    """The emotion that an answer names, whatever its case, quotes and full stop; `neutral` for
    "none"; None for anything else.
    """
    named = {emotion.casefold(): emotion for emotion in emotions} | {NO_EMOTION: NEUTRAL}
    return named.get((answer or "").strip(_QUOTES).casefold())


def kept_answers() -> Path:
    """The folder of the answers that were given."""
    return caches() / "interp" / "judged"


def _answer(address: ChatAddress, asked: dict[str, Any], key: str) -> str | None:
    """The answer to a request, kept or new."""
    body = json.dumps(asked, sort_keys=True).encode()
    path = kept_answers() / f"{sha256_bytes(address.url.encode() + b' ' + body)}.json"
    try:
        return text_or_none(json.loads(read_regular(path, most=_MOST_BYTES))["answer"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path} is no kept answer of a judge: delete it.") from error
    said = address.ask(body, key)
    try:
        make_folder(path.parent)
    except ResourceError as error:
        raise ResourceError(
            f"cannot keep the judge's answers in {path.parent}: set XDG_CACHE_HOME to a folder "
            f"that can be written. ({error})"
        ) from error
    write_atomic(path, json.dumps({"answer": said}).encode())
    return said


def _key() -> str:
    """The key of the environment. Raises `UsageError`, without it, for one that cannot be sent."""
    key = os.environ.get(JUDGE_KEY, "").strip()
    if not (key.isascii() and all(map(str.isprintable, key))):
        raise UsageError(f"{JUDGE_KEY} holds characters that no key has: set it to the key alone.")
    return key
