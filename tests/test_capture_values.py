"""What capture records is what the model computes: against plain Hugging Face modules, alone and
batched, on six families.
"""

import numpy as np
import pytest
import torch

from interp.capture.recording.engine import BridgeEngine, choose_engine, largest_difference
from interp.capture.recording.plain_engine import PlainEngine
from interp.errors import InternalError
from interp.models import Batch, load
from interp.sites import expand
from support.capture_cases import SITES, battery, capture
from support.tiny_models import FAMILIES


@pytest.fixture(scope="module")
def models(tiny_folder):
    return {family: load(str(tiny_folder(family)), check=False) for family in FAMILIES}


def oracle(model, tokens):
    """Residual streams [layer, pos, d_model] out of the Hugging Face model itself, eager and
    unwrapped, one text alone.
    """
    plain = model.plain()
    blocks = getattr(plain.base_model, "layers", None) or plain.base_model.h
    found, handles = [], []
    for block in blocks:
        handles.append(
            block.register_forward_hook(
                lambda m, a, out: found.append(out[0] if isinstance(out, tuple) else out)
            )
        )
    with torch.no_grad():
        plain(torch.tensor([tokens]))
    for handle in handles:
        handle.remove()
    return torch.stack(found)[:, 0].numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_values_equal_hugging_face(models, family):
    model, texts = models[family], battery(4)
    with capture(
        model,
        texts,
        sites=SITES,
        positions=("last", "mean_content", "all", "span(seen)"),
        token_budget=64,
    ) as store:
        assert store.provenance["engine"].startswith("plain"), (
            "the fast path must serve every family here"
        )
        rows = model.tokenize([item.text for item in texts])
        for layer in range(model.dims.n_layers):
            site = f"blocks.{layer}.hook_resid_post"
            last, mean, every, span = (store.read(site, p) for p in store.positions)
            for place, item in enumerate(texts):
                truth = oracle(model, rows[place])[layer]
                scale = np.abs(truth).max()
                content = [
                    p for p, (a, b) in enumerate(model.encode([item.text])[0].spans) if b > a
                ]
                assert np.abs(every.of(item.id) - truth).max() <= 1e-5 * scale
                assert np.abs(last.x[place] - truth[-1]).max() <= 1e-5 * scale
                assert np.abs(mean.x[place] - truth[content].mean(0)).max() <= 1e-5 * scale
                assert np.abs(span.x[place] - truth[content[1]]).max() <= 1e-5 * scale


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_agree_with_each_other(models, family):
    model = models[family]
    with capture(model, battery(2), sites=SITES, positions=("all",)) as store:
        for layer in range(model.dims.n_layers):
            pre, mid, post, attn, mlp = (
                store.read(f"blocks.{layer}.hook_{n}", "all").x for n in SITES[:5]
            )
            scale = np.abs(post).max()
            assert np.abs(pre + attn - mid).max() <= 1e-5 * scale
            assert np.abs(mid + mlp - post).max() <= 1e-5 * scale
            z = store.read(f"blocks.{layer}.attn.hook_z", "all").x
            assert z.shape[1:] == (model.dims.n_heads, model.dims.d_head)
            if model.post_norm(layer, "attn") is None:
                made = (
                    np.einsum("thd,hdm->tm", z, model.W_O(layer).numpy()) + model.b_O(layer).numpy()
                )
                assert np.abs(made - attn).max() <= 1e-5 * scale
                inner = store.read(f"blocks.{layer}.mlp.hook_post", "all").x
                made = inner @ model.W_out(layer).numpy() + model.b_out(layer).numpy()
                assert np.abs(made - mlp).max() <= 1e-5 * scale


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fast_path_changes_no_value(models, family):
    model = models[family]
    sites = expand([*SITES, "q", "k", "v"], n_layers=model.dims.n_layers)
    engine, reason = choose_engine(model, sites)
    assert isinstance(engine, PlainEngine), reason
    assert largest_difference(model, engine, BridgeEngine(model), sites) <= 1e-5
    fast = capture(model, battery(2), sites=("v", "z"))
    eager = capture(model, battery(2), sites=("v", "z"), attention="eager")
    assert eager.provenance["engine"] == "bridge"
    a, b = (store.read("blocks.1.attn.hook_z").x for store in (fast, eager))
    assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


def test_a_plain_path_that_is_wrong_is_not_used(models, monkeypatch):
    model = models["llama"]
    right = PlainEngine._shaped
    monkeypatch.setattr(
        PlainEngine, "_shaped", lambda self, site, tensor: 1.001 * right(self, site, tensor)
    )
    engine, reason = choose_engine(model, expand(["resid_post"], n_layers=3))
    assert isinstance(engine, BridgeEngine)
    assert "differ from the bridge by 1.0e-03" in reason


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_alone_equals_batched_and_a_lost_mask_is_seen(models, family, side):
    model = models[family]
    sites = expand(["resid_post"], n_layers=model.dims.n_layers)
    rows = sorted(model.tokenize([item.text for item in battery(4)]), key=len)
    together = model.pad([rows[0], rows[-1]], side=side)
    maskless = Batch(
        together.ids, torch.ones_like(together.mask), (together.ids.shape[1],) * 2, side
    )

    def short(batch):
        found = {}
        BridgeEngine(model).run(
            batch, {site: lambda t, s=site: found.__setitem__(s, t.clone()) for site in sites}
        )
        start = int(together.pads[0]) if len(batch.lengths) == 2 else 0
        return torch.stack([found[site][0, start : start + len(rows[0])] for site in sites])

    alone = short(model.pad([rows[0]]))
    assert (short(together) - alone).abs().max() <= 1e-5 * alone.abs().max()
    if side == "left":
        assert (short(maskless) - alone).abs().max() > 1e-2 * alone.abs().max(), (
            "the mutation must fail"
        )
        with pytest.raises(InternalError, match="right padding"):
            PlainEngine(model, sites).run(together, {})


def test_a_padding_bug_stops_the_capture(models, monkeypatch):
    model = models["gpt2"]
    pad = model.pad
    monkeypatch.setattr(
        model,
        "pad",
        lambda rows, side="right": pad([row[::-1] if len(rows) > 1 else row for row in rows]),
    )
    with pytest.raises(InternalError, match="batch self-check failed"):
        capture(model, battery(2), sites=("resid_post",), positions=("last",))


def test_patterns_are_probabilities_over_the_text(models):
    model, texts = models["llama"], battery(3)
    with capture(model, texts, sites=("pattern", "z"), positions=("last",)) as store:
        rows = model.tokenize([item.text for item in texts])
        pattern = store.read("blocks.1.attn.hook_pattern")
        assert pattern.lengths == tuple(map(len, rows))
        for item, row in zip(texts, rows, strict=True):
            of_text = pattern.of(item.id)
            assert of_text.shape == (len(row), model.dims.n_heads)
            np.testing.assert_allclose(of_text.sum(0), 1, atol=1e-5)
        one = store.read("blocks.1.attn.hook_pattern[2]")
        np.testing.assert_array_equal(one.x, pattern.x[:, 2])


@pytest.mark.parametrize("attention", ["fast", "eager"])
def test_one_head_is_that_head(models, attention):
    sites = ("z", "blocks.1.attn.hook_z[3]")
    with capture(models["qwen3"], battery(2), sites=sites, attention=attention) as store:
        whole = store.read("blocks.1.attn.hook_z").x
        np.testing.assert_array_equal(store.read("blocks.1.attn.hook_z[3]").x, whole[:, 3])
        np.testing.assert_array_equal(
            store.read("blocks.0.attn.hook_z[1]").x, store.read("blocks.0.attn.hook_z").x[:, 1]
        )


def test_low_precision_stays_within_its_bound(tiny_folder, models):
    low = load(str(tiny_folder("llama")), dtype="bfloat16", check=False)
    a, b = (
        capture(m, battery(3), sites=("resid_post",)).read("blocks.2.hook_resid_post").x
        for m in (low, models["llama"])
    )
    error = np.abs(a - b).max() / np.abs(b).max()
    assert 1e-4 < error < 6e-2
