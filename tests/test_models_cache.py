"""The key-value cache: cached == uncached on every family, and a cache that stays empty is
refused.
"""

import warnings
from importlib import metadata

import pytest
import torch
from transformers.cache_utils import DynamicLayer

import interp.cli
from interp.errors import ArtefactError, InternalError
from interp.models import LanguageModel, load
from interp.models.cache import cache_name, copy_rows, cropped, held
from interp.models.checks import versions
from support.tiny_models import FAMILIES

ROWS = [[5, 9, 14, 3, 8, 21, 6], [7, 30, 12, 5], [11, 4, 17, 25, 9]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_read_in_steps_has_the_logits_of_the_whole_text(tiny_model, family):
    model = tiny_model(family)
    batch = model.pad(ROWS, side="left")
    cache = None
    for first, end in ((0, 3), (3, 4), (4, 7)):
        logits, cache = model.resume(batch.ids[:, first:end], batch.mask[:, :end], cache)
    whole, _ = model.step(batch.ids, batch.mask, None, use_cache=False)
    assert held(cache) == 7
    torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_columns_are_unembedded_from_one_piece_of_memory(tiny_model, family):
    model = tiny_model(family)
    batch, seen = model.pad(ROWS, side="left"), []
    head = model.bridge.original_model.get_output_embeddings()
    watch = head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        model.resume(batch.ids, batch.mask)
    finally:
        watch.remove()
    assert [(one.shape[:2], one.is_contiguous()) for one in seen] == [((3, 1), True)]


def test_rows_of_a_cache_go_on_as_those_rows_and_leave_it_as_it_was(tiny_model):
    model = tiny_model("llama")
    batch = model.pad(ROWS, side="left")
    _, cache = model.resume(batch.ids[:, :5], batch.mask[:, :5])
    chosen = torch.tensor([2, 0, 2])
    found, _ = model.resume(batch.ids[chosen, 5:], batch.mask[chosen], copy_rows(cache, chosen))
    expected, _ = model.step(batch.ids, batch.mask, None, use_cache=False)
    torch.testing.assert_close(found, expected[chosen], rtol=1e-4, atol=1e-5)
    assert held(cache) == 5


def without_cache(monkeypatch):
    """The cache is never filled, as where a library hands it on under a name that another does not
    know.
    """
    monkeypatch.setattr("interp.models.loading.loader.carry_cache", lambda bridge: None)
    attention = "transformer_lens.model_bridge.generalized_components.attention.AttentionBridge"
    monkeypatch.setattr(f"{attention}._update_kv_cache", lambda self, k, v, **options: (k, v))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_is_cut_where_its_layers_hold_columns_and_nothing_else(tiny_model, family):
    """A window that has not moved on counts its columns by itself."""
    model = tiny_model(family)
    batch = model.pad(ROWS, side="left")
    _, cache = model.resume(batch.ids, batch.mask)
    short = cropped(cache, 4)
    assert (held(short), held(cache)) == (4, 7)
    logits, _ = model.resume(batch.ids[:, 4:], batch.mask, copy_rows(short, torch.arange(3)))
    whole, _ = model.step(batch.ids, batch.mask, None, use_cache=False)
    torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)

    class WithState(DynamicLayer):
        """As the layers of hybrid models: keys and values, and a state that cannot be cut."""

    cache.layers[1].__class__ = WithState
    assert cropped(cache, 4) is None


def test_a_cache_that_stays_empty_is_refused_when_the_model_is_loaded(tiny_folder, monkeypatch):
    without_cache(monkeypatch)
    with pytest.raises(
        InternalError, match=r"cache under an edit.*Installed: transformers 5.*known to work"
    ):
        load(str(tiny_folder("llama")))


def test_with_a_version_that_was_not_tried_the_command_that_mends_it_is_named(
    tiny_folder, monkeypatch
):
    without_cache(monkeypatch)
    monkeypatch.setattr(versions, "_version", lambda name: "99.1")
    with pytest.raises(ArtefactError, match=r"transformers 99\.1.*pip install .*\"transformers"):
        load(str(tiny_folder("llama")))


def test_a_version_that_was_not_tried_and_passes_is_told(tiny_folder, monkeypatch):
    monkeypatch.setattr(versions, "_version", lambda name: "99.1")
    with pytest.warns(UserWarning, match=r"not tried with .*transformers 99\.1"):
        load(str(tiny_folder("llama")))


def test_an_edit_without_effect_is_refused_when_the_model_is_loaded(tiny_folder, monkeypatch):
    forward = LanguageModel.forward

    def reading_only(hook):
        def read(tensor, **named):
            hook(tensor, **named)  # what it gives back is lost

        return read

    def deaf(self, batch, *, hooks=(), stop_at_layer=None):
        heard = [(name, reading_only(hook)) for name, hook in hooks]
        return forward(self, batch, hooks=heard, stop_at_layer=stop_at_layer)

    monkeypatch.setattr(LanguageModel, "forward", deaf)
    with pytest.raises(InternalError, match="edits act"):
        load(str(tiny_folder("llama")))


def test_the_name_of_the_cache_is_what_the_model_takes(tiny_model):
    wrapped = tiny_model("gpt2").bridge.original_model
    ids = torch.tensor([[5, 9]])
    out = wrapped(ids, use_cache=True)
    again = wrapped(ids, use_cache=True, **{cache_name(wrapped): out[cache_name(wrapped)]})
    assert held(again[cache_name(wrapped)]) == 4


def test_versions_are_known_from_the_sources_where_interp_is_not_installed(monkeypatch):
    installed = versions.tried()

    def nowhere(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions.metadata, "requires", nowhere)
    versions._bounds.cache_clear()
    try:
        assert "transformers" in installed
        assert versions.tried() == installed
    finally:
        versions._bounds.cache_clear()


@pytest.mark.parametrize("kind", [ImportError, AttributeError, TypeError])
def test_a_library_with_another_inside_is_one_line_where_it_was_not_tried(
    kind, monkeypatch, capsys
):
    def renamed(**named):
        raise kind("cannot find 'Bridge'\nin the library")

    monkeypatch.setattr(interp.cli.cli, "main", renamed)
    monkeypatch.setattr("warnings.showwarning", warnings.showwarning)  # main sets these
    for name in ("TRANSFORMERS_VERBOSITY", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
    with pytest.raises(kind, match="cannot find"):
        interp.cli.main()
    monkeypatch.setattr(versions, "_version", lambda name: "99.1")
    with pytest.raises(SystemExit) as left:
        interp.cli.main()
    told = capsys.readouterr().err
    assert left.value.code == 4
    assert told.count("\n") == 1
    assert f"fails with it ({kind.__name__}: cannot find 'Bridge' in the library)" in told
    assert 'Run: pip install "transformer-lens<=' in told
