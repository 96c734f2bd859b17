"""The stages in their order: run what is missing, record what could not be answered, draw, report."""

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pandas as pd

from interp.capture.estimate import estimate as plan_in_numbers
from interp.errors import ArtefactError, InterpError, StatisticsError, UsageError
from interp.files import make_folder
from interp.models import outline
from interp.reporting.figures import draw_all
from interp.reporting.findings import findings
from interp.reporting.report import write_report
from interp.results import read_record, read_table, table, write_table
from interp.study import causes, representation
from interp.study.conditions import ASKED_BY_WORDS, conditions
from interp.study.folder import Study, refuse_other_config
from interp.study.settings import Settings

Stage = Callable[[Study], list[dict[str, Any]]]

STAGES: dict[str, Stage] = {
    "capture": representation.capture,
    "probes": representation.probes,
    "directions": representation.directions,
    "cosines": representation.cosines,
    "patching": causes.patching,
    "contributions": causes.contributions,
    "ablation": causes.ablation,
    "steering": causes.steering,
}
"""The stages of `interp run`, in order; each gives the rows of its table (capture gives none, its result is the store)."""


def run(settings: Settings, *, stages: Sequence[str] | None = None) -> dict[str, Any]:
    """Run `stages` (all by default) of a study and write its tables, figures and report; what is there already is kept.

    In a whole run, a stage that this battery cannot answer (one class only, no words for an emotion) is recorded as a warning
    and left out; asked for by name, it raises, as does a model that cannot be loaded, or a capture, which every stage needs.
    Returns the folder, the findings, the warnings and the report's path.
    """
    study = Study(settings)
    try:
        for name in _open_stages(study, STAGES if stages is None else stages, asked=stages is not None):
            _run_or_leave_out(study, name, asked=stages is not None)
    except InterpError:
        study.take_back()
        raise
    path = report(study.out) if stages is None else None
    return {
        "out": str(study.out),
        "report": None if path is None else str(path),
        "warnings": list(study.record.warnings),
        "findings": [asdict(finding) for finding in findings(_tables(study.out))],
    }


def report(out: Path) -> Path:
    """Draw every figure of the run in `out` again and write its report; raises `ArtefactError` where there is no run."""
    if not (out / "run.json").is_file():
        raise ArtefactError(f"{out} holds no run: there is no run.json. Name the folder that `interp run --out` was given.")
    read_record(out / "run.json")
    draw_all(_tables(out), make_folder(out / "figures"))
    return write_report(out)


def estimate(settings: Settings, *, teraflops: float | None = None) -> list[dict[str, Any]]:
    """What a run would do: the battery, the stages still to run, and the whole capture in numbers, what is there already or
    comes from `reuse` counted too. No weights are read or fetched. Raises `ArtefactError` where the run would be refused.
    """
    battery = settings.read_battery()
    refuse_other_config(settings, battery)
    asked = conditions(battery, folds=settings.folds, model=settings.model)
    closed = asked.forbidden(STAGES, asked=False)
    model = outline(settings.model, dtype=settings.dtype, offline=settings.offline, chat_template=settings.chat_template)
    sites, positions = settings.sites_of(model), settings.positions_of(model)
    captured = plan_in_numbers(
        model, battery, sites=sites, positions=positions, teraflops=teraflops, **settings.capture_options
    )
    told = {
        "items": len(battery),
        "pairs": len(battery.pairs()),
        "emotions": ", ".join(battery.emotions),
        **captured,
        "bytes free": disk_usage(_existing(settings.out)).free,
        "stages to run": ", ".join(name for name in STAGES if name not in {*closed, *_done(settings.out)}),
        **{f"not asked: {question}": reason for question, reason in {**closed, **asked.partly()}.items()},
    }
    return [{"what": what, "value": value} for what, value in told.items()]


def _existing(path: Path) -> Path:
    """The folder nearest above `path` that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())


def _done(out: Path) -> set[str]:
    """The stages whose result is in `out`: their tables, and of capture, which has none, the word that it was done once."""
    if not (out / "run.json").is_file():
        return set()
    captured = {"capture"} & read_record(out / "run.json").provenance.get("seconds", {}).keys()
    return captured | {name for name in STAGES if (out / "tables" / f"{name}.csv").exists()}


def _open_stages(study: Study, names: Iterable[str], *, asked: bool) -> list[str]:
    """The stages that the battery allows; what it forbids is told now, before the model is loaded."""
    closed = study.conditions.forbidden(names, asked=asked)
    for reason in dict.fromkeys(closed.values()):
        left_out = [name for name in names if closed.get(name) == reason]
        _warn(study, f"{', '.join(left_out)} {'was' if len(left_out) == 1 else 'were'} not run: {reason}")
    if not set(names).isdisjoint(ASKED_BY_WORDS):
        for doubt in study.conditions.doubts:
            print(f"interp: {doubt}", file=sys.stderr)
            _keep(study, doubt)
    if "probes" in names:  # the stage itself warns of it
        for question, reason in study.conditions.partly().items():
            print(f"interp: {question} will not be asked: {reason}", file=sys.stderr)
    return [name for name in names if name not in closed]


def _run_or_leave_out(study: Study, name: str, *, asked: bool) -> None:
    """Run a stage that is not done; capture asked for by name looks at what is there again. What cannot be answered in a whole
    run is warned of and left out.
    """
    try:
        if name not in _done(study.out) or (asked and name == "capture"):
            _run_stage(study, name)
    except (StatisticsError, UsageError) as error:
        if asked or name == "capture" or not study.loaded:
            raise
        _warn(study, f"{name} was not run: {error}")


def _run_stage(study: Study, name: str) -> None:
    start = time.monotonic()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = STAGES[name](study)
    finally:  # what was warned of may be why the stage failed
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            _warn(study, f"{name}: {message}")
    if rows:
        depth = {"depth": lambda frame: (frame["layer"] + 1) / study.model.dims.n_layers}
        frame = table(study.record.row(**row) for row in rows).assign(**depth)
        write_table(frame, study.tables / f"{name}.csv")
    seconds = {**study.record.provenance.get("seconds", {}), name: round(time.monotonic() - start, 2)}
    study.update(provenance={**study.record.provenance, "seconds": seconds})


def _warn(study: Study, message: str) -> None:
    if _keep(study, message):
        warnings.warn(message, stacklevel=3)


def _keep(study: Study, message: str) -> bool:
    """Put a warning into the record; whether it was not there yet."""
    if message in study.record.warnings:
        return False
    study.update(warnings=(*study.record.warnings, message))
    return True


def _tables(out: Path) -> dict[str, pd.DataFrame]:
    return {name: read_table(path) for name in STAGES if (path := out / "tables" / f"{name}.csv").exists()}
