"""Edits at resid_mid reach the MLP and the stream, as plain Hugging Face has it: what attention
adds is exchanged there by torch's own hooks, which know nothing of sites.
"""

import pytest
import torch

from interp.causal.edits import add, replace, zero
from interp.causal.forward import encode_stimuli, open_prompts, run_forward
from interp.causal.generation import write_on
from interp.causal.interventions import Intervention, applied
from interp.causal.patching import Patches, patch_pairs
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.steering import check_direction
from interp.models import load
from interp.models.generation import Decoding
from interp.sites import Site
from support.given_directions import given
from test_causal_patching import SUFFIX, UNEQUAL, WORDS

LAYER = 1
MID = Site("resid_mid", LAYER)
ADDS = {
    "gpt2": "transformer.h.{}.attn",
    "llama": "model.layers.{}.self_attn",
    "gemma2": "model.layers.{}.post_attention_layernorm",
    "olmo2": "model.layers.{}.post_attention_layernorm",
}
"""The module of each family whose output is added to the stream before the MLP."""

READOUT = Readout(WORDS, SUFFIX)


@pytest.fixture(scope="module", params=ADDS)
def family(request, tiny_folder):
    """A family's name and its tiny model."""
    return request.param, load(str(tiny_folder(request.param)))


def vector(model, seed=0):
    return torch.randn(model.dims.d_model, generator=torch.Generator().manual_seed(seed))


def plainly(name, model, change, *, layer=LAYER):
    """The plain model, in which the stream before the MLP of a layer is `change(stream)`."""
    plain, held = model.plain(), {}

    def keep(module, args, kwargs):
        held["stream"] = args[0] if args else kwargs["hidden_states"]

    def exchange(module, args, output):
        whole = output[0] if isinstance(output, tuple) else output
        moved = change(held["stream"] + whole) - held["stream"]
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    adding = ADDS[name].format(layer)
    block = plain.get_submodule(adding.rpartition(".")[0])
    block.register_forward_pre_hook(keep, with_kwargs=True)
    plain.get_submodule(adding).register_forward_hook(exchange)
    return plain


def logits_of(plain, ids):
    with torch.no_grad():
        return plain(torch.tensor([ids])).logits[0]


def same(found, expected):
    assert float((found - expected).abs().max()) < 2e-4 * float(expected.abs().max())


@pytest.mark.parametrize("what", ["add", "replace"])
def test_an_edit_is_that_of_plain_hugging_face(family, what):
    name, model = family
    [ids] = model.tokenize(["the dog bit the small child and ran"])
    v = vector(model)
    edit = add(v) if what == "add" else replace(v)

    def change(stream):
        new = stream.clone()
        new[:, 3] = new[:, 3] + v if what == "add" else v
        return new

    mask = torch.arange(len(ids))[None] == 3
    batch = model.pad([ids])
    with applied(model, [Intervention(MID, edit, mask)], lengths=[len(ids)]):
        found = model.forward(batch)[0]
    expected = logits_of(plainly(name, model, change), ids)
    same(found, expected)
    assert float((found - model.forward(batch)[0]).abs().max()) > 1e-2  # it does something
    assert torch.equal(found[:3], model.forward(batch)[0, :3])


def test_the_mlp_alone_would_be_another_edit(family):
    """A hook at the name, as the bridge has it, is not the stream: the two differ."""
    _, model = family
    [ids] = model.tokenize(["the dog bit the small child"])
    batch, v = model.pad([ids]), vector(model)
    with applied(model, [Intervention(MID, add(v))], lengths=[len(ids)]):
        whole = model.forward(batch)
    alone = model.forward(batch, hooks=[(MID.hook, lambda x, hook: x + v)])
    assert float((whole - alone).abs().max()) > 1e-2


def test_behind_a_prefix_it_is_the_whole_pass(family):
    _, model = family
    rows = encode_stimuli(model, [pair.affective for pair in UNEQUAL], READOUT)
    width = max(len(row.tokens) for row in rows)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for at, row in enumerate(rows):
        mask[at, row.end] = True
    edit = Intervention(MID, replace(vector(model)), mask)
    prefix = Prefix(model, rows, [row.end for row in rows])
    same(prefix.run([edit]).logits, run_forward(model, rows, interventions=[edit]).logits)


def test_other_edits_of_the_layer_come_where_the_model_comes_to_them(family):
    """Zero at resid_post takes away what was put at resid_mid, in whatever order they are given."""
    _, model = family
    [ids] = model.tokenize(["the dog bit the small child"])
    batch = model.pad([ids])
    mid = Intervention(MID, add(vector(model)))
    post = Intervention(Site("resid_post", LAYER), zero())
    found = []
    for edits in ([post], [mid, post], [post, mid]):
        with applied(model, edits, lengths=[len(ids)]):
            found.append(model.forward(batch))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_what_is_written_under_it_is_what_plain_hugging_face_writes(family):
    """A vector added at every token from the prompt's last one on."""
    name, model = family
    v = 3 * vector(model, 2)
    rows = open_prompts(model, ["the dog saw the child", "anna kept the old key near the river"])
    edit = Intervention(MID, add(v), ("last", "generated"))
    found = write_on(model, rows, [edit], Decoding(max_new_tokens=4))
    for row, text in zip(rows, found, strict=True):
        ids, start = list(row.tokens), len(row.tokens) - 1

        def change(stream, start=start):
            new = stream.clone()
            new[:, start:] += v
            return new

        plain = plainly(name, model, change)
        for _ in range(4):
            ids.append(int(logits_of(plain, ids)[-1].argmax()))
        assert text == model.decode(ids[len(row.tokens) :])
        apart = logits_of(plain, ids) - logits_of(model.plain(), ids)
        assert float(apart.abs().max()) > 0.1


def test_patching_and_steering_take_the_site(family):
    _, model = family
    rows = patch_pairs(model, UNEQUAL, READOUT, Patches(sites=("resid_mid",), positions=("last",)))
    layers = {row["layer"] for row in rows if row["site"] == "resid_mid"}
    assert layers == set(range(model.dims.n_layers))
    unit = vector(model).numpy() / vector(model).norm().item()
    check_direction(model, given(unit, MID, provenance=model.provenance))
    row = next(row for row in model.sites() if row["site"] == "resid_mid")
    assert row["accepted_by"] == "capture, probe, directions, patch, steer"


def test_all_of_the_last_layers_stream_patched_there_is_the_source(family):
    """At the last layer only the MLP comes behind: the source's resid_mid gives its logits."""
    _, model = family
    last = model.dims.n_layers - 1
    site = Site("resid_mid", last)
    sides = [[pair[side] for pair in UNEQUAL] for side in (0, 1)]
    affective, neutral = (encode_stimuli(model, texts, READOUT) for texts in sides)
    source = run_forward(model, affective, read=[site])
    ends = [len(row.tokens) - 1 for row in affective]
    mask = torch.zeros(len(neutral), max(len(row.tokens) for row in neutral), dtype=torch.bool)
    for at, row in enumerate(neutral):
        mask[at, len(row.tokens) - 1] = True
    edit = Intervention(site, replace(source.at(site, ends)), mask)
    same(run_forward(model, neutral, interventions=[edit]).logits, source.logits)
