"""Whether parts are needed by emotion after emotion, and whether those are each one's own."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.chance import FEWEST_DEALT, assignment_p, sign_flip
from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.finding import Finding, Question, claim, number_of, rivals_of
from interp.reporting.formatting import p_value
from interp.reporting.select import (
    POOLED,
    column,
    holds,
    numbers,
    numeral,
    select,
    square,
    words_of,
)
from interp.stats import mean_interval

_OF_ITS_OWN = {
    Verdict.FOUND: "On average the emotions' own words fall further without their own top {k} "
    "{kind}s than without those of the other emotions (nats, interval over {n} emotions).",
    Verdict.NOT_FOUND: "The emotions' own words are not found to fall further, on average, without "
    "their own top {k} {kind}s than without those of the other emotions (nats, interval over {n} "
    "emotions).",
    Verdict.INVERTED: "On average the emotions' own words fall less without their own top {k} "
    "{kind}s than without those of the other emotions (nats, interval over {n} emotions).",
    Verdict.CANNOT_SAY: "Whether the emotions' own words fall further, on average, without their "
    "own top {k} {kind}s than without those of the other emotions cannot be said (nats).",
}


def needed_claim(kind: str) -> str:
    """What is claimed where parts of a kind are needed."""
    return f"the top {kind}s of each emotion are needed for its own words"


def own_claim(kind: str) -> str:
    """What is claimed where these are each emotion's own."""
    return f"{needed_claim(kind)} more than other emotions' {kind}s are"


def of_its_own(table: pd.DataFrame, row: pd.DataFrame, needed: Finding) -> list[Finding]:
    """What an emotion's words lose by its own parts, less what they lose by other emotions' parts.

    Nothing where the finding `needed` of the same parts is not found (it opens this question), or
    there are fewer than `FEWEST_DEALT` emotions. `row` is that finding's. The p is of emotions
    dealt to the parts at random: parts that lower all words alike lower the own ones under any
    name.
    """
    changes = _changes(table, row)
    if needed.verdict is not Verdict.FOUND or changes is None or len(changes) < FEWEST_DEALT:
        return []
    own = np.diagonal(changes)
    others = (changes.sum(axis=0) - own) / (len(own) - 1)
    found = mean_interval(own - others, [str(place) for place in range(len(own))])
    told = row.assign(**found._asdict())
    p = assignment_p(-changes)
    number = number_of(told)
    bare = {"ci_low": math.nan, "ci_high": math.nan, "draw_low": math.nan, "draw_high": math.nan}
    other = row.assign(value=float(others.mean()), **bare)
    kind, k = needed.told["kind"], needed.told["k"]
    finding = claim(
        "ablation",
        own_claim(kind),
        decide(Number(-number.value, -number.high, -number.low), nothing=0.0, p=p),
        told,
        _OF_ITS_OWN,
        p=p,
        compared=[
            ("own words, own parts", needed.value),
            ("own words, other emotions' parts", f"{float(others.mean()):.3f}"),
            ("emotions dealt to the parts at random", p_value(p)),
        ],
        rivals=rivals_of(("other", f"without other emotions' {kind}s", other)),
        answers=Question.CAUSAL,
        about=f"{kind}, own",
        after=needed.name,
        kind=kind,
        k=k,
        n=len(own),
    )
    return [finding]


FEWEST_SIGNS = 5
"""Emotions from which on flipping their signs can give a p below .05: 1 / 2^5 is .031."""


def by_signs(own: pd.DataFrame, row: pd.DataFrame) -> float | None:
    """One-sided p that the chosen parts lower their emotion's words no further than random ones,
    by flipping the signs of the emotions; None below `FEWEST_SIGNS`, or without random parts.

    Random parts write less than those that were chosen for writing most. So in a model without any
    emotion, too, the chosen ones may move a word further than all of them: up, or down. What they
    do then differs from emotion to emotion.
    """
    each = own[(numbers(own, "k") == numeral(row, "k")) & ~column(own, "emotion").isin(POOLED)]
    wanted = {"metric": "label_logprob_change", **words_of(row, "component", "mode")}
    if not holds(each, control="", **wanted) or not holds(each, control="random", **wanted):
        return None
    chosen, random = (
        select(each, control=control, **wanted).set_index("emotion")["value"]
        for control in ("", "random")
    )
    further = (random - chosen).dropna().to_numpy()
    return None if len(further) < FEWEST_SIGNS else sign_flip(further, side="above")


def _changes(table: pd.DataFrame, row: pd.DataFrame) -> Float[np.ndarray, "emotion target"] | None:
    """The change of each emotion's words (across) without each emotion's parts (down), at the k of
    `row`; None where a cell was not measured.
    """
    wanted = {"metric": "label_logprob_change", "control": "", **words_of(row, "component", "mode")}
    cells = table[numbers(table, "k") == numeral(row, "k")]
    cells = cells[~column(cells, "emotion").isin(POOLED) & ~column(cells, "target").isin(POOLED)]
    if not holds(cells, **wanted):
        return None
    cells = select(cells, **wanted)
    found = square(cells, list(dict.fromkeys(column(cells, "emotion")))).to_numpy()
    return found if np.isfinite(found).all() else None
