"""Damaged and lying GGUF files: each is refused by name, before anything large is made."""

import os
import random
import struct
import tracemalloc

import gguf
import pytest
from click.testing import CliRunner
from gguf import GGMLQuantizationType as Type

from interp.cli import cli
from interp.errors import ArtefactError, InterpError, UsageError
from interp.models import load, outline
from interp.models.loading.gguf_header import HEAD_BYTES, read_header
from support import tiny_gguf
from support.tiny_gguf import write

HUGE = 2**60


def text(content):
    return struct.pack("<Q", len(content)) + content


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def tensor(name, shape, kind=0, start=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, start)


def forge(path, *parts, n_tensors=0, n_keys=0, version=3, data=b""):
    """A file of these parts, whose opening says what it is told to say."""
    body = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + b"".join(parts)
    path.write_bytes(body + bytes(-len(body) % 32) + data)
    return path


OPENINGS = {
    "nothing": (b"", "it is empty"),
    "text": (b"hello, I am a model", r"begins with b'hell', not with b'GGUF'"),
    "a pickle": (b"\x80\x04\x95" + bytes(100), "not with b'GGUF'"),
    "the magic word": (b"GGUF", r"goes on for 4 bytes at byte 4 of 4: the file is cut off"),
    "version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version is 1, expected 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian order"),
    "tensors": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), f"announces {HUGE} tensors"),
    "keys": (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), f"announces {HUGE} metadata keys"),
}


@pytest.mark.parametrize("what", OPENINGS)
def test_files_that_begin_otherwise(what, tmp_path):
    content, told = OPENINGS[what]
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    for use in (load, outline):
        with pytest.raises(ArtefactError, match=rf"model\.gguf is no sound GGUF model: .*{told}"):
            use(str(path))


KEYS = {
    "a text of 2^60 bytes": (key(b"a", 8, struct.pack("<Q", HUGE)), f"goes on for {HUGE} bytes"),
    "a name of 2^60 bytes": (struct.pack("<Q", HUGE), f"goes on for {HUGE} bytes"),
    "numbers, 2^60": (key(b"a", 9, struct.pack("<IQ", 4, HUGE)), f"announces {HUGE} array"),
    "texts, 2^60": (key(b"a", 9, struct.pack("<IQ", 8, HUGE)), f"announces {HUGE} array"),
    "texts, behind the end": (key(b"a", 9, struct.pack("<IQ", 8, 2**20)), "the file is cut off"),
    "a text of 2^64 - 1": (key(b"a", 9, struct.pack("<IQQ", 8, 9, 2**64 - 1)), "is cut off"),
    "an array of arrays": (key(b"a", 9, struct.pack("<IQ", 9, 1)), "array of type 9"),
    "a type that is none": (key(b"a", 77, b""), "a is of type 77"),
    "not a number": (key(b"eps", 6, struct.pack("<f", float("nan"))), "eps is nan"),
    "infinity": (key(b"eps", 12, struct.pack("<d", float("inf"))), "eps is inf"),
    "no UTF-8": (key(b"\xff\xfe", 4, bytes(4)), "no UTF-8"),
    "an alignment of 3": (key(b"general.alignment", 4, struct.pack("<I", 3)), "a power of two"),
    "an alignment of 0": (key(b"general.alignment", 4, struct.pack("<I", 0)), "a power of two"),
}


@pytest.mark.parametrize("what", KEYS)
def test_metadata_that_cannot_be(what, tmp_path):
    part, told = KEYS[what]
    path = forge(tmp_path / "model.gguf", part, n_keys=1)
    with pytest.raises(ArtefactError, match=rf"model\.gguf is no sound GGUF model: .*{told}"):
        load(str(path))


def test_a_key_twice(tmp_path):
    part = key(b"a", 4, bytes(4))
    with pytest.raises(ArtefactError, match="the key 'a' is there twice"):
        load(str(forge(tmp_path / "model.gguf", part, part, n_keys=2)))


TENSORS = {
    "outside": ([tensor(b"t", [32], start=64)], "the tensor 't' ends behind the file"),
    "far outside": ([tensor(b"t", [32], start=HUGE)], "the tensor 't' ends behind the file"),
    "of 2^240 values": ([tensor(b"t", [HUGE] * 4)], "the tensor 't' ends behind the file"),
    "empty": ([tensor(b"t", [0])], r"of type F32 cannot have the shape \[0\]"),
    "of half a block": ([tensor(b"t", [33], kind=2)], r"of type Q4_0 cannot have the shape \[33\]"),
    "of no axis": ([tensor(b"t", [])], "has 0 axes"),
    "of nine axes": ([tensor(b"t", [1] * 9)], "has 9 axes"),
    "of an unknown type": ([tensor(b"t", [32], kind=999)], "of type 999"),
    "between the units": ([tensor(b"t", [4], start=3)], "begins at 3, no multiple of 32"),
    "one on another": ([tensor(b"s", [16]), tensor(b"t", [16], start=32)], "'s' and 't' overlap"),
    "twice": ([tensor(b"t", [8]), tensor(b"t", [8], start=32)], "the tensor 't' is there twice"),
}


@pytest.mark.parametrize("what", TENSORS)
def test_tensors_that_cannot_be(what, tmp_path):
    parts, told = TENSORS[what]
    path = forge(tmp_path / "model.gguf", *parts, n_tensors=len(parts), data=bytes(128))
    with pytest.raises(ArtefactError, match=told):
        load(str(path))


def test_a_liar_is_not_believed_with_memory(tmp_path):
    """A file of 1 GiB of nothing (sparse), which announces as many texts as it may."""
    part = key(b"a", 9, struct.pack("<IQ", 8, 2**21))
    path = forge(tmp_path / "model.gguf", part, n_keys=1, n_tensors=1)
    os.truncate(path, 2**30)
    tracemalloc.start()
    with pytest.raises(ArtefactError, match="has 0 axes"):
        read_header(path)
    assert tracemalloc.get_traced_memory()[1] < HEAD_BYTES + 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_truncated_files(part, tmp_path):
    path = write(tmp_path / "model.gguf", kind=Type.Q8_0)
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(ArtefactError, match=r"model\.gguf is no sound GGUF model: .*cut off"):
        load(str(path))


def test_damage_at_random_places_never_ends_in_a_traceback(tmp_path):
    path = write(tmp_path / "model.gguf", chat=True)
    content = path.read_bytes()
    head = len(content) - sum(entry.size for entry in read_header(path).tensors)
    draw = random.Random(5)
    refused = 0
    for _ in range(120):
        damaged = bytearray(content)
        at = draw.randrange(head - 8)
        word = draw.choice([b"\xff" * 8, bytes(8), HUGE.to_bytes(8, "little"), draw.randbytes(1)])
        damaged[at : at + len(word)] = word
        path.write_bytes(damaged)
        try:
            outline(str(path), chat_template="off")
        except InterpError:
            refused += 1
    assert 60 < refused < 120


def test_folders_pipes_and_files_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.gguf").mkdir()
    told = r"empty\.gguf/config\.json does not exist: name a .*GGUF file"
    with pytest.raises(ArtefactError, match=told):
        load("empty.gguf")
    os.mkfifo("pipe.gguf")
    with pytest.raises(UsageError, match=r"pipe\.gguf is no ordinary file"):
        load("pipe.gguf")
    write(tmp_path / "model.gguf")
    for name in ("modle.gguf", "org/model.gguf"):  # the second would be a hub id
        told = rf"there is no file {name}\. Did you mean model\.gguf"
        with pytest.raises(UsageError, match=told):
            load(name)
    told = r"holds GGUF files \(model\.gguf\): name the file, .*model\.gguf"
    with pytest.raises(UsageError, match=told):
        load(str(tmp_path))


def test_an_adapter_folder_is_named_with_the_way_to_merge_it(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    told = r"holds an adapter .*'org/base'.*merge_and_unload\(\).*save_pretrained"
    with pytest.raises(UsageError, match=told):
        load(str(tmp_path))


@pytest.mark.parametrize("command", ["doctor", "sites"])
def test_the_command_line_says_it_in_one_line(command, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    result = CliRunner().invoke(cli, [command, str(path)])
    assert isinstance(result.exception, ArtefactError)
    assert result.exception.exit_code == 4
    assert "\n" not in str(result.exception)


def test_the_forged_files_are_forged_rightly(tmp_path):
    """What `forge` writes without a lie is read by gguf's own reader."""
    parts = (key(b"a", 4, struct.pack("<I", 7)), tensor(b"t", [32]))
    path = forge(tmp_path / "model.gguf", *parts, n_keys=1, n_tensors=1, data=bytes(128))
    reader = gguf.GGUFReader(path)
    assert reader.fields["a"].contents() == 7
    header = read_header(path)
    assert [(one.name, one.shape, one.size) for one in header.tensors] == [("t", (32,), 128)]
    assert reader.tensors[0].n_bytes == 128
    assert dict(header.facts) == {"a": 7}
    assert tiny_gguf.WIDTH == 64
