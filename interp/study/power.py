"""Whether there is something to show: what a model makes of a battery's doses, and how many pairs a
causal stage needs to see half of it. Known in minutes, before hours of patching.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.analysis.power import SIZES, WANTED, power, scenario_means, scenarios_needed
from interp.causal.effects import total_effects
from interp.causal.pooled import ALL
from interp.causal.readout import Readout
from interp.chance import LEAST_P, sign_flip
from interp.evaluation.readouts import readout_for
from interp.models import LanguageModel
from interp.results import TableRows
from interp.stats import group_sums, mean_interval
from stimuli.battery import Battery, Pair


def power_rows(model: LanguageModel, battery: Battery, *, seed: int = 0) -> TableRows:
    """Rows per dose and emotion, and for all emotions together: `value` is the mean total effect in
    nats, with its interval over scenarios, `share` that of pairs in the expected direction, `p` of
    the sign flips of scenarios, `needed` the scenarios with which 80 % of studies see half of it
    (0: none of those tried, up to 1,024).

    Emotions without words in the vocabulary are left out with a warning. Raises `UsageError` where
    none is left.
    """
    readout = readout_for(model, battery.emotions)
    known = set(readout.bind(model).emotions)
    rows: TableRows = []
    for dose, pairs in battery.doses().items():
        asked = [pair for pair in pairs if pair.affective.emotion in known]
        rows += [
            {"dose": dose, **row} for row in total_effect_rows(model, asked, readout, seed=seed)
        ]
    return rows


def total_effect_rows(
    model: LanguageModel, pairs: Sequence[Pair], readout: Readout, *, seed: int = 0
) -> TableRows:
    """The rows of `power_rows` for the twins of one dose."""
    effects, contrasts = total_effects(model, pairs, readout)
    told = np.array([pair.affective.emotion for pair in pairs])
    groups = np.array([pair.affective.group for pair in pairs])
    rows = []
    for emotion in [*dict.fromkeys(told.tolist()), ALL]:
        mine = (told == emotion) | (emotion == ALL)
        own = {"emotion": emotion, "share": float((effects[mine] > 0).mean())}
        for metric, values in (("total_effect", effects[mine]), ("contrast", contrasts[mine])):
            means = scenario_means(values, groups[mine])
            few = len(means) < SIZES[0]
            needed = None if few else scenarios_needed(means, seed=seed)
            found = mean_interval(values, groups[mine])._asdict()
            p = sign_flip(group_sums(values, groups[mine]), side="above")
            rows.append({**own, "metric": metric, **found, "p": p, "needed": needed or 0})
    return rows


def told(rows: TableRows) -> list[str]:
    """What the rows come to, per dose: where the model shows the emotion, and what stages can
    ask.
    """
    lines = []
    for dose in dict.fromkeys(row["dose"] for row in rows):
        mine = [row for row in rows if row["dose"] == dose and row["metric"] == "total_effect"]
        (pooled,) = [row for row in mine if row["emotion"] == ALL]
        single = [row for row in mine if row["emotion"] != ALL]
        surely = [row["emotion"] for row in single if row["ci_low"] > 0]
        needed = (
            f"{pooled['needed']} scenarios"
            if pooled["needed"]
            else f"more than {SIZES[-1]:,} scenarios"
        )
        half = f"To see half of it, a stage needs {needed} of all emotions together."
        if pooled["value"] <= 0:
            half = "It is not above zero: there is no half of it to see."
        lines.append(
            f"{dose}: {pooled['value']:+.2f} nats [{pooled['ci_low']:.2f}, "
            f"{pooled['ci_high']:.2f}] over {pooled['n']} pairs, {100 * pooled['share']:.0f} % "
            f"in the expected direction; the interval lies above zero for {len(surely)} of "
            f"{len(single)} emotions, each by itself ({', '.join(surely) or 'none'}). {half}"
        )
    return lines


def doubt(
    effects: Float[np.ndarray, " pair"], pairs: Sequence[Pair], *, seed: int = 0
) -> str | None:
    """A sentence where these pairs are too few to see half of what the model shows, or it shows
    nothing to be explained; None where they suffice. `effects` are the total effects of the pairs
    on the contrast (nats), which patching restores.
    """
    means = scenario_means(effects, [pair.affective.group for pair in pairs])
    if len(means) < SIZES[0]:
        return None  # patching says itself that there are too few
    sums = group_sums(effects, [pair.affective.group for pair in pairs])
    p = sign_flip(sums, side="above")
    if p > LEAST_P:
        return (
            f"the model does not surely tell these {len(pairs)} twins apart by its words "
            f"({means.mean():+.3f} nats, p = {p:.3f}): there is little that patching could restore."
        )
    chance = power(means, len(means), seed=seed)
    if chance >= WANTED:
        return None
    needed = scenarios_needed(means, seed=seed)
    return (
        f"with {len(means)} scenarios, an effect of half the measured size ({means.mean():+.3f} "
        f"nats) would be seen in {100 * chance:.0f} % of studies: what is not found here may be "
        f"there. {needed or 'More than 1,024'} scenarios would do."
    )
