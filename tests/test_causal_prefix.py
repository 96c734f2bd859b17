"""A prefix run once and resumed equals the whole pass, on six families, past their attention
windows too.
"""

from dataclasses import replace

import pytest
import torch

from interp.causal.edits import add, zero
from interp.causal.forward import Encoded, run_forward
from interp.causal.interventions import Intervention
from interp.causal.prefix import ELSEWHERE, Prefix, portion_of, prefix_tokens, rows_at_once
from interp.errors import InternalError
from interp.models import load
from interp.sites import Site
from support.tiny_models import FAMILIES

SITE, LATER = Site("resid_post", 0), Site("resid_post", 1)
LENGTHS = (40, 25, 31, 22)
STARTS = (30, 20, 22, 21)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tiny_folder):
    return load(str(tiny_folder(request.param)), check=False)


def texts(model):
    draw = torch.Generator().manual_seed(0)
    return [
        Encoded(tuple(torch.randint(5, model.dims.d_vocab, (n,), generator=draw).tolist()), n - 2)
        for n in LENGTHS
    ]


def push(model, starts, width=40):
    mask = torch.arange(width) >= torch.tensor(starts)[:, None]
    v = torch.randn(len(starts), model.dims.d_model, generator=torch.Generator().manual_seed(1)) * 3
    return Intervention(SITE, add(v), mask)


def test_resuming_equals_the_whole_pass(model):
    rows, edit = texts(model), push(model, STARTS)
    whole = run_forward(model, rows, interventions=[edit], read=[LATER])
    prefix = Prefix(model, rows, STARTS)
    assert prefix.column == 30  # of 40: the first of the starts, counted from the common end
    resumed = prefix.run([edit], read=[LATER])
    assert torch.allclose(resumed.logits, whole.logits, atol=2e-4)
    ends = [row.end for row in rows]
    assert torch.allclose(resumed.at(LATER, ends), whole.at(LATER, ends), atol=2e-4)
    assert (whole.logits - run_forward(model, rows).logits).abs().max() > 0.1


def test_a_prefix_serves_many_edits_and_rows(model):
    rows, prefix = texts(model), Prefix(model, texts(model), STARTS)
    first = prefix.run([])
    chosen = [2, 0, 2]
    edit = push(model, [STARTS[i] for i in chosen])
    some = prefix.run([edit], rows=chosen)
    assert torch.allclose(
        some.logits,
        run_forward(model, [rows[i] for i in chosen], interventions=[edit]).logits,
        atol=2e-4,
    )
    assert torch.equal(prefix.run([]).logits, first.logits)
    assert torch.allclose(first.logits, run_forward(model, rows).logits, atol=2e-4)


def test_starts_at_the_beginning_or_behind_the_end(model):
    rows, edit = texts(model), push(model, [0] * 4)
    from_first = Prefix(model, rows, [0] * 4)
    assert from_first.column == 0
    expected = run_forward(model, rows, interventions=[edit]).logits
    assert torch.allclose(from_first.run([edit]).logits, expected, atol=2e-4)
    last = Prefix(model, rows, [99] * 4)
    assert last.column == 39
    assert torch.allclose(last.run([]).logits, run_forward(model, rows).logits, atol=2e-4)


def test_a_later_prefix_is_cut_out_of_what_was_read(model, monkeypatch):
    """And read anew where an attention window has moved on: its cache no longer holds the start."""
    rows, early = texts(model), Prefix(model, texts(model), [3, 5, 2, 4])
    edit, read = push(model, STARTS), []
    early.clean  # noqa: B018 (all texts are read once)
    run = model._run
    monkeypatch.setattr(model, "_run", lambda *args, **how: read.append(0) or run(*args, **how))
    later = early.later(STARTS)
    window = any(getattr(layer, "sliding_window", 99) <= 40 for layer in early.read_through.layers)
    assert len(read) == window
    assert (early.column, later.column) == (3, 30)
    expected = run_forward(model, rows, interventions=[edit], read=[LATER])
    found = later.run([edit], read=[LATER])
    assert torch.allclose(found.logits, expected.logits, atol=2e-4)
    ends = [row.end for row in rows]
    assert torch.allclose(found.at(LATER, ends), expected.at(LATER, ends), atol=2e-4)
    again = early.run([edit])
    assert torch.allclose(again.logits, expected.logits, atol=2e-4)
    assert early.later([3, 5, 2, 4]) is early
    with pytest.raises(InternalError, match="column 3 is before 30"):
        later.later([3, 5, 2, 4])


def test_the_block_in_front_of_an_edit_does_not_run(model):
    """What is edited behind a block is edited where the next one reads it, unless it is read."""
    rows, prefix, seen = texts(model), Prefix(model, texts(model), STARTS), []
    edit = push(model, STARTS)
    watch = model.bridge.blocks[0].mlp.register_forward_hook(lambda *_: seen.append(0))
    prefix.clean  # noqa: B018
    try:
        before = len(seen)
        moved = prefix.run([edit, edit], read=[LATER])
        assert len(seen) == before
        stays = prefix.run([edit, edit], read=[SITE])
        assert len(seen) == before + 1
    finally:
        watch.remove()
    expected = run_forward(model, rows, interventions=[edit, edit], read=[SITE, LATER])
    ends = [row.end for row in rows]
    for found, site in ((moved, LATER), (stays, SITE)):
        assert torch.allclose(found.logits, expected.logits, atol=2e-4)
        assert torch.allclose(found.at(site, ends), expected.at(site, ends), atol=2e-4)
    below = Intervention(Site("resid_pre", 1), zero(), edit.where)
    both = prefix.run([below, edit]).logits  # in the order of the model, not of the list
    expected = run_forward(model, rows, interventions=[below, edit]).logits
    assert torch.allclose(both, expected, atol=2e-4)


def test_an_edit_of_what_was_run_already_is_refused(model):
    prefix = Prefix(model, texts(model), STARTS)
    early = push(model, [29, 20, 22, 21])
    with pytest.raises(InternalError, match="position of the prefix"):
        prefix.run([early])
    everywhere, rest = (
        Intervention(SITE, zero()),
        Intervention(SITE, zero(), torch.arange(40) >= torch.tensor([[30], [15], [21], [12]])),
    )
    assert torch.equal(prefix.run([everywhere]).logits, prefix.run([rest]).logits)


def test_rows_of_one_run_are_bounded_by_tokens_and_by_copies(model):
    dims, most = model.dims, portion_of(model)
    # keys and values of one column, float32
    a_row = 2 * dims.n_key_value_heads * dims.d_head * dims.n_layers * 4
    assert rows_at_once(model, before=0, behind=8) == most.tokens // 8
    assert rows_at_once(model, before=most.copied // a_row // 3, behind=1) == 3
    assert rows_at_once(model, before=most.copied, behind=2 * most.tokens) == 1


def test_a_run_of_a_wide_model_does_less_at_once_on_a_cpu(model, monkeypatch):
    assert (portion_of(model).tokens, prefix_tokens(model)) == (4096, 1024)
    for width, tokens, shared in ((576, 1820, 512), (4096, 512, 512)):
        monkeypatch.setattr(model, "dims", replace(model.dims, d_model=width))
        assert (portion_of(model).tokens, prefix_tokens(model)) == (tokens, shared)
    monkeypatch.setattr(model, "device", torch.device("cuda"))
    assert portion_of(model) is ELSEWHERE
    assert rows_at_once(model, before=0, behind=8) == ELSEWHERE.tokens // 8
