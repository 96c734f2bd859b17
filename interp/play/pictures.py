"""Figures of one text, read at every layer: functions of the table that `by_layer` gives."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.formatting import label
from interp.reporting.heat_map import FULL
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.style import chance, curve, explain, facets, key, layer_ticks, look, styled

MOST_COLUMNS = 48
"""Tokens that a map shows, at most: the last ones."""

LINEAR = 3.0
"""Natural lengths at which an axis begins to be logarithmic. In the first layers a length is so
short that a share may be a hundred, beside which nothing else would be seen.
"""

SHARE = "share of the natural length"


@styled
def token_map(table: pd.DataFrame, emotion: str) -> Figure:
    """Every token of a text at every layer: its share of one emotion's natural length."""
    rows = table[table["emotion"] == emotion]
    cells = rows.pivot(index="layer", columns="token", values="value").sort_index(ascending=False)
    pieces = dict(zip(rows["token"], rows["piece"], strict=True))
    left_out = max(0, cells.shape[1] - MOST_COLUMNS)
    cells = cells.iloc[:, left_out:]
    shown = [label(pieces[token].strip() or "␣") for token in cells.columns]
    figure, (panel,) = facets(1, columns=1, height=0.2 * len(cells) + 1.6, width=8.0)
    heat(panel, cells.set_axis(shown, axis=1).rename(index=str), limit=FULL, written=False)
    panel.set_xticks(range(len(shown)), shown, rotation=55, ha="right", fontsize=7.5)
    panel.set_xlabel("token")
    panel.set_ylabel("layer")
    colour_bar(figure, [panel], SHARE)
    first = f" The first {left_out} tokens are not shown." if left_out else ""
    explain(
        figure,
        title=f"How each token reads along {label(emotion)}, layer by layer",
        caption="0 is the mean of what the direction was fitted against, 1 the emotion's own "
        f"held-out texts. Grey: no unit, at a sink and where the direction's length on held-out "
        f"scenarios is not surely above zero.{first} Each layer has a direction of its own. The "
        f"colour is full at {FULL:g}.",
        rows=rows,
        unit="text",
    )
    return figure


@styled
def last_token_curves(table: pd.DataFrame) -> Figure:
    """The text's last token by layer, a line for each emotion."""
    rows = table[table["token"] == table["token"].max()]
    figure, (panel,) = facets(1, columns=1, height=3.0, width=8.0)
    for at, (emotion, own) in enumerate(rows.groupby("emotion")):
        if own["value"].notna().any():
            curve(panel, own, x="layer", look=look(at), text=str(emotion))
    chance(panel, 0.0, "fitted against: 0")
    _wide_axis(panel)
    layer_ticks(panel)
    panel.set_xlabel("layer")
    panel.set_ylabel(SHARE)
    key(figure)
    explain(
        figure,
        title="The text's last token, layer by layer",
        caption="Directions are fitted at a text's last token, where the unit holds: 1 is the "
        "emotion's own held-out texts. No point: no unit, as the direction's length on held-out "
        f"scenarios is not surely above zero. Beyond {LINEAR:g} the axis is logarithmic. One "
        "text has no interval and shows nothing about others.",
        rows=rows,
        unit="text",
    )
    return figure


def _wide_axis(panel: Axes) -> None:
    """Shares of any size on one axis, which begins to be logarithmic at `LINEAR`."""
    low, high = panel.get_ylim()
    panel.set_yscale("symlog", linthresh=LINEAR)
    panel.set_ylim(min(low, -1.2), max(high, 1.2))
    ticks = [sign * size for size in (0.5, 1, 2, 3, 10, 30, 100, 300) for sign in (-1, 1)]
    shown = [0.0, *(tick for tick in ticks if min(low, -1.2) <= tick <= max(high, 1.2))]
    panel.set_yticks(shown, [f"{tick:g}" for tick in shown])
    panel.minorticks_off()


def surely(table: pd.DataFrame) -> pd.DataFrame:
    """The table without the shares of a natural length that is not surely above zero: near zero it
    makes anything large.
    """
    return table.assign(value=table["value"].where(table["sure"]))
