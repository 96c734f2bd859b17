"""The sheet that a figure's panels stand on: its title, caption and foot line, and the room that
they and the legend take.
"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

import interp
from interp.reporting.form import Form
from interp.reporting.formatting import label
from interp.reporting.select import column, counted

HEADROOM = 1.1
"""Inches of a figure's height beside its panels, as it is designed: title, caption, axis."""

PAD = 0.06
"""Inches between what stands in a figure."""

ABOVE = 6.0
"""Inches below which a figure's legend stands above its panels, and not beside them."""

TITLE, CAPTION, FOOT = 11.0, 8.5, 7.0
"""Sizes of the letters, in points."""

_AXIS = 0.55
_LETTERS_AN_INCH = 13.5
"""Of the caption's size."""


def foot_line(rows: pd.DataFrame, unit: str) -> str:
    """What a figure was measured on, as text: model, battery, n (and what it counts), and the
    version that drew it. What the rows do not say is left out.
    """
    told = [" and ".join(_named(rows, "model"))]
    told += [" and ".join(f"battery {name}" for name in _named(rows, "battery"))]
    told += [f"{counted(rows)} {unit}".rstrip(), f"interp\u00a0{interp.__version__}"]
    return " · ".join(filter(None, told))


def _named(rows: pd.DataFrame, name: str) -> list[str]:
    return [label(text) for text in dict.fromkeys(column(rows, name)) if text]


def write_texts(figure: Figure, form: Form, *, title: str, caption: str, foot: str) -> list[Text]:
    """Put the title above, the caption below and the foot under it, wrapped to the figure's width;
    the texts that take room there.
    """
    lines = textwrap.wrap(foot, _letters(figure, FOOT))
    if not form.titles:
        return [_lowest(figure, lines, size=FOOT, colour="#6b6b6b")]
    figure.text(
        0.01,
        PAD / figure.get_size_inches()[1],
        "\n".join(lines),
        fontsize=FOOT,
        color="#6b6b6b",
        va="bottom",
    )
    above = [title] if form.width is None else textwrap.wrap(title, _letters(figure, TITLE))
    told = textwrap.wrap(caption, _letters(figure, CAPTION)) + [""] * len(lines)
    return [
        figure.suptitle("\n".join(above), x=0.01, ha="left"),
        _lowest(figure, told, size=CAPTION, colour="#333333"),
    ]


def _lowest(figure: Figure, lines: list[str], *, size: float, colour: str) -> Text:
    """The text that stands lowest of those for which the layout leaves room."""
    return figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=size, color=colour)


def make_room(figure: Figure, texts: list[Text]) -> None:
    """In a form of another width: wrap the panels' titles, seat the legend between the title and
    the panels, and give every text its height, so that the panels keep theirs.
    """
    width, designed = map(float, figure.get_size_inches())
    figure.draw_without_rendering()  # now it is known how wide a panel is
    for panel in figure.axes:
        lines = panel.get_title(loc="left").split("\n")
        most = max(8, int(_LETTERS_AN_INCH * width * panel.get_position().width))
        panel.set_title("\n".join(part for line in lines for part in textwrap.wrap(line, most)))
    legends = figure.legends if width < ABOVE else []
    seats = sum(_height(one) + 2 * PAD for one in legends)
    high = designed - HEADROOM + _AXIS + seats + sum(_height(text) for text in texts)
    figure.set_size_inches(width, high)
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, 0, 1, 1 - seats / high))
    title = sum(_height(text) for text in texts[:-1])
    for legend in legends:
        legend.set_bbox_to_anchor((0, 1 - (title + 2 * PAD) / high), figure.transFigure)
    for text in figure.texts:
        text.set_y(PAD / high)


def panel_columns(figure: Figure) -> int:
    """In how many columns a figure's panels stand."""
    place = figure.axes[0].get_subplotspec()
    return 1 if place is None else int(place.get_gridspec().ncols)


def _height(artist: Text | Legend) -> float:
    """Inches of a text or a legend from top to bottom."""
    figure = artist.get_figure(root=True)
    return float(artist.get_window_extent().height / figure.dpi)  # type: ignore[union-attr]


def _letters(figure: Figure, size: float) -> int:
    """How many letters of this size stand in a line of the figure."""
    return int(_LETTERS_AN_INCH * CAPTION / size * figure.get_size_inches()[0])
