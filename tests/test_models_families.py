"""Six families of tiny models, held against plain Hugging Face."""

from functools import cache

import pytest
import torch
from transformers import AutoModelForCausalLM

from interp.errors import DataError, InternalError, UsageError
from interp.models.checks.doctor import examine
from interp.models.generation import Decoding
from interp.sites import Site
from support.tiny_models import FAMILIES, WORDS

TEXTS = [
    "Anna lost the key and cried .",
    "the dog",
    "after the rain he found his old coat in the car , and smiled at last .",
]


def close(found, expected, tolerance=1e-5):
    return (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def model(tiny_model, family):
    return tiny_model(family)


@pytest.fixture(scope="session")
def plain(tiny_folder):
    """The same weights in Hugging Face's own classes: the oracle."""

    @cache
    def build(family):
        return AutoModelForCausalLM.from_pretrained(
            tiny_folder(family), attn_implementation="eager"
        ).eval()

    return build


def hidden_states(oracle, row):
    with torch.no_grad():
        return oracle(torch.tensor([row]), output_hidden_states=True)


@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_and_residual_stream_are_hugging_faces(model, plain, family, side):
    rows, layers, seen = model.tokenize(TEXTS), range(model.dims.n_layers), {}

    def reader(layer):
        return Site("resid_pre", layer).hook, lambda tensor, hook: seen.__setitem__(layer, tensor)

    batch = model.pad(rows, side=side)
    logits = model.forward(batch, hooks=[reader(layer) for layer in layers])
    for place, row in enumerate(rows):
        expected = hidden_states(plain(family), row)
        assert close(logits[place][batch.mask[place]], expected.logits[0])
        for layer in layers:
            assert close(seen[layer][place][batch.mask[place]], expected.hidden_states[layer][0])


def test_every_check_of_the_doctor_passes(model):
    rows = examine(model)
    assert [row["check"] for row in rows if not row["passed"]] == []
    assert {"head sum", "neuron sum", "edits act", "cache under an edit", "plain Hugging Face"} <= {
        row["check"] for row in rows
    }


def test_greedy_text_is_hugging_faces_alone_in_a_batch_and_without_cache(model, plain, family):
    rows = model.tokenize(TEXTS)
    oracle = plain(family)
    expected = []
    for row in rows:
        ids = torch.tensor([row])
        kept = oracle.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
        )
        new = kept[0, len(row) :].tolist()
        expected.append([token for token in new if token not in model.end_tokens])
    assert model.generate(rows, Decoding(max_new_tokens=12)) == expected
    assert model.generate(rows, Decoding(max_new_tokens=12), use_cache=False) == expected
    assert [model.generate([row], Decoding(max_new_tokens=12))[0] for row in rows] == expected


def test_last_logits_are_the_last_row_of_forward(model):
    rows = model.tokenize(TEXTS)
    for side in ("right", "left"):
        batch = model.pad(rows, side=side)
        whole = model.forward(batch)
        assert close(
            model.last_logits(batch),
            torch.stack([whole[i, batch.last[i]] for i in range(len(rows))]),
        )


def test_stopping_skips_later_blocks_and_keeps_edits(model):
    batch, fired = model.pad(model.tokenize(TEXTS)), []
    depth = model.dims.n_layers
    for layer in range(depth + 1):
        site = Site("resid_post", layer - 1) if layer else Site("resid_pre", 0)
        seen = {}
        model.forward(
            batch, hooks=[(site.hook, lambda tensor, hook, seen=seen: seen.__setitem__(0, tensor))]
        )
        later = [
            (Site("resid_pre", k).hook, lambda tensor, hook: fired.append(hook))
            for k in range(layer + 1, depth)
        ]
        assert torch.equal(model.forward(batch, stop_at_layer=layer, hooks=later), seen[0])
        edited = model.forward(
            batch, stop_at_layer=layer, hooks=[(site.hook, lambda tensor, hook: tensor + 1)]
        )
        assert torch.equal(edited, seen[0] + 1)
    assert not fired
    with pytest.raises(UsageError, match=f"expected 0..{depth}"):
        model.forward(batch, stop_at_layer=depth + 1)


def test_weights_give_what_removing_a_head_or_a_neuron_takes_away(model):
    """Zeroing head 1 (neuron 5) takes its own product with its weights out of the sublayer's
    sum.
    """
    batch, layer = model.pad(model.tokenize(TEXTS[:1])), model.dims.n_layers - 1
    cases = {
        "attn": ("z", "attn_out", (slice(None), slice(None), 1)),
        "mlp": ("post", "mlp_out", (..., 5)),
    }
    for sublayer, (inner, outer, index) in cases.items():
        seen = {}

        def keep(key, seen=seen):
            return lambda tensor, hook: seen.__setitem__(key, tensor)

        def zero(tensor, hook, index=index):
            changed = tensor.clone()
            changed[index] = 0
            return changed

        model.forward(
            batch,
            hooks=[(Site(inner, layer).hook, keep("in")), (Site(outer, layer).hook, keep("whole"))],
        )
        model.forward(
            batch, hooks=[(Site(inner, layer).hook, zero), (Site(outer, layer).hook, keep("less"))]
        )
        if sublayer == "attn":
            product, bias = (
                torch.einsum("bphd,hdm->bphm", seen["in"], model.W_O(layer)),
                model.b_O(layer),
            )
            whole, less = product.sum(2) + bias, product.sum(2) - product[:, :, 1] + bias
        else:
            whole = seen["in"] @ model.W_out(layer) + model.b_out(layer)
            less = whole - seen["in"][..., 5:6] * model.W_out(layer)[5]
        norm = model.post_norm(layer, sublayer)
        assert (norm is not None) == model.provenance["architecture"].startswith("Gemma2")
        with torch.no_grad():
            assert close(seen["whole"], norm(whole) if norm else whole)
            assert close(seen["less"], norm(less) if norm else less)
        assert not torch.equal(seen["whole"], seen["less"])


def test_unembedding_and_embedding(model, plain, family):
    row = model.tokenize(TEXTS[:1])[0]
    result = hidden_states(plain(family), row)  # its last hidden state is after the final norm
    logits = result.hidden_states[-1][0] @ model.W_U
    if family == "gemma2":
        logits = 30 * torch.tanh(logits / 30)
    assert close(logits, result.logits[0])
    assert torch.equal(model.W_E, plain(family).get_input_embeddings().weight)
    assert model.dims.d_vocab == len(model.W_E)


def test_sites_have_the_models_own_numbers(model, family):
    rows = {row["site"]: row for row in model.sites()}
    dims = model.dims
    assert len(rows) == 12
    assert rows["resid_post"]["shape"] == f"[batch, pos, {dims.d_model}]"
    assert rows["k"]["shape"] == f"[batch, pos, {dims.n_key_value_heads}, {dims.d_head}]"
    assert rows["z"]["layers"] == f"0-{dims.n_layers - 1}"
    grouped = family in ("llama", "qwen3", "gemma2", "mistral")
    assert (dims.n_key_value_heads, dims.n_heads) == ((2, 4) if grouped else (4, 4))
    assert ("read-only" in rows["pattern"]["accepted_by"]) == (family == "gpt_neo")


def test_tokenizer_adds_its_own_bos_once(model, family):
    rows = model.tokenize(TEXTS)
    bos = [] if family in ("gpt2", "gpt_neo") else [1]
    offset = 2 if family in ("gpt2", "gpt_neo") else 4
    assert rows[1] == [*bos, *(WORDS.index(word) + offset for word in ("the", "dog"))]
    assert all(row.count(1) == len(bos) for row in rows)
    assert model.decode(rows[1]) == "the dog"


def test_hooks_are_gone_after_an_exception(model):
    def fail(tensor, hook):
        raise ZeroDivisionError

    assert model.hooks_clean()
    for run in (
        model.forward,
        lambda batch, hooks: model.generate([[5, 6]], Decoding(max_new_tokens=2), hooks=hooks),
    ):
        with pytest.raises(ZeroDivisionError):
            run(model.pad([[5, 6]]), hooks=[(Site("mlp_out", 0).hook, fail)])
        assert model.hooks_clean()


def test_text_and_prompt_longer_than_the_context(model):
    with pytest.raises(DataError, match=r"the context of .* holds 128 \(n_ctx\)"):
        model.forward(model.pad([[5] * 129]))
    with pytest.raises(DataError, match="its 4 new tokens has 129 positions"):
        model.generate([[5] * 125], Decoding(max_new_tokens=4))
    assert len(model.generate([[5] * 124], Decoding(max_new_tokens=4))[0]) <= 4


def test_a_hook_left_behind_is_an_error(tiny_model):
    model = tiny_model("gpt2")
    point = model.bridge.hook_dict["blocks.0.hook_resid_post"]

    def leave(tensor, hook):
        point.add_hook(lambda tensor, hook: None)

    try:
        with pytest.raises(InternalError, match="hooks were left on the model"):
            model.forward(model.pad([[5, 6]]), hooks=[("blocks.0.hook_resid_pre", leave)])
        assert not model.hooks_clean()
    finally:
        point.remove_hooks()
    assert model.hooks_clean()
