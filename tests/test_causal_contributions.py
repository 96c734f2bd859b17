"""Contributions: they sum to what the sublayer adds along the direction, equal what knocking out
does, and find the planted.
"""

import numpy as np
import pytest
import torch

from interp.causal.contributions import (
    Component,
    EmotionTwins,
    contribution_rows,
    contributions_at,
    ranked,
)
from interp.causal.edits import zero
from interp.causal.forward import batches, encode_stimuli, run_forward
from interp.causal.interventions import Intervention, applied
from interp.causal.post_norm import read_norm
from interp.causal.readout import Readout
from interp.errors import ArtefactError, UsageError
from interp.models import load
from interp.sites import Site
from interp.testbeds import planted
from support.given_directions import given
from support.tiny_models import FAMILIES, POST_NORMED

SPEC = planted.SPECS["planted"]

ONE_PAIR = EmotionTwins("joy", np.array([[0, 1]]), ["g"])


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tiny_folder):
    return load(str(tiny_folder(request.param)), check=False)


@pytest.fixture(scope="module")
def circuit():
    return load("planted", check=False)


def last_token(
    model, sites, texts=("the cold dog ran home", "anna lost the old letter . she cried")
):
    kept = {}
    batch = model.pad(model.tokenize(list(texts)))
    hooks = [(site.hook, lambda x, hook, site=site: kept.__setitem__(site, x)) for site in sites]
    model.forward(batch, hooks=hooks)
    return {site: x[torch.arange(len(texts)), batch.last].numpy() for site, x in kept.items()}


@pytest.mark.parametrize(
    ("name", "added", "sublayer"), [("z", "attn_out", "attn"), ("post", "mlp_out", "mlp")]
)
def test_contributions_sum_to_what_the_sublayer_adds(model, name, added, sublayer):
    v = np.random.default_rng(0).standard_normal(model.dims.d_model)
    v /= np.linalg.norm(v)
    site, out = Site(name, 1), Site(added, 1)
    at = last_token(model, [site, out])
    bias = (model.b_O if sublayer == "attn" else model.b_out)(1).numpy()
    if model.post_norm(1, sublayer) is not None:
        assert np.abs(bias).max() == 0
    found = contributions_at(model, site, at[site], v, frozen=True)
    assert np.allclose(found.sum(axis=1), (at[out] - bias) @ v, atol=1e-5)
    assert found.shape[1] == (model.dims.n_heads if name == "z" else model.dims.d_mlp)


def test_a_head_contributes_what_zeroing_it_takes_away(tiny_folder):
    model, v = (
        load(str(tiny_folder("qwen3")), check=False),
        np.random.default_rng(1).standard_normal(32),
    )
    site, out = Site("z", 2), Site("attn_out", 2)
    at = last_token(model, [site, out], ["the dog ran"])
    found = contributions_at(model, site, at[site], v)[0]
    batch = model.pad(model.tokenize(["the dog ran"]))
    for head in range(model.dims.n_heads):
        kept = []
        with applied(
            model, [Intervention(Site("z", 2, head), zero(), "last")], lengths=batch.lengths
        ):
            model.forward(
                batch, hooks=[(out.hook, lambda x, hook, kept=kept: kept.append(x[0, -1].numpy()))]
            )
        assert found[head] == pytest.approx((at[out][0] - kept[0]) @ v, abs=1e-4)


def test_the_gain_of_a_post_norm_is_exact_and_other_norms_are_refused():
    x = torch.randn(5, 12) * 3
    norm = torch.nn.RMSNorm(12, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    read = read_norm(norm, x)
    assert torch.allclose(read.gain(x) * x, norm(x), atol=1e-5)
    assert read.epsilon == pytest.approx(1e-6, rel=1e-3)
    assert read_norm(torch.nn.RMSNorm(12, eps=0.5), x).epsilon == pytest.approx(0.5, rel=1e-3)
    with pytest.raises(UsageError, match="RMS norm"):
        read_norm(torch.nn.LayerNorm(12), x)
    biased = torch.nn.RMSNorm(12)
    with pytest.raises(UsageError, match="RMS norm"):
        read_norm(lambda y: biased(y) + 1, x)


@pytest.mark.parametrize("family", POST_NORMED)
@pytest.mark.parametrize(("name", "added"), [("z", "attn_out"), ("post", "mlp_out")])
def test_behind_a_post_norm_a_contribution_is_what_zeroing_takes_away(
    tiny_folder, family, name, added
):
    """And the frozen norm's is not: it is off by a good part of the largest."""
    model, text = load(str(tiny_folder(family))), "the dog ran home to anna"
    v = np.random.default_rng(2).standard_normal(model.dims.d_model)
    v /= np.linalg.norm(v)
    site, out = Site(name, 1), Site(added, 1)
    at = last_token(model, [site, out], [text])
    found, frozen = (
        contributions_at(model, site, at[site], v, frozen=how)[0] for how in (False, True)
    )
    batch = model.pad(model.tokenize([text]))
    lost = np.zeros_like(found)
    for index in range(len(found)):
        kept = []

        def silence(x, hook, index=index):
            x[:, -1, index] = 0
            return x

        reader = (out.hook, lambda x, hook, kept=kept: kept.append(x[0, -1].numpy()))
        model.forward(batch, hooks=[(site.hook, silence), reader])
        lost[index] = (at[out][0] - kept[0]) @ v
    assert np.abs(found - lost).max() < 1e-5
    assert np.abs(frozen - lost).max() > 0.02 * np.abs(lost).max()


@pytest.mark.parametrize("family", ["gemma2", "llama"])
def test_behind_a_post_norm_the_rows_tell_both(tiny_folder, family):
    model = load(str(tiny_folder(family)), check=False)
    values = last_token(model, [Site(name, layer) for name in ("z", "post") for layer in (0, 1)])
    direction = given(np.eye(model.dims.d_model)[0], Site("resid_post", 1))
    rows = contribution_rows(model, values, ONE_PAIR, direction, top=3)
    methods = [(row["method"], row["metric"]) for row in rows]
    both = [("exact_contribution", "contribution"), ("frozen_norm", "frozen_contribution")]
    assert methods == both * 6 if family == "gemma2" else methods == both[:1] * 6
    for row in rows:
        site = Site("z" if row["component"] == "head" else "post", row["layer"])
        frozen = row["method"] == "frozen_norm"
        each = contributions_at(model, site, values[site], direction.vector, frozen=frozen)
        assert row["value"] == each[0, row["index"]] - each[1, row["index"]]
    assert len(ranked(rows, component="head", emotion="joy")) == 3


def test_only_what_writes_before_the_site_counts(circuit):
    sites = [Site(name, layer) for layer in range(4) for name in ("z", "post")]
    at = last_token(circuit, sites, ["the old road .", "the green lamp ."])
    reach = {
        Site("resid_pre", 2): (1, 1), Site("resid_mid", 2): (2, 1), Site("resid_post", 2): (2, 2),
        Site("attn_out", 2): (2, None), Site("mlp_out", 2): (None, 2),
    }  # fmt: skip
    v = np.eye(128)[5]
    for target, (attention, mlp) in reach.items():
        rows = contribution_rows(circuit, at, ONE_PAIR, given(v, target), top=999)
        layers = {
            kind: [row["layer"] for row in rows if row["component"] == kind]
            for kind in ("head", "neuron")
        }
        assert max(layers["head"], default=None) == attention
        assert max(layers["neuron"], default=None) == mlp
        if target.name.endswith("_out"):
            assert set(layers["head"]) | set(layers["neuron"]) == {2}
    with pytest.raises(UsageError, match="not there"):
        contribution_rows(circuit, at, ONE_PAIR, given(v, Site("z", 3)))


def test_the_planted_heads_and_neurons_rank_first(circuit):
    truth, readout = planted.truth(SPEC), Readout(planted.readout(SPEC), "")
    pairs = planted.stimuli(SPEC, n=10).pairs()
    rows = encode_stimuli(circuit, [twin for pair in pairs for twin in pair], readout)
    sites = [Site(name, layer) for layer in range(4) for name in ("z", "post")]
    values = {site: [None] * len(rows) for site in sites}
    for batch in batches(rows):
        found = run_forward(circuit, [rows[i] for i in batch], read=sites).sites
        for site in sites:
            for row, i in enumerate(batch):
                values[site][i] = found[site][row, rows[i].end].numpy()
    arrays = {site: np.stack(found) for site, found in values.items()}
    for emotion in truth.emotions:
        twins = np.array(
            [
                [2 * i, 2 * i + 1]
                for i, pair in enumerate(pairs)
                if pair.affective.emotion == emotion
            ]
        )
        direction = given(truth.direction(emotion, Site("resid_post", 3)), Site("resid_post", 3))
        groups = [pair.affective.group for pair in pairs if pair.affective.emotion == emotion]
        mine = EmotionTwins(emotion, twins, groups)
        table = contribution_rows(circuit, arrays, mine, direction, top=20)
        heads, neurons = (
            ranked(table, component=kind, emotion=emotion) for kind in ("head", "neuron")
        )
        assert [(c.layer, c.index) for c in heads[:1]] == list(truth.heads[emotion])
        assert [(c.layer, c.index) for c in neurons[: SPEC.neurons]] == list(truth.neurons[emotion])
        first = next(row for row in table if row["component"] == "neuron")
        assert first["ci_low"] > 0.5 * first["value"] > 0
        assert (first["rank"], first["n"], first["metric"]) == (1, len(twins), "contribution")
        assert (len(neurons), len(heads)) == (20, 16)
        head = next(row for row in table if row["component"] == "head")
        assert (head["site"], head["head"], head["index"]) == ("z", heads[0].index, heads[0].index)
        assert ranked(table, component="head", emotion="nobody") == []


def test_intervals_of_contributions_count_scenarios(circuit):
    """Eight scenarios told four times, each time the same: as wide as of the eight alone; none for
    one scenario.
    """
    site, v = Site("post", 0), np.eye(128)[5]
    told = np.random.default_rng(0).standard_normal((16, SPEC.d_mlp))
    again = {site: np.tile(told, (4, 1))}
    twins = np.arange(64).reshape(-1, 2)
    direction = given(v, Site("resid_post", 0))

    def first(values, twins, groups):
        mine = EmotionTwins("joy", twins, groups)
        return contribution_rows(circuit, values, mine, direction, top=1)[0]

    once = first({site: told}, twins[:8], list("abcdefgh"))
    four = first(again, twins, list("abcdefgh") * 4)
    assert (four["ci_low"], four["ci_high"], four["n"]) == pytest.approx(
        (once["ci_low"], once["ci_high"], 32)
    )
    apart = first(again, twins, np.arange(32))
    assert apart["ci_high"] - apart["ci_low"] < 0.6 * (once["ci_high"] - once["ci_low"])
    assert np.isnan(first(again, twins, ["a"] * 32)["ci_low"])


def test_other_sites_and_widths_are_refused(circuit):
    at = np.zeros((2, 4, 32))
    with pytest.raises(UsageError, match="z or post"):
        contributions_at(circuit, Site("attn_out", 0), at[:, 0], np.ones(128))
    with pytest.raises(UsageError, match="all heads"):
        contributions_at(circuit, Site("z", 0, 1), at[:, 0], np.ones(128))
    with pytest.raises(ArtefactError, match="64 wide and planted is 128"):
        contributions_at(circuit, Site("z", 0), at, np.ones(64))
    assert Component("z", 0, 1) < Component("z", 1, 0)


@pytest.mark.parametrize(
    ("matrix", "site", "whole"), [("W_O", "z", "attn_out"), ("W_out", "post", "mlp_out")]
)
def test_parts_that_do_not_add_up_give_no_contribution(
    tiny_folder, monkeypatch, matrix, site, whole
):
    """As where an architecture scales what a sublayer writes: the numbers would be false."""
    model = load(str(tiny_folder("llama")), check=False)
    values = last_token(model, [Site(name, layer) for name in ("z", "post") for layer in (0, 1)])
    direction = given(np.eye(model.dims.d_model)[0], Site("resid_post", 1))
    assert contribution_rows(model, values, ONE_PAIR, direction, top=3)
    right = getattr(type(model), matrix)
    scaled = lambda self, layer: right(self, layer) * (1.5 if layer == 1 else 1.0)  # noqa: E731
    monkeypatch.setattr(type(model), matrix, scaled)
    model.proofs.clear()
    with pytest.raises(UsageError, match=rf"{site} do not add up to {whole}.*bound 1e-05") as error:
        contribution_rows(model, values, ONE_PAIR, direction, top=3)
    assert "blocks.1" in str(error.value)


def test_values_are_told_of_pairs_that_did_not_rank(tiny_folder):
    """Noise: the component ranked first on one half stands out there, and is nothing on the
    other.
    """
    circuit = load(str(tiny_folder("llama")), check=False)
    rng = np.random.default_rng(0)
    sites = [Site("z", layer) for layer in range(circuit.dims.n_layers)]
    width = (circuit.dims.n_heads, circuit.dims.d_head)
    twins = np.arange(32).reshape(16, 2)
    groups = [f"g{n}" for n in range(8)]
    v = np.eye(circuit.dims.d_model)[0]
    values_of: dict[str, list[float]] = {"choose": [], "report": []}
    for _ in range(20):
        values = {site: rng.standard_normal((32, *width)).astype(np.float32) for site in sites}
        direction = given(v, Site("resid_post", circuit.dims.n_layers - 1))
        ranking, others = (EmotionTwins("joy", one, groups) for one in (twins[:8], twins[8:]))
        for half, report in (("choose", None), ("report", others)):
            first = contribution_rows(circuit, values, ranking, direction, top=1, report=report)[0]
            assert (first["rank"], first["half"]) == (1, half)
            values_of[half].append(first["value"])
    assert min(values_of["choose"]) > 0
    assert abs(np.mean(values_of["report"])) < 0.3 * np.mean(values_of["choose"])
    assert 4 <= sum(value > 0 for value in values_of["report"]) <= 16  # of 20, by chance
