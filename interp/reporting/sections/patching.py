"""Patching: its map and curves, what may be said of them, and what to doubt."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import Compared, Finding, claim, number_of, p_of
from interp.reporting.formatting import label, p_value, whole
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
    words,
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
        cells = matrix(column(own, "site"), numbers(own, "layer"), own["value"], sites, layers)
        heat(panel, cells, rows=sites, columns=[whole(layer) for layer in layers], limit=limit)
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
        title="Where putting in one activation brings the emotion",
        caption=f"{over.capitalize()}, {counted(rows)} pairs a cell. {_SCALE[unit]} Last: the "
        "text's last token; edit: the tokens in which the twins differ. A late layer at "
        "the last token only copies the output.",
    )
    return figure


@styled
def patching_curves(table: pd.DataFrame) -> Figure:
    """Restoration by layer with intervals, beside patches from a random source; a panel a site (and
    emotion, if not pooled).
    """
    scores, unit = patching_scores(table)
    rows, _ = pooled(scores)
    panels = groups(rows, ["site", "emotion", "mode"])
    figure, axes = facets(len(panels), columns=3, height=2.3)
    positions = list(dict.fromkeys(column(rows, "position")))
    for panel, (name, own) in zip(axes, panels, strict=True):
        for position, line in groups(own, ["position", "control"]):
            control = word(line, "control")
            own_look = look(positions.index(word(line, "position")))
            curve(
                panel, line, x="layer", look=own_look, text=position, line=":" if control else "-"
            )
        chance(panel, 0.0, "zero")
        panel.set_title(label(name))
        layer_ticks(panel)
    outer_labels(axes, columns=3, x="layer", y=unit)
    key(figure)
    explain(
        figure,
        title="How much of the emotion one patched layer brings",
        caption=f"{counted(rows)} pairs a point; bands are 95 % intervals. {_SCALE[unit]} "
        "Dotted: the activation came from another scenario's text of the same kind and "
        "emotion: what it restores is the emotion without this story.",
    )
    return figure


NESTED = "nested_restoration"
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
    Verdict.FOUND: f"Patching at {{name}} restores this share of {_SHARE}.",
    Verdict.NOT_FOUND: f"Patching at {{name}} is not found to restore {_SHARE}.",
    Verdict.INVERTED: f"Patching at {{name}} moves the wrong way {_SHARE}.",
    Verdict.CANNOT_SAY: f"What patching at {{name}} restores of {_SHARE} has no interval.",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """One finding for each position and direction of patching; where nothing can be restored, one
    that says so.
    """
    if not holds(table, metric="restoration", control=""):
        return [_no_effect(table)]
    told = select(table, metric=NESTED)
    rows, together = pooled(told)
    if not together:  # only some emotions have something to restore: the surest of them
        effects = select(table, metric="total_effect", emotion=list(column(told, "emotion")))
        surest = effects.iloc[[int(numbers(effects, "p_corrected").to_numpy().argmin())]]
        rows = select(told, emotion=word(surest, "emotion"))
    found = []
    for name, row in groups(rows, ["position", "mode"]):
        cells = select(
            table, metric="restoration", control="", **words(row, "emotion", "position", "mode")
        )
        whole_effect = beside(table, row, metric="total_effect", position="", site="", layer="")
        control = beside(table, row, metric="restoration", control="random_source")
        compared = [("random source, same place", measured(control))] if control is not None else []
        compared += (
            [("difference to restore (nats)", measured(whole_effect))]
            if whole_effect is not None
            else []
        )
        compared += _reach(cells)
        over = "all emotions" if word(row, "emotion") in POOLED else word(row, "emotion")
        p = p_of(row, "p")
        compared += [] if p is None else [(word(row, "p_of"), p_value(p))]
        verdict = decide(number_of(row), nothing=0.0, p=p)
        what = f"patching at {name} restores the readout's difference"
        told_of = {"name": name, "over": over, "n": len(cells), "place": place(row)}
        found.append(
            claim("patching", what, verdict, row, _OF_A_PATCH, p=p, compared=compared, **told_of)
        )
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


def cautions(table: pd.DataFrame) -> Iterator[str]:
    """Cells that rest on few pairs."""
    few = int(table["n"].min()) if len(table) else 0
    if 0 < few < PAIRS_WANTED:
        yield (
            f"patching: some cells rest on {few} pairs; fewer than {PAIRS_WANTED} distinct "
            "pairs make an interval unreliable."
        )


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
                "Red cells carry the emotion. It tends to start at the edit and to reach the "
                "last token later."
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
