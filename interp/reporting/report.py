"""One self-contained HTML page out of a results folder: the answer first, then what must be read
with it, the findings, the stages, and the provenance.

The page holds its figures and style and runs nothing: no script, no request, and a content policy
that forbids both. Every string of the run is shown as text, with invisible characters as code
points.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from interp.errors import ArtefactError, UsageError
from interp.files import write_atomic
from interp.records import RunRecord, read_record
from interp.reporting.answer import Answer, sum_up
from interp.reporting.before_after import before_and_after
from interp.reporting.decisions import Verdict
from interp.reporting.figures import FIGURES, FILE_KINDS, draw_all
from interp.reporting.finding import Caution, Finding
from interp.reporting.findings import cautions, findings, warned
from interp.reporting.form import HOUSE, Form
from interp.reporting.formatting import visible
from interp.reporting.glossary import GLOSSARY
from interp.reporting.marks import Registered, registered_in
from interp.reporting.pictures import Picture, read_pictures
from interp.reporting.printed_rows import pick_rows
from interp.reporting.registered import counted_outcomes, told_outcomes
from interp.reporting.resources import resource
from interp.reporting.section import Section
from interp.reporting.sections import SECTIONS
from interp.reporting.trial_figures import TRIAL_FIGURES, figures_of
from interp.reporting.twins import marked
from interp.results import read_tables

NUMBERS_BESIDE = 3
"""How much a number is held against at first sight; the rest is folded."""

FOREMOST = 3
"""How many cautions of stages stand beside the answer; the rest stand beside their stages."""

_LONGEST = 400
_SHORT = 300
"""Characters of a stage's cautions up to which they are shown unfolded."""

_MARKS = {
    Verdict.FOUND: ("✓", "found"),
    Verdict.NOT_FOUND: ("–", ""),
    Verdict.NOT_TOLD_APART: ("≈", "doubtful"),
    Verdict.INVERTED: ("↓", "doubtful"),
    Verdict.CANNOT_SAY: ("?", ""),
}
"""Of each verdict its sign and its style."""


@dataclass(frozen=True, slots=True)
class Row:
    """A finding as a row of the summary: the sign and the style of its verdict, and how many
    cautions speak of it.
    """

    finding: Finding
    mark: str
    look: str
    cautions: int


def write_report(run_dir: Path) -> Path:
    """Read run.json, tables/*.csv and figures/*.svg of a results folder and write its report.html;
    the path written.

    A stage without a table is told to be not run. The same folder gives the same bytes.
    Raises `ArtefactError` when the folder holds no run record, or a file in it cannot be trusted.
    """
    record, tables = read_run(run_dir)
    page = render(record, tables, pictures=read_pictures(run_dir / "figures"))
    path = run_dir / "report.html"
    write_atomic(path, page.encode("utf-8"))
    return path


def read_run(run_dir: Path) -> tuple[RunRecord, dict[str, pd.DataFrame]]:
    """The record of a run, and those of its tables that the report shows.

    Raises `ArtefactError` when the folder holds no run record, or a table was changed since.
    """
    record_file = run_dir / "run.json"
    if not record_file.is_file():
        raise ArtefactError(
            f"{run_dir} is no results folder: it has no run.json. Give the --out of an `interp "
            "run`."
        )
    names = dict.fromkeys(name for section in SECTIONS for name in section.tables)
    return read_record(record_file), read_tables(run_dir, names)


def redraw(
    run_dir: Path, out: Path | None = None, *, form: Form = HOUSE, kinds: Sequence[str] = FILE_KINDS
) -> list[Path]:
    """Draw the figures of a finished run, or of the folder of a command beside it (as `interp
    framings`), again from its tables; the files written.

    They go into `out`: by default the run's `figures`, or `paper` where the form is not that of the
    report, which keeps its own. No model is loaded. Raises `ArtefactError` as `read_run`,
    `UsageError` where the run has no table yet.
    """
    _, tables = read_run(run_dir)
    figures = FIGURES
    if not tables:
        tables = read_tables(run_dir, {one.table for one in TRIAL_FIGURES.values()})
        figures = figures_of(tables)
    if not tables:
        raise UsageError(f"{run_dir} has no table yet: run a stage first, then draw its figures.")
    usual = run_dir / ("figures" if form == HOUSE else "paper")
    return draw_all(tables, usual if out is None else out, figures=figures, form=form, kinds=kinds)


def render(
    record: RunRecord, tables: Mapping[str, pd.DataFrame], *, pictures: Mapping[str, Picture]
) -> str:
    """The report as HTML text."""
    registered = registered_in(record)
    found = findings(tables, () if registered is None else registered.marks)
    doubts = [*cautions(tables), *warned(record.warnings, found)]
    told = sum_up(found, model=record.model)
    first = foremost(told, doubts)
    return _template().render(
        record=record,
        style=Markup(resource("report.css")),
        answer=told,
        foremost=first,
        folded=sum(bool(doubt.stage) for doubt in doubts) - len(first),
        whole_run=[doubt for doubt in doubts if not doubt.stage],
        missing=[section for section in SECTIONS if section.name not in tables],
        preset=record.provenance.get("preset", {"name": "", "left_out": []}),
        rows=summary_rows(found, doubts),
        registered=_registered(registered, found),
        twins=_twins(record),
        asked=_asked(record),
        sections=[
            _section(section, tables, pictures=pictures, doubts=doubts) for section in SECTIONS
        ],
        glossary=GLOSSARY,
        beside=NUMBERS_BESIDE,
        provenance=list(_flat(_provenance(record))),
    )


def foremost(told: Answer, doubts: Sequence[Caution]) -> list[Caution]:
    """The cautions that stand beside the answer: of each stage that a badge rests upon the first,
    one about the part that it rests upon before others.
    """
    found: dict[str, Caution] = {}
    for badge in told.badges:
        parts = {one.about for one in badge.decided}
        mine = [doubt for doubt in doubts if doubt.stage == badge.stage]
        mine.sort(key=lambda doubt: doubt.about not in parts)
        if mine:
            found.setdefault(badge.stage, mine[0])
    return list(found.values())[:FOREMOST]


def summary_rows(found: Sequence[Finding], doubts: Sequence[Caution]) -> list[Row]:
    """The findings as rows. A caution is counted at the first row that is about its part; one of a
    whole stage at the stage's first row.
    """
    at: Counter[int] = Counter()
    for doubt in doubts:
        mine = [place for place, one in enumerate(found) if one.stage == doubt.stage]
        exact = [place for place in mine if doubt.about and found[place].about == doubt.about]
        at.update([*exact, *mine][:1])
    return [Row(one, *_MARKS[one.verdict], at[place]) for place, one in enumerate(found)]


def _section(
    section: Section,
    tables: Mapping[str, pd.DataFrame],
    *,
    pictures: Mapping[str, Picture],
    doubts: Sequence[Caution],
) -> dict[str, Any]:
    """What the page shows of a stage."""
    mine = [doubt for doubt in doubts if doubt.stage == section.name]
    ran = section.name in tables
    return {
        "stage": section,
        "ran": ran,
        "cautions": mine,
        "short": sum(len(doubt.text) for doubt in mine) <= _SHORT,
        "pictures": [pictures[one.name] for one in section.figures if one.name in pictures],
        "rows": pick_rows(tables[section.name], section) if ran else None,
        "texts": before_and_after(tables[section.texts]) if section.texts in tables else [],
    }


def _registered(known: Registered | None, found: Sequence[Finding]) -> dict[str, str] | None:
    """When the study was registered, as what, and what became of its claims; None where it was
    not.
    """
    if known is None:
        return None
    told = told_outcomes(counted_outcomes(found))
    return {"time": known.time, "sha256": known.sha256, "told": told}


def _twins(record: RunRecord) -> list[dict[str, Any]]:
    """The record's example pairs with the edit marked; none in a run of an older interp."""
    found = []
    for pair in record.provenance.get("examples", []):
        affective, neutral = marked(pair["affective"], pair["neutral"])
        found.append({"emotion": pair["emotion"], "affective": affective, "neutral": neutral})
    return found


def _provenance(record: RunRecord) -> dict[str, Any]:
    """The record without what the page shows elsewhere."""
    known = asdict(record)
    for name in ("verdict", "answer", "warnings"):
        del known[name]
    known["provenance"] = {
        name: value
        for name, value in record.provenance.items()
        if name not in ("examples", "aside")
    }
    return known


def _asked(record: RunRecord) -> dict[str, Any]:
    """The readout of the run: its suffix, and of each emotion its words, each with its tokens where
    it has several.
    """
    readout = record.provenance.get("readout", {"suffix": "", "words": {}})
    told = {
        emotion: ", ".join(
            f"{word} ({tokens})" if " " in str(tokens) else str(tokens)
            for word, tokens in words.items()
        )
        for emotion, words in readout["words"].items()
    }
    return {"suffix": readout["suffix"], "words_of": list(told.items())}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings as (dotted path, text); long ones are cut, and run.json has
    them whole.
    """
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
        return
    text = str(value)
    yield (
        path,
        text
        if len(text) <= _LONGEST
        else f"{text[:_LONGEST]}… ({len(text)} characters; whole in run.json)",
    )


def _template() -> Any:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["told"] = _told
    return environment.from_string(resource("report.html.j2"))


def _told(caution: Caution) -> str:
    """A caution as text, with the part of the stage that it speaks of."""
    return f"{caution.about}: {caution.text}" if caution.about else caution.text


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
