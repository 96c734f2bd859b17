"""Elicited directions: their figure, and what may be said of them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import number_of, p_of, told_p
from interp.reporting.formatting import label, number
from interp.reporting.measure_curves import DEPTH
from interp.reporting.select import (
    SHUFFLED_LABELS,
    best,
    column,
    holds,
    measured,
    numbers,
    numeral,
    select,
    with_ranges,
    word,
)
from interp.reporting.style import chance, curve, explain, facets, key, look, styled

_METHOD, _ALL = "elicited", "all"
_TELLS = {
    Verdict.FOUND: "On questions that they were not fitted on, the directions tell an emotion's "
    "replies from those of other emotions, better than the words of the replies do",
    Verdict.NOT_TOLD_APART: "On questions that they were not fitted on, the directions tell an "
    "emotion's replies from those of other emotions, but not surely better than the words of the "
    "replies do: they are not told apart from the words",
    Verdict.NOT_FOUND: "That the directions tell an emotion's replies to other questions from "
    "those of other emotions is not found",
    Verdict.INVERTED: "On questions that they were not fitted on, the directions rank the replies "
    "the wrong way round",
    Verdict.CANNOT_SAY: "Whether the directions tell an emotion's replies to other questions "
    "cannot be said",
}


def told_of_elicited(table: pd.DataFrame) -> list[str]:
    """What may be said of the layer that was fixed beforehand (its rows say `told`), all emotions
    together: whether held-out replies are told, and by more than their words; and what shuffled
    labels give.
    """
    here = select(table, told="yes", emotion=_ALL)
    found = select(here, metric="auroc", control="")
    above = select(here, metric="auroc_above")
    p, least = p_of(found, "p"), p_of(found, "least_p")
    verdict = decide(number_of(found), nothing=0.5, p=p, least_p=least, above=number_of(above))
    words = _words(table, word(above, "target"), _ALL)
    shuffled = select(here, metric="auroc", control=SHUFFLED_LABELS)
    chance_told = "no p" if p is None else told_p(found, p)
    return [
        f"{_TELLS[verdict]} (layer {numeral(found, 'layer'):.0f}: AUROC {measured(found)}, "
        f"{chance_told}; {label(word(above, 'target'))} {measured(words)}; difference, paired by "
        f"question, {measured(above)}).",
        f"With the emotions of the replies to each question shuffled the AUROC is "
        f"{number(numeral(shuffled, 'value'))} ({number(numeral(shuffled, 'draw_low'))} to "
        f"{number(numeral(shuffled, 'draw_high'))}); chance is .5.",
    ]


def emotions_told(table: pd.DataFrame, replies: pd.DataFrame) -> list[dict[str, Any]]:
    """A row of each emotion for a person: how many replies were kept, and where directions were
    made of them what these tell at the layer that was fixed beforehand, the words beside it.
    """
    rows: list[dict[str, Any]] = []
    here = select(table, told="yes")
    for emotion in dict.fromkeys(column(replies, "emotion")):
        mine = select(replies, emotion=emotion)
        row = {"emotion": emotion, "asked": len(mine), "kept": int(numbers(mine, "value").sum())}
        rows.append({**row, **(_numbers_of(table, here, emotion))})
    return rows


def _numbers_of(table: pd.DataFrame, here: pd.DataFrame, emotion: str) -> Mapping[str, str]:
    if not holds(here, emotion=emotion, metric="length"):
        return {}
    above = select(here, emotion=emotion, metric="auroc_above")
    found = {
        "auroc": select(here, emotion=emotion, metric="auroc", control=""),
        "words": _words(table, word(above, "target"), emotion),
        "above words": above,
        "length": select(here, emotion=emotion, metric="length"),
    }
    if holds(here, emotion=emotion, metric="auroc_neutral"):
        found["against neutral"] = select(here, emotion=emotion, metric="auroc_neutral")
    return {name: measured(row) for name, row in found.items()}


def _words(table: pd.DataFrame, name: str, emotion: str) -> pd.DataFrame:
    return select(table, method=name, metric="auroc", emotion=emotion)


@styled
def elicited_curves(table: pd.DataFrame) -> Figure:
    """AUROC of held-out replies by depth, each emotion and their mean, beside shuffled labels, the
    best text baseline and chance.
    """
    rows = select(table, method=_METHOD, metric="auroc", control="")
    figure, (panel,) = facets(1, columns=1, height=3.4)
    emotions = [one for one in dict.fromkeys(column(rows, "emotion")) if one != _ALL]
    for at, emotion in enumerate(emotions, start=1):
        own = select(rows, emotion=emotion).assign(ci_low=float("nan"), ci_high=float("nan"))
        curve(panel, own, x="depth", look=look(at)._replace(faint=True), text=emotion)
    mean = select(rows, emotion=_ALL)
    curve(panel, mean, x="depth", look=look(0), text="mean over emotions")
    shuffled = select(table, metric="auroc", control=SHUFFLED_LABELS, emotion=_ALL)
    curve(panel, with_ranges(shuffled), x="depth", look=look(0), text="shuffled labels", line=":")
    chance(panel, 0.5, "chance 0.5")
    texts = table[(column(table, "method") != _METHOD) & (column(table, "emotion") == _ALL)]
    top = best(texts)
    panel.axhline(
        numeral(top, "value"),
        color="black",
        linewidth=1.2,
        linestyle="-.",
        label=f"words ({label(word(top, 'control'))})",
    )
    panel.set_xlabel(DEPTH)
    panel.set_ylabel("AUROC (held-out questions)")
    key(figure)
    explain(
        figure,
        title="Do elicited directions tell replies to other questions?",
        caption="An emotion's replies against those of the other emotions. Band: 95 % interval "
        "over questions; of shuffled labels the range of 95 % of the draws.",
        rows=mean,
        unit="replies",
    )
    return figure
