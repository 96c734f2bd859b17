"""Stories whose emotion changes: figures, and what may be said."""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.dots import DRAWN, INTERVAL, dots, names_down
from interp.reporting.finding import number_of, p_of, told_p
from interp.reporting.select import column, holds, least, measured, place, select, word
from interp.reporting.style import GREY, chance, curve, explain, facets, key, look, styled

_CLAIM = "the stream turns with the story, from the emotion before to the one behind"
_SHIFTS = {
    Verdict.FOUND: "Seen token by token, " + _CLAIM,
    Verdict.NOT_TOLD_APART: "A control does as much, where one asks whether " + _CLAIM,
    Verdict.NOT_FOUND: "It was not found that " + _CLAIM,
    Verdict.INVERTED: "The wrong way round: one asked whether " + _CLAIM,
    Verdict.CANNOT_SAY: "It cannot be said whether " + _CLAIM,
}
_ARMS = {"behind": "the emotion behind the turn", "before": "the emotion before it",
         "others": "all others, mean"}  # fmt: skip
_CONTROLS = {
    "": "the story's own two emotions",
    "others": "two other emotions",
    "shuffled": "words in another order",
    "random": "random directions",
}
_BY_DISTANCE = ("near", "middle", "far")


def said_of_trajectories(table: pd.DataFrame) -> list[str]:
    """Whether the stream turns with the stories; and whether near emotions are taken for the one
    behind the turn, where enough of them were rated.
    """
    row = select(table, metric="shift", control="")
    above = least(select(table, metric="shift_above"))
    p = p_of(row, "p")
    verdict = decide(
        number_of(row), nothing=0.0, p=p, least_p=p_of(row, "least_p"), above=number_of(above)
    )
    told = "" if p is None else f", {told_p(row, p)} against random directions"
    first = (
        f"{_SHIFTS[verdict]} (at {place(row)}: the lead of the cosine changes by {measured(row)}"
        f"{told}; above the control {word(above, 'target')}, paired, {measured(above)})."
    )
    if not holds(table, metric="confusion_slope"):
        return [first]
    slope = select(table, metric="confusion_slope")
    p = p_of(slope, "p")
    near = decide(number_of(slope), nothing=0.0) is Verdict.INVERTED and p is not None and p <= 0.05
    what = (
        "Behind the turn emotions that people rate alike have the higher cosines"
        if near
        else "That emotions rated alike have the higher cosines behind the turn was not found"
    )
    told = "" if p is None else f", {told_p(slope, p)}"
    return [first, f"{what} (correlation of cosine and distance {measured(slope)}{told})."]


@styled
def turning_curves(table: pd.DataFrame) -> Figure:
    """Token by token around the turn: the cosine with the emotion before, behind, and others."""
    rows = select(table, metric="trajectory")
    figure, (panel,) = facets(1, columns=1, height=2.9, width=7.5)
    for at, (arm, text) in enumerate(_ARMS.items()):
        if holds(rows, arm=arm):
            curve(panel, select(rows, arm=arm), x="offset", look=look(at), text=text)
    panel.axvline(-0.5, color=GREY, linestyle=(0, (1, 2)), label="the turn")
    chance(panel, 0.0, "nothing 0")
    panel.set_xlabel("tokens from the turn")
    panel.set_ylabel("centred cosine")
    key(figure)
    explain(
        figure,
        title="What the stream says while a story's emotion turns",
        caption="Mean over stories of the cosine of a token's stream, less the mean of the stories "
        "that the directions are from. Bands are 95 % intervals over scenarios.",
        rows=rows,
        unit="stories",
    )
    return figure


@styled
def turning_controls(table: pd.DataFrame) -> Figure:
    """The shift at the turn beside its controls, and the cosines behind the turn by the emotions'
    distance in people's ratings.
    """
    shifts = select(table, metric="shift")
    rated = holds(table, metric="confusion")
    figure, axes = facets(2 if rated else 1, columns=2, height=2.4, share=False)
    shown = [name for name in _CONTROLS if holds(shifts, control=name)]
    for down, name in enumerate(shown):
        drawn = name == "random"
        row = select(shifts, control=name)
        dots(axes[0], row, [down], look(int(drawn)), ends=DRAWN if drawn else INTERVAL)
    axes[0].axvline(0.0, color=GREY, linestyle=(0, (5, 3)))
    names_down(axes[0], [_CONTROLS[name] for name in shown])
    axes[0].set_xlabel("change of the lead at the turn")
    if rated:
        for down, name in enumerate(_BY_DISTANCE):
            dots(axes[1], select(table, metric="confusion", arm=name), [down], look(0))
        names_down(axes[1], list(_BY_DISTANCE))
        axes[1].set_xlabel("centred cosine behind the turn")
        axes[1].set_title("other emotions, by distance in ratings")
    explain(
        figure,
        title="Is it the emotion that turns?",
        caption="Whiskers are 95 % intervals over scenarios; of random directions the range of 95 "
        "% of their pairs. The words change at the turn, too: this does not say that anything "
        "beyond them is followed.",
        rows=shifts[column(shifts, "control") == ""],
        unit="stories",
    )
    return figure
