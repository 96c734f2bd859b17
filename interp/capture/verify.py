"""Verifying a capture: every shard as it was written, and a sample of its texts computed again
alone, one text per batch: the proof that batching changed nothing.

What needs torch is imported only where a model is given.
"""

from pathlib import Path
from typing import Any

from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.activations import Shape
from interp.capture.store.folder import RunFolder, capture_in
from interp.capture.store.shard_record import ShardRecord
from interp.capture.store.upkeep import check_shard, committed
from interp.defaults import RECOMPUTED
from interp.errors import ArtefactError


def verify(
    path: Path | str, *, recompute: float = RECOMPUTED, model: Any = None
) -> list[dict[str, Any]]:
    """One row per check: every shard's size, digest, structure and finiteness; with `model`, a
    sample of texts computed alone.

    `recompute` is the share of items (at least one) whose largest relative difference is reported,
    with the bound that batching explains. Rows have check, passed, value, bound, detail; nothing is
    raised for damage, so that all of it is listed.
    """
    folder = RunFolder(capture_in(path))
    widths: dict[str, Shape] = {}
    rows = [_shard_row(folder, record, widths) for record in committed(folder)]
    missing = folder.head["n_shards"] - len(folder.records)
    rows.append(
        _row(
            "complete",
            missing == 0,
            value=float(missing),
            bound=0.0,
            detail=f"{missing} shards missing",
        )
    )
    if model is not None and recompute > 0 and all(row["passed"] for row in rows):
        from interp.capture.recomputation import recompute_alone

        with ActivationStore.open(folder.path) as store:
            rows.append(recompute_alone(store, folder, model, share=recompute))
    return rows


def _row(
    check: str, passed: bool, *, value: float, bound: float, detail: str = ""
) -> dict[str, Any]:
    return {"check": check, "passed": passed, "value": value, "bound": bound, "detail": detail}


def _shard_row(folder: RunFolder, record: ShardRecord, widths: dict[str, Shape]) -> dict[str, Any]:
    try:
        check_shard(folder, record, widths)
    except ArtefactError as error:
        return _row(record.file, False, value=1.0, bound=0.0, detail=str(error))
    return _row(record.file, True, value=0.0, bound=0.0)
