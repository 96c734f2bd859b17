"""Figures of transfer: every arm's probe on every arm's texts, and what is lost on the way."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.baselines import apart_from_words
from interp.reporting.decisions import Number
from interp.reporting.dots import arm_offset, dots, names_down
from interp.reporting.formatting import decimals, label
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.published import mark_published, told_published
from interp.reporting.select import (
    best,
    column,
    groups,
    holds,
    matrix,
    numeral,
    select,
    word,
)
from interp.reporting.sheet import panel_columns
from interp.reporting.style import (
    COLOURS,
    GREY,
    Look,
    explain,
    facets,
    key,
    look,
    styled,
)

LOST_IN_TRANSFER = "lost_in_transfer"
CALLED = "called_emotional"
"""What column `metric` says of a probe that lost something between two arms, and of texts that
evoke nothing and were called emotional.
"""

_PUBLISHED = ("keyword_rich", "keyword_free")
"""The arms between which a transfer was published."""


def words_at(table: pd.DataFrame, row: pd.DataFrame, *, metric: str = "auroc") -> pd.DataFrame:
    """What the text baselines reach where `row` was fitted and tested; perhaps no rows."""
    same = {name: word(row, name) for name in ("task", "across", "train_arm", "test_arm")}
    rows = select(table, metric=metric, **same)
    return rows[column(rows, "control") != ""]


def apart_when_carried(above: Number) -> str:
    """What is said of a probe that was carried and lies so far `above` the words, not surely."""
    less = "but less well than the words alone carry over"
    return apart_from_words(
        above, less=less, alike="not told apart from what the words alone carry over"
    )


@styled
def transfer_matrix(table: pd.DataFrame) -> Figure:
    """AUROC of the probe of each arm (down) on the texts of each arm (across), a panel per
    question.
    """
    rows = select(table, metric="auroc", control="", across="")
    panels = groups(rows, ["task"])
    fitted, tested = (list(dict.fromkeys(column(rows, n))) for n in ("train_arm", "test_arm"))
    figure, axes = facets(
        len(panels), columns=2, height=0.75 * len(fitted) + 1.2, width=5.0 * len(panels)
    )
    for panel, (name, own) in zip(axes, panels, strict=True):
        cells = matrix(
            column(own, "train_arm"), column(own, "test_arm"), own["value"] - 0.5, fitted, tested
        )
        heat(panel, cells, limit=0.5, written=False)
        _write_cells(panel, own, table, (fitted, tested))
        panel.set_title(label(name))
        panel.set_xlabel("tested on")
        panel.set_ylabel("fitted on" if panel is axes[0] else "")
    colour_bar(figure, axes, "AUROC less 0.5")
    explain(
        figure,
        title="A probe of each arm on the texts of every arm",
        caption="Texts of scenarios that the probe has not seen. In a cell: its AUROC, the 95 % "
        "interval, and the best text baseline of the same split. On the diagonal stands what can "
        "be read of an arm at all.",
        rows=rows,
        unit="texts",
    )
    return figure


def _write_cells(
    panel: Axes, rows: pd.DataFrame, table: pd.DataFrame, arms: tuple[list[str], list[str]]
) -> None:
    fitted, tested = arms
    for at in range(len(rows)):
        row = rows.iloc[[at]]
        value, low, high = (numeral(row, name) for name in ("value", "ci_low", "ci_high"))
        words = words_at(table, row)
        told = "" if words.empty else f"\nwords {decimals(numeral(best(words), 'value'), 2)}"
        panel.text(
            tested.index(word(row, "test_arm")),
            fitted.index(word(row, "train_arm")),
            f"{decimals(value, 2)}\n[{decimals(low, 2)}, {decimals(high, 2)}]{told}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if abs(value - 0.5) > 0.3 else "black",
        )


@styled
def transfer_gap(table: pd.DataFrame) -> Figure:
    """The probe of one arm on another's texts beside these texts' own probe and the words, a row
    per pair of arms and a panel per question.
    """
    rows = select(table, metric="auroc", control="", across="")
    across = rows[column(rows, "train_arm") != column(rows, "test_arm")]
    panels = groups(across, ["task"])
    n_rows = max(len(own) for _, own in panels)
    figure, axes = facets(len(panels), columns=2, height=0.42 * n_rows + 1.1, share=False)
    marked = []
    columns = panel_columns(figure)
    for place, (panel, (name, own)) in enumerate(zip(axes, panels, strict=True)):
        for height in range(len(own)):
            _dumbbell(panel, height, own.iloc[[height]], table)
        pairs = list(zip(column(own, "train_arm"), column(own, "test_arm"), strict=True))
        if _PUBLISHED in pairs:
            marked.append(task := word(own, "task"))
            at = float(pairs.index(_PUBLISHED))
            mark_published(panel, "transfer_gap", task=task, along="x", at=at)
        names = [f"{fit} → {test}" for fit, test in pairs]
        panel.set_yticks(range(len(own)), names if place % columns == 0 else [""] * len(own))
        panel.axvline(0.5, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1, label="chance 0.5")
        panel.set_xlabel("AUROC (macro, held out)")
        panel.set_title(label(name))
        panel.set_xlim(min(0.42, float(across["ci_low"].min()) - 0.03), 1.03)
        panel.set_ylim(len(own) - 0.5, -0.5)
    key(figure)
    explain(
        figure,
        title="What is lost when a probe is carried to another arm",
        caption="Whiskers are 95 % intervals over scenarios. Fitted on → tested on. What lies "
        "right of the black mark is not carried by words that both arms share."
        + told_published("transfer_gap", marked),
        rows=across,
        unit="texts",
    )
    return figure


def _dumbbell(panel: Axes, height: int, row: pd.DataFrame, table: pd.DataFrame) -> None:
    value, test = numeral(row, "value"), word(row, "test_arm")
    same = {"metric": "auroc", "control": "", "task": word(row, "task"), "test_arm": test}
    if holds(table, **same, train_arm=test):
        within = numeral(select(table, **same, train_arm=test), "value")
        panel.plot([value, within], [height] * 2, color="#c4c4c4", linewidth=3, zorder=1)
        panel.plot(
            within, height, "o", markerfacecolor="white", color=COLOURS[0], markersize=11,
            label="the tested arm's own probe",
        )  # fmt: skip
    dots(panel, row, [height], look(0), text="probe of the other arm")
    words = words_at(table, row)
    if not words.empty:
        told = "best text baseline, same split"
        at = numeral(best(words), "value")
        panel.plot(at, height, "|", color="black", markersize=13, markeredgewidth=2, label=told)


@styled
def transfer_alarms(table: pd.DataFrame) -> Figure:
    """The share of texts that evoke nothing and are called emotional, a panel per fitted arm."""
    rows = select(table, metric=CALLED, control="")
    panels = groups(rows, ["train_arm"])
    tested = list(dict.fromkeys(column(rows, "test_arm")))
    figure, axes = facets(len(panels), columns=2, height=0.45 * len(tested) + 1.1)
    for panel, (_, own) in zip(axes, panels, strict=True):
        for at in range(len(own)):
            row = own.iloc[[at]]
            height = tested.index(word(row, "test_arm"))
            words = best_words(table, row)
            told = (None, None) if at else ("probe", "best text baseline")
            dots(panel, row, [height + arm_offset(0, 2)], look(0), text=told[0])
            if words is not None:
                dots(panel, words, [height + arm_offset(1, 2)], Look(GREY, "s"), text=told[1])
        names_down(panel, tested)
        panel.set_xlim(-0.03, 1.03)
        panel.set_title(f"fitted on {word(own, 'train_arm')}")
        panel.set_xlabel("share called emotional")
    key(figure)
    explain(
        figure,
        title="False alarms: texts that evoke nothing and are called emotional",
        caption="Texts of scenarios that the probe has not seen; whiskers are 95 % intervals. "
        "neutral: the twins of the fitted arm. The text baseline is the one that tells that arm's "
        "twins best.",
        rows=rows,
        unit="texts",
    )
    return figure


def best_words(table: pd.DataFrame, row: pd.DataFrame) -> pd.DataFrame | None:
    """The row of `row`'s metric of the text baseline that reads the fitted arm best; None where the
    table has none.
    """
    arm = word(row, "train_arm")
    within = {"metric": "auroc", "task": word(row, "task"), "train_arm": arm, "test_arm": arm}
    rows = select(table, **within)
    rows = rows[column(rows, "control") != ""]
    if rows.empty:
        return None
    words = words_at(table, row, metric=word(row, "metric"))
    own = words[column(words, "control") == word(best(rows), "control")]
    return None if own.empty else own
