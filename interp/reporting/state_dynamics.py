"""An outside state over the turns of conversations: its figures, and what may be said."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.dots import dots, names_down
from interp.reporting.finding import number_of, p_of, told_p
from interp.reporting.half_life import half_life_told
from interp.reporting.select import (
    holds,
    least,
    measured,
    numbers,
    select,
    with_values,
    word,
)
from interp.reporting.style import (
    GREY,
    curve,
    explain,
    facets,
    key,
    layer_ticks,
    look,
    styled,
)

TOLD_AXIS = "valence"
"""The axis that figures and sentences speak of."""

_ARMS = {
    "first": "first order",
    "second": "second order",
    "untold": "nothing told",
    "memoryless": "this turn alone",
    "shuffled": "turns reordered",
    "random": "random states",
    "reread": "replies read untold",
}
_SHOWN = ("first", "second", "untold")
_PANELS = {
    "state": "state that is told",
    "reading": "read in the stream",
    "heard": "heard in the replies",
}
_DOTS = {"follows": "slope of the shift on the state", "carried": "left behind (points)"}
_FOLLOWS = {
    Verdict.FOUND: "The stream follows the state that it is told, more than a random one and more "
    "than the words of the replies carry",
    Verdict.NOT_TOLD_APART: "The stream goes with the state that it is told, but that is not told "
    "apart from what the words of the replies carry",
    Verdict.NOT_FOUND: "That the stream follows the state that it is told, more than a random one, "
    "is not found",
    Verdict.INVERTED: "The stream goes against the state that it is told, beside a random one",
    Verdict.CANNOT_SAY: "Whether the stream follows the state that it is told cannot be said",
}
_CARRIES = {
    Verdict.FOUND: "Behind an adverse stretch the stream stays displaced in calm turns, more than "
    "without a state and more than under the controls",
    Verdict.NOT_TOLD_APART: "Behind an adverse stretch the stream stays displaced in calm turns, "
    "more than without a state, but a control does as much",
    Verdict.NOT_FOUND: "That an adverse stretch leaves the stream displaced in calm turns, more "
    "than without a state, is not found",
    Verdict.INVERTED: "Behind an adverse stretch the stream is displaced less in calm turns than "
    "without a state",
    Verdict.CANNOT_SAY: "Whether an adverse stretch leaves the stream displaced cannot be said",
}
_OVERSHOOTS = {
    Verdict.FOUND: "Under the second order the stream passes beyond its calm on the way back, more "
    "than under the first",
    Verdict.NOT_FOUND: "That the stream passes beyond its calm on the way back under the second "
    "order, more than under the first, is not found",
    Verdict.INVERTED: "Under the second order the stream stays further behind than under the first",
    Verdict.CANNOT_SAY: "Whether the stream passes beyond its calm under the second order cannot "
    "be said",
}
_HEARD = {
    Verdict.FOUND: "The replies follow the state, too, more than under a random one",
    Verdict.NOT_FOUND: "That the replies follow the state, more than under a random one, is not "
    "found",
    Verdict.INVERTED: "The replies go against the state, beside a random one",
    Verdict.CANNOT_SAY: "Whether the replies follow the state cannot be said",
}


def told_of_dynamics(table: pd.DataFrame) -> list[str]:
    """What may be said of valence, each with its number: whether the stream follows the state,
    what an adverse stretch leaves, how long that takes to halve, whether the second order passes
    beyond, and whether a judge hears it.
    """
    rows = select(table, axis=TOLD_AXIS)
    above = select(rows, metric="follows_above", target="random")
    words = select(rows, metric="follows_above", target="reread")
    said = [
        f"{_FOLLOWS[_decided(above, words)]} (slope of what is read on the state, above random, "
        f"{_measured(above)}; above the words {measured(words)})."
    ]
    carried = select(rows, metric="carried_above", target="untold")
    control = least(select(rows, metric="carried_above", target=("memoryless", "random", "reread")))
    said.append(
        f"{_CARRIES[_decided(carried, control)]} (difference {_measured(carried)} points of "
        f"{TOLD_AXIS}; above {_ARMS[word(control, 'target')]} {measured(control)})."
    )
    said += _halves(rows)
    if holds(rows, metric="overshoot_above"):
        beyond = select(rows, metric="overshoot_above")
        said.append(f"{_OVERSHOOTS[_decided(beyond)]} (difference {_measured(beyond)} points).")
    heard = select(rows, metric="heard_follows_above", target="random")
    return [*said, f"{_HEARD[_decided(heard)]} (slope above random {_measured(heard)})."]


def _decided(row: pd.DataFrame, above: pd.DataFrame | None = None) -> Verdict:
    return decide(
        number_of(row),
        nothing=0.0,
        p=p_of(row, "p"),
        least_p=p_of(row, "least_p"),
        above=None if above is None else number_of(above),
    )


def _measured(row: pd.DataFrame) -> str:
    p = p_of(row, "p")
    return measured(row) if p is None else f"{measured(row)}, {told_p(row, p)}"


def _halves(rows: pd.DataFrame) -> list[str]:
    found = []
    for arm in ("first", "second"):
        if holds(rows, metric="half_life", arm=arm, target="reading"):
            read, state = (_half(rows, arm, of) for of in ("reading", "state"))
            found.append(
                f"Half-life of the shift behind the adverse turns, under the {_ARMS[arm]}: {read}; "
                f"of the state itself: {state}."
            )
    return found


def _half(rows: pd.DataFrame, arm: str, of: str) -> str:
    half, kept = (select(rows, metric=one, arm=arm, target=of) for one in ("half_life", "retained"))
    return half_life_told(half, kept, "turns")


@styled
def state_trajectories(table: pd.DataFrame) -> Figure:
    """Valence over the turns: the state that is told, what is read in the stream, and what is heard
    in the replies, in each arm.
    """
    rows = select(table, axis=TOLD_AXIS, metric=tuple(_PANELS))
    figure, axes = facets(3, columns=3, height=3.1, width=11.0, share=False)
    for panel, (metric, title) in zip(axes, _PANELS.items(), strict=True):
        for place, (arm, text) in enumerate(_ARMS.items()):
            if holds(rows, metric=metric, arm=arm):
                shape = look(place)._replace(faint=arm not in _SHOWN)
                line = "-" if arm in _SHOWN else "--"
                own = select(rows, metric=metric, arm=arm)
                curve(panel, own, x="turn", look=shape, text=text, line=line)
        panel.axhline(0.0, color=GREY, linewidth=0.8)
        panel.set_ylim(*_span(select(rows, metric=metric)))
        _mark_adverse(panel, rows)
        layer_ticks(panel)
        panel.set_title(title)
        panel.set_xlabel("turn")
    axes[0].set_ylabel(f"{TOLD_AXIS} (points, of a scale of 9)")
    key(figure)
    explain(
        figure,
        title="A state over the turns of a conversation, and the model that is told it",
        caption="Shaded: the adverse turns. The user says the same in all arms. Zero of what is "
        "read: the calm turns before, nothing told. Bands are 95 % intervals over conversations; "
        "wide ones leave the panel.",
        rows=select(rows, metric="reading"),
        unit="conversations",
    )
    return figure


@styled
def adverse_stretch(table: pd.DataFrame) -> Figure:
    """How far the stream follows the state, what an adverse stretch leaves, and how it is lost,
    in each arm.
    """
    rows = select(table, axis=TOLD_AXIS)
    figure, axes = facets(3, columns=3, height=3.0, width=11.0, share=False)
    arms = list(_ARMS)
    for panel, (metric, title) in zip(axes, _DOTS.items(), strict=False):
        shown = [arm for arm in arms if holds(rows, metric=metric, arm=arm)]
        for down, arm in enumerate(shown):
            row = select(rows, metric=metric, arm=arm)
            dots(panel, row, [down], look(arms.index(arm)), hollow=arm not in _SHOWN)
        panel.axvline(0.0, color=GREY, linestyle=(0, (5, 3)))
        panel.set_xlim(*_span(select(rows, metric=metric)))
        names_down(panel, [_ARMS[arm] for arm in shown])
        panel.set_xlabel(title)
    _returns(axes[2], rows)
    key(figure)
    explain(
        figure,
        title="What an adverse stretch of turns does, and leaves",
        caption=f"{TOLD_AXIS.capitalize()}, towards the adverse side. Left behind: the first calm "
        "turns behind the adverse ones less those before. Right: shares of the last adverse turn. "
        "Whiskers and bands are 95 % intervals over conversations; wide ones leave the panel. "
        "Dashed: nothing.",
        rows=select(rows, metric="carried"),
        unit="conversations",
    )
    return figure


def _returns(panel: Axes, rows: pd.DataFrame) -> None:
    for place, arm in enumerate(("first", "second")):
        for target, line in (("reading", "-"), ("state", "--")):
            if holds(rows, metric="retained", arm=arm, target=target):
                own = with_values(select(rows, metric="retained", arm=arm, target=target))
                text = f"{_ARMS[arm]}, {'read' if target == 'reading' else 'told'}"
                curve(panel, own, x="offset", look=look(place), text=text, line=line)
    panel.axhline(0.0, color=GREY, linestyle=(0, (5, 3)))
    if holds(rows, metric="retained"):
        panel.set_ylim(*_span(select(rows, metric="retained")))
    layer_ticks(panel)
    panel.set_xlabel("calm turns since")
    panel.set_ylabel("share of the shift left")


def _span(rows: pd.DataFrame) -> tuple[float, float]:
    """Room for the values and as much beside them: a wide interval leaves the panel."""
    values = [0.0, *numbers(rows, "value").dropna()]
    low, high = min(values), max(values)
    room = 0.5 * (high - low) or 1.0
    return low - room, high + room


def _mark_adverse(panel: Axes, rows: pd.DataFrame) -> None:
    turns = numbers(select(rows, stretch="adverse"), "turn")
    panel.axvspan(turns.min() - 0.5, turns.max() + 0.5, color=GREY, alpha=0.12, linewidth=0)
