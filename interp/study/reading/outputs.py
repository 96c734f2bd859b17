"""Readings of a large data set on disk: blocks in a folder beside the file, joined at the end.

Each block is a file of JSON lines that appears whole. The same command goes on behind the last one;
when all are there they are joined to the file that was asked for, which appears whole, too. An
uninterrupted reading gives the same bytes: which texts share a batch depends on their block alone.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.files import make_folder, read_regular, replacing, write_atomic
from interp.results import csv_bytes

ASKED_FILE = "asked.json"
_MOST = 1 << 30
"""Bytes of a block, at most."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of the file `out`, whose folder lies beside it."""

    out: Path

    @property
    def folder(self) -> Path:
        """Where the blocks lie until they are joined."""
        return self.out.with_name(f"{self.out.name}.parts")

    def open(self, asked: Mapping[str, Any], *, again: bool) -> int:
        """How many blocks are there already, of what was asked the same; with `again` none are
        taken over.

        Raises `UsageError` for a file of an unknown kind, `ResourceError` where its library is not
        there or nothing can be written, `ArtefactError` where the file is there
        already, or blocks of something else.
        """
        if self.out.suffix not in WRITERS:
            known = ", ".join(WRITERS)
            raise UsageError(f"cannot write {self.out}: its name must end in one of {known}.")
        if self.out.suffix == ".parquet" and find_spec("pyarrow") is None:
            raise ResourceError(f"{self.out}: writing Parquet needs pyarrow: pip install pyarrow.")
        if self.out.exists():
            raise ArtefactError(f"{self.out} is there already: choose another --out, or delete it.")
        made = self.folder / ASKED_FILE
        if made.exists() and not again:
            there = json.loads(read_regular(made, most=_MOST))
            if other := [key for key in asked if there.get(key) != asked[key]]:
                lines = "; ".join(f"{k}: {there.get(k)!r} there, {asked[k]!r} now" for k in other)
                raise ArtefactError(
                    f"{self.folder} holds the begun reading of something else ({lines}). Choose "
                    "another --out, repeat what was asked, or delete that folder."
                )
            return len(self._there())
        if self.folder.exists():
            for path in self._there():
                path.unlink()
        make_folder(self.folder)
        write_atomic(made, json.dumps(asked, indent=1).encode())
        return 0

    def write(self, number: int, frame: pd.DataFrame, told: Mapping[str, str]) -> None:
        """Put a block there, whole; `told` is what was done with texts that are too long."""
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        lines = [json.dumps({"told": dict(told)}), *(json.dumps(row) for row in rows)]
        write_atomic(self._path(number), ("\n".join(lines) + "\n").encode())

    def read(self, columns: Sequence[str]) -> Iterator[tuple[pd.DataFrame, dict[str, str]]]:
        """The blocks in order."""
        for path in self._there():
            head, *lines = read_regular(path, most=_MOST).decode().splitlines()
            rows = [json.loads(line) for line in lines]
            yield as_numbers(pd.DataFrame(rows, columns=list(columns))), json.loads(head)["told"]

    def join(self, columns: Sequence[str], about: Mapping[str, Any]) -> None:
        """Make the file of all blocks, and beside it what it holds (`about`); the blocks are gone
        then.
        """
        write_atomic(about_path(self.out), (json.dumps(about, indent=1) + "\n").encode())
        with replacing(self.out) as stream:
            WRITERS[self.out.suffix]((frame for frame, _ in self.read(columns)), stream)
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.jsonl"

    def _there(self) -> list[Path]:
        """The blocks that are there, from the first one on without a gap."""
        found: list[Path] = []
        while (path := self._path(len(found))).exists():
            found.append(path)
        return found


def about_path(out: Path) -> Path:
    """Where what a file holds is said: model, run, place, units, what was asked and done."""
    return out.with_name(f"{out.name}.about.json")


def file_kind(column: str) -> str:
    """Whether a column of readings holds a `text`, a `count` or a `unit`."""
    if column in ("turn", "token", "tokens"):
        return "count"
    return "unit" if "_" in column else "text"


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with counts and units as numbers; a unit that there is none of is NaN."""
    kinds = {"count": int, "unit": float}
    typed = {name: kinds[kind] for name in frame if (kind := file_kind(str(name))) in kinds}
    return frame.astype(typed)


def _write_csv(frames: Iterator[pd.DataFrame], stream: BinaryIO) -> None:
    for number, frame in enumerate(frames):
        stream.write(csv_bytes(frame, header=number == 0))


def _write_jsonl(frames: Iterator[pd.DataFrame], stream: BinaryIO) -> None:
    for frame in frames:
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
            stream.write(json.dumps(row).encode() + b"\n")


def _write_parquet(frames: Iterator[pd.DataFrame], stream: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"text": pa.string(), "count": pa.int64(), "unit": pa.float64()}
    first = next(frames)  # a file of no rows has one block, without rows
    schema = pa.schema([(name, kinds[file_kind(name)]) for name in first.columns])
    with parquet.ParquetWriter(stream, schema) as writer:
        for frame in chain([first], frames):
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))


WRITERS: Mapping[str, Callable[[Iterator[pd.DataFrame], BinaryIO], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
"""How blocks become one file, by the ending of its name."""
