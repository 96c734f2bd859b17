"""A pass that begins in the middle is the whole pass from there on, on every family."""

import pytest
import torch

from interp.models.partial import begun_at
from interp.sites import Site
from support.tiny_models import FAMILIES

ROWS = [[5, 9, 14, 3, 8, 21, 6], [7, 30, 12, 5], [11, 4, 17, 25, 9]]


def residual_before(model, layer, batch):
    kept = {}
    hook = (Site("resid_pre", layer).hook, lambda x, hook: kept.update(x=x))
    logits = model.last_logits(batch, hooks=[hook])
    return kept["x"], logits


@pytest.mark.parametrize("family", FAMILIES)
def test_it_gives_the_logits_of_the_whole_pass(tiny_model, family):
    model = tiny_model(family)
    batch = model.pad(ROWS, side="left")
    for layer in range(1, model.dims.n_layers):
        residual, expected = residual_before(model, layer, batch)
        begin = model.begin(layer, residual)
        found, _ = model.resume(batch.ids, batch.mask, begin=begin)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        elsewhere = model.begin(layer, residual * 2 + 1)
        moved, _ = model.resume(batch.ids, batch.mask, begin=elsewhere)
        assert not torch.allclose(moved, expected, atol=1e-2)


def test_skipped_blocks_do_not_run_and_come_back_after_an_exception(tiny_model):
    model = tiny_model("llama")
    batch = model.pad(ROWS, side="left")
    residual, expected = residual_before(model, 2, batch)
    seen = []
    hooks = [
        (Site("resid_post", layer).hook, lambda x, hook, layer=layer: seen.append(layer))
        for layer in range(3)
    ]
    model.resume(batch.ids, batch.mask, begin=model.begin(2, residual), hooks=hooks)
    assert seen == [2]
    with pytest.raises(KeyError), begun_at(model.bridge, model.begin(2, residual)):
        raise KeyError
    torch.testing.assert_close(model.last_logits(batch), expected)
