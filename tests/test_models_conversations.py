"""Conversations: messages that are none are told with what is wrong, and a conversation has a
text.
"""

import pytest

from interp.errors import DataError
from interp.models import load
from interp.models.texts.conversations import followed_by, prompt_of, text_of
from support.chat_cases import TALK, TEXT


@pytest.fixture(scope="module")
def model(chat_folder):
    return load(str(chat_folder), chat_template="on", check=False)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "messages is []"),
        ("hello", "messages is 'hello'"),
        ({"role": "user", "content": "hello"}, "messages is {'role'"),
        ([*TALK, "hello"], "message 5 of 5 is 'hello', which has no role"),
        ([{"role": "user"}], "message 1 of 1 has no content"),
        ([{"content": "hello"}], "message 1 of 1 has no role"),
        ([{"role": "user", "content": None}], "message 1 of 1 has no content"),
        ([{"role": "user", "content": 3}], "has the content 3"),
        ([{"role": "user", "content": " \n"}], "has the content ' \\n'"),
        ([{"role": "user", "content": [{"type": "image"}]}], "has the content [{'type'"),
        ([{"role": "a b", "content": "hello"}], "has the role 'a b'"),
        ([{"role": "user<end>", "content": "hello"}], "has the role 'user<end>'"),
        ([{"role": 3, "content": "hello"}], "has the role 3"),
        ([{"role": "user", "content": "hello", "tool_calls": [1]}], "also has 'tool_calls'"),
    ],
)
def test_messages_that_are_none_are_told_with_what_is_wrong(messages, told):
    with pytest.raises(DataError) as error:
        prompt_of("hello", {"messages": messages}, name="joy_1")
    assert str(error.value).startswith("joy_1: ")
    assert told in str(error.value)


def test_keys_without_a_value_do_not_count(model):
    assert prompt_of(TEXT, {"messages": None}, name="joy_1") == TEXT
    assert model.tokenize([[{"role": "user", "content": TEXT, "name": None}]]) == model.tokenize(
        [TEXT]
    )


def test_without_a_template_a_conversation_is_refused(chat_folder):
    plain = load(str(chat_folder), chat_template="off", check=False)
    with pytest.raises(DataError, match=r"joy_1 is a conversation .*--chat-template on"):
        plain.tokenize([TEXT, TALK], ids=["joy_0", "joy_1"])


def test_a_suffix_goes_behind_the_last_content():
    assert followed_by("a b", " c") == "a b c"
    assert text_of(followed_by(TALK, " c")) == text_of(TALK) + " c"
    assert TALK[-1]["content"] == "The dog ran away"
