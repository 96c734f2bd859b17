"""The head of a GGUF file, read without trusting it: what it announces lies inside the file.

A GGUF file holds a language model in llama.cpp's format: a magic word, metadata (keys and values),
a table of tensors, and their values, mostly rounded to few bits. Transformers reads such files and
believes what they say; so what it relies on is checked first, here and in `gguf_checks`. Nothing of
the tensors' values is read, and of a long file only its beginning.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError, ResourceError

HEAD_BYTES = 1 << 26
"""Bytes that metadata and table may take: several times those of the largest vocabularies."""

MOST = {"metadata keys": 1 << 16, "tensors": 1 << 17, "array elements": 1 << 21}
"""How many of each a file may have; Gemma 3 has 0.8 million array elements, in three arrays."""

MAGIC = b"GGUF"

_VERSIONS = (2, 3)
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""The format's numbers for types of scalars, as struct's letters."""
_STRING, _ARRAY = 8, 9

Type = tuple[str, int, int]
"""A type of tensors: its name, and how many values make one block of how many bytes."""

PLAIN = ("F32", "F16", "BF16", "F64")
"""Types of tensors that are rounded no further than to a float of two bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor: `shape` begins with the fastest axis, `start` counts from where the data begin."""

    name: str
    type: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def numbers(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What the file at `path` says of itself: `facts` (of an array, its length) and `tensors`."""

    path: Path
    facts: Mapping[str, Any]
    tensors: tuple[Entry, ...]

    @property
    def architecture(self) -> str:
        """llama.cpp's word for the kind of model: llama, qwen2, gemma3."""
        return str(self.facts["general.architecture"])

    @property
    def tensor_types(self) -> dict[str, int]:
        """How many tensors are stored in each type."""
        return dict(Counter(entry.type for entry in self.tensors).most_common())

    @property
    def numbers(self) -> int:
        """How many values all tensors hold."""
        return sum(entry.numbers for entry in self.tensors)

    @cached_property
    def quantisation(self) -> str | None:
        """The type that most rounded values have (Q4_1); None where all values are floats."""
        sizes: Counter[str] = Counter()
        for entry in self.tensors:
            sizes[entry.type] += entry.numbers
        rounded = [kind for kind, _ in sizes.most_common() if kind not in PLAIN]
        return rounded[0] if rounded else None


def read_header(path: Path) -> Header:
    """The head of the GGUF file at `path`; reads at most 64 MiB.

    Raises `ArtefactError` for a file that is damaged or cut, `ResourceError` for one that cannot be
    opened, and where the package gguf is missing.
    """
    types = _types(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        length = path.stat().st_size
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        return _Reader(path, head, length, types).read()
    except UnicodeDecodeError as error:
        raise damaged(path, f"a word in its metadata is no UTF-8 ({error.reason})") from error


class _Reader:
    """Goes through the head from front to back; `at` is the next byte."""

    def __init__(self, path: Path, head: bytes, length: int, types: Mapping[int, Type]) -> None:
        self.path, self.head, self.length, self.types = path, head, length, types
        self.at = 0
        self.elements = 0

    def read(self) -> Header:
        """Metadata and table, in the order of the file."""
        n_tensors, n_keys = self._opening()
        facts: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._string()
            if key in facts:
                raise damaged(self.path, f"the key {key!r} is there twice")
            facts[key] = self._value(key, self._take("I"))
        unit = facts.get("general.alignment", 32)
        if type(unit) is not int or unit < 1 or unit & (unit - 1):
            raise damaged(self.path, f"general.alignment is {unit!r}, expected a power of two")
        entries = tuple(self._entry(unit) for _ in range(n_tensors))
        self._check_places(entries, -(-self.at // unit) * unit)
        return Header(self.path, facts, entries)

    def _opening(self) -> tuple[int, int]:
        """How many tensors and how many keys the file says it has."""
        if self.head[:4] != MAGIC:
            begins = f"begins with {self.head[:4]!r}, not with {MAGIC!r}"
            raise damaged(self.path, f"it {begins if self.head else 'is empty'}")
        self.at = len(MAGIC)
        version = self._take("I")
        if version not in _VERSIONS:
            swapped = " (its bytes are in big-endian order)" if version & 0xFFFF == 0 else ""
            raise damaged(self.path, f"its version is {version}{swapped}, expected 2 or 3")
        n_tensors, n_keys = self._take("Q"), self._take("Q")
        self._limit("tensors", n_tensors)
        self._limit("metadata keys", n_keys)
        return n_tensors, n_keys

    def _limit(self, what: str, count: int) -> None:
        if count > MOST[what]:
            told = f"it announces {count} {what}, and a model has at most {MOST[what]}"
            raise damaged(self.path, told)

    def _take(self, letter: str) -> Any:
        """The next number."""
        start = self._pass(struct.calcsize(f"<{letter}"))
        return struct.unpack_from(f"<{letter}", self.head, start)[0]

    def _string(self) -> str:
        length = self._take("Q")
        start = self._pass(length)
        return self.head[start : self.at].decode("utf-8")

    def _pass(self, size: int) -> int:
        """Go `size` bytes on; where they begin. Raises `ArtefactError` where they are not there."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.head):
            cut = (
                "the file is cut off"
                if self.length <= HEAD_BYTES
                else f"the limit is {HEAD_BYTES} bytes"
            )
            told = f"its head goes on for {size} bytes at byte {start} of {len(self.head)}: {cut}"
            raise damaged(self.path, told)
        return start

    def _pass_strings(self, count: int) -> None:
        """`_pass` over strings, quickly: a vocabulary has hundreds of thousands."""
        at, read, head = self.at, struct.Struct("<Q").unpack_from, self.head
        try:
            for _ in range(count):
                at += 8 + read(head, at)[0]
        except (struct.error, OverflowError):  # behind the end, as is told below
            at += 8
        self._pass(at - self.at)

    def _value(self, key: str, kind: int) -> Any:
        """A value; of an array, its length."""
        if kind == _STRING:
            return self._string()
        if kind in _SCALARS:
            value = self._take(_SCALARS[kind])
            if isinstance(value, float) and not math.isfinite(value):
                raise damaged(self.path, f"{key} is {value}, expected a finite number")
            return value
        if kind != _ARRAY:
            raise damaged(self.path, f"{key} is of type {kind}, which the format does not have")
        element, count = self._take("I"), self._take("Q")
        self.elements += count
        self._limit("array elements", self.elements)
        if element == _STRING:
            self._pass_strings(count)
        elif element in _SCALARS:
            self._pass(count * struct.calcsize(f"<{_SCALARS[element]}"))
        else:
            told = f"{key} is an array of type {element}, not of numbers or texts"
            raise damaged(self.path, told)
        return count

    def _entry(self, unit: int) -> Entry:
        name, n_axes = self._string(), self._take("I")
        told = f"the tensor {name!r}"
        if not 1 <= n_axes <= 4:
            raise damaged(self.path, f"{told} has {n_axes} axes, expected 1 to 4")
        shape = tuple(self._take("Q") for _ in range(n_axes))
        number, start = self._take("I"), self._take("Q")
        if number not in self.types:
            raise damaged(self.path, f"{told} is of type {number}, which the package gguf lacks")
        kind, values, size = self.types[number]
        if min(shape) < 1 or shape[0] % values:
            raise damaged(self.path, f"{told} of type {kind} cannot have the shape {list(shape)}")
        if start % unit:
            raise damaged(self.path, f"{told} begins at {start}, no multiple of {unit}")
        return Entry(name, kind, shape, start, math.prod(shape) // values * size)

    def _check_places(self, entries: tuple[Entry, ...], data: int) -> None:
        """Each tensor lies inside the file, and no two share a byte or a name."""
        placed = sorted(entries, key=lambda entry: entry.start)
        for one, other in pairwise(placed):
            if one.start + one.size > other.start:
                raise damaged(self.path, f"the tensors {one.name!r} and {other.name!r} overlap")
        for entry in placed:
            if data + entry.start + entry.size > self.length:
                told = f"the tensor {entry.name!r} ends behind the file: the file is cut off"
                raise damaged(self.path, told)
        doubled = [name for name, n in Counter(e.name for e in entries).items() if n > 1]
        if doubled:
            raise damaged(self.path, f"the tensor {doubled[0]!r} is there twice")


def _types(path: Path) -> dict[int, Type]:
    """The types of tensors that the package gguf knows, by the format's number."""
    try:
        from gguf.constants import GGML_QUANT_SIZES
    except ImportError as error:
        told = "needs the package gguf: pip install 'emotion-interp[gguf]'"
        raise ResourceError(f"reading {path} {told}.") from error
    return {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}


def damaged(path: Path, what: str) -> ArtefactError:
    """The error for a file whose head cannot be that of a model."""
    return ArtefactError(f"{path} is no sound GGUF model: {what}. Download or write it again.")
