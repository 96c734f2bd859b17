"""What steering costs: counted by hand, and against Hugging Face's own probabilities."""

import math

import numpy as np
import pytest
import torch

from interp.causal.edits import add
from interp.causal.forward import open_prompts
from interp.causal.interventions import Intervention
from interp.evaluation.costs import (
    Cost,
    costs,
    distinct_2,
    fluency,
    harmonic,
    is_broken,
    losses,
    perplexities,
    repeated,
)
from interp.models.generation import Decoding
from interp.sites import Site


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


def test_a_breakdown_is_nothing_or_the_same_again():
    assert is_broken(Cost(math.nan, math.nan, math.nan))
    assert is_broken(Cost(2.0, distinct_2([7, 8, 7, 8, 7, 8]), 0.6))
    assert not is_broken(Cost(2.0, distinct_2([1, 2, 3, 1, 2]), 0.4))


def test_fluency_and_harmonic_means_by_hand():
    usual, sound = Cost(4.0, 1.0, 0.0), Cost(8.0, 1.0, 0.0)
    assert (fluency(sound, usual), fluency(usual, sound)) == (0.5, 1.0)
    assert fluency(Cost(1.0, 0.2, 0.8), usual) == 0
    assert math.isnan(fluency(sound, Cost(math.nan, math.nan, math.nan)))
    assert harmonic(1.0, 0.5) == pytest.approx(2 / 3)
    assert (harmonic(0.0, 1.0), harmonic(0.5, 0.5, 0.5)) == (0.0, 0.5)


def test_losses_under_an_edit_are_those_of_hugging_face_with_a_hook(tiny_model):
    model = tiny_model("llama")
    texts = [list(row.tokens) for row in open_prompts(model, ["the dog ran home", "it was cold"])]
    vector = np.eye(32)[2] * 3
    edit = [Intervention(Site("resid_post", 1), add(vector), "all")]
    network = model.plain().eval()

    def hook(module, given, output):
        moved = torch.as_tensor(vector, dtype=torch.float32)
        return (output[0] + moved, *output[1:]) if isinstance(output, tuple) else output + moved

    handle = network.model.layers[1].register_forward_hook(hook)
    expected = []
    for text in texts:
        with torch.no_grad():
            told = network(torch.tensor([text])).logits[0].double().log_softmax(-1)
        expected.append(-np.mean([float(told[at - 1, text[at]]) for at in range(1, len(text))]))
    handle.remove()
    found = losses(model, texts, [1, 1], edit)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found != pytest.approx(losses(model, texts, [1, 1]), rel=1e-3)
    assert math.isnan(losses(model, texts, [1, len(texts[1])])[1])
