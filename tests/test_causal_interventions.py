"""Interventions against plain Hugging Face models: torch hooks on their blocks, and edited weights,
on six families.
"""

import numpy as np
import pytest
import torch

from interp.causal.edits import add, replace, zero
from interp.causal.interventions import Intervention, applied
from interp.errors import InternalError, UsageError
from interp.models import load
from interp.models.generation import Decoding
from interp.sites import Site
from support.tiny_models import FAMILIES

TEXTS = ["the dog ran home and anna smiled .", "ben lost the letter", "a cold wind"]
STREAM = Site("resid_post", 0)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tiny_folder):
    return load(str(tiny_folder(request.param)), check=False)


@pytest.fixture(scope="module")
def llama(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


def blocks(hf):
    return hf.transformer.h if hasattr(hf, "transformer") else hf.model.layers


def vector(model, seed=0):
    return torch.randn(model.dims.d_model, generator=torch.Generator().manual_seed(seed)) * 3


def edited_logits(model, batch, *interventions):
    with applied(model, interventions, lengths=batch.lengths, side=batch.side):
        return model.forward(batch)


def real(batch, x):
    """The values on each row's own tokens, in order."""
    return [x[row][batch.mask[row]] for row in range(len(batch.lengths))]


def test_adding_at_the_last_token_is_a_torch_hook_on_the_plain_block(model):
    hf, v = model.plain().eval(), vector(model)
    for tokens in model.tokenize(TEXTS):

        def hook(module, inputs, output):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, -1] += v
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = blocks(hf)[0].register_forward_hook(hook)
        with torch.no_grad():
            expected = hf(torch.tensor([tokens])).logits[0]
            handle.remove()
            unedited = hf(torch.tensor([tokens])).logits[0]
        batch = model.pad([tokens])
        found = edited_logits(model, batch, Intervention(STREAM, add(v), "last"))[0]
        assert torch.allclose(found, expected, atol=1e-4)
        assert torch.equal(found[:-1], model.forward(batch)[0][:-1])
        assert (found[-1] - unedited[-1]).abs().max() > 0.1


def test_zeroing_a_head_is_zeroing_its_rows_of_the_output_matrix(model):
    hf, head, width = model.plain().eval(), 2, model.dims.d_head
    block = blocks(hf)[1]
    attention = (
        block.self_attn.o_proj
        if hasattr(block, "self_attn")
        else getattr(block.attn, "attention", block.attn)
    )
    matrix = (
        attention
        if hasattr(block, "self_attn")
        else getattr(attention, "c_proj", None) or attention.out_proj
    )
    rows = slice(head * width, (head + 1) * width)
    with torch.no_grad():
        (matrix.weight if type(matrix).__name__ == "Conv1D" else matrix.weight.T)[rows] = 0
        tokens = model.tokenize(TEXTS[:1])
        expected = hf(torch.tensor(tokens)).logits
    found = edited_logits(model, model.pad(tokens), Intervention(Site("z", 1, head), zero()))
    assert torch.allclose(found, expected, atol=1e-4)
    assert (found - model.forward(model.pad(tokens))).abs().max() > 1e-3


def test_absolute_positions_are_the_same_on_both_padding_sides(model):
    rows = model.tokenize(TEXTS)
    mask = torch.zeros(3, 12, dtype=torch.bool)
    # position 11 of row 2 is padding: left alone
    mask[0, 3], mask[1, 1], mask[2, 0], mask[2, 11] = True, True, True, True
    for where in ("all", "last", "prompt", mask, ("last", mask)):
        edit = Intervention(STREAM, add(vector(model)), where)
        right, left = model.pad(rows), model.pad(rows, side="left")
        pairs = zip(
            real(right, edited_logits(model, right, edit)),
            real(left, edited_logits(model, left, edit)),
            strict=True,
        )
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)
        alone = [
            edited_logits(
                model, model.pad([row]), Intervention(STREAM, add(vector(model)), _row(where, i))
            )[0]
            for i, row in enumerate(rows)
        ]
        assert all(
            torch.allclose(a, b, atol=1e-4)
            for a, b in zip(alone, real(left, edited_logits(model, left, edit)), strict=True)
        )


def _row(where, i):
    if isinstance(where, tuple):
        return tuple(_row(part, i) for part in where)
    return where[i : i + 1] if isinstance(where, torch.Tensor) else where


@pytest.mark.parametrize("where", ["all", "prompt", "last", ("last", "generated")])
def test_generation_is_the_same_with_and_without_the_cache(model, where):
    prompts = model.tokenize(TEXTS)
    made = {}
    for use_cache in (True, False):
        with applied(
            model,
            [Intervention(STREAM, add(vector(model, 1)), where)],
            lengths=[len(p) for p in prompts],
            side="left",
        ):
            made[use_cache] = model.generate(
                prompts, Decoding(max_new_tokens=6), use_cache=use_cache
            )
    assert made[True] == made[False]
    assert made[True] != model.generate(prompts, Decoding(max_new_tokens=6))


def test_generated_means_every_token_after_the_prompt(model):
    [prompt] = model.tokenize(TEXTS[:1])
    v = vector(model, 2)
    with applied(
        model, [Intervention(STREAM, add(v), "generated")], lengths=[len(prompt)], side="left"
    ):
        found = model.generate([prompt], Decoding(max_new_tokens=5))[0]
    ids = list(prompt)
    for _ in range(5):  # by hand: forward passes with a mask on what was written
        mask = torch.arange(len(ids))[None] >= len(prompt)
        batch = model.pad([ids])
        logits = (
            edited_logits(model, batch, Intervention(STREAM, add(v), mask))
            if mask.any()
            else model.forward(batch)
        )
        ids.append(int(logits[0, -1].argmax()))
    written = ids[len(prompt) :]
    assert found == written[: len(found)]
    assert len(found) == 5 or written[len(found)] in model.end_tokens


def test_many_strengths_in_one_batch_and_zero_is_bit_for_bit_unedited(model):
    tokens = model.tokenize([TEXTS[0]] * 3)
    batch, v = model.pad(tokens), vector(model)
    mixed = edited_logits(model, batch, Intervention(STREAM, add(v, scale=[0.0, 1.0, -2.0])))
    assert torch.equal(mixed[0], model.forward(batch)[0])
    for row, scale in ((1, 1.0), (2, -2.0)):
        alone = edited_logits(
            model, model.pad(tokens[:1]), Intervention(STREAM, add(v, scale=scale))
        )
        assert torch.allclose(mixed[row], alone[0], atol=1e-4)
        assert (mixed[row] - mixed[0]).abs().max() > 0.1


@pytest.mark.parametrize(
    "name",
    [
        "resid_pre",
        "resid_mid",
        "resid_post",
        "attn_out",
        "mlp_out",
        "q",
        "k",
        "v",
        "z",
        "pre",
        "post",
    ],
)
def test_every_site_but_the_pattern_can_be_edited(llama, name):
    batch = llama.pad(llama.tokenize(TEXTS))
    heads = (None, 1) if name in ("q", "k", "v", "z") else (None,)
    for head in heads:
        with applied(
            llama, [Intervention(Site(name, 1, head), zero())], lengths=batch.lengths
        ) as firings:
            logits = llama.forward(batch)
        assert (logits - llama.forward(batch))[batch.mask].abs().max() > 1e-4
        assert firings[0].fired == 1
        assert firings[0].edited == sum(batch.lengths)


def test_several_interventions_act_in_their_order(llama):
    batch, v = llama.pad(llama.tokenize(TEXTS)), vector(llama)
    first, second = Intervention(STREAM, add(v), "last"), Intervention(STREAM, replace(v), "last")
    assert torch.equal(
        edited_logits(llama, batch, first, second), edited_logits(llama, batch, second)
    )
    assert not torch.equal(
        edited_logits(llama, batch, second, first), edited_logits(llama, batch, second)
    )


def test_an_intervention_that_never_fires_is_an_error(llama):
    with (
        pytest.raises(InternalError, match=r"blocks\.0\.hook_resid_post never fired"),
        applied(llama, [Intervention(STREAM, zero())], lengths=[3]),
    ):
        pass
    batch = llama.pad(llama.tokenize(TEXTS[:1]))
    late = Intervention(Site("resid_post", 2), zero())
    with (
        pytest.raises(InternalError, match="never fired"),
        applied(llama, [late], lengths=batch.lengths),
    ):
        llama.forward(batch, stop_at_layer=1)
    assert llama.hooks_clean()


def test_hooks_are_gone_after_an_error_and_a_leftover_is_refused(llama):
    batch = llama.pad(llama.tokenize(TEXTS[:1]))
    with (
        pytest.raises(ZeroDivisionError),
        applied(llama, [Intervention(STREAM, zero())], lengths=batch.lengths),
    ):
        raise ZeroDivisionError
    assert llama.hooks_clean()
    twice = Intervention(Site("z", 0, 1), zero())
    with (
        pytest.raises(InternalError, match="entered twice"),
        applied(llama, [twice], lengths=batch.lengths),
        applied(llama, [twice], lengths=batch.lengths),
    ):
        llama.forward(batch)
    assert llama.hooks_clean()
    with (
        llama.bridge.hooks(fwd_hooks=[(STREAM.hook, lambda x, hook: None)]),
        pytest.raises(InternalError, match="hooks sit on the model"),
    ):
        edited_logits(llama, batch, twice)


def test_a_context_serves_one_pass(llama):
    batch = llama.pad(llama.tokenize(TEXTS[:1]))
    with (
        pytest.raises(InternalError, match="one forward pass"),
        applied(llama, [Intervention(STREAM, zero())], lengths=batch.lengths),
    ):
        _ = [llama.forward(batch) for _ in range(2)]
    with (
        pytest.raises(InternalError, match="2 rows"),
        applied(llama, [Intervention(STREAM, zero())], lengths=[3]),
    ):
        llama.forward(llama.pad(llama.tokenize(TEXTS[:2])))
    with (
        pytest.raises(InternalError, match="cannot hold"),
        applied(llama, [Intervention(STREAM, zero())], lengths=[99]),
    ):
        llama.forward(batch)
    assert llama.hooks_clean()


def test_an_edit_that_changes_shape_or_dtype_is_refused(llama):
    batch = llama.pad(llama.tokenize(TEXTS[:1]))
    for edit in (lambda x, at: x[:, :3], lambda x, at: x.double()):
        with pytest.raises(InternalError, match="an edit at"):
            edited_logits(llama, batch, Intervention(STREAM, edit))


def test_what_cannot_be_asked_for(llama):
    with pytest.raises(UsageError, match="sum to one"):
        Intervention(Site("pattern", 0), zero())
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        Intervention(STREAM, zero(), "generate")
    with pytest.raises(UsageError, match="selects no token"):
        Intervention(STREAM, zero(), torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(UsageError, match="empty"):
        Intervention(STREAM, zero(), ())
    batch = llama.pad(llama.tokenize(TEXTS[:1]))
    with pytest.raises(UsageError, match=r"layers 0\.\.2"):
        edited_logits(llama, batch, Intervention(Site("resid_post", 3), zero()))
    with pytest.raises(UsageError, match=r"heads 0\.\.1"):
        edited_logits(llama, batch, Intervention(Site("k", 0, 2), zero()))
    with pytest.raises(UsageError, match="mask has 2 rows"):
        edited_logits(
            llama, batch, Intervention(STREAM, zero(), torch.ones(2, 3, dtype=torch.bool))
        )


def test_numpy_arrays_serve_too(llama):
    batch, v = llama.pad(llama.tokenize(TEXTS)), vector(llama)
    found = edited_logits(llama, batch, Intervention(STREAM, add(np.asarray(v, dtype=np.float64))))
    assert torch.allclose(
        found, edited_logits(llama, batch, Intervention(STREAM, add(v))), atol=1e-4
    )
