"""Contributions of heads and neurons: their figures, and what may be said of them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.chance import benjamini_hochberg
from interp.errors import DataError
from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import Finding, claim, number_of, p_of, told_p
from interp.reporting.formatting import label, whole
from interp.reporting.many import height_of, name_rows, too_many
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    best,
    column,
    groups,
    matrix,
    measured,
    numbers,
    numeral,
    select,
    word,
)
from interp.reporting.style import columns_for, explain, facets, key, look, outer_labels, styled

HEADS_SHOWN = 40
"""Heads in the map of many emotions."""

_TALLEST = 3.0
"""Inches of a map of heads, however many layers it has."""

TAIL_POINTS = 200
"""How many ranks of a long tail are drawn: a line on a logarithmic axis needs no more, and a large
model has 10^6 neurons.
"""


@styled
def head_contributions(table: pd.DataFrame) -> Figure:
    """Exact contribution of each head to the projection on an emotion's direction, a map of layer x
    head per emotion.
    """
    rows = select(table, metric="contribution", component="head")
    if too_many(rows):
        return _heads_of_many(rows)
    panels = groups(rows, ["emotion"])
    heads = [float(head) for head in range(int(numbers(rows, "index").max()) + 1)]
    layers = [float(layer) for layer in range(int(numbers(rows, "layer").max()), -1, -1)]
    columns = columns_for(len(panels))
    height = min(0.24 * len(layers), _TALLEST) + 0.95
    figure, axes = facets(len(panels), columns=columns, height=height)
    limit = float(rows["value"].abs().max()) or 1.0
    for panel, (name, own) in zip(axes, panels, strict=True):
        cells = matrix(numbers(own, "layer"), numbers(own, "index"), own["value"], layers, heads)
        cells = cells.rename(index=whole, columns=whole)
        heat(panel, cells, limit=limit, written=False)
        top = best(own.assign(value=own["value"].abs()))
        top = own.loc[top.index]
        panel.set_title(f"{label(name)}: {head_name(top)} {numeral(top, 'value'):+.2f}")
    outer_labels(figure, axes, x="head", y="layer")
    colour_bar(figure, axes, "contribution (residual units)")
    explain(
        figure,
        title="What each head adds along each emotion's direction",
        caption="Affective minus neutral. Above each map its largest "
        "head. Red: the head pushes the residual stream along the emotion's direction; "
        "blue: against it. Grey: not among the heads that the table lists. The direction is read"
        f"{_read_at(rows)}: layers behind it add nothing to it and are not shown.",
        rows=rows,
        unit="pairs",
    )
    return figure


def _heads_of_many(rows: pd.DataFrame) -> Figure:
    """A map emotion x head of the heads that do most for any emotion."""
    at = "L" + numbers(rows, "layer").map(whole) + "H" + numbers(rows, "index").map(whole)
    most = rows["value"].abs().groupby(at).max().sort_values(ascending=False, kind="stable")
    heads = list(most.index[:HEADS_SHOWN])
    emotions = list(dict.fromkeys(column(rows, "emotion")))
    cells = matrix(column(rows, "emotion"), at, rows["value"], emotions, heads)
    # emotions of one head beside each other
    first = cells.abs().fillna(0.0).to_numpy().argmax(axis=1)
    cells = cells.iloc[np.argsort(first, kind="stable")]
    emotions = list(cells.index)
    figure, axes = facets(1, columns=1, height=height_of(len(emotions)))
    heat(axes[0], cells, limit=float(most.iloc[0]) or 1.0, written=False)
    name_rows(axes[0], emotions, high=height_of(len(emotions)) - 1.0)
    axes[0].set_xticks(range(len(heads)), heads, rotation=90, ha="center")
    outer_labels(figure, axes, x="head", y="")
    colour_bar(figure, axes, "contribution (residual units)")
    explain(
        figure,
        title="What each head adds along each emotion's direction",
        caption=f"Affective minus neutral; the {len(heads)} heads that do most for any emotion, "
        f"of {len(most)} that the table lists. Red: the head pushes the residual stream along the "
        "emotion's direction; blue: against it. Grey: not among the emotion's listed heads.",
        rows=rows,
        unit="pairs",
    )
    return figure


def head_name(row: pd.DataFrame) -> str:
    """The first row's head in the field's short form: `L2H5`."""
    return f"L{whole(numeral(row, 'layer'))}H{whole(numeral(row, 'index'))}"


@styled
def neuron_tail(table: pd.DataFrame) -> Figure:
    """Size of the neurons' contributions by rank on logarithmic axes, a line per emotion."""
    rows = select(table, metric="contribution", component="neuron")
    figure, axes = facets(1, columns=1, height=3.4)
    tails = _tails(rows)
    if too_many(rows):
        tails = _median_tail(axes[0], tails)
    for place, (name, sizes) in enumerate(tails.items()):
        ranks = np.unique(np.geomspace(1, len(sizes), TAIL_POINTS).round().astype(int))
        style = look(place)
        every = max(1, len(ranks) // 8)
        axes[0].plot(
            ranks,
            sizes[ranks - 1],
            color=style.colour,
            marker=style.marker,
            markevery=(place % every, every),
            label=label(name),
        )
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    for axis in (axes[0].xaxis, axes[0].yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    outer_labels(
        figure,
        axes,
        x="rank of the neuron (1 is the largest)",
        y="|contribution| (residual units)",
    )
    key(figure)
    explain(
        figure,
        title="How large the neurons' contributions to each direction are, by rank",
        caption="Affective minus neutral; the neurons that the table "
        "lists. A steep start means that a handful add most; a flat line means that it is "
        "spread over many.",
        rows=rows,
        unit="pairs",
    )
    return figure


def _tails(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The sizes of each emotion's contributions, from the largest down."""
    tails = {}
    for name, own in groups(rows, ["emotion"]):
        tails[name] = np.sort(own["value"].abs().dropna().to_numpy())[::-1]
        if not tails[name].any():
            raise DataError(
                f"no neuron contributes anything to {name!r}: run the stage contributions again."
            )
    return tails


def _median_tail(panel: Axes, tails: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draw the middle nine tenths of the emotions as a band; what remains to be drawn as lines: the
    median emotion's tail and the three that start highest.
    """
    n = min(map(len, tails.values()))
    sizes = np.stack([tail[:n] for tail in tails.values()])
    low, median, high = np.quantile(sizes, (0.05, 0.5, 0.95), axis=0)
    ranks = np.arange(1, n + 1)
    text = f"nine tenths of {len(tails)} emotions"
    panel.fill_between(ranks, low, high, color="0.8", linewidth=0, label=text)
    highest = sorted(tails, key=lambda name: -float(tails[name][0]))[:3]
    return {"median": median, **{name: tails[name] for name in highest}}


@styled
def frozen_norm(table: pd.DataFrame) -> Figure:
    """Behind a post-norm: each listed component's share of the sum, with the norm's factor frozen,
    against its contribution, what zeroing it takes away; a panel per kind of component.
    """
    frozen = select(table, metric="frozen_contribution")
    panels = groups(frozen, ["component"])
    figure, axes = facets(len(panels), columns=2, height=3.4)
    for panel, (name, own) in zip(axes, panels, strict=True):
        exact = select(table, metric="contribution", component=word(own, "component"))
        keys = ["emotion", "layer", "index"]
        both = own.merge(exact, on=keys, suffixes=("_frozen", "")).dropna(
            subset=["value", "value_frozen"]
        )
        if both.empty:
            raise DataError("no contribution was measured: run the stage contributions again.")
        lines = [("an emotion", both)] if too_many(both) else groups(both, ["emotion"])
        for place, (emotion, points) in enumerate(lines):
            style = look(place)
            panel.plot(
                points["value"],
                points["value_frozen"],
                color=style.colour,
                marker=style.marker,
                linestyle="",
                markersize=4,
                label=label(emotion),
            )
        low, high = both["value"].min(), both["value"].max()
        panel.plot([low, high], [low, high], color="0.4", linestyle="--", label="equal")
        error = (both["value_frozen"] - both["value"]).abs().max() / both["value"].abs().max()
        r = both["value"].corr(both["value_frozen"]) if len(both) > 1 else float("nan")
        panel.set_title(f"{label(name)}: r {r:.2f}, error up to {100 * error:.0f} %")
    outer_labels(
        figure,
        axes,
        x="contribution: lost when zeroed (residual units)",
        y="share with the norm frozen",
    )
    key(figure)
    explain(
        figure,
        title="What a frozen norm says of a component, and what the model would lose",
        caption="Affective minus neutral; the components that the "
        "table lists. This model passes each sublayer's output through an RMS norm "
        "before it is added. Error: as a share of the largest contribution.",
        rows=frozen,
        unit="pairs",
    )
    return figure


def _read_at(rows: pd.DataFrame) -> str:
    """At which layer the directions lie along which it was measured; "" for older tables."""
    if "direction_layer" not in rows:
        return ""
    return f" at layer {whole(numeral(rows, 'direction_layer'))}"


_HIGHEST = "the highest is {name}, for {emotion} (along the direction{read}, residual units)"
_OF_A_PART = {
    Verdict.FOUND: "For {held} of {n} emotions the {kind} that writes most does so{where}; "
    f"{_HIGHEST}.",
    Verdict.NOT_FOUND: "For no emotion the {kind} that ranks first is found to write it{where}; "
    f"{_HIGHEST}.",
    Verdict.INVERTED: "The {kind} that ranks first writes against the direction{where}; "
    f"{_HIGHEST}.",
    Verdict.CANNOT_SAY: "Whether the {kind} that ranks first writes the emotion{where} cannot be "
    f"said; {_HIGHEST}.",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """The first of each emotion, as ranked on one half of the pairs, and what it does on the
    other.
    """
    found = []
    for kind, rows in groups(select(table, metric="contribution"), ["component"]):
        firsts = rows[numbers(rows, "rank") == 1]
        corrected = _corrected(firsts)
        verdicts = {at: _writes(firsts.loc[[at]], corrected.get(at)) for at in firsts.index}
        surely = [at for at, verdict in verdicts.items() if verdict is Verdict.FOUND]
        top = best(firsts.loc[surely] if surely else firsts)
        p = corrected.get(top.index[0])
        name = (
            head_name(top)
            if kind == "head"
            else f"{whole(numeral(top, 'index'))} of layer {whole(numeral(top, 'layer'))}"
        )
        where = (
            ", on pairs that did not rank it"
            if word(top, "half") == "report"
            else ", on the pairs that ranked it"
        )
        second = rows[
            (column(rows, "emotion") == word(top, "emotion")) & (numbers(rows, "rank") == 2)
        ]
        compared = [("second for this emotion", measured(second))] if len(second) else []
        compared += (
            []
            if p is None
            else [(f"sign flips, corrected for {len(firsts)} emotions", told_p(top, p))]
        )
        told = {
            "held": len(surely),
            "n": len(firsts),
            "kind": kind,
            "where": where,
            "name": name,
            "emotion": word(top, "emotion"),
            "read": _read_at(top),
            "about": kind,
        }
        what = _claimed(kind)
        verdict = verdicts[top.index[0]]
        found.append(
            claim("contributions", what, verdict, top, _OF_A_PART, p=p, compared=compared, **told)
        )
    return found


def _writes(row: pd.DataFrame, p: float | None) -> Verdict:
    return decide(number_of(row), nothing=0.0, p=p, least_p=p_of(row, "least_p"))


def _claimed(kind: str) -> str:
    """What is claimed of the first component of a kind."""
    return f"the {kind} that ranks first writes the emotion"


def _corrected(rows: pd.DataFrame) -> dict[int, float]:
    """The rows' p, corrected for there being several (Benjamini & Hochberg); none where the table
    has none.
    """
    if "p" not in rows or numbers(rows, "p").isna().any():
        return {}
    return dict(
        zip(rows.index, benjamini_hochberg(numbers(rows, "p").to_numpy()).tolist(), strict=True)
    )


SECTION = Section(
    name="contributions",
    title="Contributions: which heads and neurons write the emotion?",
    question=(
        "What setting each attention head and each neuron to zero takes from the residual "
        "stream along the emotion's direction, computed exactly."
    ),
    metrics=("contribution",),
    per=("emotion", "component"),
    figures=(
        Drawing(
            head_contributions,
            reading="Dark red heads push along the direction most. A contribution is not yet a "
            "cause: see ablation.",
            needs={"component": "head"},
        ),
        Drawing(
            neuron_tail,
            reading="Each line falls from its largest neuron to its smallest; both axes are "
            "logarithmic.",
            needs={"component": "neuron"},
        ),
        Drawing(
            frozen_norm,
            reading=(
                "On the dashed line both say the same. Far from it, a share of the sum is not what "
                "the model would lose: use the contribution."
            ),
            needs={"metric": "frozen_contribution"},
        ),
    ),
    findings=findings,
    claims=tuple(_claimed(kind) for kind in ("head", "neuron")),
)
