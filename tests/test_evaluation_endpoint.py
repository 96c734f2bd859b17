"""The judge behind an address, held against a small server of our own: what it sends, what it
makes of each answer, and what it never does.
"""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from interp.causal.readout import Readout
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.evaluation import chat_address
from interp.evaluation.chat_address import JUDGE_KEY, read_address
from interp.evaluation.endpoint import choice_of, endpoint, kept_answers
from interp.evaluation.judges import check_judges, judge_called
from interp.models import load

WORDS = Readout({"joy": ["glad"], "fear": ["afraid"]}, "")
PLANTED = load("planted", check=False)
SECRET = "sk-a-secret-of-ours"


@pytest.fixture(autouse=True)
def at_once(tmp_path, monkeypatch):
    """No waiting, a cache of its own, no key."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv(JUDGE_KEY, raising=False)
    monkeypatch.setattr(chat_address, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(chat_address, "SECONDS", 5.0)


def said(content):
    return 200, json.dumps({"choices": [{"message": {"content": content}}]})


@contextmanager
def served(reply):
    """A server on a free port; `reply` makes (status, body) of the text that is asked about."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(SimpleNamespace(path=self.path, headers=dict(self.headers), body=body))
            status, text, *headers = reply(body["messages"][0]["content"].split("Text:\n")[1])
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", seen
        finally:
            server.shutdown()
            thread.join()


def asked(url, readout=WORDS):
    return endpoint(PLANTED, readout, f"tiny@{url}")


def by_word(text):
    return said("Joy." if "sun" in text else " `fear` " if "ice" in text else "None")


def test_it_chooses_among_the_emotions_and_none(monkeypatch):
    monkeypatch.setenv(JUDGE_KEY, SECRET)
    with served(by_word) as (url, seen):
        judge = judge_called(f"endpoint:tiny@{url}", PLANTED, WORDS)
        assert judge(["the sun", " ", "ice", "a road"]) == ["joy", None, "fear", "neutral"]
    assert [one.path for one in seen] == ["/v1/chat/completions"] * 3
    assert {one.headers["Authorization"] for one in seen} == {f"Bearer {SECRET}"}
    first = seen[0].body
    assert (first["model"], first["temperature"]) == ("tiny", 0)
    assert "exactly one of these: joy, fear, none." in first["messages"][0]["content"]


def test_nothing_is_asked_twice_and_the_key_is_in_no_file(monkeypatch):
    monkeypatch.setenv(JUDGE_KEY, SECRET)
    with served(by_word) as (url, seen):
        assert asked(url)(["the sun", "ice"]) == ["joy", "fear"]
        assert asked(url)(["ice", "more ice", "the sun"]) == ["fear", "fear", "joy"]
        assert len(seen) == 3
        other = Readout({**WORDS.words, "anger": ["angry"]}, "")
        asked(url, other)(["ice"])  # other choices are another question
        assert len(seen) == 4
    files = list(kept_answers().iterdir())
    assert len(files) == 4
    assert not any(SECRET in path.read_text() for path in files)
    for path in files:
        path.write_text("{")
    with pytest.raises(ArtefactError, match="delete it"):
        asked(url)(["ice"])


def test_an_answer_outside_the_choices_is_counted_as_no_verdict():
    answers = {"a": "happiness", "b": "joy and fear", "c": None, "d": "joy"}
    told = pytest.warns(UserWarning, match=r"no verdict on 3 of 4 texts.*'happiness'")
    with served(lambda text: said(answers[text])) as (url, _), told:
        assert asked(url)(list("abcd")) == [None, None, None, "joy"]


@pytest.mark.parametrize(
    ("answer", "choice"),
    [("JOY", "joy"), ('"fear".', "fear"), ("none", "neutral"), ("", None), ("joyful", None)],
)
def test_an_answer_is_read_word_for_word(answer, choice):
    assert choice_of(answer, ["joy", "fear"]) == choice


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, f"bad key {SECRET}"), f"refuses the key .status 401.: set {JUDGE_KEY}"),
        ((404, f"no model for {SECRET}"), r"status 404.: 'no model for \*\*\*'"),
        ((302, "", ("Location", "http://127.0.0.1:9/v1")), "refuses the request .status 302"),
        ((200, "<html>hello"), "not with a chat completion: '<html>hello'"),
        ((200, '{"choices": []}'), "not with a chat completion"),
        ((200, '{"choices": [{"message": {"content": 5}}]}'), "not with a chat completion"),
        ((200, "[" * 100_000), "not with a chat completion"),
        ((200, "x" * (1 << 21)), "more than 1,048,576 bytes"),
    ],
)
def test_what_no_further_try_can_mend_is_an_error_at_once(reply, message, monkeypatch):
    monkeypatch.setenv(JUDGE_KEY, SECRET)
    with served(lambda text: reply) as (url, seen):
        with pytest.raises(ResourceError, match=message) as told:
            asked(url)(["the sun"])
        assert len(seen) == 1
    assert SECRET not in str(told.value)
    assert not kept_answers().exists()


def test_a_busy_server_is_asked_again_and_not_without_end():
    states = iter([(503, "busy"), (429, "", ("Retry-After", "0")), said("joy")])
    with served(lambda text: next(states)) as (url, seen):
        assert asked(url)(["the sun"]) == ["joy"]
        assert len(seen) == 3
    with served(lambda text: (500, "oh dear") if text == "ice" else by_word(text)) as (url, seen):
        with pytest.raises(ResourceError, match=r"in 3 tries: status 500, 'oh dear'.*are kept"):
            asked(url)(["the sun", "ice"])
        assert len(seen) == 4
        assert len(list(kept_answers().iterdir())) == 2  # with the one above
        assert asked(url)(["the sun"]) == ["joy"]
        assert len(seen) == 4


def test_a_server_is_asked_to_be_waited_for_and_is_up_to_a_bound(monkeypatch):
    waited = []
    monkeypatch.setattr(chat_address.time, "sleep", waited.append)
    states = iter(
        [(429, "", ("Retry-After", "7")), (429, "", ("Retry-After", "9000")), said("joy")]
    )
    with served(lambda text: next(states)) as (url, _):
        assert asked(url)(["the sun"]) == ["joy"]
    assert waited == [7, chat_address.LONGEST_WAIT]


def test_a_server_that_is_not_there_or_silent_is_told(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(ResourceError, match="cannot be reached: Connection refused"):
            asked(url)(["the sun"])
        free.listen()
        monkeypatch.setattr(chat_address, "SECONDS", 0.05)
        with pytest.raises(ResourceError, match="did not answer in 3 tries: timed out"):
            asked(url)(["the sun"])


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        ("tiny", "write endpoint:MODEL@URL"),
        ("tiny@localhost:80", "write endpoint:MODEL@URL"),
        ("tiny@http://", "write endpoint:MODEL@URL"),
        ("tiny@http:///v1", "is no URL"),
        ("tiny@http://host:x/v1", "is no URL"),
        ("tiny@http://hóst/v1", "is no URL"),
        (f"tiny@https://me:{SECRET}@host/v1", "has a user, a password"),
        (f"tiny@https://host/v1?key={SECRET}", "has a user, a password, a query"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_a_model(behind, message):
    with pytest.raises(UsageError, match=message) as told:
        check_judges(f"masked:endpoint:{behind}", "gpt2")
    assert SECRET not in str(told.value)


def test_a_model_may_be_a_repository_at_a_revision():
    address = read_address("org/name@main@https://host:8000/v1/")
    assert address == ("org/name@main", "https://host:8000/v1")


def test_a_key_that_cannot_be_sent_and_a_choice_that_means_two_things_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="an emotion is called 'none'"):
        asked("http://host", Readout({"none": ["no"], "joy": ["glad"]}, ""))
    monkeypatch.setenv(JUDGE_KEY, f"{SECRET}\nX: y")
    with pytest.raises(UsageError, match=f"{JUDGE_KEY} holds characters") as told:
        asked("http://host")
    assert SECRET not in str(told.value)
