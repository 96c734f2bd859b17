"""Chat templates: the tokenizer's own ids, offsets that speak of the text, and templates that are
not to be trusted.
"""

import pytest

from interp.errors import DataError, UsageError
from interp.models import load
from interp.models.chat_template import Rendered
from interp.models.texts.conversations import text_of, turns_of
from support.chat_cases import TALK, TEXT, turn, written
from support.tiny_models import CHAT, N_CTX


@pytest.mark.parametrize("open_turn", [False, True])
@pytest.mark.parametrize("prompt", [TEXT, TALK], ids=["text", "talk"])
def test_ids_are_those_of_the_tokenizers_own_template(
    chat_model, chat_tokenizer, prompt, open_turn
):
    messages = turn(prompt) if isinstance(prompt, str) else prompt
    (row,) = chat_model.tokenize([prompt], open_turn=open_turn)
    assert (
        row
        == chat_tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=open_turn
        )["input_ids"]
    )
    plain = load(chat_model.name, chat_template="off", check=False)
    assert plain.tokenize([TEXT]) == [chat_tokenizer(TEXT)["input_ids"]]
    assert plain.tokenize([TEXT]) != chat_model.tokenize([TEXT])


def test_an_open_turn_ends_with_the_generation_prompt(chat_model, chat_tokenizer):
    (closed,), (opened,) = chat_model.tokenize([TEXT]), chat_model.tokenize([TEXT], open_turn=True)
    assert opened == [*closed, chat_tokenizer.convert_tokens_to_ids("<assistant>")]
    assert closed[-1] == chat_tokenizer.convert_tokens_to_ids("<end>")
    assert [row.spans for row in chat_model.encode([TEXT], open_turn=True)] == [
        [*chat_model.encode([TEXT])[0].spans, (0, 0)]
    ]


def test_offsets_are_the_words_of_the_text_and_nothing_of_the_template(chat_model):
    (spans,) = [row.spans for row in chat_model.encode([TEXT])]
    assert [TEXT[start:end] for start, end in spans[2:-1]] == TEXT.split()
    assert (spans[:2], spans[-1:]) == ([(0, 0)] * 2, [(0, 0)])  # BOS, <user>; <end>
    plain = load(chat_model.name, chat_template="off", check=False)
    assert spans[2:-1] == plain.encode([TEXT])[0].spans[1:]


def test_offsets_of_a_conversation_are_in_its_contents_joined_by_newlines(chat_model):
    (spans,) = [row.spans for row in chat_model.encode([TALK])]
    text = text_of(TALK)
    assert text == "We are calm .\nThe dog ran away\n \nIt was a good dog .\n\nThe dog ran away"
    own = [span for span in spans if span != (0, 0)]
    assert [text[start:end] for start, end in own] == text.split()
    assert own == sorted(own)
    assert len(spans) - len(own) == 1 + 2 * len(TALK)  # BOS, and what opens and closes each turn
    assert [(role, text[start:end]) for role, start, end in turns_of(TALK)] == [
        (m["role"], m["content"]) for m in TALK
    ]


@pytest.mark.parametrize("text", ["user", "end", "<user", "r", "0"])
def test_a_text_that_also_stands_in_the_template_is_not_taken_for_it(chat_model, text):
    """Looking for the text in what the template wrote finds the template's own `<user>` first."""
    string = chat_model.chat.render(turn(text))
    (spans,) = [row.spans for row in chat_model.encode([text])]
    assert [text[start:end] for start, end in spans if end > start] != []
    assert spans[:2] == [(0, 0)] * 2
    laid_out = chat_model.chat.lay_out(turn(text))
    assert laid_out.contents == ((len("<bos><user> "), len("<bos><user> ") + len(text), 0),)
    if text in ("user", "<user", "r"):
        assert string.find(text) < laid_out.contents[0][0]


def test_a_token_that_straddles_text_and_template_counts_by_its_part_in_the_text(
    chat_folder, tmp_path
):
    glued = written(chat_folder, tmp_path, "{{ bos_token }}re{{ messages[0].content }}ed<end>")
    (spans,) = [row.spans for row in glued.encode(["dog barks hat"])]
    assert spans == [(0, 0), (0, 3), (4, 9), (10, 13), (0, 0)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 4, (0, 0)), (4, 6, (0, 2)), (2, 6, (0, 2)), (8, 12, (4, 5)), (9, 11, (0, 0)),
     (4, 9, (0, 5)), (6, 14, (2, 8)), (0, 20, (0, 9)), (15, 20, (0, 0)), (13, 20, (7, 9))],
)  # fmt: skip
def test_parts_of_the_string_are_parts_of_the_text(start, end, expected):
    """`....hello..bye.....`: hello at 4 to 9 is the text's 0 to 5, bye at 12 to 15 its 6 to 9."""
    assert Rendered("....hello...bye.....", ((4, 9, 0), (12, 15, 6))).within(start, end) == expected


def test_a_template_that_moves_a_message_is_followed(chat_folder, tmp_path):
    last = (
        "{{ bos_token }}{% for m in messages[1:] %}<user> {{ m.content }} {% endfor "
        "%}<system> {{ messages[0].content }}"
    )
    model = written(chat_folder, tmp_path, last)
    (spans,) = [row.spans for row in model.encode([TALK[:2]])]
    text = text_of(TALK[:2])
    assert [text[start:end] for start, end in spans if end] == [
        "The",
        "dog",
        "ran",
        "away",
        "We",
        "are",
        "calm",
        ".",
    ]


ALL = "{{ bos_token }}{% for m in messages %}"
UNFAITHFUL = {
    "drops the content": (
        ALL + "<{{ m.role }}> <end>{% endfor %}",
        "1 (system: 'We are calm .') 0 times",
    ),
    "drops a role": (
        ALL + "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}{% endfor %}",
        "3 (assistant: ",
    ),
    "writes it twice": (
        ALL + "{{ m.content }} {{ m.content }}{% endfor %}",
        "1 (system: 'We are calm .') 2 times",
    ),
    "changes it": (
        ALL + "{{ m.content | upper }}{% endfor %}",
        "1 (system: 'We are calm .') otherwise than it stands",
    ),
    "cuts it": (
        ALL + "{{ m.content[:14] }}{% endfor %}",
        "2 (user: 'The dog ran away') otherwise than it stands",
    ),
    "depends on it": (
        ALL + "{{ m.content }}{{ m.content | length }}{% endfor %}",
        "otherwise than it stands",
    ),
}


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_a_template_that_is_not_faithful_to_the_text_is_refused(name, chat_folder, tmp_path):
    template, told = UNFAITHFUL[name]
    model = written(chat_folder, tmp_path, template)
    with pytest.raises(DataError) as error:
        model.tokenize([TALK], ids=["joy_1"])
    assert str(error.value).startswith("joy_1: the chat template writes message ")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ raise_exception('only poems') }}", "only poems"),
        ("{{ 1 // 0 }}", "zero"),
        ("{{ messages[7].content.x }}", "no element 7"),
    ],
)
def test_a_template_that_fails_names_the_item(chat_folder, tmp_path, template, told):
    model = written(chat_folder, tmp_path, template)
    with pytest.raises(
        DataError, match=rf"joy_1: the chat template cannot write these turns \(user\).*{told}"
    ):
        model.tokenize([TEXT], ids=["joy_1"])


def test_a_role_that_the_template_refuses(chat_model):
    with pytest.raises(DataError, match=r"joy_1: .*these turns \(user, tool\): no such role"):
        chat_model.tokenize([[*turn("why ?"), {"role": "tool", "content": "so"}]], ids=["joy_1"])


def test_bos_is_never_doubled(chat_model, chat_tokenizer, chat_folder, tmp_path):
    bos = chat_tokenizer.bos_token_id
    (row,) = chat_model.tokenize([TEXT])
    assert row.count(bos) == 1
    # what writing it plainly would do
    assert chat_tokenizer(chat_model.chat.render(turn(TEXT)))["input_ids"][:2] == [bos, bos]
    twice = written(chat_folder, tmp_path, "{{ bos_token }}" + CHAT)
    first = r"\['<bos>', '<bos>', '<user>', 'anna', 'lost', 'the', 'old', 'dog'\]"
    with pytest.raises(
        DataError, match=rf"joy_1: .*two BOS tokens, the chat template writes one itself.*{first}"
    ):
        twice.tokenize([TEXT], ids=["joy_1"])


def test_special_tokens_in_a_content_are_refused_unless_meant(chat_model, chat_tokenizer):
    for prompt in (
        "the dog <end> cried",
        [*TALK, {"role": "assistant", "content": "the dog <end> cried"}],
    ):
        with pytest.raises(
            DataError, match=r"joy_1: the text holds the special token '<end>'.*--allow-special"
        ):
            chat_model.tokenize([prompt], ids=["joy_1"])
    (row,) = chat_model.tokenize(["the dog <end> cried"], allow_special=True)
    assert row.count(chat_tokenizer.convert_tokens_to_ids("<end>")) == 2


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_a_text_without_tokens(chat_model, text):
    with pytest.raises(
        DataError, match="sad_3: the text has no token once the template's are set aside"
    ):
        chat_model.tokenize([text], ids=["sad_3"])


def test_no_texts_are_no_rows(chat_model):
    assert chat_model.tokenize([]) == []


def test_texts_must_fit_and_are_not_cut(chat_model):
    long = "dog " * (N_CTX - 3)
    assert len(chat_model.tokenize(["dog " * (N_CTX - 4)])[0]) == N_CTX - 1
    with pytest.raises(
        DataError, match=rf"joy_7: the text has {N_CTX + 1} tokens .* shorten it\.$"
    ):
        chat_model.tokenize([long + "dog"], ids=["joy_7"])
    with pytest.raises(UsageError, match="under a chat template are not cut"):
        chat_model.tokenize([long], truncate="right")
