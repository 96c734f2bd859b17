"""A model split over two devices, without offloading: every stage works, mixes no devices, and
finds what one device finds.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from interp.causal.bench import Bench, Knockout
from interp.causal.contributions import Component, contributions_at
from interp.causal.knockout import measure
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.causal.steering import dose_response, steer
from interp.models import load
from interp.models.checks.doctor import examine
from interp.sites import Site, expand
from support.capture_cases import SITES, battery, capture
from support.given_directions import first_axis
from support.two_devices import CPU, HERE, THERE, Placed, split, two_devices

HALVES = {
    "llama": {
        "model.embed_tokens": HERE,
        "model.rotary_emb": HERE,
        "model.layers.0": HERE,
        "model.layers.1": THERE,
        "model.layers.2": THERE,
        "model.norm": THERE,
        "lm_head": THERE,
    },
    "gemma2": {
        "model.embed_tokens": HERE,
        "model.rotary_emb": HERE,
        "model.layers.0": HERE,
        "model.layers.1": HERE,
        "model.layers.2": THERE,
        "model.norm": THERE,
        "lm_head": HERE,
    },
    "gpt2": {
        "transformer.wte": HERE,
        "transformer.wpe": HERE,
        "transformer.h.0": HERE,
        "transformer.h.1": THERE,
        "transformer.h.2": THERE,
        "transformer.ln_f": THERE,
        "lm_head": HERE,
    },
}
READOUT = Readout({"joy": ["happy"], "sadness": ["sad"], "neutral": ["cold"]}, " It was")


@pytest.fixture(scope="module", params=HALVES)
def two(request, tiny_folder):
    """A model on one device, and the same one on two."""
    model = load(str(tiny_folder(request.param)), check=False)
    with two_devices():
        yield model, split(model, HALVES[request.param])


def close(a, b, bound=1e-5):
    a, b = np.asarray(a), np.asarray(b)
    return np.abs(a - b).max() <= bound * np.abs(b).max()


def test_two_devices_do_not_mix():
    with two_devices():
        here, there = torch.ones(2, device=HERE), torch.ones(2).to(THERE)
        assert (here.device, (here + 1).device, there.cpu().device) == (HERE, HERE, CPU)
        for other in (there, torch.ones(2)):
            with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
                here + other
        assert (here + there.to(here.device)).tolist() == [2, 2]
        assert isinstance(here[torch.tensor([0])], Placed)
        with pytest.raises(RuntimeError, match="same device"):
            here[torch.tensor([0], device=THERE)]


def test_without_accelerates_hooks_a_split_model_fails(two):
    plain = two[0].plain()
    blocks = plain.transformer.h if hasattr(plain, "transformer") else plain.model.layers
    for module in blocks[2].modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(Placed(weight.detach(), THERE), False)
    with pytest.raises(RuntimeError, match="same device"), torch.no_grad():
        plain(torch.tensor([[5, 6, 7]]))


def test_the_doctor_finds_nothing(two):
    rows = examine(two[1])
    assert len(rows) == 10
    assert all(row["passed"] for row in rows), rows


def test_sites_lie_on_the_device_of_their_block_and_hold_the_same_values(two):
    plain, both = two
    names = [*SITES, "q", "k", "v", "pattern"]
    stores = [
        capture(model, battery(3), sites=names, positions=("last", "mean_content"), token_budget=64)
        for model in two
    ]
    assert stores[1].provenance["engine"] == "bridge"
    for site in expand(names, n_layers=plain.dims.n_layers):
        assert close(stores[1].read(site, "last").x, stores[0].read(site, "last").x), site
    lies = {}
    hooks = [
        (Site("post", n).hook, lambda x, hook, n=n: lies.__setitem__(n, x.device)) for n in range(3)
    ]
    both.forward(both.pad([[5, 6]]), hooks=hooks)
    assert both.device == HERE
    assert set(lies.values()) == {HERE, THERE}


def test_token_by_token_activations_come_home(two):
    stores = [
        capture(model, battery(2), sites=("resid_post",), positions=("all",)) for model in two
    ]
    for layer in range(3):
        site = f"blocks.{layer}.hook_resid_post"
        assert close(stores[1].read(site, "all").x, stores[0].read(site, "all").x)


def test_logits_of_texts_of_unequal_length(two, monkeypatch):
    batches = [model.pad([[5, 6, 7, 8], [5, 6], [9]]) for model in two]
    found = [model.last_logits(batch).cpu() for model, batch in zip(two, batches, strict=True)]
    assert close(found[1], found[0])
    if two[1].provenance["architecture"].startswith("Llama"):
        # its last device then gets a list of columns that lies on the first
        monkeypatch.setattr(two[1], "spread", False)
        with pytest.raises(RuntimeError, match="same device"):
            two[1].last_logits(batches[1])


def test_weights_and_norms_are_handed_out_at_home(two):
    plain, both = two
    for layer in range(3):
        for read in ("W_O", "b_O", "W_out", "b_out"):
            weight = getattr(both, read)(layer)
            assert weight.device == HERE
            assert torch.equal(weight.cpu(), getattr(plain, read)(layer))
    assert both.W_U.device == both.W_E.device == HERE
    norm = both.post_norm(2, "mlp")
    if norm is not None:
        x = torch.linspace(-1, 1, both.dims.d_model)[None]
        assert norm(x.to(HERE)).device == HERE
        assert close(norm(x.to(HERE)).cpu(), plain.post_norm(2, "mlp")(x))


def test_patching_finds_what_it_finds_on_one_device(two):
    pairs = battery(3).pairs()
    tables = [
        pd.DataFrame(
            patch_pairs(
                model, pairs, READOUT, Patches(sites=("resid_post@1-2", "z@2"), modes=("denoise",))
            )
        )
        for model in two
    ]
    values = [table["value"].to_numpy() for table in tables]
    assert len(values[0]) > 20
    np.testing.assert_allclose(values[1], values[0], rtol=1e-3, atol=1e-4)


def test_steering_writes_what_it_writes_on_one_device(two):
    prompts, neutral = (
        ["the cold dog ran home", "anna lost"],
        [pair.neutral for pair in battery(3).pairs()],
    )
    texts = [steer(model, prompts, first_axis(model), scale=3.0, max_new_tokens=6) for model in two]
    assert texts[1] == texts[0]
    doses = [
        dose_response(model, neutral, {"joy": first_axis(model)}, READOUT, scales=(2.0,))
        for model in two
    ]
    assert close([row["value"] for row in doses[1]], [row["value"] for row in doses[0]])


@pytest.mark.parametrize("mode", ["resample", "mean", "zero"])
def test_ablation_takes_away_what_it_takes_on_one_device(two, mode):
    plans = [
        Knockout((), (0, 1, 2)),
        Knockout((Component("z", 0, 1), Component("z", 2, 0)), (0, 1, 2)),
    ]
    plans.append(Knockout((Component("post", 1, 3), Component("post", 2, 5)), (0, 1, 2)))
    found = [
        measure(
            Bench(model, battery(3).pairs(), {"joy": first_axis(model)}, READOUT), plans, mode=mode
        )
        for model in two
    ]
    for one, other in zip(*found, strict=True):
        assert close(other, one, bound=1e-4)
    assert not close(found[0].score[0], found[0].score[1])


def test_contributions_are_those_of_one_device(two):
    rng = np.random.default_rng(0)
    for site, shape in (
        (Site("z", 2), (two[0].dims.n_heads, two[0].dims.d_head)),
        (Site("post", 2), (two[0].dims.d_mlp,)),
    ):
        x, v = (
            rng.standard_normal((4, *shape)).astype(np.float32),
            rng.standard_normal(two[0].dims.d_model),
        )
        assert close(contributions_at(two[1], site, x, v), contributions_at(two[0], site, x, v))
