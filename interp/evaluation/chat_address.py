"""The address of a chat model: one question goes there, and one answer comes back, or a clear
error.

Requests are made by `http.client`, which follows no redirect and uses no proxy: what is sent goes
to the named machine alone.
"""

import json
import re
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from interp.errors import ResourceError, UsageError

JUDGE_KEY = "INTERP_JUDGE_KEY"
"""The environment variable that holds the key; without it, none is sent."""

SECONDS = 60.0
"""How long a try waits for the connection, for anything new to come, and for the whole answer."""

WAITS = (1.0, 2.0, 4.0)
"""Seconds before each further try."""

LONGEST_WAIT = 30.0
"""Seconds that a server may ask us to wait, at most."""

_MOST_BYTES = 1 << 20
"""Bytes of an answer."""

_SECRET = 8
"""Characters from which on a key is one: a shorter text may stand in an answer by itself."""

_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""What a server says that may be able to answer a moment later."""

_PASSED = (TimeoutError, ConnectionResetError, BrokenPipeError, HTTPException)
"""What a network does that may work a moment later."""

_FORM = "write endpoint:MODEL@URL, such as endpoint:llama3@http://localhost:11434/v1"


class _Reply(NamedTuple):
    status: int
    body: str
    wait: float


class ChatAddress(NamedTuple):
    """The chat model `model` at `url`, to which "/chat/completions" is added."""

    model: str
    url: str

    def ask(self, body: bytes, key: str) -> str | None:
        """The answer to a request, as the server's JSON `body`; None where it gives none (a
        refusal). `key` is sent as the bearer's, if there is one.

        Time-outs, broken connections and busy servers are tried again, `WAITS` long. Raises
        `ResourceError` where that does not help, and at once for a connection, key or request that
        is refused and for an answer in another form.
        """
        for wait in (*WAITS, None):
            try:
                reply = self._post(body, key)
            except _PASSED as error:
                reason, longer = _told(error), 0.0
            except (OSError, UnicodeError) as error:
                raise ResourceError(
                    f"{self.url} cannot be reached: {_told(error)}. Start the server, or mend the "
                    "address."
                ) from error
            else:
                if reply.status not in _PASSING:
                    return self._read(reply)
                reason, longer = f"status {reply.status}, {_start(reply.body)}", reply.wait
            if wait is not None:
                time.sleep(max(wait, longer))
        raise ResourceError(
            f"{self.url} did not answer in {1 + len(WAITS)} tries: {reason}. The answers so far "
            "are kept: the same command later asks only for the rest."
        )

    def _post(self, body: bytes, key: str) -> _Reply:
        parts, end = urlsplit(self.url), time.monotonic() + SECONDS
        host, port = str(parts.hostname), parts.port
        connection = (
            HTTPSConnection(host, port, timeout=SECONDS, context=ssl.create_default_context())
            if parts.scheme == "https"
            else HTTPConnection(host, port, timeout=SECONDS)
        )
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request("POST", f"{parts.path}/chat/completions", body, headers)
            with connection.getresponse() as response:
                data = b""
                while len(data) <= _MOST_BYTES and (piece := response.read1(1 << 16)):
                    data += piece
                    if time.monotonic() > end:
                        raise TimeoutError(f"no whole answer within {SECONDS:g} seconds")
            wait = response.headers.get("Retry-After", "")
            asked = float(wait) if wait.isascii() and wait.isdigit() else 0.0
        finally:
            connection.close()
        if len(data) > _MOST_BYTES:
            raise ResourceError(f"{self.url} answers with more than {_MOST_BYTES:,} bytes.")
        text = data.decode(errors="replace")
        if len(key) >= _SECRET:  # a server may quote it in what it answers
            text = text.replace(key, "***")
        return _Reply(response.status, text, min(asked, LONGEST_WAIT))

    def _read(self, reply: _Reply) -> str | None:
        """The answer in a reply that is not a passing failure."""
        if reply.status in (401, 403):
            raise ResourceError(
                f"{self.url} refuses the key (status {reply.status}): set {JUDGE_KEY} to one that "
                "it takes."
            )
        if reply.status != 200:
            told = f"{self.url} refuses the request (status {reply.status})"
            raise ResourceError(
                f"{told}: {_start(reply.body)}. Is {self.model!r} a model that it has, and "
                "the address the part before /chat/completions?"
            )
        try:
            return text_or_none(json.loads(reply.body)["choices"][0]["message"]["content"])
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ResourceError(
                f"{self.url} answers, but not with a chat completion: {_start(reply.body)}. "
                "Give the address of a server that speaks OpenAI's protocol."
            ) from error


def text_or_none(value: Any) -> str | None:
    """`value`, if it is a text or None. Raises `TypeError` for anything else."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"expected a text, found {type(value).__name__}")


def read_address(behind: str) -> ChatAddress:
    """The model and the address in MODEL@URL. Raises `UsageError` for another form, and for an
    address with a password or a query: it would be written into tables.
    """
    found = re.fullmatch(r"(\S+?)@(https?://\S+)", behind)
    if found is None:
        raise UsageError(f"cannot read the address of a judge: {_FORM}.")
    model, url = found.groups()
    try:
        parts = urlsplit(url)
        whole = (
            parts.hostname is not None and parts.port != 0 and url.isascii() and url.isprintable()
        )
    except ValueError:
        whole = False
    if not whole:
        raise UsageError(f"the address of the judge {model!r} is no URL: {_FORM}.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            f"the address of the judge {model!r} has a user, a password, a query or a fragment: "
            f"it is written into tables, so give the bare address, and the key in {JUDGE_KEY}."
        )
    return ChatAddress(model, url.rstrip("/"))


def _start(body: str) -> str:
    """The beginning of what a server says, in one line."""
    text = " ".join(body.split())[:200]
    return repr(text) if text else "nothing said"


def _told(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
