"""Control vectors: a reader written from llama.cpp's description finds each direction behind the
right block, what the format cannot say is refused, and a file comes back as it was.
"""

import struct
import sys
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch

from interp.causal.forward import open_prompts
from interp.causal.steering import steer
from interp.causal.steps import step
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models.control_vectors import load_control_vector, save_control_vector
from interp.sites import Site
from support.given_directions import given
from support.plain_writing import write_greedily


def made(layer, *, axis=3, length=2.0, provenance=None):
    one = given(np.eye(32)[axis], Site("resid_post", layer), length, provenance or {"model": "m"})
    return replace(one, stream_norm=7.0)


def read_as_llama_does(path, n_layers):
    """What is added behind each block: tensors `direction.N` of F32, N from 1, by hand out of the
    bytes of GGUF version 3.
    """
    data = path.read_bytes()
    at = 0

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return value

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size : at].decode()

    assert take("4s") == b"GGUF"
    assert take("I") == 3
    n_tensors, n_pairs = take("Q"), take("Q")
    pairs = {}
    for _ in range(n_pairs):
        name = text()
        kind = take("I")
        pairs[name] = text() if kind == 8 else take({4: "I", 5: "i"}[kind])
    assert pairs["general.architecture"] == "controlvector"
    places = {}
    for _ in range(n_tensors):
        name = text()
        (size,) = [take("Q") for _ in range(take("I"))]
        assert take("I") == 0  # F32
        places[name] = (size, take("Q"))
    start = -(-at // 32) * 32
    added = np.zeros((n_layers, 32), dtype=np.float32)
    for name, (size, offset) in places.items():
        head, number = name.split(".")
        assert head == "direction"
        assert int(number) > 0
        added[int(number)] = np.frombuffer(data, "<f4", size, start + offset)
    return added


def test_a_one_hot_layer_is_read_as_that_layer(tmp_path):
    for layer in (1, 2):
        path = tmp_path / f"{layer}.gguf"
        one = made(layer)
        save_control_vector(path, [(one, one.step)])
        expected = np.zeros((3, 32))
        expected[layer, 3] = 2.0
        np.testing.assert_array_equal(read_as_llama_does(path, 3), expected)


@pytest.mark.parametrize("provenance", [{"model": "m"}, {"digest": "d"}])
def test_repeng_and_easysteer_read_a_one_hot_layer_as_that_layer(provenance, tmp_path):
    """Both demand the architecture and a hint of the model, and take the layer from a tensor's
    name; both add layer N to the output of the Nth block, counted from 0, as we do.
    """
    path = tmp_path / "v.gguf"
    one = given(np.eye(32)[3], Site("resid_post", 2), 2.0, provenance)
    save_control_vector(path, [(one, one.step)])
    reader = gguf.GGUFReader(path)
    texts = {
        key: bytes(field.parts[-1]).decode()
        for key, field in reader.fields.items()
        if field.types == [gguf.GGUFValueType.STRING]
    }
    assert texts["general.architecture"] == "controlvector"
    assert texts["controlvector.model_hint"] == provenance.get("model", "unknown")
    assert texts["controlvector.method"] == "given"
    assert int(reader.fields["controlvector.layer_count"].parts[-1][0]) == 1
    found = {int(tensor.name.split(".")[1]): tensor.data for tensor in reader.tensors}
    assert list(found) == [2]
    np.testing.assert_array_equal(found[2], np.eye(32)[3] * 2)


def test_what_llama_would_add_is_what_steering_adds(tiny_model, tmp_path):
    """The stream behind the block plus the tensor, at every token, by a hook on Hugging Face's own
    model: the same text.
    """
    model = tiny_model("llama")
    one = made(1, length=40.0, provenance=model.provenance)
    path = tmp_path / "v.gguf"
    save_control_vector(path, [(one, step(one, "stream"))])
    added = torch.from_numpy(read_as_llama_does(path, 3))
    network = model.plain().eval()
    handles = [
        block.register_forward_hook(
            lambda module, given, out, v=vector: (
                (out[0] + v, *out[1:]) if isinstance(out, tuple) else out + v
            )
        )
        for block, vector in zip(network.model.layers, added, strict=True)
    ]
    (row,) = open_prompts(model, ["the dog ran home"])
    written = write_greedily(network, row.tokens, n=5)
    for handle in handles:
        handle.remove()
    how = {"unit": "stream", "where": "all", "max_new_tokens": 5}
    assert steer(model, "the dog ran home", one, **how) == [model.decode(written)]
    assert steer(model, "the dog ran home", one, **how, scale=0) != [model.decode(written)]


def test_a_file_comes_back_and_still_belongs_to_its_model(tiny_model, tmp_path):
    model = tiny_model("llama")
    pair = [made(1, axis=0, provenance=model.provenance), made(2, provenance=model.provenance)]
    save_control_vector(tmp_path / "v.gguf", [(one, one.step) for one in pair])
    back = load_control_vector(tmp_path / "v.gguf")
    assert list(back) == [1, 2]
    for one, two in zip(pair, back.values(), strict=True):
        np.testing.assert_allclose(two.step, one.step, rtol=1e-6)
        assert (two.site, two.labels, two.stream_norm) == (one.site, one.labels, 7.0)
    assert steer(model, "the dog", back[2], max_new_tokens=3)
    foreign = tmp_path / "other.gguf"
    write(foreign, {"direction.2": np.eye(32, dtype=np.float32)[1] * 3})
    (other,) = load_control_vector(foreign).values()
    assert other.length == pytest.approx(3)
    with pytest.raises(ArtefactError, match="allow_foreign"):
        steer(model, "the dog", other, max_new_tokens=3)
    assert steer(model, "the dog", other, max_new_tokens=3, allow_foreign=True)


def write(path, tensors, kind="controlvector", card=None):
    writer = gguf.GGUFWriter(path, kind)
    if card is not None:
        writer.add_string("interp.card", card)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


ONE = np.ones(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("tensors", "more", "message"),
    [
        ({"direction.0": ONE}, {}, "begins with layer 1"),
        ({"direction.x": ONE}, {}, "expected direction.N"),
        ({"weight": ONE}, {}, "expected direction.N"),
        ({"direction.1": ONE.astype(np.float16)}, {}, "F16 of shape"),
        ({"direction.1": np.ones((2, 2), np.float32)}, {}, r"expected a vector of F32"),
        ({"direction.1": ONE, "direction.2": ONE[:3]}, {}, "differ in width"),
        ({"direction.1": ONE * 0}, {}, "has length 0"),
        ({"direction.1": ONE * np.nan}, {}, "has length nan"),
        ({"direction.1": ONE}, {"kind": "llama"}, "holds llama, expected 'controlvector'"),
        ({"direction.1": ONE}, {"card": '{"1": {"labels": 3}}'}, "card of direction.1 is damaged"),
        ({"direction.1": ONE}, {"card": "{"}, "no GGUF file that can be read"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(tensors, more, message, tmp_path):
    write(tmp_path / "v.gguf", tensors, **more)
    with pytest.raises(ArtefactError, match=message):
        load_control_vector(tmp_path / "v.gguf")


def test_what_is_no_file_or_no_gguf_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="cannot read"):
        load_control_vector(tmp_path / "none.gguf")
    (tmp_path / "v.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ArtefactError, match=r"no GGUF file|no control vector"):
        load_control_vector(tmp_path / "v.gguf")


def test_what_the_format_cannot_say_is_refused(tmp_path, monkeypatch):
    path, one = tmp_path / "v.gguf", made(1)
    mid = replace(one, site=Site("resid_mid", 1))
    wide = given(np.eye(16)[0], Site("resid_post", 2), 1.0, {})
    for steps, message in (
        ([(made(0), one.step)], "cannot act behind layer 0"),
        ([(mid, one.step)], "resid_mid"),
        ([(one, one.step), (made(1, axis=5), one.step)], "two directions act behind layer 1"),
        ([(one, one.step), (wide, wide.step)], "differ in width"),
        ([(one, one.step * 1e300)], "not finite in float32"),
    ):
        with pytest.raises(ArtefactError, match=message), np.errstate(over="ignore"):
            save_control_vector(path, steps)
    for target, steps in ((tmp_path / "v.bin", [(one, one.step)]), (path, [])):
        with pytest.raises(UsageError, match="cannot write"):
            save_control_vector(target, steps)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ResourceError, match=r"emotion-interp\[gguf\]"):
        save_control_vector(path, [(one, one.step)])
