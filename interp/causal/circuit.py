"""Circuit: the heads and neurons that carry an emotion, with where they were found; and its file.

The file is JSON: circuits by emotion, and the SHA-256 of what it says of them, so that a change is
seen. A circuit belongs to the weights that it was found in: another model refuses it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interp.causal.contributions import KINDS, Component
from interp.causal.origins import named_origin, same_origin
from interp.errors import ArtefactError
from interp.files import read_regular, sha256_bytes, write_atomic
from interp.models import LanguageModel
from interp.notebook import as_html

CIRCUIT_SCHEMA = 1
"""Version of the file; a larger one was written by a newer interp and is refused."""

LARGEST_FILE = 1 << 28
"""Bytes of a file of circuits, at most."""


@dataclass(frozen=True, slots=True)
class CircuitPart:
    """A head or a neuron of a circuit.

    `weight` is how far it moves the end of the model along the reference direction, to first order:
    its contribution times its sublayer's influence (residual units; affective less neutral text).
    `shift` is by how much what it holds differs between the twins, on average: d_head numbers for a
    head, one for a neuron.
    """

    layer: int
    index: int
    weight: float
    shift: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit of `emotion`: its heads and its neurons, the heaviest first.

    `provenance` says where it was found: the model with its digest, the battery's digest, the
    position, how the directions were fitted, the split and its seed, and the budget. Raises
    `ArtefactError` for a part named twice, a negative place, or a number that is not finite.
    """

    emotion: str
    heads: tuple[CircuitPart, ...]
    neurons: tuple[CircuitPart, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, nodes in self.nodes.items():
            places = [(node.layer, node.index) for node in nodes]
            if len(set(places)) < len(places) or any(min(place) < 0 for place in places):
                raise ArtefactError(
                    f"the circuit of {self.emotion} names a {kind} twice, or at a place below 0."
                )
            numbers = [number for node in nodes for number in (node.weight, *node.shift)]
            if not all(map(math.isfinite, numbers)):
                raise ArtefactError(
                    f"the circuit of {self.emotion} has numbers that are not finite: find it again."
                )

    @property
    def nodes(self) -> dict[str, tuple[CircuitPart, ...]]:
        """Its parts by kind: head, neuron."""
        return {"head": self.heads, "neuron": self.neurons}

    @property
    def components(self) -> tuple[Component, ...]:
        """All its parts, heads first."""
        return tuple(
            Component(KINDS[kind], node.layer, node.index)
            for kind, nodes in self.nodes.items()
            for node in nodes
        )

    def save(self, path: Path | str) -> None:
        """Write it to `path`, alone (`save_circuits`)."""
        save_circuits(path, [self])

    @staticmethod
    def load(path: Path | str, emotion: str | None = None) -> "Circuit":
        """The circuit of `emotion` in a file; it may be left out where there is one alone. Raises
        `ArtefactError` as `load_circuits`, and for an emotion that the file lacks.
        """
        found = load_circuits(path)
        if emotion is None and len(found) == 1:
            return next(iter(found.values()))
        if emotion not in found:
            asked = "name one of them" if emotion is None else f"there is none of {emotion!r}"
            raise ArtefactError(f"{path} has circuits of {', '.join(found)}: {asked}.")
        return found[emotion]

    def _repr_html_(self) -> str:
        """For a notebook: how large it is, and where it was found."""
        sizes = [(f"{kind}s", len(nodes)) for kind, nodes in self.nodes.items()]
        facts = [*sizes, *self.provenance.items()]
        return as_html(f"Circuit of {self.emotion}", facts)


def save_circuits(path: Path | str, circuits: Sequence[Circuit]) -> None:
    """Write circuits of different emotions into one file, atomically. Raises `ArtefactError` for
    none, or two of one emotion; `ResourceError` when the file system refuses.
    """
    told = {one.emotion: asdict(one) for one in circuits}
    if not told or len(told) < len(circuits):
        raise ArtefactError(
            f"{len(circuits)} circuits of {len(told)} emotions: give at least one, each of another."
        )
    body = _text(told)
    digest = sha256_bytes(body.encode())
    content = {"schema": CIRCUIT_SCHEMA, "sha256": digest, "circuits": json.loads(body)}
    write_atomic(Path(path), f"{_text(content, indent=1)}\n".encode())


def load_circuits(path: Path | str) -> dict[str, Circuit]:
    """The circuits in a file, by emotion. Raises `ArtefactError` where it cannot be read, is none,
    was changed after it was written, or is of a newer interp.
    """
    try:
        content = json.loads(read_regular(path, most=LARGEST_FILE).decode("utf-8"))
        if content["schema"] > CIRCUIT_SCHEMA:
            raise ArtefactError(
                f"{path} was written by a newer interp (schema {content['schema']}, this one reads "
                f"{CIRCUIT_SCHEMA}): update."
            )
        told = content["circuits"]
        if sha256_bytes(_text(told).encode()) != content["sha256"]:
            raise ArtefactError(
                f"{path} was changed after it was written: it has not the digest that it names. "
                "Find the circuit again with `interp circuit`."
            )
        return {emotion: _circuit(one) for emotion, one in told.items()}
    except OSError as error:
        raise ArtefactError(f"cannot read the circuit {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtefactError(
            f"{path} is no file of circuits, or is damaged ({error}): `interp circuit` writes one."
        ) from error


def check_circuit(model: LanguageModel, circuit: Circuit) -> None:
    """Raise `ArtefactError` unless `circuit` was found in this model's very weights: by the digest
    of its provenance, or where it has none by model and revision.
    """
    made_for, here = circuit.provenance, model.provenance
    if not same_origin(made_for, here):
        raise ArtefactError(
            f"the circuit of {circuit.emotion} was found in {named_origin(made_for)}, and this is "
            f"{named_origin(here)}: heads and neurons of two models do not correspond. Find it "
            "in this model with `interp circuit`."
        )
    dims = model.dims
    sizes = {"head": (dims.n_heads, dims.d_head), "neuron": (dims.d_mlp, 1)}
    for kind, nodes in circuit.nodes.items():
        width, numbers = sizes[kind]
        for node in nodes:
            inside = node.layer < dims.n_layers and node.index < width
            if not inside or len(node.shift) != numbers:
                raise ArtefactError(
                    f"the circuit of {circuit.emotion} has the {kind} {node.index} of layer "
                    f"{node.layer} with a shift of {len(node.shift)} numbers: {model.name} has "
                    f"{dims.n_layers} layers of {width} with {numbers}."
                )


def _circuit(told: Mapping[str, Any]) -> Circuit:
    def nodes(rows: Sequence[Mapping[str, Any]]) -> tuple[CircuitPart, ...]:
        return tuple(
            CircuitPart(
                int(r["layer"]), int(r["index"]), float(r["weight"]), tuple(map(float, r["shift"]))
            )
            for r in rows
        )

    return Circuit(
        str(told["emotion"]), nodes(told["heads"]), nodes(told["neurons"]), told["provenance"]
    )


def _text(told: Any, *, indent: int | None = None) -> str:
    return json.dumps(told, sort_keys=True, default=str, indent=indent, allow_nan=False)
