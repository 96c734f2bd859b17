"""Directions: how well they separate, how stable they are, how alike, and what may be said of
them.
"""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.baselines import NESTED
from interp.reporting.decisions import Verdict, decide, opposite
from interp.reporting.finding import Caution, Finding, claim, number_of, p_of
from interp.reporting.formatting import label, p_value, whole
from interp.reporting.many import (
    MapTexts,
    emotion_maps,
    name_square,
    ordered,
    some_of,
    square_height,
    too_many,
)
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.section import Drawing, Section
from interp.reporting.sections.probes import UNCHOSEN
from interp.reporting.select import (
    beside,
    best,
    column,
    groups,
    holds,
    mean_off_diagonal,
    measured,
    numeral,
    parts,
    place,
    select,
    square,
    word,
)
from interp.reporting.style import (
    chance,
    columns_for,
    curve,
    explain,
    facets,
    key,
    layer_ticks,
    look,
    outer_labels,
    styled,
)


@styled
def direction_separation(table: pd.DataFrame) -> Figure:
    """Held-out AUROC of the projection on each emotion's direction, by layer, a panel per
    emotion.
    """
    return _by_emotion(
        table,
        "separation_auroc",
        nothing=0.5,
        y="AUROC (held out)",
        title="How well each emotion's direction separates texts it has not seen",
        reading="A value of 1 means that every affective text lies further along the direction "
        "than every neutral one.",
    )


@styled
def direction_stability(table: pd.DataFrame) -> Figure:
    """Cosine between the directions of two halves of the scenarios, by layer, a panel per
    emotion.
    """
    return _by_emotion(
        table,
        "split_half_cosine",
        nothing=0.0,
        y="cosine (halves)",
        title="How stable each emotion's direction is between two halves of the scenarios",
        reading="Near 1 the direction hardly depends on which scenarios it was made from; near 0 "
        "it is mostly noise.",
    )


def _by_emotion(
    table: pd.DataFrame, metric: str, *, nothing: float, y: str, title: str, reading: str
) -> Figure:
    rows = select(table, metric=metric)
    lines = ["site", "position", "method"]
    if too_many(rows):
        told = MapTexts(title, y, nothing, "layer", "layer", reading, "per cell")
        return emotion_maps(rows, lines, told)
    panels = groups(rows, ["emotion"])
    columns = columns_for(len(panels))
    figure, axes = facets(len(panels), columns=columns, height=1.9)
    for panel, (name, own) in zip(axes, panels, strict=True):
        for at, (line_name, line) in enumerate(groups(own, lines)):
            curve(panel, line, x="layer", look=look(at), text=line_name)
        chance(panel, nothing, f"chance {whole(nothing)}")
        panel.set_title(label(name))
        layer_ticks(panel)
    outer_labels(figure, axes, x="layer", y=y)
    key(figure)
    bands = "bands are 95 % intervals" if rows["ci_low"].notna().any() else "there are no intervals"
    caption = f"A panel per emotion; {bands}. {reading}"
    explain(figure, title=title, caption=caption, rows=rows, unit="per panel")
    return figure


@styled
def direction_cosines(table: pd.DataFrame) -> Figure:
    """Cosine of every emotion's direction (column `emotion`) with every other's (column `target`),
    a panel per site and layer.
    """
    rows = select(table, metric="cosine")
    panels = groups(rows, ["layer", "site", "position", "method"])
    names = list(dict.fromkeys([*column(rows, "emotion"), *column(rows, "target")]))
    names, panels = ordered(panels[-1][1], names), some_of(panels, len(names))
    wide = 9.0 if len(panels) > 1 else 6.4
    figure, axes = facets(len(panels), columns=2, height=square_height(len(names)), width=wide)
    for panel, (_, own) in zip(axes, panels, strict=True):
        heat(panel, square(own, names), limit=1.0)
        name_square(panel, names)
        panel.set_title(f"{place(own)}, mean off the diagonal {mean_off_diagonal(own)}")
    outer_labels(figure, axes, x="", y="")
    colour_bar(figure, axes, "cosine")
    centred = (
        f" Centring alone forces a mean of {-1 / max(len(names) - 1, 1):.3f} on "
        f"{len(names)} group-centred directions."
    )
    explain(
        figure,
        title="How alike the emotions' directions are",
        caption="Directions made against the same neutral texts share a common "
        "part, which raises every cosine."
        + (centred if holds(rows, method="group_centred") else ""),
        rows=rows,
    )
    return figure


_OF_A_DIRECTION = {
    Verdict.FOUND: "The {rank} of {n} directions, {emotion}, separates held-out texts ({how}).",
    Verdict.NOT_FOUND: "The {rank} of {n} directions, {emotion}, is not found to separate "
    "held-out texts ({how}).",
    Verdict.INVERTED: "The {rank} of {n} directions, {emotion}, separates held-out texts the "
    "wrong way round ({how}).",
    Verdict.CANNOT_SAY: "Whether the {rank} of {n} directions, {emotion}, separates held-out "
    "texts cannot be said ({how}).",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Two findings: the direction that separates held-out texts least, and the one that does
    most.
    """
    nested = holds(table, metric=NESTED)
    rows = select(table, metric=NESTED if nested else "separation_auroc")
    tops = sorted(
        (best(own) for _, own in groups(rows, ["emotion"])), key=lambda top: number_of(top).value
    )
    verdicts = [_separates(top, len(tops)) if nested else Verdict.CANNOT_SAY for top in tops]
    found = []
    for at, rank in zip((0, -1), _RANKS, strict=True):
        top, p = tops[at], p_of(tops[at], "p_corrected")
        stable = beside(table, top, metric="split_half_cosine")
        compared = [("chance", "0.5")] + (
            [("cosine between halves", measured(stable))] if stable is not None else []
        )
        compared += (
            []
            if p is None
            else [(f"that twins differ nowhere, corrected for {len(tops)} emotions", p_value(p))]
        )
        compared += (
            [("directions that separate", f"{verdicts.count(Verdict.FOUND)} of {len(tops)}")]
            if nested
            else []
        )
        how = (
            f"AUROC; each fold chose its layer, most often {place(top)}"
            if nested
            else f"AUROC at {place(top)}; {UNCHOSEN}"
        )
        emotion = word(top, "emotion")
        told = {"rank": rank, "n": len(tops), "emotion": emotion, "how": how}
        told["p_below"] = _below(top, len(tops))
        what, strongest = _claimed(rank), _claimed("strongest")
        told["after"] = "" if what == strongest else f"directions: {strongest}"
        found.append(
            claim(
                "directions",
                what,
                verdicts[at],
                top,
                _OF_A_DIRECTION,
                p=p,
                compared=compared,
                **told,
            )
        )
    return found


_RANKS = ("weakest", "strongest")


def _claimed(rank: str) -> str:
    """What is claimed of the direction of this rank."""
    return f"the {rank} direction separates held-out texts"


def _separates(top: pd.DataFrame, n: int) -> Verdict:
    p, below, least_p = p_of(top, "p_corrected"), _below(top, n), p_of(top, "least_p")
    return decide(number_of(top), nothing=0.5, p=p, p_below=below, least_p=least_p)


def _below(top: pd.DataFrame, n: int) -> float | None:
    """The p that one of `n` directions separates the wrong way round, corrected for their number
    (Bonferroni).
    """
    below = opposite(p_of(top, "p"))
    return None if below is None else min(1.0, n * below)


STABLE = 0.5
"""The cosine between halves of the scenarios below which a direction is called unstable."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Directions that other scenarios would turn."""
    emotions = parts(table, "emotion", metric="separation_auroc")
    unstable = []
    for emotion, rows in emotions:
        stable = beside(table, best(rows), metric="split_half_cosine")
        if stable is not None and numeral(stable, "value") < STABLE:
            unstable.append(f"{emotion} ({measured(stable)})")
    if unstable:
        text = (
            f"of {len(emotions)} emotions {len(unstable)} have an unstable best direction (cosine "
            f"of two halves below {STABLE:g}): {', '.join(unstable)}."
        )
        yield Caution("directions", text)


SECTION = Section(
    name="directions",
    title="Directions: is there one axis for each emotion?",
    question=(
        "Each emotion's direction leads from the neutral twins to its texts: the mean of their "
        "differences, unless the column `method` names another way. A useful direction separates "
        "texts that it was not made from, and hardly changes when other scenarios are used."
    ),
    metrics=("separation_auroc", "split_half_cosine"),
    per=("emotion", "metric"),
    figures=(
        Drawing(
            direction_separation,
            reading="Higher is better; 0.5 is chance. Look for the first layer at which the line "
            "settles.",
        ),
        Drawing(
            direction_stability,
            reading=(
                "Higher is steadier. Do not interpret or steer with a direction whose two halves "
                "disagree."
            ),
        ),
        Drawing(
            direction_cosines,
            reading=(
                "Red: two emotions' directions point the same way; blue: they oppose each other; "
                "white: unrelated."
            ),
            table="cosines",
        ),
    ),
    findings=findings,
    claims=tuple(_claimed(rank) for rank in _RANKS),
    cautions=cautions,
)
