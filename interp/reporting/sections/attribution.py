"""Attribution: what may be said of the parts that the gradient points at, and of its error."""

from collections.abc import Iterator

import pandas as pd

from interp.reporting.attributions import COMPONENTS, estimate_against_exact, head_effects
from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import Caution, Compared, Finding, claim, number_of, p_of, rivals_of
from interp.reporting.formatting import number, p_value
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    beside,
    groups,
    holds,
    measured,
    numeral,
    select,
    word,
)

TOLD_AT = "last"
"""The position that a finding speaks of: at the edited tokens an early part only carries the other
twin's words.
"""

LARGE_ERROR = 0.5
"""An error of the estimates, relative to the exact effects, from which on they are warned of."""

LOW_RANK = 0.7
"""A rank correlation below which the order of the estimates is warned of."""

_SENTENCES = {
    Verdict.FOUND: "The {component}s that the gradient ranks first in one half of the scenarios "
    "carry the emotion in the other half: patched exactly, one at a time, each moves the answer "
    "towards it (nats), more than random {component}s do.",
    Verdict.NOT_FOUND: "It was not found that the {component}s that the gradient ranks first carry "
    "the emotion in other scenarios (exact patches, nats).",
    Verdict.INVERTED: "The {component}s that the gradient ranks first move the answer away from "
    "the emotion in other scenarios (exact patches, nats).",
    Verdict.CANNOT_SAY: "Whether the {component}s that the gradient ranks first carry the emotion "
    "in other scenarios cannot be said.",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the chosen heads, and neurons, do in scenarios that did not choose them; told of exact
    patches, never of estimates.
    """
    found = []
    for component in COMPONENTS:
        own = {"metric": "chosen_effect", "component": component, "position": TOLD_AT}
        if holds(table, control="", **own):
            found.append(_finding(table, select(table, control="", **own)))
    return found


def _finding(table: pd.DataFrame, row: pd.DataFrame) -> Finding:
    random = beside(table, row, control="random")
    above = beside(table, row, metric="above_random")
    p, gate = p_of(row, "p"), None if above is None else p_of(above, "p")
    verdict = decide(number_of(row), nothing=0.0, p=p)
    if verdict is Verdict.FOUND and above is not None:
        more = decide(number_of(above), nothing=0.0, p=gate)
        verdict = Verdict.FOUND if more is Verdict.FOUND else Verdict.NOT_FOUND
    compared: Compared = [] if random is None else [("random ones, exactly", measured(random))]
    if above is not None and gate is not None:
        compared.append(("above random ones, paired", f"{measured(above)}, {p_value(gate)}"))
    compared += _errors(table, word(row, "component"))
    compared += [] if p is None else [("signs of scenarios", p_value(p))]
    component = word(row, "component")
    return claim(
        "attribution",
        _claimed(component),
        verdict,
        row,
        _SENTENCES,
        p=p,
        gate=gate or 0.0,
        compared=compared,
        rivals=rivals_of(("random", f"random {component}s", random)),
        about=component,
        family="what chosen parts do",
        component=component,
    )


def _claimed(component: str) -> str:
    """What is claimed of a kind of component."""
    return f"the {component}s that the gradient ranks first carry the emotion"


def _errors(table: pd.DataFrame, component: str) -> Compared:
    """How far the estimates of these parts are from the exact effects, worst direction."""
    told = []
    for metric, name, worst in (
        ("relative_error", "error of the estimates, relative", "max"),
        ("rank_correlation", "rank correlation with the exact effects", "min"),
    ):
        asked = {"metric": metric, "component": component, "position": TOLD_AT}
        if holds(table, **asked):
            rows = select(table, **asked)
            at = rows["value"].to_numpy()
            row = rows.iloc[[int(at.argmax() if worst == "max" else at.argmin())]]
            told.append((name, measured(row)))
    if holds(table, metric="dtype_error"):
        row = select(table, metric="dtype_error")
        value, largest = (number(numeral(row, one)) for one in ("value", "largest"))
        told.append(("largest difference from float32, nats", f"{value} (effects to {largest})"))
    return told


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Components whose estimates are far from the exact effects, or rank the parts otherwise."""
    for metric, told in _DOUBTS.items():
        rows = select(table, metric=metric) if holds(table, metric=metric) else table.iloc[:0]
        is_error = metric == "relative_error"
        bad = rows["value"] >= LARGE_ERROR if is_error else rows["value"] < LOW_RANK
        places = [
            f"{word(one, 'component')}s at {word(one, 'position')}, {word(one, 'mode')} "
            f"({number(numeral(one, 'value'))}, {int(numeral(one, 'nodes'))} nodes)"
            for _, one in groups(rows[bad], ["component", "position", "mode"])
        ]
        if places:
            text = f"{told}: {'; '.join(places)}. Only what was patched exactly can be relied on."
            yield Caution("attribution", text)


_DOUBTS = {
    "relative_error": f"estimates are off by {LARGE_ERROR:g} of the exact effects or more",
    "rank_correlation": f"estimates rank the parts unlike the exact effects (below {LOW_RANK:g})",
}


SECTION = Section(
    name="attribution",
    title="Attribution: which heads and neurons would matter, by the gradient?",
    question=(
        "One backward pass estimates for every part of the model what patching it would do. The "
        "estimate is a straight line where the model bends, so its error is measured: the "
        "sublayers, the parts ranked first and as many random ones are patched exactly, in "
        "scenarios that ranked nothing."
    ),
    metrics=(
        "chosen_effect",
        "above_random",
        "rank_correlation",
        "relative_error",
        "mean_absolute_error",
        "sign_agreement",
        "exact_effect",
        "estimated_effect",
        "dtype_error",
    ),
    per=("metric", "component", "position", "mode", "control"),
    figures=(
        Drawing(
            estimate_against_exact,
            reading=(
                "Dots on the dashed line are estimated rightly. A cloud that is flat or turned "
                "says that the gradient misleads there, and the map below with it."
            ),
        ),
        Drawing(
            head_effects,
            reading=(
                "Few strongly coloured cells: few heads carry the difference. Compare with the "
                "controls in the table: another emotion's state, and a random step of the same "
                "length."
            ),
            needs={"metric": "estimated_effect", "component": "head"},
        ),
    ),
    findings=findings,
    claims=tuple(map(_claimed, ("head", "neuron"))),
    cautions=cautions,
)
