"""Release: its figure, and what may be said of it."""

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import number_of
from interp.reporting.followed import offset_axis, placed
from interp.reporting.formatting import number, whole
from interp.reporting.half_life import half_life_told
from interp.reporting.select import column, holds, measured, numbers, numeral, select, word
from interp.reporting.style import GREY, curve, cut_wide, explain, facets, key, look, styled

RELEASED_AT = 16
"""The offset that sentences speak of, fixed beforehand: or the largest below it that was read."""

_ARMS = {
    "": ("steered, then let go", "-"),
    "reread": ("same text, read unsteered", "--"),
    "random": ("random direction", "--"),
}
_LASTS = {
    Verdict.FOUND: "{k} tokens after it is let go, a steered emotion is still read, more than "
    "after a random direction",
    Verdict.NOT_FOUND: "That a steered emotion is still read {k} tokens after it is let go, more "
    "than after a random direction, is not found",
    Verdict.INVERTED: "{k} tokens after it is let go, a steered emotion is read less than after a "
    "random direction",
    Verdict.CANNOT_SAY: "Whether a steered emotion is still read {k} tokens after it is let go "
    "cannot be said",
}
_WORDS = {
    Verdict.FOUND: "That is more than the written words carry by themselves",
    Verdict.NOT_FOUND: "That it is more than the written words carry by themselves is not found",
    Verdict.INVERTED: "It is less than the written words carry by themselves",
    Verdict.CANNOT_SAY: "Whether it is more than the written words carry cannot be said",
}
_HEARD = {
    Verdict.FOUND: "The emotion is heard in what is written after the release, more often than in "
    "unsteered texts",
    Verdict.NOT_FOUND: "That the emotion is heard in what is written after the release, more often "
    "than in unsteered texts, is not found",
    Verdict.INVERTED: "The emotion is heard less often in what is written after the release than "
    "in unsteered texts",
    Verdict.CANNOT_SAY: "Whether the emotion is heard after the release cannot be said",
}


def told_of_release(table: pd.DataFrame) -> list[str]:
    """What may be said, each with its number: whether what is read outlasts the steering, whether
    that is more than the words carry, how long it takes to halve, and whether a judge hears it.
    """
    rows = select(table, metric="shift_above", target="random")
    offsets = numbers(rows, "offset")
    near = offsets[offsets <= RELEASED_AT]
    at = float(near.max())
    above = rows[offsets == at]
    beyond = select(table, metric="shift_above", target="reread")
    beyond = beyond[numbers(beyond, "offset") == at]
    lasts = _LASTS[decide(number_of(above), nothing=0.0)].format(k=whole(at))
    said = [
        f"{lasts} (difference {measured(above)} natural lengths). "
        f"{_WORDS[decide(number_of(beyond), nothing=0.0)]} (difference {measured(beyond)})."
    ]
    if holds(table, metric="half_life"):
        half, kept = (select(table, metric=one) for one in ("half_life", "retained"))
        told = half_life_told(half, kept, "tokens")
        said.append(f"Half-life of what is read at the last steered token: {told}.")
    heard = select(table, metric="success_above", target="unsteered")
    success = select(table, metric="success", control="")
    chance = 1 / numeral(success, "choices")
    said.append(
        f"{_HEARD[decide(number_of(heard), nothing=0.0)]} (judge {word(success, 'judge')}: "
        f"{measured(success)}, chance {number(chance)}; difference {measured(heard)})."
    )
    return said


@styled
def release_curve(table: pd.DataFrame) -> Figure:
    """What is read along the emotion's direction by the tokens after the release, beside a random
    direction and the same text read without steering.
    """
    rows = select(table, metric="shift")
    figure, (panel,) = facets(1, columns=1, height=3.2)
    for place, (control, (text, line)) in enumerate(_ARMS.items()):
        own = placed(rows[column(rows, "control") == control])
        curve(panel, own, x="offset", look=look(place), text=text, line=line)
    panel.axhline(0.0, color=GREY, linewidth=0.8)
    offset_axis(panel, rows)
    panel.set_xlabel("tokens after the last steered one")
    panel.set_ylabel("natural lengths above unsteered")
    cut = " One far wider than the others is cut." if cut_wide(panel, rows) else ""
    key(figure)
    explain(
        figure,
        title="Does a steered emotion outlast its steering?",
        caption="Read above the layer where the direction was added, less the reading of the same "
        f"prompt that was never steered. Bands are 95 % intervals over prompts.{cut}",
        rows=rows,
        unit="texts",
    )
    return figure
