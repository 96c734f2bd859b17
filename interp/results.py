"""Tidy tables and the record of the run that made them: the one form in which every method answers.

A table is a pandas DataFrame, one row per measurement, whose columns begin with `COLUMNS`; a method
may add columns of its own behind them (emotion, position, control, k, ...). A figure is a function
of such a table and of nothing else. The record knows each table by its digest.
"""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import ArtefactError, InternalError
from interp.files import read_regular, sha256_bytes, write_atomic

TableRow = dict[str, Any]
"""One row of a table: a value per column."""

TableRows = list[TableRow]

SCHEMA = 1
"""Version of the tables and of run.json; a file with a larger one was written by a newer interp and is refused."""

COLUMNS = (
    "run", "model", "battery", "site", "layer", "depth", "head",
    "method", "metric", "value", "ci_low", "ci_high", "n", "seed",
)  # fmt: skip
"""The columns every table begins with. `depth` is (layer + 1) / n_layers; `n` counts what the value is a mean over."""

_NUMBERS = ("layer", "depth", "head", "value", "ci_low", "ci_high", "n", "seed")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_MOST_BYTES = 1 << 28
"""The longest run.json, and the longest table, that is read at all."""

_TYPES: Mapping[str, type] = {
    "run": str, "model": str, "battery": str, "seed": int, "config": dict, "provenance": dict, "warnings": list,
}  # fmt: skip
_JOINED = {"seconds": (int, float), "tables": (str,)}
"""What a provenance says of each stage by itself, and of which type that is."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What produced a results folder: enough to repeat it and to refuse mixing it with another.

    `config` is the command's arguments; `provenance` holds model, tokenizer, battery and software identities. `verdict` says
    of each claim of the report what may be said of it, with its number.
    """

    run: str
    model: str
    battery: str
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    verdict: tuple[Mapping[str, Any], ...] = ()

    def row(self, **values: Any) -> dict[str, Any]:
        """A row of a table: `values` beside this record's run, model, battery and seed."""
        identity = {"run": self.run, "model": self.model, "battery": self.battery, "seed": self.seed}
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
        content = json.loads(read_regular(path, most=_MOST_BYTES))
        schema = content.pop("schema")
        if schema > SCHEMA:
            raise ArtefactError(f"{path} was written by a newer interp (schema {schema}, this one reads {SCHEMA}): update.")
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
    for name, types in _JOINED.items():
        for stage, value in provenance.get(name, {}).items():
            check(f"provenance.{name}.{stage}", value, *types)


def table(rows: Iterable[Mapping[str, Any]], *, n_layers: int | None = None) -> pd.DataFrame:
    """Rows (see `RunRecord.row`) as a checked table: `COLUMNS` first, numbers as numbers.

    What a row lacks is NaN or "". With `n_layers`, the model's, `depth` is filled in.
    """
    frame = pd.DataFrame(list(rows))
    for column in COLUMNS:
        if column not in frame:
            frame[column] = math.nan if column in _NUMBERS else ""
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]) and column not in _NUMBERS:
            frame[column] = frame[column].fillna("")
    if frame.empty:
        frame = frame.astype(dict.fromkeys(_NUMBERS, float))
    if n_layers is not None:
        frame["depth"] = (frame["layer"] + 1) / n_layers
    frame = frame[[*COLUMNS, *(column for column in frame.columns if column not in COLUMNS)]]
    check_table(frame)
    return frame


def check_table(frame: pd.DataFrame) -> None:
    """Raise `InternalError` unless `frame` has the columns, numbers are numbers, and every value has its n and metric."""
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise InternalError(f"the table lacks the columns {missing}.")
    for column in _NUMBERS:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise InternalError(f"column {column!r} must hold numbers, it holds {frame[column].dtype}.")
    if len(frame) and (frame["n"].isna().any() or (frame["metric"] == "").any() or (frame["method"] == "").any()):
        raise InternalError("every row of a table needs its method, metric and n.")
    outside = frame["ci_low"].gt(frame["ci_high"])
    if outside.any():
        raise InternalError(f"ci_low is above ci_high in row {int(outside.to_numpy().argmax())}.")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a checked table as CSV (see `table_bytes`), atomically."""
    write_atomic(path, table_bytes(frame))


def table_bytes(frame: pd.DataFrame) -> bytes:
    """A checked table as CSV.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    check_table(frame)
    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(_defuse)
    buffer = StringIO()
    safe.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue().encode("utf-8")


def read_table(path: Path, *, sha256: str | None = None) -> pd.DataFrame:
    """Read a table back.

    Raises `ArtefactError` when the file is not one, or has not the digest `sha256`, if one is
    given.
    """
    try:
        data = read_regular(path, most=_MOST_BYTES)
        if sha256 is not None and sha256_bytes(data) != sha256:
            raise ArtefactError(
                f"{path} was changed after it was written: it has not the digest that run.json "
                "gives it. Delete it and run the same command again, which computes it anew."
            )
        frame = pd.read_csv(BytesIO(data), keep_default_na=False, na_values={column: [""] for column in _NUMBERS})
        if frame.empty:
            frame = frame.astype({column: float for column in _NUMBERS if column in frame})
        for column in frame.columns.difference(list(COLUMNS)):
            frame[column] = _as_numbers(frame[column])
        check_table(frame)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (InternalError, ValueError, TypeError, OverflowError) as error:
        raise ArtefactError(f"{path} is not a table of interp: {error}") from error
    return frame


def read_tables(run: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Those of a run's tables `names` that are there, by name, each as the run wrote it.

    Raises `ArtefactError` for a table that was changed since. A run of an older interp gives no
    digests (`undigested` names such tables).
    """
    digests = read_record(run / "run.json").provenance.get("tables", {})
    return {name: read_table(path, sha256=digests.get(name)) for name in names if (path := table_path(run, name)).exists()}


def undigested(run: Path, names: Iterable[str]) -> list[str]:
    """Those of a run's tables `names` that are there and whose digest its record does not give."""
    digests = read_record(run / "run.json").provenance.get("tables", {})
    return [name for name in names if name not in digests and table_path(run, name).exists()]


def table_path(run: Path, name: str) -> Path:
    """Where the table `name` of a run lies."""
    return run / "tables" / f"{name}.csv"


def software() -> dict[str, str]:
    """Versions of what computes: python, interp and the libraries whose numbers we report (missing ones left out)."""
    names = ("emotion-interp", "torch", "transformers", "transformer-lens", "numpy", "scipy", "scikit-learn", "h5py")
    import h5py

    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "hdf5": h5py.version.hdf5_version}


def _as_numbers(column: pd.Series) -> pd.Series:
    """A method's own column (p, k, scale) of which some rows have no number: numbers with NaN there, not text."""
    filled = column.astype(str) != ""
    numbers = pd.to_numeric(column.where(filled), errors="coerce")
    return numbers if filled.any() and numbers.notna().equals(filled) else column


def _defuse(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    safe = f"'{value}" if value.startswith(_FORMULA) else value
    # A bare carriage return inside a cell would end the row for most readers of CSV.
    return safe.replace("\r\n", "\n").replace("\r", "\n")
