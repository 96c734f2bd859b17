"""What a run found, in plain words: headline numbers beside their baselines and controls.

Every sentence is chosen by a verdict (`decisions`) and says no more than that. A number stands here
only with its interval (or the statement that it has none), its n and its comparison. Where a
condition is invalid (nothing measured, continuations that nobody can read) no number is given, and
the reason is. Each stage is one claim, or one for each of its questions, over all emotions: nothing
was picked for it on the data that it is told of.
"""

from collections.abc import Mapping

import pandas as pd

from interp.errors import DataError
from interp.reporting.decisions import Verdict
from interp.reporting.finding import Finding
from interp.reporting.sections import SECTIONS

__all__ = ["Finding", "cautions", "findings"]


def findings(tables: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """The headlines of all stages in `tables`; a stage whose table holds nothing measured says so
    instead of a number.
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
    return found


def cautions(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Warnings that no stage could give alone: a baseline as good as the probe, unreadable
    steering, too few pairs, ...
    """
    found: list[str] = []
    of_stage = {section.name: section.cautions for section in SECTIONS}
    for stage, table in tables.items():
        unmeasured = int(table["value"].isna().sum())
        if unmeasured:
            found.append(
                f"{stage}: {unmeasured} of {len(table)} rows were not measured; figures and "
                "headlines leave them out."
            )
        if stage in of_stage:
            found += of_stage[stage](table[table["value"].notna()])
    return found
