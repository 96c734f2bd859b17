"""What a run found, in plain words: headline numbers beside their baselines and controls.

Every sentence is chosen by a verdict (`decisions`) and says no more than that. A number stands here
only with its interval (or the statement that it has none), its n and its comparison. Where a
condition is invalid (nothing measured, continuations that nobody can read) no number is given, and
the reason is. Each stage is one claim, or one for each of its questions, over all emotions: nothing
was picked for it on the data that it is told of.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from interp.errors import DataError
from interp.reporting.decisions import Verdict
from interp.reporting.finding import Caution, Finding
from interp.reporting.marks import PassMark
from interp.reporting.multiplicity import corrected
from interp.reporting.registered import held_to
from interp.reporting.sections import SECTIONS
from interp.stages import STAGES

__all__ = ["Finding", "cautions", "findings", "warned"]


def findings(tables: Mapping[str, pd.DataFrame], marks: Sequence[PassMark] = ()) -> list[Finding]:
    """The headlines of all stages in `tables`, sure beside each other; a stage whose table holds
    nothing measured says so instead of a number. What was registered before the run, with `marks`,
    is corrected first and held to them.
    """
    found: list[Finding] = []
    for section in SECTIONS:
        if section.name not in tables:
            continue
        try:
            found += section.findings(tables[section.name])
        except DataError as error:
            sentence = f"No number can be given: {error}"
            nothing = Finding(
                stage=section.name, what=section.name, verdict=Verdict.CANNOT_SAY, sentence=sentence
            )
            found.append(nothing)
    return held_to(corrected(found, {mark.claim for mark in marks}), marks)


def cautions(tables: Mapping[str, pd.DataFrame]) -> list[Caution]:
    """Warnings that no stage could give alone: a baseline as good as the probe, unreadable
    steering, too few pairs, ...
    """
    found: list[Caution] = []
    of_stage = {section.name: section.cautions for section in SECTIONS}
    shown_in = {name: section.name for section in SECTIONS for name in section.tables}
    for stage, table in tables.items():
        if stage in of_stage:
            found += of_stage[stage](table[table["value"].notna()])
        unmeasured = int(table["value"].isna().sum())
        if unmeasured:
            text = (
                f"{unmeasured} of {len(table)} rows of the table {stage} were not measured; "
                "figures and headlines leave them out."
            )
            found.append(Caution(shown_in.get(stage, ""), text))
    return found


def warned(warnings: Iterable[str], found: Sequence[Finding]) -> list[Caution]:
    """A record's warnings as cautions of the stage that each begins with, `stage: text`, and of the
    part of it (reception: ...) that a finding is about; others are of the whole run.

    A warning of the capture is of the whole run: every stage reads it.
    """
    parts = {(finding.stage, finding.about) for finding in found}
    shown_in = {name: section.name for section in SECTIONS for name in section.tables}
    names = {stage.name for stage in STAGES}
    told = []
    for warning in warnings:
        stage, _, text = warning.partition(": ")
        if stage not in names or not text:
            told.append(Caution("", warning))
            continue
        home = shown_in.get(stage, "")
        about, _, rest = text.partition(": ")
        known = rest and (home, about) in parts
        told.append(Caution(home, rest, about) if known else Caution(home, text))
    return told
