"""Looking after a capture without a model: say what it holds, check a shard, repair."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from interp.capture.store.activations import Shape, check_width
from interp.capture.store.folder import LOCK, MANIFEST, QUARANTINE, RUN, RunFolder, capture_in
from interp.capture.store.lock import locked
from interp.capture.store.sealed_json import unseal
from interp.capture.store.shard import is_ragged
from interp.capture.store.shard_file import ShardFile, open_hdf5
from interp.capture.store.shard_record import ShardRecord
from interp.errors import ArtefactError
from interp.files import write_atomic
from interp.sites import Site


def inspect(path: Path | str) -> dict[str, Any]:
    """What a capture holds, complete or not: model, battery, sites, positions, items, shards done,
    bytes, warnings.
    """
    folder = RunFolder(capture_in(path))
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
        "warnings": "; ".join(
            dict.fromkeys(warning for record in records for warning in record.warnings)
        ),
    }


def layer_rows(path: Path | str) -> list[dict[str, Any]]:
    """A row per site and position: its largest magnitude, the mean norm of its rows, and how many
    rows are finite (`n`: texts, or tokens where every token is kept).
    """
    folder = RunFolder(capture_in(path))
    gathered: dict[str, list[tuple[float, float, int]]] = {}
    for record in folder.records.values():
        with open_hdf5(folder.shard_path(record), verified=record.verified) as file:
            texts, tokens = _finite_rows(file, record)
            statistics = file.statistics(folder.arrays)
        for name, (most, norm) in statistics.items():
            gathered.setdefault(name, []).append((most, norm, tokens if is_ragged(name) else texts))
    rows = []
    for name, found in sorted(
        gathered.items(), key=lambda pair: (Site.parse(pair[0].split("/")[0]), pair[0])
    ):
        site, position = name.split("/", 1)
        n = sum(count for _, _, count in found)
        norm = sum(norm * count for _, norm, count in found) / max(n, 1)
        rows.append(
            {
                "site": site,
                "position": position,
                "max_abs": max(most for most, _, _ in found),
                "mean_norm": norm,
                "n": n,
            }
        )
    return rows


def _finite_rows(file: ShardFile, record: ShardRecord) -> tuple[int, int]:
    """Texts of a shard that are not in quarantine, and their tokens."""
    lengths = file["length"][...].tolist()
    kept = [
        length
        for item, length in zip(record.items, lengths, strict=True)
        if item not in record.nonfinite
    ]
    return len(kept), sum(kept)


def captured_dtype(path: Path | str) -> str:
    """What the captured model computed in: float32, bfloat16 or float16."""
    return str(RunFolder(capture_in(path)).head["config"]["model"].get("dtype", "float32"))


def committed(folder: RunFolder) -> list[ShardRecord]:
    """Whole shards and those begun, by number; of a number there is one or the other."""
    return [record for _, record in sorted({**folder.parts, **folder.records}.items())]


def check_shard(folder: RunFolder, record: ShardRecord, widths: dict[str, Shape]) -> None:
    """Raise `ArtefactError` unless a shard has its digest, passes the audit, has a row for each of
    its texts (or tokens), none of them broken that is not in quarantine, and is as wide as the
    shards before it, which `widths` remembers.
    """
    lost = len(record.nonfinite)
    folder.verify(record)
    with open_hdf5(folder.shard_path(record), verified=record.verified) as file:
        file.audit()
        file.check_owner(plan=folder.head["plan"], places=record.places)
        file.statistics(folder.arrays)
        texts, tokens = len(record.items), int(file["length"][...].sum())
        for name in folder.arrays:
            data = file[name][...]
            if len(data) != (wanted := tokens if is_ragged(name) else texts):
                raise ArtefactError(
                    f"{record.file}: {name} has {len(data)} rows, and its texts ask for {wanted}."
                )
            check_width(record, name, data.shape[1:], widths.setdefault(name, data.shape[1:]))
            bad = len(data) - int(np.isfinite(data.reshape(len(data), -1)).all(axis=1).sum())
            if (bad and not lost) or (bad != lost and len(data) == len(record.items)):
                raise ArtefactError(
                    f"{record.file}: {name} has {bad} non-finite rows, and {lost} items are in "
                    "quarantine."
                )


def repair(path: Path | str) -> list[dict[str, Any]]:
    """Forget what is damaged, so that running the same capture computes only that again; a row per
    thing forgotten.

    Raises `ArtefactError` when run.json itself is damaged: without it nothing can be trusted.
    """
    path = capture_in(path)
    if not (path / RUN).is_file():
        raise ArtefactError(
            f"{path} is not a capture: there is no {RUN}. Nothing can be repaired there."
        )
    rows: list[dict[str, Any]] = []
    with locked(path / LOCK):
        for name in (MANIFEST, QUARANTINE):
            dropped = _drop_damaged_lines(path / name)
            rows += [{"file": name, "reason": reason} for reason in dropped]
        folder = RunFolder(path)
        lost = {item for record in committed(folder) for item in record.nonfinite} - set(
            folder.quarantined
        )
        damaged: dict[int, str] = {}
        widths: dict[str, Shape] = {}
        for record in committed(folder):
            try:
                check_shard(folder, record, widths)
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
