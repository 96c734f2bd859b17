"""Looking after a capture: say what it holds, verify it, repair it, export it as one file."""

import math
import os
from pathlib import Path
from secrets import token_hex
from shutil import disk_usage
from typing import Any

import h5py
import numpy as np

from interp.capture.lock import locked
from interp.capture.run_folder import LOCK, MANIFEST, QUARANTINE, RunFolder, ShardRecord
from interp.capture.sealed import unseal
from interp.capture.shard import opened
from interp.capture.store import ActivationStore
from interp.errors import ArtefactError, ResourceError
from interp.files import resource_error, sync_folder, write_atomic
from interp.sites import Site


def inspect(path: Path | str) -> dict[str, Any]:
    """What a capture holds, complete or not: model, battery, sites, positions, items, shards done, bytes, warnings."""
    folder = RunFolder(Path(path))
    config, provenance = folder.head["config"], folder.head["provenance"]
    records = list(folder.records.values())
    return {
        "kind": "capture",
        "model": provenance.get("model", {}).get("model", ""),
        "battery": config.get("battery", {}).get("name", ""),
        "items": folder.head["n_items"],
        "quarantined": len(folder.quarantined),
        "sites": ", ".join(dict.fromkeys(Site.parse(site).name for site in config["sites"])),
        "layers": len({Site.parse(site).layer for site in config["sites"]}),
        "positions": ", ".join(config["positions"]),
        "shards": f"{len(records)} of {folder.head['n_shards']}",
        "bytes": sum(record.bytes for record in records),
        "max_abs": max((record.max_abs for record in records), default=math.nan),
        "engine": provenance.get("engine", ""),
        "plan": folder.head["plan"][:12],
        "warnings": "; ".join(dict.fromkeys(warning for record in records for warning in record.warnings)),
    }


def layer_rows(path: Path | str) -> list[dict[str, Any]]:
    """A row a site and position: its largest magnitude, the mean norm of its rows, and how many items it has."""
    folder = RunFolder(Path(path))
    gathered: dict[str, list[tuple[float, float, int]]] = {}
    for record in folder.records.values():
        for name, (most, norm) in record.statistics.items():
            gathered.setdefault(name, []).append((most, norm, len(record.items) - len(record.nonfinite)))
    rows = []
    for name, found in sorted(gathered.items(), key=lambda pair: (Site.parse(pair[0].split("/")[0]), pair[0])):
        site, position = name.split("/", 1)
        n = sum(count for _, _, count in found)
        norm = sum(norm * count for _, norm, count in found) / max(n, 1)
        rows.append(
            {"site": site, "position": position, "max_abs": max(most for most, _, _ in found), "mean_norm": norm, "n": n}
        )
    return rows


def verify(path: Path | str, *, recompute: float = 0.01, model: Any = None) -> list[dict[str, Any]]:
    """A row a check: every shard's size, digest, structure and finiteness; with `model`, a sample of texts computed alone.

    `recompute` is the share of items (at least one) whose largest relative difference is reported, with the bound that batching
    explains. Rows have check, passed, value, bound, detail; nothing is raised for damage, so that all of it is listed.
    """
    folder = RunFolder(Path(path))
    rows = [_shard_row(folder, record) for record in _committed(folder)]
    missing = folder.head["n_shards"] - len(folder.records)
    rows.append(_row("complete", missing == 0, value=float(missing), bound=0.0, detail=f"{missing} shards missing"))
    if model is not None and recompute > 0 and all(row["passed"] for row in rows):
        from interp.capture.recompute import recompute_alone

        with ActivationStore.open(path) as store:
            rows.append(recompute_alone(store, folder, model, share=recompute))
    return rows


def _committed(folder: RunFolder) -> list[ShardRecord]:
    """Whole shards and those begun, by number; of a number there is one or the other."""
    return [record for _, record in sorted({**folder.parts, **folder.records}.items())]


def _row(check: str, passed: bool, *, value: float, bound: float, detail: str = "") -> dict[str, Any]:
    return {"check": check, "passed": passed, "value": value, "bound": bound, "detail": detail}


def _shard_row(folder: RunFolder, record: ShardRecord) -> dict[str, Any]:
    try:
        check_shard(folder, record)
    except ArtefactError as error:
        return _row(record.file, False, value=1.0, bound=0.0, detail=str(error))
    return _row(record.file, True, value=0.0, bound=0.0)


def check_shard(folder: RunFolder, record: ShardRecord) -> None:
    """Raise `ArtefactError` unless a shard has its digest, passes the audit, and lacks no row that is not in quarantine."""
    lost = len(record.nonfinite)
    folder.verify(record)
    with opened(folder.shard_path(record), verified=record.verified) as file:
        if not np.array_equal(file["item"][...], record.places):
            raise ArtefactError(f"{record.file} holds other items than the manifest says.")
        for name in record.statistics:
            if name not in file:
                raise ArtefactError(f"{record.file} lacks {name}.")
            data = file[name][...]
            bad = len(data) - int(np.isfinite(data.reshape(len(data), -1)).all(axis=1).sum())
            if (bad and not lost) or (bad != lost and len(data) == len(record.items)):
                raise ArtefactError(f"{record.file}: {name} has {bad} non-finite rows, and {lost} items are in quarantine.")


def repair(path: Path | str) -> list[dict[str, Any]]:
    """Forget what is damaged, so that running the same capture computes only that again; a row a thing forgotten.

    Raises `ArtefactError` when run.json itself is damaged: without it nothing can be trusted.
    """
    path = Path(path)
    rows: list[dict[str, Any]] = []
    with locked(path / LOCK):
        for name in (MANIFEST, QUARANTINE):
            dropped = _drop_damaged_lines(path / name)
            rows += [{"file": name, "reason": reason} for reason in dropped]
        folder = RunFolder(path)
        lost = {item for record in _committed(folder) for item in record.nonfinite} - set(folder.quarantined)
        damaged: dict[int, str] = {}
        for record in _committed(folder):
            try:
                check_shard(folder, record)
            except ArtefactError as error:
                damaged[record.index] = str(error)
            if lost & set(record.nonfinite):
                damaged[record.index] = "its refused items are no longer in the quarantine"
            if record.index in damaged:
                rows.append({"file": record.file, "reason": damaged[record.index]})
        if rows:
            folder.drop(damaged)
    return rows


def _drop_damaged_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    kept, reasons = [], []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            unseal(line, path=path)
            kept.append(line if line.endswith(b"\n") else line + b"\n")
        except ArtefactError as error:
            reasons.append(str(error))
    if reasons:
        write_atomic(path, b"".join(kept))
    return reasons


class _Guarded:
    """A file whose first failure is kept for later: HDF5 does not survive being told that the disk is full."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        return int(self._try(lambda: self.stream.write(data)) or len(data))

    def truncate(self, size: int | None = None) -> int:
        return int(self._try(lambda: self.stream.truncate(size)) or 0)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, act: Any) -> Any:
        try:
            return act() if self.failure is None else None
        except OSError as error:
            self.failure = error
            return None


def export_hdf5(path: Path | str, out: Path | str) -> Path:
    """One HDF5 file with all of a capture: `SITE/POSITION` in battery order, `item` ids, run.json as the attribute `run`.

    Raises `ResourceError` when the disk cannot hold it, `ArtefactError` for a damaged store.
    """
    import json

    out = Path(out)
    temporary = out.with_name(f".{out.name}.{token_hex(4)}.tmp")
    with ActivationStore.open(path) as store:
        needed = sum(record.bytes for record in RunFolder(Path(path)).records.values())
        if needed * 1.1 > disk_usage(out.parent).free:
            raise ResourceError(
                f"{out} needs {needed / 1e9:.2f} GB + 10 %, and {disk_usage(out.parent).free / 1e9:.2f} GB are free."
            )
        try:
            with temporary.open("x+b", buffering=0) as stream:
                guarded = _Guarded(stream)
                with h5py.File(guarded, "w") as file:
                    file.attrs["run"] = json.dumps({**store.head, "quarantined": store.quarantined})
                    _copy(store, file)
                if guarded.failure is not None:
                    raise guarded.failure
                os.fsync(stream.fileno())
            temporary.replace(out)
            sync_folder(out.parent)
        except OSError as error:
            raise resource_error(out, error) from error
        finally:
            temporary.unlink(missing_ok=True)
    return out


def _copy(store: ActivationStore, file: h5py.File) -> None:
    file.create_dataset("item", data=[item.encode() for item in store.items], track_times=False)
    for site in store.sites:
        for position in store.positions:
            found = store.read(site, position)
            file.create_dataset(f"{site}/{position}", data=found.x, fletcher32=True, chunks=True, track_times=False)
            if found.lengths is not None and "length" not in file:
                file.create_dataset("length", data=found.lengths, track_times=False)
