"""What a run found, in plain words: headline numbers beside their baselines and controls.

Every sentence is chosen by a verdict (`decisions`) and says no more than that. A number stands here
only with its interval (or the statement that it has none), its n and its comparison. Where a
condition is invalid (nothing measured, continuations that nobody can read) no number is given, and
the reason is. Each stage is one claim, or one for each of its questions, over all emotions: nothing
was picked for it on the data that it is told of.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from interp.errors import DataError
from interp.reporting import said_of_causes, said_of_representation, said_of_steering
from interp.reporting.decisions import Verdict
from interp.reporting.finding import Finding

__all__ = ["Finding", "findings"]

_TELL: dict[str, Callable[[pd.DataFrame], list[Finding]]] = {
    "probes": said_of_representation.probes,
    "directions": said_of_representation.directions,
    "patching": said_of_causes.patching,
    "contributions": said_of_causes.contributions,
    "ablation": said_of_causes.ablation,
    "steering": said_of_steering.steering,
}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """The headlines of all stages in `tables`; a stage whose table holds nothing measured says so instead of a number."""
    found: list[Finding] = []
    for stage, tell in _TELL.items():
        if stage not in tables:
            continue
        try:
            found += tell(tables[stage])
        except DataError as error:
            sentence = f"No number can be given: {error}"
            found.append(Finding(stage=stage, what=stage, verdict=Verdict.CANNOT_SAY, sentence=sentence))
    return found
