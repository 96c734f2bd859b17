"""Gradients read from the middle of texts on are those of whole passes, each text by itself."""

import numpy as np
import pytest
import torch

from interp.causal.edits import add, zero
from interp.causal.forward import Encoded, Pass
from interp.causal.gradients import read_slopes
from interp.causal.interventions import Intervention
from interp.errors import InternalError
from interp.sites import Site
from support.tiny_models import FAMILIES

SITES = [Site("resid_post", 0), Site("z", 1), Site("post", 1)]
LENGTHS = (40, 6, 23)
STARTS = (9, 2, 20)
"""The short one has padding behind the column at which the others' graph begins."""


@pytest.fixture(params=[*FAMILIES, "gemma3"])
def model(request, tiny_model):
    return tiny_model(request.param)


def texts(model):
    draw = torch.Generator().manual_seed(3)
    ids = [torch.randint(5, model.dims.d_vocab, (n,), generator=draw).tolist() for n in LENGTHS]
    return [Encoded(tuple(own), len(own) - 1) for own in ids]


def score(found: Pass):
    """Some number of each row's logits, linear in none of them."""
    logits = found.logits.float()
    return logits[:, 7].sin() + 0.1 * logits[:, 11] ** 2


MORE = (9, 12)
"""Tokens that are read behind each text, as those of a word are."""


def score_behind(found: Pass):
    """Some number of the logits behind each text, and of those behind further tokens."""
    rows = torch.arange(len(found.logits))
    behind = found.behind.read(rows, torch.tensor(MORE).expand(len(rows), -1)).float()
    return score(found) + behind[:, 3].cos()


def alone(model, text, positions, edit=None, further=False):
    """Values and gradients by plain hooks on the whole text, without padding; `further`: of
    `score_behind`, whose second part is of a text of its own.
    """
    own = numbers(model, text.tokens, positions, edit, score)
    if not further:
        return own
    more = numbers(
        model, (*text.tokens, *MORE), positions, edit, lambda one: one.logits.float()[:, 3].cos()
    )
    return {site: (value, slope + more[site][1]) for site, (value, slope) in own.items()}


def numbers(model, tokens, positions, edit, score):
    kept = {}

    def keep(site):
        def hook(x, hook=None):
            kept[site] = x.view_as(x)
            return kept[site]

        return site.hook, hook

    def root(x, hook=None):
        x = x.detach().clone()
        if edit is not None:
            place, vector = edit
            x[0, place] += vector
        return x.requires_grad_()

    hooks = [(Site("resid_pre", 0).hook, root), *map(keep, SITES)]
    batch = model.pad([tokens], side="right")
    with model.traced():
        logits = model.last_logits(batch, hooks=hooks)
    number = score(Pass(logits, {}, torch.zeros(1, dtype=torch.long))).sum()
    found = torch.autograd.grad(number, [kept[site] for site in SITES])
    return {
        site: (kept[site][0, positions].detach(), gradient[0, positions])
        for site, gradient in zip(SITES, found, strict=True)
    }


@pytest.mark.parametrize("further", [False, True], ids=["behind the text", "behind more"])
@pytest.mark.parametrize("edited", [False, True], ids=["as they are", "edited before"])
def test_values_and_gradients_are_those_of_each_text_alone(model, edited, further):
    rows = texts(model)
    positions = [
        np.arange(start + 1, text.end + 1) for start, text in zip(STARTS, rows, strict=True)
    ]
    vector = torch.randn(model.dims.d_model, generator=torch.Generator().manual_seed(1))
    starts, edits = None, {}
    if edited:
        starts = STARTS
        where = torch.zeros(3, max(LENGTHS), dtype=torch.bool)
        where[torch.arange(3), torch.tensor(STARTS)] = True

        def push(chosen):
            values = vector.expand(len(chosen), -1)
            return [Intervention(Site("resid_pre", 0), add(values), where[chosen])]

        edits = {"edits": push}
    number = score_behind if further else score
    found = read_slopes(model, rows, SITES, number, positions, starts=starts, **edits)
    for i, text in enumerate(rows):
        edit = (STARTS[i], vector) if edited else None
        expected = alone(model, text, positions[i], edit, further)
        for site in SITES:
            for held, own in zip(found, expected[site], strict=True):
                ours = held.sites[site][i, : len(positions[i])]
                scale = own.abs().max()
                assert scale > 1e-6
                assert (ours - own).abs().max() <= 2e-3 * scale


def test_an_edit_of_what_was_read_already_is_refused(tiny_model):
    """Else the gradient would be that of a pass without the edit."""
    model = tiny_model("llama")
    rows = texts(model)
    positions = [np.array([text.end]) for text in rows]
    early = Intervention(Site("resid_pre", 0), zero(), torch.arange(40).expand(3, -1) == 1)
    with pytest.raises(InternalError, match="position of the prefix"):
        read_slopes(model, rows, SITES, score, positions, edits=lambda chosen: [early])
