"""The record of a run: what made its tables, and with which versions of what."""

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from interp.errors import ArtefactError
from interp.files import read_regular, write_atomic

SCHEMA = 1
"""Version of the tables and of run.json; a file with a larger one was written by a newer interp and
is refused.
"""


MOST_BYTES = 1 << 28
"""The longest run.json, and the longest table, that is read at all."""


_TYPES: Mapping[str, type] = {
    "run": str,
    "model": str,
    "battery": str,
    "seed": int,
    "config": dict,
    "provenance": dict,
    "warnings": list,
}


_JOINED = {"seconds": (int, float), "tables": (str,)}
"""What a provenance says of each stage by itself, and of which type that is."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What produced a results folder: enough to repeat it and to refuse mixing it with another.

    `config` is the command's arguments; `provenance` holds model, tokenizer, battery and software
    identities. `verdict` says of each claim of the report what may be said of it, with its number;
    `answer` is what they come to: a sentence, and a badge for each question.
    """

    run: str
    model: str
    battery: str
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    verdict: tuple[Mapping[str, Any], ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)

    def row(self, **values: Any) -> dict[str, Any]:
        """A row of a table: `values` beside this record's run, model, battery and seed."""
        identity = {
            "run": self.run,
            "model": self.model,
            "battery": self.battery,
            "seed": self.seed,
        }
        return {**identity, **values}

    def joined(self, *, warnings: Iterable[str] = (), **provenance: Any) -> "RunRecord":
        """This record and further warnings, each once, and further provenance.

        What is said of stages (`seconds`, `tables`) is joined stage by stage; the rest is replaced.
        """
        known = dict(self.provenance)
        for name, value in provenance.items():
            known[name] = {**known.get(name, {}), **value} if name in _JOINED else value
        told = tuple(dict.fromkeys((*self.warnings, *warnings)))
        return replace(self, provenance=known, warnings=told)

    def write(self, path: Path) -> None:
        """Write the record as JSON, atomically."""
        content = {"schema": SCHEMA, **asdict(self)}
        text = json.dumps(content, indent=2, sort_keys=True, default=str)
        write_atomic(path, (text + "\n").encode())


def read_record(path: Path) -> RunRecord:
    """The record in `path`.

    Raises `ArtefactError` when it is not one, a field of it has another type, or a newer interp
    wrote it.
    """
    try:
        content = json.loads(read_regular(path, most=MOST_BYTES))
        schema = content.pop("schema")
        if schema > SCHEMA:
            raise ArtefactError(
                f"{path} was written by a newer interp (schema {schema}, this one reads "
                f"{SCHEMA}): update."
            )
        _check_types(content)
        joined = {name: tuple(content.get(name, ())) for name in ("warnings", "verdict")}
        return RunRecord(**{**content, **joined})
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtefactError(f"{path} is not a run record of interp: {error}.") from error


def _check_types(content: Mapping[str, Any]) -> None:
    """Raise `TypeError` naming the first field that has another type than a record's."""

    def check(name: str, value: Any, *types: type) -> None:
        if not isinstance(value, types) or isinstance(value, bool):
            expected = " or ".join(kind.__name__ for kind in types)
            raise TypeError(f"{name} holds a {type(value).__name__}, expected {expected}")

    for name, kind in _TYPES.items():
        check(name, content[name], kind)
    check("answer", content.get("answer", {}), dict)
    check("verdict", content.get("verdict", []), list)
    for place, one in enumerate(content.get("verdict", [])):
        check(f"verdict[{place}]", one, dict)
    for place, text in enumerate(content["warnings"]):
        check(f"warnings[{place}]", text, str)
    provenance = content["provenance"]
    for name in ("model", "battery", "software", *_JOINED):
        check(f"provenance.{name}", provenance.get(name, {}), dict)
    asked = provenance.get("readout", {"suffix": "", "words": {}})
    check("provenance.readout", asked, dict)
    check("provenance.readout.suffix", asked.get("suffix"), str)
    check("provenance.readout.words", asked.get("words"), dict)
    for emotion, words in asked["words"].items():
        check(f"provenance.readout.words.{emotion}", words, dict)
    check("provenance.examples", provenance.get("examples", []), list)
    for place, one in enumerate(provenance.get("examples", [])):
        check(f"provenance.examples[{place}]", one, dict)
        for name in ("emotion", "affective", "neutral"):
            check(f"provenance.examples[{place}].{name}", one.get(name), str)
    for name, types in _JOINED.items():
        for stage, value in provenance.get(name, {}).items():
            check(f"provenance.{name}.{stage}", value, *types)


def software() -> dict[str, str]:
    """Versions of what computes: python, interp and the libraries whose numbers we report (missing
    ones left out).
    """
    names = (
        "emotion-interp",
        "torch",
        "transformers",
        "transformer-lens",
        "numpy",
        "scipy",
        "scikit-learn",
        "h5py",
    )
    import h5py

    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "hdf5": h5py.version.hdf5_version}
