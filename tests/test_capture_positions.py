"""Position rules: the tokens they choose, the weights they pool with, and what they refuse."""

import numpy as np
import pytest
import torch

from interp.capture.positions import RULES, TokenisedText, parse_position, pooling_weights
from interp.errors import DataError, UsageError

TEXT = TokenisedText(
    "t1",
    "the old dog ran",
    (1, 10, 11, 12, 13, 5, 2),
    ((0, 0), (0, 3), (3, 7), (7, 11), (11, 15), (3, 4), (0, 0)),
    {
        "who": "dog",
        "range": [4, 7],
        "ranges": [[0, 3], [12, 15]],
        "tokens": {"tokens": [2, 4]},
        "the": "o",
        "gap": [3, 4],
    },
    (("user", 0, 7), ("assistant", 7, 15)),
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("last", [6]),
        ("last_content", [4]),
        ("mean_content", [1, 2, 3, 4]),
        ("mean_from(5)", [5, 6]),
        ("mean_from(0)", [0, 1, 2, 3, 4, 5, 6]),
        ("span(who)", [3]),
        ("span(range)", [2]),
        ("span(ranges)", [1, 4]),
        ("span(tokens)", [2, 3]),
        ("role(user)", [1, 2, 5]),
        ("role(assistant)", [3, 4]),
        ("all", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_rule_selects_its_tokens(rule, expected):
    parsed = parse_position(rule)
    assert parsed.select(TEXT).tolist() == expected
    assert str(parsed) == rule
    assert parsed.kind in RULES


def test_weights_pool_by_mean_and_never_touch_padding():
    selected = [np.array([1, 2, 3]), np.array([0])]
    right = pooling_weights(selected, width=6)
    assert right.sum(1).tolist() == [1.0, 1.0]
    x = torch.arange(12.0).reshape(2, 6, 1)
    assert torch.einsum("bp,bpd->bd", right, x).flatten().tolist() == [2.0, 6.0]
    left = pooling_weights(selected, width=6, pads=[2, 5])
    assert left.nonzero().tolist() == [[0, 3], [0, 4], [0, 5], [1, 5]]


@pytest.mark.parametrize(
    "bad",
    [
        "first",
        "last()",
        "mean_from",
        "mean_from(-1)",
        "mean_from(x)",
        "span",
        "span()",
        "",
        "last(3)",
        "role",
        "role()",
    ],
)
def test_an_unknown_rule_is_refused(bad):
    with pytest.raises(UsageError, match="position rule"):
        parse_position(bad)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("mean_from(7)", "selects no token of text 't1'"),
        ("span(nothing)", "has no field 'nothing'"),
        ("span(the)", "occurs 2 times"),
        ("role(system)", "no turn of the role 'system' .* its turns are of: user, assistant"),
    ],
)
def test_a_rule_without_a_token_names_the_text(rule, message):
    with pytest.raises(DataError, match=message):
        parse_position(rule).select(TEXT)


@pytest.mark.parametrize("value", [3, "", [], [5, 2], [0, 99], [[0, 1, 2]], {"tokens": "x"}, None])
def test_a_span_that_is_none_is_refused(value):
    text = TokenisedText("t2", "a b", (1, 2), ((0, 1), (2, 3)), {"s": value})
    with pytest.raises(DataError, match="needs a substring"):
        parse_position("span(s)").select(text)


@pytest.mark.parametrize("value", [[1, 3], [-1, 1], [1, 1], [2, 1]])
def test_tokens_that_the_text_has_not_are_refused(value):
    text = TokenisedText("t2", "a b", (1, 2), ((0, 1), (2, 3)), {"s": {"tokens": value}})
    with pytest.raises(
        DataError, match=rf"tokens {value[0]} to {value[1]}, and the text has 0 to 2"
    ):
        parse_position("span(s)").select(text)


def test_white_space_is_no_content():
    text = TokenisedText("t3", "a  ", (1, 2), ((0, 1), (1, 3)))
    assert parse_position("last").select(text).tolist() == [1]
    assert parse_position("last_content").select(text).tolist() == [0]
    with pytest.raises(DataError, match="'t4'"):
        parse_position("mean_content").select(TokenisedText("t4", "  ", (1,), ((0, 2),)))
