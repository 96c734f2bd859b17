"""What steering costs: counted by hand, and against Hugging Face's own probabilities."""

import math

import pytest
import torch

from interp.causal.forward import open_prompts
from interp.evaluation.costs import costs, distinct_2, perplexities, repeated
from interp.models.generation import Decoding


def test_repetition_counted_by_hand():
    assert distinct_2([1, 2, 3, 1, 2]) == 3 / 4  # 12 23 31 12
    assert repeated([1, 2, 3, 1, 2]) == pytest.approx(2 / 5)
    assert (distinct_2([7, 7, 7]), repeated([7, 7, 7])) == (1 / 2, pytest.approx(2 / 3))
    assert repeated([7]) == 0
    assert math.isnan(distinct_2([7]))
    assert math.isnan(repeated([]))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_perplexity_is_that_of_hugging_face(tiny_model, family, monkeypatch):
    model = tiny_model(family)
    rows = open_prompts(model, ["the dog ran home", "she", "it was cold in the"])
    written = [[5, 9, 9, 31], [], [12, 40]]
    hf = model.plain().eval()
    expected = []
    for row, new in zip(rows, written, strict=True):
        with torch.no_grad():
            logits = hf(torch.tensor([[*row.tokens, *new]])).logits[0].double().log_softmax(-1)
        told = [
            float(logits[place - 1, token])
            for place, token in enumerate(new, start=len(row.tokens))
        ]
        expected.append(math.exp(-sum(told) / len(told)) if told else math.nan)
    found = perplexities(model, rows, written)
    assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert math.isnan(found[1])
    monkeypatch.setattr("interp.evaluation.costs.PRICED_AT_ONCE", 1)
    assert perplexities(model, rows, written) == pytest.approx(found, rel=1e-5, nan_ok=True)
    assert costs(model, rows, written)[0].repeated == 1 / 4


def test_what_the_model_would_write_costs_least(tiny_model):
    model = tiny_model("llama")
    rows = open_prompts(model, ["the dog ran home"])
    likely = model.generate([list(rows[0].tokens)], Decoding(max_new_tokens=6))
    odd = [[(token + 17) % 90 + 5 for token in likely[0]]]
    assert perplexities(model, rows, likely)[0] < perplexities(model, rows, odd)[0]
