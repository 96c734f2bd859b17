"""Say what an artefact holds, whatever it is: a run, a store of activations, a table, a direction,
a battery.
"""

import json
from pathlib import Path
from typing import Any

import stimuli
from interp.capture.store.upkeep import inspect
from interp.directions import Direction
from interp.errors import ArtefactError
from interp.records import read_record
from interp.results import read_table

_BATTERIES = (".jsonl", ".json", ".tsv", ".parquet", ".arrow", ".xlsx", ".gz")


def describe(path: Path) -> list[dict[str, Any]]:
    """Rows (what, value) about the artefact at `path`, told by its content. Raises `ArtefactError`
    when it is none of ours.
    """
    if (path / "manifest.jsonl").is_file():
        return _rows(inspect(path))
    if (path / "run.json").is_file():
        return _rows(_run(path))
    if path.suffix == ".safetensors" and path.is_file():
        return _rows(_direction(path))
    if path.suffix == ".csv" and path.is_file():
        return _rows(_table(path))
    if path.suffix in _BATTERIES and path.is_file():
        return _rows(_battery(path))
    raise ArtefactError(
        f"{path} is no artefact of interp: expected a run's folder, a store's folder, a "
        "direction (.safetensors), a table (.csv) or a battery (.jsonl)."
    )


def _run(path: Path) -> dict[str, Any]:
    record = read_record(path / "run.json")
    tables = sorted(table.stem for table in (path / "tables").glob("*.csv"))
    return {
        "kind": "run",
        "run": record.run,
        "model": record.model,
        "battery": record.battery,
        "seed": record.seed,
        "tables": ", ".join(tables),
        "warnings": len(record.warnings),
        "config": json.dumps(dict(record.config)),
    }


def _direction(path: Path) -> dict[str, Any]:
    direction = Direction.load(path)
    return {
        "kind": "direction",
        "site": str(direction.site),
        "method": direction.method,
        "labels": " against ".join(direction.labels),
        "d_model": len(direction.vector),
        "length": direction.length,
        "spread": direction.spread,
        "stream_norm": direction.stream_norm,
        **{f"provenance.{key}": value for key, value in direction.provenance.items()},
    }


def _table(path: Path) -> dict[str, Any]:
    frame = read_table(path)
    metrics = ", ".join(sorted(frame["metric"].unique()))
    return {
        "kind": "table",
        "rows": len(frame),
        "columns": ", ".join(frame.columns),
        "metrics": metrics,
    }


def _battery(path: Path) -> dict[str, Any]:
    battery = stimuli.load(path)
    sizes = {f"arm {arm}": len(items) for arm, items in battery.split(by="arm")}
    return {
        "kind": "battery",
        "items": len(battery),
        "emotions": ", ".join(battery.emotions),
        **sizes,
        "sha256": battery.sha256,
    }


def _rows(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"what": what, "value": value} for what, value in facts.items()]
