"""Tidy tables and the record of the run that made them: the one form in which every method answers.

A table is a pandas DataFrame, one row a measurement, whose columns begin with `COLUMNS`; a method may add columns of its
own behind them (emotion, position, control, k, ...). A figure is a function of such a table and of nothing else.
"""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import ArtefactError, InternalError
from interp.files import write_atomic

SCHEMA = 1
"""Version of the tables and of run.json; a file with a larger one was written by a newer interp and is refused."""

COLUMNS = (
    "run", "model", "battery", "site", "layer", "depth", "head",
    "method", "metric", "value", "ci_low", "ci_high", "n", "seed",
)  # fmt: skip
"""The columns every table begins with. `depth` is (layer + 1) / n_layers; `n` counts what the value is a mean over."""

_NUMBERS = ("layer", "depth", "head", "value", "ci_low", "ci_high", "n", "seed")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What produced a results folder: enough to repeat it and to refuse mixing it with another.

    `config` is the command's arguments; `provenance` holds model, tokenizer, battery and software identities.
    """

    run: str
    model: str
    battery: str
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def row(self, **values: Any) -> dict[str, Any]:
        """A row of a table: `values` beside this record's run, model, battery and seed."""
        return {"run": self.run, "model": self.model, "battery": self.battery, "seed": self.seed, **values}

    def write(self, path: Path) -> None:
        """Write the record as JSON, atomically."""
        content = {"schema": SCHEMA, **asdict(self)}
        write_atomic(path, (json.dumps(content, indent=2, sort_keys=True, default=str) + "\n").encode())


def read_record(path: Path) -> RunRecord:
    """The record in `path`; raises `ArtefactError` when it is not one, or was written by a newer interp."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema")
        if schema > SCHEMA:
            raise ArtefactError(f"{path} was written by a newer interp (schema {schema}, this one reads {SCHEMA}): update.")
        content["warnings"] = tuple(content["warnings"])
        return RunRecord(**content)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not a run record of interp: {error}.") from error


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows (see `RunRecord.row`) as a checked table: `COLUMNS` first, numbers as numbers; what a row lacks is NaN or ""."""
    frame = pd.DataFrame(list(rows))
    for column in COLUMNS:
        if column not in frame:
            frame[column] = math.nan if column in _NUMBERS else ""
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]) and column not in _NUMBERS:
            frame[column] = frame[column].fillna("")
    if frame.empty:
        frame = frame.astype(dict.fromkeys(_NUMBERS, float))
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
    """Write a checked table as CSV, atomically; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    check_table(frame)
    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(_defuse)
    buffer = StringIO()
    safe.to_csv(buffer, index=False, lineterminator="\n")
    write_atomic(path, buffer.getvalue().encode("utf-8"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table back; raises `ArtefactError` when the file is not one."""
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values={column: [""] for column in _NUMBERS})
        if frame.empty:
            frame = frame.astype({column: float for column in _NUMBERS if column in frame})
        for column in frame.columns.difference(list(COLUMNS)):
            frame[column] = _as_numbers(frame[column])
        check_table(frame)
    except (InternalError, ValueError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not a table of interp: {error}") from error
    return frame


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
