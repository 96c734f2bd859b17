"""Several finished runs beside each other: their curves by relative depth, their verdicts, and,
where they read the same texts, their spaces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from threadpoolctl import threadpool_limits

import stimuli
from interp.analysis.carried_probes import carried_rows
from interp.analysis.folds import grouped_folds
from interp.analysis.spaces import MAPS, cka, explained_by_map, held_out, only_trained_on
from interp.capture import ActivationStore
from interp.errors import ArtefactError, DataError, InterpError, UsageError
from interp.files import make_folder
from interp.progress import track
from interp.records import RunRecord
from interp.reporting.comparison import CURVES, curve_rows, write_comparison
from interp.reporting.findings import findings
from interp.reporting.report import read_run
from interp.results import TableRows, table, write_table
from interp.sites import LAST, STREAM, Site
from stimuli.battery import EVOKING, NEUTRAL, Battery, Stimulus, in_content_order

MOST_COMPARED = 1500
"""Texts whose places in two spaces are compared."""

MOST_LAYERS = 12
"""Layers of a run, evenly spaced, that are compared with all of another one's."""

COMPARED_AT = 2 / 3
"""The depth at which spaces are mapped onto each other: the layer nearest to it, beforehand."""

N_SPLITS = 5


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that can be compared: its folder, the name it goes by here, its record and tables."""

    path: Path
    name: str
    record: RunRecord
    tables: Mapping[str, pd.DataFrame]

    @property
    def n_layers(self) -> int:
        """The layers of its model."""
        depths = [one for one in self.tables.values() if one["depth"].notna().any()]
        row = depths[0][depths[0]["depth"].notna()].iloc[0]
        return round((float(row["layer"]) + 1) / float(row["depth"]))

    @property
    def texts(self) -> str:
        """The digest of its battery."""
        return str(self.record.provenance.get("battery", {}).get("sha256", ""))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found: rows of numbers, the verdict on each claim by run, and what is to be told."""

    runs: tuple[FinishedRun, ...]
    rows: TableRows
    verdicts: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = field(default=())


def compare_runs(
    paths: Sequence[Path], *, out: Path, maps: bool | None = None, seed: int = 0
) -> dict[str, Any]:
    """Compare finished runs and write OUT/comparison.html and OUT/comparison.csv; what was found.

    With `maps` the spaces of the runs are compared, too, by default where the runs read the same
    texts. Raises `UsageError` for fewer than two runs, or one named twice, `ArtefactError` for a
    folder that holds no run, or one that is not finished, `DataError` where `maps` are asked of
    runs of other texts.
    """
    if (out / "run.json").exists():
        raise UsageError(f"{out} holds a run: choose another --out for the comparison.")
    runs = read_runs(paths)
    found = compared(runs, maps=maps, seed=seed)
    folder = make_folder(out)
    write_table(table(found.rows), folder / "comparison.csv")
    page = write_comparison(
        folder,
        runs=[(one.name, one.record) for one in found.runs],
        rows=table(found.rows),
        verdicts=found.verdicts,
        notes=found.notes,
    )
    return {
        "runs": [{"name": one.name, "model": one.record.model} for one in runs],
        "notes": list(found.notes),
        "verdicts": list(found.verdicts),
        "rows": found.rows,
        "report": str(page),
    }


def read_runs(paths: Sequence[Path]) -> tuple[FinishedRun, ...]:
    """The runs in these folders. Raises as `compare_runs`."""
    if len(paths) < 2:
        raise UsageError(f"{len(paths)} run: a comparison needs two runs or more.")
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{path} is named twice: a run cannot be compared with itself.")
    short = [path.name for path in places]
    names = [one if short.count(one) == 1 else str(p) for one, p in zip(short, paths, strict=True)]
    return tuple(_finished(path, name) for path, name in zip(paths, names, strict=True))


def _finished(path: Path, name: str) -> FinishedRun:
    record, tables = read_run(path)
    if "capture" not in record.provenance.get("seconds", {}):
        raise ArtefactError(
            f"{path} is not finished: its texts were not all captured. Run the same command "
            "again; it goes on from there."
        )
    if not tables:
        raise ArtefactError(
            f"{path} is not finished: it has no table yet. Run a stage, such as `interp probe`."
        )
    return FinishedRun(path, name, record, tables)


def compared(runs: Sequence[FinishedRun], *, maps: bool | None = None, seed: int = 0) -> Comparison:
    """The comparison of runs that were read. Raises as `compare_runs`."""
    notes = list(_missing(runs))
    rows = [row for one in runs for row in _curves(one)]
    first, *others = runs
    for other in others:
        try:
            if maps is not False:
                rows += _spaces(first, other, seed=seed)
        except InterpError as error:
            if maps:
                raise
            notes.append(
                f"{first.name} and {other.name}: only curves and verdicts are compared. {error}"
            )
    return Comparison(tuple(runs), rows, tuple(_verdicts(runs)), tuple(notes))


def _missing(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """What some runs have and others lack."""
    every = dict.fromkeys(name for one in runs for name in one.tables)
    for name in every:
        lacking = [one.name for one in runs if name not in one.tables]
        if lacking:
            yield f"{', '.join(lacking)}: {name} was not run."
    if len({one.texts for one in runs}) > 1:
        yield (
            "These runs read different texts, so that their numbers are of different tasks: "
            "a higher curve may be an easier battery."
        )


def _curves(one: FinishedRun) -> TableRows:
    found = [
        row
        for curve in CURVES
        if curve.table in one.tables
        for row in curve_rows(one.tables[curve.table], curve)
    ]
    return [one.record.row(**{**row, "who": one.name}) for row in found]


def _verdicts(runs: Sequence[FinishedRun]) -> Iterator[dict[str, Any]]:
    """Each claim, with what each run says of it; only claims that some run makes."""
    told = {one.name: {f.name: f for f in findings(one.tables)} for one in runs}
    for claim in dict.fromkeys(name for found in told.values() for name in found):
        of = {name: found.get(claim) for name, found in told.items()}
        yield {
            "claim": claim,
            **{
                name: "not asked" if f is None else f"{f.verdict} {f.value}".rstrip()
                for name, f in of.items()
            },
        }


def _spaces(one: FinishedRun, other: FinishedRun, *, seed: int) -> TableRows:
    """How alike two runs' spaces are, and what maps from the first into the second carry."""
    battery = _same_battery(one, other)
    stores = [ActivationStore.open(run.path / "activations") for run in (one, other)]
    items = _shared(battery, stores)
    layers = [_layers(store, run) for store, run in zip(stores, (one, other), strict=True)]
    read = [
        {layer: _rows(store, layer, items) for layer in own}
        for store, own in zip(stores, layers, strict=True)
    ]
    pair = {"first": one.name, "second": other.name, "site": STREAM, "position": LAST}
    rows: TableRows = []
    with threadpool_limits(1):  # small matrices: a second thread waits more than it works
        for a in track(layers[0], f"{one.name} and {other.name}", unit="layer"):
            for b in layers[1]:
                value = {"value": cka(read[0][a], read[1][b]), "n": len(items)}
                place = {"layer": a, "other_layer": b, "method": "linear", **value}
                rows.append({**pair, **place, "metric": "cka"})
        at = [_nearest(own, run.n_layers) for own, run in zip(layers, (one, other), strict=True)]
        place = {**pair, "layer": at[0], "other_layer": at[1]}
        x, y = read[0][at[0]], read[1][at[1]]
        rows += [{**place, **row} for row in _mapped(x, y, items, seed=seed)]
    return [one.record.row(**row) for row in rows]


def _same_battery(one: FinishedRun, other: FinishedRun) -> Battery:
    """The texts that both runs read. Raises `DataError` where they are not the same."""
    if one.texts != other.texts:
        raise DataError(
            f"{one.name} read {one.record.battery!r} and {other.name} read "
            f"{other.record.battery!r}, which are not the same texts: their spaces cannot be "
            "mapped onto each other. Run both on one battery."
        )
    asked = str(one.record.config.get("stimuli", ""))
    battery = stimuli.load(asked)
    if battery.sha256 != one.texts:
        raise DataError(
            f"{asked} is not what {one.name} read (its digest is another one): put the battery "
            "back, or run both again."
        )
    return battery


def _shared(battery: Battery, stores: Sequence[ActivationStore]) -> list[Stimulus]:
    """The texts that both captured, emotional or their neutral twins; the first ones by content."""
    both = set(stores[0].items) & set(stores[1].items)
    known = [i for i in battery if i.id in both and (i.arm in EVOKING or i.arm == NEUTRAL)]
    return in_content_order(known)[:MOST_COMPARED]


def _layers(store: ActivationStore, run: FinishedRun) -> list[int]:
    own = sorted(site.layer for site in store.sites if site.name == STREAM)
    if not own or LAST not in store.positions:
        raise DataError(f"{run.name} did not capture {STREAM} at {LAST}: capture it first.")
    spaced = np.linspace(0, len(own) - 1, min(MOST_LAYERS, len(own))).round().astype(int)
    kept = {own[at] for at in spaced} | {_nearest(own, run.n_layers)}
    return sorted(kept)


def _nearest(layers: Sequence[int], n_layers: int) -> int:
    return min(layers, key=lambda layer: abs((layer + 1) / n_layers - COMPARED_AT))


def _rows(
    store: ActivationStore, layer: int, items: Sequence[Stimulus]
) -> Float[np.ndarray, "item d_model"]:
    return store.read(Site(STREAM, layer), LAST).select([item.id for item in items])


def _mapped(
    x: Float[np.ndarray, "item d_one"],
    y: Float[np.ndarray, "item d_other"],
    items: Sequence[Stimulus],
    *,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of maps from x to y: how much they tell of texts that they have not seen, fitted on all
    or on neutral texts alone, and what a probe of y reads through them.
    """
    groups = np.array([item.group for item in items])
    emotions = np.array([item.emotion for item in items])
    reception = np.where(emotions == NEUTRAL, NEUTRAL, "affective")
    folds = grouped_folds(reception, groups, n_splits=N_SPLITS, seed=seed)
    neutral = np.flatnonzero(emotions == NEUTRAL)
    for fitted_on, own in (("all texts", folds), ("neutral", only_trained_on(folds, neutral))):
        for name, fit in MAPS.items():
            carried = held_out(x, y, folds=own, fit=fit)
            share, _ = explained_by_map(carried, y, groups, folds=own)
            told = {"metric": "map_r2", "method": name, "fitted_on": fitted_on}
            yield {**told, **share._asdict()}
    for row in carried_rows(x, y, reception, groups, folds=folds):
        yield {**row, "task": "reception", "fitted_on": "all texts"}
    kept = np.flatnonzero(emotions != NEUTRAL)
    if len(set(emotions[kept].tolist())) > 1:
        deal = grouped_folds(emotions[kept], groups[kept], n_splits=N_SPLITS, seed=seed)
        for row in carried_rows(x[kept], y[kept], emotions[kept], groups[kept], folds=deal):
            yield {**row, "task": "categorisation", "fitted_on": "all texts"}
