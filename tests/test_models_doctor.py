"""The doctor sees what is wrong: each mutation of a sound model fails the check that is made for
it.
"""

import pytest
import torch

from interp.errors import InternalError
from interp.models import load
from interp.models.checks.doctor import confirm, examine
from interp.models.language_model import LanguageModel
from interp.sites import Site


@pytest.fixture
def model(tiny_folder):
    return load(str(tiny_folder("llama")))


def failed(model, *, thorough=True):
    return {row["check"]: row for row in examine(model, thorough=thorough) if not row["passed"]}


def forget_mask(model, monkeypatch):
    forward = model.bridge.forward
    monkeypatch.setattr(
        model.bridge, "forward", lambda *args, attention_mask=None, **named: forward(*args, **named)
    )


def test_a_forgotten_mask_fails_left_padding_only(model, monkeypatch):
    assert failed(model) == {}
    forget_mask(model, monkeypatch)
    found = failed(model, thorough=False)
    assert set(found) == {"batch, left padding"}  # a causal model with right padding needs no mask
    assert found["batch, left padding"]["value"] > 0.1
    with pytest.raises(
        InternalError,
        match=r"left padding self-check failed \d\.\de[-+]\d\d > 1e-05: padding/mask bug",
    ):
        confirm(model)


def test_load_refuses_a_model_whose_mask_is_lost(tiny_folder, monkeypatch):
    run = LanguageModel._run
    monkeypatch.setattr(
        LanguageModel,
        "_run",
        lambda self, ids, mask, **named: run(self, ids, torch.ones_like(mask), **named),
    )
    with pytest.raises(InternalError, match="padding/mask bug"):
        load(str(tiny_folder("llama")))
    assert load(str(tiny_folder("llama")), check=False).dims.n_layers == 3


def test_a_sublayer_that_is_not_what_is_added(model):
    """A hook that the doctor does not know of doubles what the name attn_out shows, behind the
    reader's back.
    """
    forward = model.bridge.blocks[1].attn.o._original_component
    forward.register_forward_hook(lambda module, args, output: output * 2)
    found = failed(model)
    assert {"head sum", "plain Hugging Face"} <= set(found)


def test_a_residual_stream_that_is_not_the_sum(model):
    """A constant is slipped in between the MLP's output and the end of the block."""
    inner = model.bridge.blocks[1]._original_component
    inner.register_forward_hook(
        lambda module, args, output: output + 1 if isinstance(output, torch.Tensor) else output
    )
    assert "residual identity" in failed(model, thorough=False)


def test_wrong_weights_fail_head_and_neuron_sums(model, monkeypatch):
    W_O, W_out = LanguageModel.W_O, LanguageModel.W_out
    monkeypatch.setattr(LanguageModel, "W_O", lambda self, layer: W_O(self, layer).flip(0))
    monkeypatch.setattr(LanguageModel, "W_out", lambda self, layer: W_out(self, layer).flip(0))
    assert set(failed(model)) == {"head sum", "neuron sum"}


def test_a_site_without_effect(model, monkeypatch):
    """Edits of q are dropped on the way: the site can be read and writing to it does nothing."""
    forward = LanguageModel.forward
    silent = Site("q", 1).hook

    def reading(fn):
        def read(tensor, hook):
            fn(tensor, hook)

        return read

    def deaf(self, batch, *, hooks=(), stop_at_layer=None):
        heard = [(name, reading(fn) if name == silent else fn) for name, fn in hooks]
        return forward(self, batch, hooks=heard, stop_at_layer=stop_at_layer)

    monkeypatch.setattr(LanguageModel, "forward", deaf)
    found = failed(model)
    assert set(found) == {"edits act"}
    assert found["edits act"]["value"] == 1


def test_a_site_that_never_fires(model, monkeypatch):
    forward = LanguageModel.forward

    def skip(self, batch, *, hooks=(), stop_at_layer=None):
        kept = [(name, fn) for name, fn in hooks if name != Site("q", 1).hook]
        return forward(self, batch, hooks=kept, stop_at_layer=stop_at_layer)

    monkeypatch.setattr(LanguageModel, "forward", skip)
    assert failed(model)["shapes"]["value"] == 1


def test_positions_that_restart_with_the_cache(model, monkeypatch):
    """A cached step that forgets where the text stands gives other tokens than the whole text run
    again.
    """
    step = LanguageModel.step

    def forgetful(self, ids, mask, cache, *, use_cache):
        if cache is not None:
            mask = mask.clone()
            mask[:, :3] = False
        return step(self, ids, mask, cache, use_cache=use_cache)

    monkeypatch.setattr(LanguageModel, "step", forgetful)
    assert set(failed(model)) == {"cache under an edit"}


def test_hooks_that_stay(model, monkeypatch):
    monkeypatch.setattr(model.bridge, "_remove_temporary_hook", lambda *args: None)
    point = model.bridge.hook_dict["blocks.0.hook_resid_pre"]
    with pytest.raises(InternalError, match="hooks were left"):
        model.forward(model.pad([[5]]), hooks=[(point.name, lambda tensor, hook: None)])
    assert not model.hooks_clean()


def test_altered_weights_differ_from_plain(model):
    with torch.no_grad():
        model.bridge.original_model.get_input_embeddings().weight[:, 0] += 1.0
    assert set(failed(model)) == {"plain Hugging Face"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_has_its_own_bounds(tiny_folder, dtype):
    model = load(str(tiny_folder("mistral")), dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    rows = {row["check"]: row for row in examine(model)}
    assert rows["residual identity"]["bound"] == {"bfloat16": 7e-3, "float16": 9e-4}[dtype]
    assert model.provenance["dtype"] == dtype
