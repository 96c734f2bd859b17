"""One look for all figures: colours that colour-blind readers can tell apart, a second cue for
each, and drawing pieces.

Figures are made from `matplotlib.figure.Figure` directly, so nothing is kept between two of them.
`styled` applies the settings while a function draws and restores the reader's own afterwards.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator

from interp.errors import DataError
from interp.reporting.form import form_now
from interp.reporting.formatting import label, whole
from interp.reporting.letters import families
from interp.reporting.select import numbers
from interp.reporting.sheet import (
    ABOVE,
    HEADROOM,
    PAD,
    TITLE,
    foot_line,
    make_room,
    panel_columns,
    write_texts,
)

P = ParamSpec("P")

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.titlesize": TITLE,
    "figure.titleweight": "bold",
    "font.family": families(),
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "interp",
    "text.parse_math": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
"""Fixed salt and no mathematics in labels: equal tables give equal bytes, and a dollar sign in a
name is a dollar sign.
"""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")
"""Okabe and Ito's palette, darkest contrasts first; its yellow is darkened, since it cannot be read
on white.
"""

GREY = "#6b6b6b"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LEAST_SHARE = 0.5
"""The share of its usual width below which a panel is not squeezed: it gets a row of its own."""
_LETTERS_AN_INCH = 13.5
_LINE_OF_KEY = 0.19  # inches, as is what stands above and below a legend
_ABOVE_KEY = 0.6


_FAR = 3.0
"""So many times as far as three of four intervals reach: there an interval is cut."""


class Look(NamedTuple):
    """How one thing is drawn: its colour and, as the second cue, its marker."""

    colour: str
    marker: str
    faint: bool = False


def look(place: int) -> Look:
    """The look of the thing at `place`; after eight, the same colours come with other markers."""
    return Look(COLOURS[place % 8], _MARKERS[(place + place // 8) % 8])


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function under `STYLE`, restore the settings afterwards, and lay the figure out
    once for all its files.
    """

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine(None)  # "none" would leave one that draws again for each file
            return figure

    return inside


_MARKERS_A_LINE = 15
_FAINT: dict[str, Any] = {"linewidth": 0.9, "markersize": 3.0, "alpha": 0.75}


def columns_for(n: int) -> int:
    """In how many columns `n` panels stand: four, or three where that leaves fewer gaps."""
    return 3 if n in (5, 6, 9) else 4


def facets(
    n: int, *, columns: int, height: float, width: float = 9.0, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure `width` inches wide with `n` panels of `height` inches in at most `columns` columns;
    two or fewer are higher. A form that is narrower has fewer columns.
    """
    columns = min(columns, n)
    if (asked := form_now().width) is not None:
        columns = max(1, min(columns, math.floor(asked * columns / (_LEAST_SHARE * width))))
    n_rows = math.ceil(n / columns)
    height = max(height, 2.6) if share and n <= 2 else height
    figure = Figure(figsize=(asked or width, n_rows * height + HEADROOM), layout="constrained")
    room = {"w_pad": PAD, "h_pad": PAD, "hspace": 0.03, "wspace": 0.03}
    figure.get_layout_engine().set(**room)  # type: ignore[union-attr]
    axes = [figure.add_subplot(n_rows, columns, 1)]
    for place in range(2, n + 1):
        shared = axes[0] if share else None
        axes.append(figure.add_subplot(n_rows, columns, place, sharex=shared, sharey=shared))
    return figure, axes


def outer_labels(figure: Figure, axes: Sequence[Axes], *, x: str, y: str) -> None:
    """Name the x axis of the lowest panel in each column and the y axis of the first in each row;
    hide repeated tick labels.
    """
    columns = panel_columns(figure)
    for place, panel in enumerate(axes):
        lowest, first = place + columns >= len(axes), place % columns == 0
        panel.set_xlabel(x if lowest else "")
        panel.set_ylabel(y if first else "")
        panel.tick_params(labelbottom=lowest, labelleft=first)


def layer_ticks(axes: Axes) -> None:
    """Whole numbers only: there is no layer 1.5."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def powers_of_two(axes: Axes, places: Sequence[float]) -> None:
    """A logarithmic x axis (linear where it holds zero or less) with a tick at each place that was
    measured. A single place stands in the middle: matplotlib finds no range for one.
    """
    positive = min(places) > 0
    if positive:
        axes.set_xscale("log", base=2)
    if len(places) == 1:
        (only,) = places
        axes.set_xlim(*((only / 2, only * 2) if positive else (only - 1, only + 1)))
    axes.set_xticks(places, [whole(place) for place in places])
    axes.minorticks_off()


def explain(
    figure: Figure, *, title: str, caption: str, rows: pd.DataFrame, unit: str = ""
) -> None:
    """Set the figure's title above, its caption (what is drawn, intervals) below, and at the foot
    what it was measured on: model, battery and n of the `rows` drawn, and what n counts (`unit`).

    To be called last: a form of another width makes room for all that.
    """
    form, foot = form_now(), foot_line(rows, unit)
    texts = write_texts(figure, form, title=title, caption=caption, foot=foot)
    if form.width is not None:
        make_room(figure, texts)


def key(figure: Figure) -> None:
    """One legend for all panels, each label once: beside them, or above them where the figure is
    narrow. Beside them it is in columns, for which the figure grows wider, where one would be
    higher than the figure.
    """
    found: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    width, height = figure.get_size_inches()
    if form_now().width is not None and width < ABOVE:
        columns = max(1, int(width / (0.6 + 0.07 * max(map(len, found), default=1))))
        _legend(figure, found, columns, loc="upper left")
        return
    columns = max(1, math.ceil(len(found) / max(1, int((height - _ABOVE_KEY) / _LINE_OF_KEY))))
    legend = _legend(figure, found, columns, loc="outside right upper")
    if columns > 1:
        each = legend.get_window_extent().width / figure.dpi / columns
        figure.set_size_inches(width + each * (columns - 1), height)


def _legend(
    figure: Figure,
    found: Mapping[str, Any],
    columns: int,
    *,
    loc: Literal["upper left", "outside right upper"],
) -> Legend:
    return figure.legend(found.values(), found.keys(), handlelength=2.6, ncols=columns, loc=loc)


def curve(
    axes: Axes, rows: pd.DataFrame, *, x: str, look: Look, text: str, line: str = "-"
) -> None:
    """Draw `value` against column `x` with its interval as a band (a whisker where there is one
    point only).

    A faint look has no band. A value that was not measured leaves a gap. Raises `DataError` when
    nothing was measured, or when two rows stand at the same place: then the rows answer different
    questions and a line through them would mean nothing.
    """
    places = numbers(rows, x).to_numpy()
    order = np.argsort(places, kind="stable")
    places, ordered = places[order], rows.iloc[order]
    if len(set(places)) != len(places):
        twice = next(place for place in places if (places == place).sum() > 1)
        raise DataError(
            f"{text!r} has several values at {x} {whole(float(twice))}: select one run, metric "
            "or method first."
        )
    value, low, high = (
        ordered[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high")
    )
    if np.isnan(value).all() or np.isnan(places).any():
        raise DataError(f"{text!r} has no measured value with its {x} to draw.")
    control = line != "-"
    axes.plot(
        places,
        value,
        linestyle=line,
        color=look.colour,
        marker=look.marker,
        markerfacecolor="white" if control or look.faint else look.colour,
        markevery=math.ceil(len(places) / _MARKERS_A_LINE),
        label=label(text),
        **(_FAINT if look.faint else {}),
    )
    if look.faint and len(places) > 1:
        return
    axes.fill_between(
        places, low, high, color=look.colour, alpha=0.08 if control else 0.16, linewidth=0
    )
    if len(places) == 1:
        axes.vlines(places, low, high, color=look.colour, linewidth=1.2)
        axes.lines[-1].set_markersize(8)


def cut_wide(axes: Axes, rows: pd.DataFrame) -> bool:
    """Where an interval is far wider than most of `rows`, cut it at the edge of the panels that
    share this one's heights, so that the others can be read; whether one was cut.
    """
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high"))
    below, above = value - low, high - value
    reach = np.concatenate([below, above])
    reach = reach[np.isfinite(reach)]
    most = _FAR * float(np.quantile(reach, 0.75)) if len(reach) else 0.0
    if not most or reach.max() <= most:
        return False
    below, above = (
        np.where(np.isfinite(one), np.minimum(one, most), 0.0) for one in (below, above)
    )
    bottom, top = (
        min(float(np.nanmin(value - below)), 0.0),
        max(float(np.nanmax(value + above)), 0.0),
    )
    room = 0.05 * (top - bottom)
    axes.set_ylim(bottom - room, top + room)
    return True


def chance(axes: Axes, height: float, text: str) -> None:
    """A dashed grey line across the panel at what nothing would score, named in the legend."""
    axes.axhline(height, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1, label=text, zorder=1)
