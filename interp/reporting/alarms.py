"""The figure of false alarms by layer: from which layer on texts that evoke nothing are called
emotional.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.measure_curves import DEPTH
from interp.reporting.select import column, groups, holds, numeral, select, word, words_of
from interp.reporting.style import (
    Look,
    chance,
    curve,
    explain,
    facets,
    key,
    look,
    outer_labels,
    styled,
)
from interp.reporting.transfers import CALLED, best_words

CALLED_AT_LAYER = "called_at_layer"
FOUND_EMOTIONAL = "found_emotional"
"""What column `metric` says of a share of texts called emotional at one layer, and of that of the
fitted arm's emotional texts where each fold chose its layer.
"""

_OWN, _TWINS = "emotional texts of that arm", "their neutral twins"
_DEPTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
_WORDS_FROM, _WORDS_APART = 1.12, 0.03
"""How far right, in depths, the words of the first set of texts stand, and those of the next."""


@styled
def alarm_trajectory(table: pd.DataFrame) -> Figure:
    """The share of texts that a probe calls emotional by depth, a line per set of texts and a panel
    per fitted arm; at the right the share that the text baseline calls so.
    """
    rows = select(table, metric=CALLED_AT_LAYER)
    panels = groups(rows, ["train_arm"])
    looks = _looks(rows)
    figure, axes = facets(len(panels), columns=2, height=3.3)
    for panel, (_, own) in zip(axes, panels, strict=True):
        sets = {_named(one): one for _, one in groups(own, ["test_arm"])}
        for place, (name, shape) in enumerate(looks.items()):
            if name in sets:
                curve(panel, sets[name], x="depth", look=shape, text=name)
                _words(panel, table, sets[name], _WORDS_FROM + place * _WORDS_APART, shape)
        chance(panel, 0.5, "a coin 0.5")
        middle = _WORDS_FROM + (len(looks) - 1) * _WORDS_APART / 2
        panel.set_xticks([*_DEPTHS, middle], [*map(str, _DEPTHS), "words"])
        panel.set_ylim(-0.03, 1.03)
        panel.set_title(f"fitted on {word(own, 'train_arm')}")
    outer_labels(figure, axes, x=DEPTH, y="share called emotional (held out)")
    key(figure)
    explain(
        figure,
        title="From which layer on are texts that evoke nothing called emotional?",
        caption="A probe of each layer by itself, on texts of scenarios that it has not seen; "
        "bands and whiskers are 95 % intervals. Hollow, at the right: the same texts by the text "
        "baseline that tells the fitted arm's twins best.",
        rows=rows,
        unit="texts",
    )
    return figure


def _named(rows: pd.DataFrame) -> str:
    """What the set of texts of these rows is called in the legend."""
    test = word(rows, "test_arm")
    if test == word(rows, "train_arm"):
        return _OWN
    return _TWINS if test == "neutral" else test


def _looks(rows: pd.DataFrame) -> dict[str, Look]:
    """The look of each set of texts: the fitted arm's own first, those only tested last."""
    others = set(column(rows, "test_arm")) - set(column(rows, "train_arm")) - {"neutral"}
    return {name: look(place) for place, name in enumerate([_OWN, _TWINS, *sorted(others)])}


def _words(panel: Axes, table: pd.DataFrame, rows: pd.DataFrame, at: float, shape: Look) -> None:
    """The share of the same texts that the best text baseline calls emotional, if it is known."""
    asked = {"metric": FOUND_EMOTIONAL if _named(rows) == _OWN else CALLED, "control": ""}
    asked |= words_of(rows, "task", "train_arm", "test_arm")
    words = best_words(table, select(table, **asked)) if holds(table, **asked) else None
    if words is None:
        return
    panel.vlines(at, numeral(words, "ci_low"), numeral(words, "ci_high"), color=shape.colour)
    panel.plot(
        at, numeral(words, "value"), shape.marker, color=shape.colour, markerfacecolor="white"
    )
