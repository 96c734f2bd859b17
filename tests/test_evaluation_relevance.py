"""Relevance: what the unsteered model says of a text behind its own prompt and behind others."""

from functools import cache

import numpy as np
import pytest
import torch

import interp
from interp.causal.forward import open_prompts
from interp.causal.generation import write_tokens
from interp.evaluation.relevance import (
    PROMPTS_BESIDE,
    Relevance,
    above_chance,
    less_likely,
    other_prompts,
    relevances,
)
from interp.models import load
from interp.models.generation import Decoding


@cache
def stories():
    return load("storyworld", check=False)


def test_a_share_counted_by_hand():
    own = np.array([1.0, 2.0, np.nan])
    others = np.array([[2.0, 3.0, 0.5, 1.0], [2.0, 2.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    found = less_likely(own, others)
    np.testing.assert_array_equal(found[:2], [2.5 / 4, 2.5 / 4])
    assert np.isnan(found[2])
    assert np.isnan(less_likely(own, others[:, :0])).all()
    assert [above_chance(one) for one in (0.2, 0.5, 0.75, 1.0)] == [0, 0, 0.5, 1]
    assert np.isnan(above_chance(np.nan))


def test_others_are_of_other_scenarios_and_equally_many():
    groups = ["a", "a", "b", "c", "d", "e", "f"]
    found = other_prompts(groups, seed=0)
    assert {len(each) for each in found} == {PROMPTS_BESIDE}
    for own, each in enumerate(found):
        assert len(set(each)) == PROMPTS_BESIDE
        assert groups[own] not in {groups[at] for at in each}
    assert [len(each) for each in other_prompts(["a", "a", "a", "b"], seed=0)] == [1] * 4
    assert other_prompts(["a", "a"], seed=0) == [[], []]
    assert other_prompts(groups, seed=0) == found != other_prompts(groups, seed=1)


def test_it_is_what_hugging_face_finds_likelier(tiny_model):
    model = tiny_model("llama")
    rows = open_prompts(model, ["the dog ran home", "she", "it was cold in the"])
    written = [[5, 9, 31], [7], [12, 40]]
    others = [[1, 2], [2, 0], [0, 1]]
    hf = model.plain().eval()

    def loss(prompt, new):
        ids = [*rows[prompt].tokens, *new]
        with torch.no_grad():
            logits = hf(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        start = len(rows[prompt].tokens)
        return -np.mean([float(logits[at - 1, ids[at]]) for at in range(start, len(ids))])

    expected = []
    for own, (new, (one, two)) in enumerate(zip(written, others, strict=True)):
        at_own, first, second = (loss(at, new) for at in (own, one, two))
        expected.append(((first > at_own) + (second > at_own)) / 2)
        expected.append(float(first > second))
    found = relevances(model, rows, written, others)
    assert [x for each in found for x in each] == expected
    empty = relevances(model, rows, [[], [7], [12]], others)[0]
    assert np.isnan(empty).all()


def test_stories_belong_to_their_own_beginnings_until_they_are_exchanged():
    model = stories()
    items = interp.battery("storyworld").pairs().neutral
    groups = [item.group for item in items]
    first = list(dict.fromkeys(groups))[:12]
    items = [items[groups.index(group)] for group in first]
    rows = open_prompts(model, items)
    written = write_tokens(model, rows, [], Decoding(max_new_tokens=12))
    others = other_prompts(first, seed=0)
    own, shuffled = np.array(relevances(model, rows, written, others)).T
    exchanged = np.array(relevances(model, rows, written[1:] + written[:1], others))[:, 0]
    assert own.mean() > 0.75
    assert exchanged.mean() < own.mean() - 0.2
    assert shuffled.mean() == pytest.approx(0.5, abs=0.25)
    assert Relevance._fields == ("relevance", "relevance_shuffled")
