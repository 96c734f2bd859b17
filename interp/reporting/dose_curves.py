"""Figures of steering by strength: how often the emotion is expressed, how likely its words are."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import label
from interp.reporting.many import MapTexts, emotion_maps, too_many
from interp.reporting.published import mark_published, told_published
from interp.reporting.select import (
    column,
    groups,
    holds,
    numbers,
    place,
    select,
    word,
)
from interp.reporting.style import (
    COLOURS,
    Look,
    chance,
    columns_for,
    curve,
    explain,
    facets,
    key,
    outer_labels,
    powers_of_two,
    styled,
)

_STEERED = Look(COLOURS[0], "o")
_RANDOM = Look(COLOURS[1], "s")
_VALID = Look(COLOURS[2], "^")
_OTHER = Look(COLOURS[3], "D")
_REPORTED = Look("#000000", "*")


_STRENGTH = "Strength 1 adds the direction at its natural length."
_SUCCESS_OF_MANY = MapTexts(
    "How often the judge finds the target emotion in steered continuations",
    "share",
    0.0,
    "scale",
    "strength",
    f"{_STRENGTH} The prompts chose the layer, the positions and the strength.",
    "continuations per cell",
)
_DOSE_OF_MANY = MapTexts(
    "How steering moves the probability of the emotion's words",
    "gain (nats)",
    0.0,
    "scale",
    "strength",
    f"{_STRENGTH} Nothing is generated here: the words are read at the end of the text.",
    "texts per cell",
)


@styled
def steering_success(table: pd.DataFrame) -> Figure:
    """Share of continuations that express the target emotion, by steering strength, beside controls
    and the valid share.

    Lines are the half of the prompts that chose the strength; the star is the other half, at the
    strength chosen.
    """
    rows = select(table, metric=("success", "valid"))
    # the trials that chose the layer and the positions
    rows = rows[column(rows, "half") != "place"]
    success = select(rows, metric="success")
    if too_many(success):
        return emotion_maps(
            success[column(success, "half") != "report"], ["judge", "control"], _SUCCESS_OF_MANY
        )
    panels = groups(select(success, control=""), ["judge", "emotion"])
    columns = columns_for(len(panels))
    figure, axes = facets(len(panels), columns=columns, height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        _success_panel(panel, select(rows, judge=word(own, "judge"), emotion=word(own, "emotion")))
        mark_published(panel, "steering_success")
        panel.set_title(label(name or "all emotions"))
        panel.set_ylim(-0.04, 1.04)
    outer_labels(figure, axes, x="strength", y="share")
    key(figure)
    explain(
        figure,
        title="How often the judge finds the target emotion in steered continuations",
        caption="Bands and whiskers are 95 % intervals. Strength 1 adds the direction at its "
        "natural length. Layer, positions and strength are chosen on one half of the prompts and "
        "reported (star) on the other. Valid: the judge finds a feeling it can name in the "
        "continuation; where this falls, success means nothing."
        + told_published("steering_success"),
        rows=success,
        unit="continuations per point",
    )
    return figure


def _success_panel(panel: Axes, rows: pd.DataFrame) -> None:
    reported = column(rows, "half") == "report"
    sweep = rows[~reported] if (~reported).any() else rows
    curve(
        panel, select(sweep, metric="success", control=""), x="scale", look=_STEERED, text="steered"
    )
    if holds(sweep, metric="valid", control=""):
        curve(
            panel,
            select(sweep, metric="valid", control=""),
            x="scale",
            look=_VALID,
            text="valid, steered",
            line="-.",
        )
    _controls(panel, select(sweep, metric="success"))
    if len(sweep) < len(rows):
        star = select(rows, metric="success", control="", half="report")
        curve(panel, star, x="scale", look=_REPORTED, text="steered, other half")
    powers_of_two(panel, sorted(set(numbers(select(sweep, control=""), "scale"))))


@styled
def steering_dose(table: pd.DataFrame) -> Figure:
    """Gain in log-probability of the emotion's words over the unsteered text, by steering strength,
    beside a random direction and other emotions' words.
    """
    rows = select(table, metric="label_logprob_gain")
    if too_many(rows):
        return emotion_maps(rows, ["half", "control"], _DOSE_OF_MANY)
    panels = groups(select(rows, control=""), ["emotion", "half"])
    columns = columns_for(len(panels))
    figure, axes = facets(len(panels), columns=columns, height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        curve(panel, own, x="scale", look=_STEERED, text="steered")
        mine = select(rows, emotion=word(own, "emotion"), half=word(own, "half"))
        _controls(panel, mine)
        if holds(mine, control="other"):
            other = select(mine, control="other")
            curve(panel, other, x="scale", look=_OTHER, text="other emotions' words", line="--")
        chance(panel, 0.0, "unsteered")
        panel.set_title(label(name or "all emotions"))
        powers_of_two(panel, sorted(set(numbers(own, "scale"))))
    outer_labels(figure, axes, x="strength", y="gain (nats)")
    key(figure)
    explain(
        figure,
        title="How steering moves the probability of the emotion's words",
        caption=f"At {place(rows)}; bands are 95 % intervals. "
        "Strength 1 adds the direction at its natural length. Nothing is generated here: the "
        "words are read at the end of the text. The random direction is as long.",
        rows=rows,
        unit="texts per point",
    )
    return figure


@styled
def template_collapse(table: pd.DataFrame) -> Figure:
    """The share of pairs of continuations that begin alike, by steering strength, all emotions
    together.
    """
    rows = select(table, metric="shared_opening", emotion="all", half="choose")
    figure, (panel,) = facets(1, columns=1, height=2.9, width=7.5)
    steered = select(rows, control="")
    curve(panel, steered, x="scale", look=_STEERED, text="steered")
    _controls(panel, rows)
    panel.set_ylim(-0.04, 1.04)
    panel.set_xlabel("strength")
    panel.set_ylabel("share of pairs")
    powers_of_two(panel, sorted(set(numbers(steered, "scale"))))
    key(figure)
    explain(
        figure,
        title="How often two continuations begin alike",
        caption="The first three words, in pairs of prompts of different scenarios; mean over the "
        "emotions. Bands are 95 % intervals over scenarios. Where this nears 1, the model writes "
        "a formula and not an answer to its prompt.",
        rows=steered,
        unit="prompts per point",
    )
    return figure


def _controls(panel: Axes, rows: pd.DataFrame) -> None:
    """The random direction as a line, the unsteered model as a level."""
    if holds(rows, control="random"):
        curve(
            panel,
            select(rows, control="random"),
            x="scale",
            look=_RANDOM,
            text="random direction",
            line=":",
        )
    if holds(rows, control="unsteered"):
        chance(panel, float(select(rows, control="unsteered")["value"].mean()), "unsteered")
