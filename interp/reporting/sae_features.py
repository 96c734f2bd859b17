"""Features of a sparse autoencoder: their figure, and what may be said of them."""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.baselines import ABOVE_TEXT
from interp.reporting.beside_controls import ARM, ArmsBeside, beside_controls, largest_of, whiskers
from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import number_of, p_of, told_p
from interp.reporting.select import NOT_BASELINES, column, holds, least, measured, select, word
from interp.reporting.style import explain, styled

_ARMS = {
    "": "best feature",
    "word": "best single word",
    "baseline": "best text baseline",
    "shuffled": "labels shuffled",
}
_CLAIMS = {
    "reception": "A single feature tells affective texts from their neutral twins",
    "categorisation": "Single features tell the emotions of texts apart, on average over them",
}
_ENDS = {
    Verdict.FOUND: ", beyond the words",
    Verdict.NOT_TOLD_APART: ", and whether beyond the words is not told: they may do as much",
    Verdict.NOT_FOUND: ": this was not found",
    Verdict.INVERTED: ": the other way round, it is less active there",
    Verdict.CANNOT_SAY: ": whether this is so cannot be said",
}


def said_of_features(table: pd.DataFrame) -> list[str]:
    """One sentence for each question, with its number and what it is held against; before them,
    how much of the vectors the autoencoder gives back.
    """
    share = float(select(table, metric="explained")["value"].iloc[0])
    active = float(select(table, metric="active_features")["value"].iloc[0])
    told = [
        f"The autoencoder gives back {share:.2f} of the variance at this site, with {active:.1f} "
        "features active in a text."
    ]
    return [*told, *(_said(table, task) for task in _CLAIMS if holds(table, task=task))]


def _said(table: pd.DataFrame, task: str) -> str:
    rows = select(table, task=task)
    row = select(rows, metric="auroc", emotion="", control="")
    nearest = least(select(rows, metric=ABOVE_TEXT))
    p = p_of(row, "p")
    above = number_of(nearest)
    verdict = decide(number_of(row), nothing=0.5, p=p, least_p=p_of(row, "least_p"), above=above)
    shuffled = select(rows, metric="auroc", emotion="", control="shuffled")
    against = f"labels shuffled {float(shuffled['value'].iloc[0]):.3f}"
    chance = "" if p is None else f", {told_p(row, p)}"
    return (
        f"{_CLAIMS[task]}{_ENDS[verdict]} (AUROC {measured(row)} on scenarios that chose nothing"
        f"{chance}; {against}; above {word(nearest, 'target')}, paired, {measured(nearest)})."
    )


@styled
def feature_selectivity(table: pd.DataFrame) -> Figure:
    """The best feature of each emotion beside the best word, the best text baseline and shuffled
    labels, on the scenarios that chose nothing.
    """
    rows = select(table, metric="auroc")
    several = holds(rows, task="categorisation")
    own = select(rows, task="categorisation") if several else rows
    own = own[column(own, "emotion") != ""] if several else own.assign(emotion="affective")
    parts = [
        own[column(own, "control") == ""].assign(**{ARM: ""}),
        own[column(own, "control") == "word"].assign(**{ARM: "word"}),
        largest_of(own[~column(own, "control").isin([*NOT_BASELINES, "word"])]).assign(
            **{ARM: "baseline"}
        ),
        whiskers(select(own, control="shuffled"), "draw_low", "draw_high").assign(
            **{ARM: "shuffled"}
        ),
    ]
    drawn = pd.concat(parts)
    figure = beside_controls(drawn, ArmsBeside(_ARMS, "AUROC", 0.5))
    explain(
        figure,
        title="Does one feature know the emotion, more than one word does?",
        caption="Feature and word were chosen on one half of the scenarios and are shown on the "
        "other. Whiskers: 95 % intervals over scenarios; of shuffled labels the range of 95 % of "
        "the draws, each of which chose its own feature. The text baseline is the best of all on "
        "the very texts shown, which favours it.",
        rows=parts[0],
        unit="texts",
    )
    return figure
