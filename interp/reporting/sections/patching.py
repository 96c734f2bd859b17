"""Patching: its map and curves, what may be said of them, and what to doubt."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import (
    Caution,
    Compared,
    Finding,
    Question,
    claim,
    number_of,
    p_of,
    rivals_of,
)
from interp.reporting.formatting import label, whole
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    POOLED,
    beside,
    column,
    counted,
    groups,
    holds,
    layers,
    matrix,
    measured,
    numbers,
    place,
    pooled,
    select,
    word,
    words_of,
)
from interp.reporting.style import (
    chance,
    colour_bar,
    curve,
    explain,
    facets,
    heat,
    key,
    layer_ticks,
    look,
    outer_labels,
    styled,
)


def patching_scores(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of `restoration` and the unit to print; of `logit_diff` where the table has none.

    Restoration is a share of the twins' difference: where the model itself shows no difference,
    there is no share to report.
    """
    if holds(table, metric="restoration", control=""):
        return select(table, metric="restoration"), "restoration"
    return select(table, metric="logit_diff"), "logit difference (nats)"


_SCALE = {
    "restoration": "0: nothing restored; 1: as in the text that the activation came from.",
    "logit difference (nats)": "The model itself tells these twins not apart, so there is no "
    "share to restore: the raw logit difference is shown.",
}


@styled
def patching_map(table: pd.DataFrame) -> Figure:
    """Restoration of the emotion by patching one site at one layer, as a map of site x layer, a
    panel a position and mode.
    """
    scores, unit = patching_scores(table)
    rows, is_pooled = pooled(select(scores, control=""))
    panels = groups(rows, ["position", "mode"])
    sites = list(dict.fromkeys(column(rows, "site")))
    layers = sorted(set(numbers(rows, "layer")))
    figure, axes = facets(len(panels), columns=2, height=0.36 * len(sites) + 1.0)
    limit = max(1.0, float(rows["value"].abs().max()))
    for panel, (name, own) in zip(axes, panels, strict=True):
        at = column(own, "site"), numbers(own, "layer")
        cells = matrix(*at, own["value"], sites, layers)
        unsure = (numbers(own, "ci_low") <= 0) & (numbers(own, "ci_high") >= 0)
        doubtful = matrix(*at, unsure.astype(float), sites, layers).to_numpy() == 1
        heat(panel, cells.rename(columns=whole), limit=limit, unsure=doubtful)
        panel.set_title(f"patched at: {label(name)}")
    outer_labels(axes, columns=2, x="layer", y="site")
    colour_bar(figure, axes, unit)
    over = (
        "all emotions together"
        if is_pooled
        else f"mean over {column(rows, 'emotion').nunique()} emotions"
    )
    explain(
        figure,
        title="How much of the twins' difference one patched activation moves",
        caption=f"{over.capitalize()}, {counted(rows)} pairs a cell. {_SCALE[unit]} Last: the "
        "text's last token; edit: the tokens in which the twins differ. A late layer at "
        "the last token only copies the output. In brackets: the interval holds zero.",
    )
    return figure


@styled
def patching_curves(table: pd.DataFrame) -> Figure:
    """Restoration by layer with intervals, beside patches from another scenario; a panel a site
    (and emotion, if not pooled), a row a mode.

    Sites patched at one layer only are left to the map, where there are others.
    """
    scores, unit = patching_scores(table)
    rows, _ = pooled(scores)
    rows = _at_several_layers(rows)
    panels = [
        (", ".join(filter(None, (name, mode))), own)
        for mode, of_mode in groups(rows, ["mode"])
        for name, own in groups(of_mode, ["site", "emotion"])
    ]
    columns = min(4, len(groups(rows, ["site", "emotion"])))
    figure, axes = facets(len(panels), columns=columns, height=2.3)
    positions = list(dict.fromkeys(column(rows, "position")))
    for panel, (name, own) in zip(axes, panels, strict=True):
        for _, line in groups(own, ["position", "control"]):
            control, position = word(line, "control"), word(line, "position")
            own_look = look(positions.index(position))
            text = f"{position}, another scenario" if control else position
            curve(panel, line, x="layer", look=own_look, text=text, line=":" if control else "-")
        chance(panel, 0.0, "zero")
        panel.set_title(label(name))
        layer_ticks(panel)
    axes[0].set_ylim(*_span(rows))
    outer_labels(axes, columns=columns, x="layer", y=unit)
    key(figure)
    explain(
        figure,
        title="How much of the twins' difference one patched layer moves",
        caption=f"{counted(rows)} pairs a point; bands are 95 % intervals, dotted lines' bands are "
        f"cut at the panel's edge. {_SCALE[unit]} "
        "Dotted: the activation came from another scenario's text of the same kind and "
        "emotion: what it restores is the emotion without this story.",
    )
    return figure


NESTED_RESTORATION = "nested_restoration"


def _at_several_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of sites with more than one layer; all where no site has."""
    n_layers = numbers(rows, "layer").groupby(column(rows, "site")).transform("nunique")
    return rows[n_layers > 1] if (n_layers > 1).any() else rows


def _span(rows: pd.DataFrame) -> tuple[float, float]:
    """The heights of all values, and of the intervals but for the control's, with a margin."""
    own = rows[column(rows, "control") == ""]
    heights = np.concatenate(
        [
            rows["value"].to_numpy(dtype=float),
            *(own[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high")),
            [0.0],
        ]
    )
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


ANSWERING = "last"
"""The position whose patches speak of a cause: what the model has computed by then. At the edited
tokens an early patch only writes the other twin's words.
"""
_NO_EFFECT = {
    Verdict.NOT_FOUND: "The readout does not tell the twins apart, so there is nothing to restore.",
    Verdict.INVERTED: "The emotional texts make their own words less likely, so there is nothing "
    "to restore.",
    Verdict.CANNOT_SAY: "Whether the readout tells the twins apart cannot be said: too few "
    "scenarios.",
}
_SHARE = (
    "the readout's difference ({over}; each fold of scenarios chose its site out of {n}, "
    "most often {place})"
)
_OF_A_PATCH = {
    Verdict.FOUND: f"{{put}} {{does}} this share of {_SHARE}.",
    Verdict.NOT_FOUND: f"{{put}} is not found to move {_SHARE}.",
    Verdict.INVERTED: f"{{put}} moves the wrong way {_SHARE}.",
    Verdict.CANNOT_SAY: f"{{put}}: what it moves of {_SHARE} has no interval.",
}
_PUT = {
    "noise": "The neutral text's state at the {where}, put into the emotional one,",
    "denoise": "The emotional text's state at the {where}, put into the neutral one,",
}
_DOES = {"noise": "takes away", "denoise": "brings back"}
_WHERE = {"last": "last token", "edit": "edited tokens"}


def findings(table: pd.DataFrame) -> list[Finding]:
    """One finding for each position and direction of patching; where nothing can be restored, one
    that says so.
    """
    if not holds(table, metric="restoration", control=""):
        return [_no_effect(table)]
    told = select(table, metric=NESTED_RESTORATION)
    rows, together = pooled(told)
    if not together:  # only some emotions have something to restore: the surest of them
        effects = select(table, metric="total_effect", emotion=list(column(told, "emotion")))
        surest = effects.iloc[[int(numbers(effects, "p_corrected").to_numpy().argmin())]]
        rows = select(told, emotion=word(surest, "emotion"))
    found = []
    for name, row in groups(rows, ["position", "mode"]):
        cells = select(
            table, metric="restoration", control="", **words_of(row, "emotion", "position", "mode")
        )
        whole_effect = beside(table, row, metric="total_effect", position="", site="", layer="")
        control = beside(table, row, metric="restoration", control="random_source")
        source = "another scenario's state, same place"
        compared = [(source, measured(control))] if control is not None else []
        compared += (
            [("difference to restore (nats)", measured(whole_effect))]
            if whole_effect is not None
            else []
        )
        compared += _reach(cells)
        over = "all emotions" if word(row, "emotion") in POOLED else word(row, "emotion")
        verdict = decide(number_of(row), nothing=0.0)
        what = f"patching at {name} restores the readout's difference"
        mode, position = word(row, "mode"), word(row, "position")
        where = _WHERE.get(position, position)
        told_of = {"over": over, "n": len(cells), "place": place(row), "mode": mode, "where": where}
        told_of |= {"put": _PUT.get(mode, _PUT["denoise"]).format(where=where)}
        told_of |= {"does": _DOES.get(mode, "brings back"), "compared": compared, "about": name}
        told_of["rivals"] = rivals_of(("source", "another scenario's state", control))
        if position == ANSWERING:
            told_of["answers"] = Question.CAUSAL
        found.append(claim("patching", what, verdict, row, _OF_A_PATCH, **told_of))
    return found


def _no_effect(table: pd.DataFrame) -> Finding:
    what = "the readout tells the twins apart"
    if not holds(table, metric="total_effect"):
        return Finding(
            stage="patching",
            what=what,
            verdict=Verdict.NOT_FOUND,
            sentence=_NO_EFFECT[Verdict.NOT_FOUND],
        )
    rows, _ = pooled(select(table, metric="total_effect"))
    row = rows.iloc[[0]]
    known = {"inverted": Verdict.INVERTED, "too few": Verdict.CANNOT_SAY}
    verdict = known.get(word(row, "effect"), Verdict.NOT_FOUND)
    return Finding(
        stage="patching",
        what=what,
        verdict=verdict,
        sentence=_NO_EFFECT[verdict],
        p=p_of(row, "p_corrected"),
        beside=(("difference (nats)", measured(row)),),
    )


def _reach(cells: pd.DataFrame) -> Compared:
    """The layers at which one patch of the stream restores more than half: where the emotion
    stands.
    """
    stream = cells[column(cells, "site") == "resid_post"]
    over = stream[numbers(stream, "value") > 0.5]
    if stream.empty:
        return []
    return [
        ("layers of resid_post that restore more than half", layers(over) if len(over) else "none")
    ]


PAIRS_WANTED = 8
"""The number of distinct pairs a cell below which an interval over pairs means little."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Cells that rest on few pairs."""
    few = int(table["n"].min()) if len(table) else 0
    if 0 < few < PAIRS_WANTED:
        text = (
            f"some cells rest on {few} pairs; fewer than {PAIRS_WANTED} distinct pairs make an "
            "interval unreliable."
        )
        yield Caution("patching", text)


SECTION = Section(
    name="patching",
    title="Patching: which activations carry the emotion to the answer?",
    question=(
        "One activation of one text is put into the run of its twin. Where the answer "
        "follows, the activation carries what the twins differ in."
    ),
    metrics=("restoration", "total_effect", "logit_diff"),
    per=("metric", "position", "mode", "site", "control"),
    figures=(
        Drawing(
            patching_map,
            reading=(
                "Red cells move the answer toward the text that the activation came from; in "
                "brackets it is not sure that they do. The difference tends to start at the edit "
                "and to reach the last token later."
            ),
        ),
        Drawing(
            patching_curves,
            reading=(
                "Where the dotted line is as high as the solid one, what is carried is shared by "
                "all scenarios of the emotion; what the solid line has above it belongs to the "
                "one story."
            ),
        ),
    ),
    findings=findings,
    cautions=cautions,
)
