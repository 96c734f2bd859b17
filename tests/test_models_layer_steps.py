"""Steps by layer: a `SteeringVector` built from the file, as its package would be, adds each
direction behind the right block; what the form cannot say is refused.
"""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from interp.array_files import write_arrays
from interp.causal.forward import open_prompts
from interp.causal.steering import steer
from interp.directions import Direction, Eraser
from interp.errors import ArtefactError, UsageError
from interp.models.direction_files import directions_in
from interp.models.layer_steps import load_layer_steps, save_layer_steps
from interp.sites import Site
from support.given_directions import given
from support.plain_writing import write_greedily


def made(layer, *, axis=3, length=2.0, provenance=None):
    one = given(np.eye(32)[axis], Site("resid_post", layer), length, provenance or {"model": "m"})
    return replace(one, stream_norm=7.0)


def read_by_hand(path):
    """Layer numbers and vectors out of the bytes of the safetensors format: eight bytes of length,
    a JSON header, and the numbers at its offsets.
    """
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    about = json.loads(header.pop("__metadata__")["about"])
    vectors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        first, last = entry["data_offsets"]
        vectors[int(name)] = np.frombuffer(data[8 + size + first : 8 + size + last], "<f4")
    return vectors, about


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_one_hot_layer_is_that_layer(layer, tmp_path):
    path = tmp_path / "v.safetensors"
    save_layer_steps(path, [(made(layer), made(layer).step)])
    vectors, about = read_by_hand(path)
    assert list(vectors) == [layer]
    np.testing.assert_array_equal(vectors[layer], np.eye(32)[3] * 2)
    assert about["layer_type"] == "decoder_block"


def decoder_blocks(network):
    """The modules that `decoder_block` means: `model.layers.0`, `.1`, ..., in order."""
    named = dict(network.named_modules())
    return [named[f"model.layers.{n}"] for n in range(network.config.num_hidden_layers)]


def add_to(network, layer_activations):
    """What `SteeringVector.apply` does: each vector, at every token, onto its block's output."""

    def hook(vector):
        def change(module, given, out):
            stream = out[0] if isinstance(out, tuple) else out
            stream += vector

        return change

    blocks = decoder_blocks(network)
    return [
        blocks[layer].register_forward_hook(hook(vector))
        for layer, vector in layer_activations.items()
    ]


def test_what_a_steering_vector_adds_is_what_steering_adds(tiny_model, tmp_path):
    model = tiny_model("llama")
    one = made(0, length=40.0, provenance=model.provenance)
    path = tmp_path / "v.safetensors"
    save_layer_steps(path, [(one, one.step)])
    network = model.plain().eval()
    handles = add_to(network, {int(n): v for n, v in load_file(path).items()})
    (row,) = open_prompts(model, ["the dog ran home"])
    written = [model.decode(write_greedily(network, row.tokens, n=5))]
    for handle in handles:
        handle.remove()
    how = {"where": "all", "max_new_tokens": 5}
    assert steer(model, "the dog ran home", one, **how) == written
    assert steer(model, "the dog ran home", one, **how, scale=0) != written
    (back,) = directions_in(path)
    assert steer(model, "the dog ran home", back, **how) == written


def test_a_file_comes_back_with_its_layers_and_cards(tmp_path):
    pair = [made(2), made(0, axis=0, length=3.0)]
    save_layer_steps(tmp_path / "v.safetensors", [(one, one.step) for one in pair])
    back = load_layer_steps(tmp_path / "v.safetensors")
    assert list(back) == [0, 2]
    for one in pair:
        two = back[one.site.layer]
        np.testing.assert_allclose(two.step, one.step, rtol=1e-6)
        assert (two.site, two.labels, two.stream_norm) == (one.site, one.labels, 7.0)
        assert two.provenance == {"model": "m"}


def test_what_the_form_cannot_say_is_refused(tmp_path):
    path, one = tmp_path / "v.safetensors", made(1)
    attention = replace(one, site=Site("attn_out", 1))
    wide = given(np.eye(16)[0], Site("resid_post", 2), 1.0, {})
    for steps, message in (
        ([(attention, one.step)], "attn_out"),
        ([(one, one.step), (made(1, axis=5), one.step)], "two directions act behind layer 1"),
        ([(one, one.step), (wide, wide.step)], "differ in width"),
        ([(one, one.step * 1e300)], "not finite in float32"),
    ):
        with pytest.raises(ArtefactError, match=message), np.errstate(over="ignore"):
            save_layer_steps(path, steps)
    for name, steps, message in (
        ("v.pt", [(one, one.step)], "would be a pickle"),
        ("v.gguf", [(one, one.step)], r"ends in \.safetensors"),
        ("v.safetensors", [], "cannot write 0 directions"),
    ):
        with pytest.raises(UsageError, match=message):
            save_layer_steps(tmp_path / name, steps)
    assert not list(tmp_path.iterdir())


CARD = {"method": "m", "labels": ["a", "b"], "stream_norm": None, "spread": 0.0, "provenance": {}}
ONE = np.ones(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("vectors", "more", "message"),
    [
        ({"1": ONE}, {"kind": "probe"}, "holds probe, expected layer_steps"),
        ({"1": ONE}, {"layer_type": "mlp"}, "of the type decoder_block"),
        ({"1": ONE}, {"directions": {}}, "one card for each"),
        ({"1": ONE}, {"directions": {"1": {"labels": 3}}}, "card of .*layer 1 is damaged"),
        ({"x": ONE}, {}, "expected a layer's number"),
        ({"1": ONE.astype(np.float16)}, {}, "is float16 of shape"),
        ({"1": np.ones((2, 2), np.float32)}, {}, "expected a vector of float32"),
        ({"1": ONE, "2": ONE[:3]}, {}, "differ in width"),
        ({"1": ONE * 0}, {}, "has length 0"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(vectors, more, message, tmp_path):
    about = {"kind": "layer_steps", "layer_type": "decoder_block"}
    cards = {"directions": dict.fromkeys(vectors, CARD)}
    write_arrays(tmp_path / "v.safetensors", vectors, {**about, **cards, **more})
    with pytest.raises(ArtefactError, match=message):
        load_layer_steps(tmp_path / "v.safetensors")


def test_what_takes_away_and_what_is_saved_otherwise_are_told_apart(tmp_path):
    path = tmp_path / "e.safetensors"
    Eraser(np.eye(4), np.zeros(4), Site("resid_post", 1), ("joy", "fear")).save(path)
    with pytest.raises(ArtefactError, match="holds 'eraser' and no direction"):
        directions_in(path)
    made(1).save(path)
    assert directions_in(path)[0].labels == Direction.load(path).labels == ("joy", "neutral")
    with pytest.raises(ArtefactError, match="holds no steps of layers"):
        load_layer_steps(path)
