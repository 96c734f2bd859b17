"""The stages in their order: run what is missing, record what could not be answered, draw,
report.
"""

import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from interp.capture.workers.signals import ended_by_signals
from interp.errors import ArtefactError, DataError, InterpError, StatisticsError, UsageError
from interp.files import make_folder, sha256_bytes, write_atomic
from interp.memory import give_freed_memory_back
from interp.records import read_record
from interp.reporting.answer import sum_up
from interp.reporting.before_after import BeforeAfter, before_and_after
from interp.reporting.figures import draw_all
from interp.reporting.findings import cautions, findings
from interp.reporting.marks import registered_in
from interp.reporting.registered import summed
from interp.reporting.report import write_report
from interp.reporting.sections import SECTIONS
from interp.results import read_tables, table, table_bytes, table_path, undigested
from interp.stages import STAGES as ORDER
from interp.stages import TABLES
from interp.study.conditions import ASKED_BY_WORDS
from interp.study.folder import Study
from interp.study.locks import FolderLocks
from interp.study.measure import StageFunction
from interp.study.registration import Registration, registration_of
from interp.study.settings import Settings


def _function(name: str) -> StageFunction:
    """The function `module.function` of this room."""
    module, _, function = name.partition(".")
    found: StageFunction = getattr(import_module(f"interp.study.{module}"), function)
    return found


STAGE_FUNCTIONS: dict[str, StageFunction] = {
    stage.name: _function(stage.function) for stage in ORDER
}
"""The stages of `interp run`, in order; each gives the rows of its table (capture gives none, its
result is the store).
"""


def run(
    settings: Settings,
    *,
    stages: Sequence[str] | None = None,
    registration: Registration | None = None,
) -> dict[str, Any]:
    """Run `stages` (by default those of `stages_of`) of a study and write its tables, figures and
    report; what is there already is kept.

    In a whole run, a stage that this battery cannot answer (one class only, no words for an
    emotion) is recorded as a warning and left out; asked for by name, it raises, as does a model
    that cannot be loaded, or a capture, which every stage needs. Returns the folder, the answer,
    the findings, the warnings, the cautions that the numbers give, some steered texts beside the
    unsteered ones, what became of the claims that were registered, and the report's path.

    A `registration` is what was claimed beforehand: other settings, texts or weights are refused
    with `ArtefactError`, as is a folder whose run was begun without it.
    """
    study = Study(settings, registration)
    try:
        with ended_by_signals(lambda: _how_to_resume(study)):
            _tables(study.out)  # one that was changed is told before the work
            open_stages = _open_stages(
                study, stages_of(settings) if stages is None else stages, asked=stages is not None
            )
            for number, name in enumerate(open_stages, start=1):
                if len(open_stages) > 1 and name not in done_stages(study.out):
                    print(f"stage {number} of {len(open_stages)}: {name}", file=sys.stderr)
                _run_or_leave_out(study, name, asked=stages is not None)
            tables, registered = _tables(study.out), registered_in(study.record)
            found = findings(tables, () if registered is None else registered.marks)
            told = cautions(tables)
            answered = sum_up(found, model=settings.model)
            texts = _steered_texts(tables)
            study.judge([finding.record() for finding in found], answered.record())
            give_freed_memory_back()  # by the last stage: figures need some themselves
            path = report(study.out) if stages is None else None
    except InterpError:
        study.take_back()
        raise
    finally:
        study.leave()
    return {
        "out": str(study.out),
        "report": None if path is None else str(path),
        "answer": answered.record(),
        "warnings": list(study.record.warnings),
        "cautions": [caution._asdict() for caution in told],
        "registration": None if registered is None else summed(registered, found),
        "findings": [asdict(finding) for finding in found],
        "texts": [one._asdict() for one in texts],
    }


def stages_of(settings: Settings) -> tuple[str, ...]:
    """The stages of a whole run: all that its preset does not leave out."""
    return tuple(name for name in STAGE_FUNCTIONS if name not in settings.limits.without)


def report(out: Path) -> Path:
    """Draw every figure of the run in `out` again and write its report; raises `ArtefactError`
    where there is no run.
    """
    if not (out / "run.json").is_file():
        raise ArtefactError(
            f"{out} holds no run: there is no run.json. Name the folder that `interp run --out` "
            "was given."
        )
    registration_of(read_record(out / "run.json"), out)  # one that was changed is told
    locks = FolderLocks(out)
    try:
        if names := undigested(out, TABLES):
            warnings.warn(
                f"{out}: run.json has no digest of the tables {', '.join(names)} (an older "
                "interp wrote none), so nobody can say whether they were changed: delete them "
                "and run the same command again to be sure.",
                stacklevel=2,
            )
        draw_all(_tables(out), make_folder(out / "figures"))
        return write_report(out)
    finally:
        locks.leave()


def done_stages(out: Path) -> set[str]:
    """The stages whose result is in `out`: their tables, with those beside them that the record
    knows; and of capture, which has none, the word that it was done once.
    """
    if not (out / "run.json").is_file():
        return set()
    known = read_record(out / "run.json").provenance
    captured = {"capture"} & known.get("seconds", {}).keys()
    return captured | {
        stage.name
        for stage in ORDER
        if table_path(out, stage.name).exists()
        and all(
            table_path(out, name).exists()
            for name in stage.beside
            if name in known.get("tables", {})
        )
    }


def _how_to_resume(study: Study) -> str:
    done = [name for name in STAGE_FUNCTIONS if name in done_stages(study.out)]
    kept = f"{', '.join(done)} are in {study.out}" if done else f"nothing is in {study.out} yet"
    return f"{kept}; the same command goes on from there."


def _open_stages(study: Study, names: Iterable[str], *, asked: bool) -> list[str]:
    """The stages that the battery allows; what it forbids is told now, before the model is
    loaded.
    """
    closed, told = study.conditions.forbidden(names, asked=asked), []
    for reason in dict.fromkeys(closed.values()):
        shut = [name for name in names if closed.get(name) == reason]
        told.append(f"{', '.join(shut)} {'was' if len(shut) == 1 else 'were'} not run: {reason}")
    doubts = () if set(names).isdisjoint(ASKED_BY_WORDS) else study.conditions.doubts
    for doubt in doubts:
        print(f"interp: {doubt}", file=sys.stderr)
    if "probes" in names:  # the stage itself warns of it
        for question, reason in study.conditions.partly().items():
            print(f"interp: {question} will not be asked: {reason}", file=sys.stderr)
    new = [message for message in told if message not in study.record.warnings]
    study.keep(warnings=(*told, *doubts))
    for message in new:
        warnings.warn(message, stacklevel=3)
    return [name for name in names if name not in closed]


def _run_or_leave_out(study: Study, name: str, *, asked: bool) -> None:
    """Run a stage that is not done; capture asked for by name looks at what is there again. What
    cannot be answered in a whole run is warned of and left out.

    Nothing is kept of a stage that is refused: the record stays as it is. What was warned of before
    texts or statistics failed is kept: it may be why.
    """
    if name in done_stages(study.out) and not (asked and name == "capture"):
        return
    start = time.monotonic()
    study.inputs.check()
    # The capture has a lock of its own, which its workers share.
    with (
        nullcontext() if name == "capture" else study.locks.stage(name),
        _told(study, name) as told,
    ):
        if name != "capture" and name in done_stages(study.out):
            return  # another command was quicker
        study.forget_read()
        give_freed_memory_back()  # by the stage before
        try:
            rows = STAGE_FUNCTIONS[name](study)
            study.inputs.check()  # weights may be read from their file while they are at work
        except (StatisticsError, UsageError, DataError) as error:
            needed = asked or name == "capture" or not study.loaded
            if needed or isinstance(error, DataError):
                if not isinstance(error, UsageError):
                    study.keep(warnings=told)
                raise
            told.append(f"{name} was not run: {error}")
            study.keep(warnings=told)
            return
        seconds = {name: round(time.monotonic() - start, 2)}
        _write(study, name, rows, warnings=told, seconds=seconds, **study.asked)


def _write(study: Study, name: str, rows: list[dict[str, Any]], **kept: Any) -> None:
    """Write a stage's table, behind those beside it, once the record knows their digests and what
    else is `kept` of it.
    """
    data = {}
    for table_name, found in (*study.beside.items(), (name, rows)):
        if found:
            told = (study.record.row(**row) for row in found)
            data[table_name] = table_bytes(table(told, n_layers=study.model.dims.n_layers))
    study.beside.clear()
    study.keep(tables={one: sha256_bytes(content) for one, content in data.items()}, **kept)
    make_folder(study.tables)  # somebody may have taken it away meanwhile
    for table_name, content in data.items():
        write_atomic(table_path(study.out, table_name), content)


@contextmanager
def _told(study: Study, name: str) -> Iterator[list[str]]:
    """What is warned of meanwhile, in order and each once, and what is appended; when the block
    ends, however it ends, what the record did not hold before is told.
    """
    known = set(study.record.warnings)
    told = _Told(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = told.note  # type: ignore[assignment]
            yield told
    finally:
        for message in told:
            if message not in known:
                warnings.warn(message, stacklevel=4)


class _Told(list[str]):
    """Messages, each once."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def note(self, message: Warning | str, *_: Any) -> None:
        """Keep a warning; this takes the place of `warnings.showwarning`."""
        text = f"{self._stage}: {message}"
        if text not in self:
            self.append(text)


def _steered_texts(tables: Mapping[str, pd.DataFrame]) -> list[BeforeAfter]:
    """Some of the texts that the stages of a study left, before and after steering."""
    return [
        one
        for section in SECTIONS
        if section.texts in tables
        for one in before_and_after(tables[section.texts])
    ]


def _tables(out: Path) -> dict[str, pd.DataFrame]:
    return read_tables(out, TABLES)
