"""Ablation: its figures, what may be said of it, and what to doubt."""

import math
from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from interp.reporting.decisions import LEVEL, Number, Verdict, decide
from interp.reporting.finding import (
    Caution,
    Compared,
    Finding,
    Question,
    claim,
    number_of,
    p_of,
    rivals_of,
    told_p,
)
from interp.reporting.formatting import label, number, p_value, told_number, whole
from interp.reporting.k_curves import k_curves
from interp.reporting.many import (
    name_square,
    ordered,
    square_height,
)
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    POOLED,
    beside,
    best,
    column,
    groups,
    holds,
    least,
    mean_off_diagonal,
    measured,
    numbers,
    numeral,
    parts,
    select,
    square,
    word,
    words_of,
)
from interp.reporting.specificity import by_signs, needed_claim, of_its_own, own_claim
from interp.reporting.style import (
    explain,
    facets,
    outer_labels,
    styled,
)


@styled
def ablation_projection(table: pd.DataFrame) -> Figure:
    """Loss of the projection on the emotion's direction when its top k components are ablated,
    beside random k.
    """
    return k_curves(
        table,
        "projection_drop",
        "drop (natural lengths)",
        "What ablating the top components takes from the direction",
    )


@styled
def ablation_label(table: pd.DataFrame) -> Figure:
    """Change of the log-probability of the emotion's words when its top k components are ablated,
    beside random k.
    """
    return k_curves(
        table,
        "label_logprob_change",
        "log-prob. change (nats)",
        "What ablating the top components does to the emotion's words",
    )


@styled
def ablation_specificity(table: pd.DataFrame) -> Figure:
    """Effect of ablating one emotion's components on every emotion's words: emotion ablated for x
    emotion measured.
    """
    rows = select(table, metric="label_logprob_change", control="")
    rows = rows[~column(rows, "target").isin(POOLED) & ~column(rows, "emotion").isin(POOLED)]
    rows = rows[
        numbers(rows, "k") == numbers(rows, "k").groupby(column(rows, "component")).transform("max")
    ]
    panels = groups(select(rows), ["component", "mode"])
    names = list(dict.fromkeys([*column(rows, "emotion"), *column(rows, "target")]))
    names = ordered(panels[0][1], names)
    wide = 9.0 if len(panels) > 1 else 6.4
    figure, axes = facets(len(panels), columns=2, height=square_height(len(names)), width=wide)
    limit = float(rows["value"].abs().max()) or 1.0
    for panel, (name, own) in zip(axes, panels, strict=True):
        heat(panel, square(own, names), limit=limit)
        name_square(panel, names)
        same = own[column(own, "emotion") == column(own, "target")]["value"].mean()
        panel.set_title(
            f"{label(name)}, top {whole(numeral(own, 'k'))}: own {number(same)}, others "
            f"{mean_off_diagonal(own)}"
        )
    outer_labels(figure, axes, x="emotion measured", y="emotion ablated")
    colour_bar(figure, axes, "change of log-probability (nats)")
    explain(
        figure,
        title="Whether ablating one emotion's components spares the others",
        caption="A blue diagonal on a white field: each emotion "
        "has components of its own. A blue row or column: the components are shared, or "
        "the damage is general.",
        rows=rows,
        unit="pairs per cell",
    )
    return figure


_UNITS = "(log-probability, nats; all {n} emotions together)"
_OF_ABLATION = {
    Verdict.FOUND: "Ablating the top {k} {kind}s of each emotion lowers its own words on average, "
    f"more than random {{kind}}s do {_UNITS}.",
    Verdict.NOT_FOUND: "Ablating the top {k} {kind}s of each emotion is not found to lower its own "
    f"words more than random {{kind}}s do {_UNITS}.",
    Verdict.INVERTED: "Ablating the top {k} {kind}s of each emotion raises its own words "
    f"on average {_UNITS}.",
    Verdict.CANNOT_SAY: "Whether ablating the top {k} {kind}s of each emotion lowers its own words "
    f"more than random ones cannot be said {_UNITS}.",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the most components take from their own emotion's words: the most of those numbers that
    random components stand beside, where any has them; and whether those are the emotion's own.

    The projection, on which they were chosen, stands beside.
    """
    own = table[column(table, "emotion") == column(table, "target")]
    n = len(set(column(own, "emotion")) - set(POOLED))
    found = []
    rows = select(own, metric="label_logprob_change", control="", emotion=POOLED)
    for kind, mine in groups(rows, ["component", "mode"]):
        tested = mine[numbers(mine, "p").notna()] if "p" in mine else mine.iloc[:0]
        mine = mine if tested.empty else tested
        row = mine[numbers(mine, "k") == numbers(mine, "k").max()]
        kind = word(row, "component") if kind not in _KINDS else kind
        random = beside(own, row, control="random")
        compared = [] if random is None else [(f"random {kind}s", drawn(random))]
        p, signs = p_of(row, "p"), by_signs(own, row)
        compared += [] if p is None else [(f"against random {kind}s", told_p(row, p))]
        compared += [] if signs is None else [("signs of the emotions flipped", p_value(signs))]
        fall = beside(own, row, metric="projection_drop")
        compared += [] if fall is None else [("projection, natural lengths", measured(fall))]
        compared += _extremes(own, row)
        verdict = _lowered(row, p if p is None else max(p, signs or 0.0))
        told = {"k": whole(numeral(row, "k")), "kind": kind, "n": n, "compared": compared}
        told["rivals"] = rivals_of(("random", f"random {kind}s", random))
        told |= {"answers": Question.CAUSAL, "about": kind, "gate": signs or 0.0}
        needed = claim("ablation", needed_claim(kind), verdict, row, _OF_ABLATION, p=p, **told)
        found += [needed, *of_its_own(table, row, needed)]
    return found


_KINDS = ("head", "neuron")


def _lowered(row: pd.DataFrame, p: float | None) -> Verdict:
    """Without random components beside them a fall says nothing of these ones."""
    change = number_of(row)
    least = p_of(row, "least_p")
    verdict = decide(
        Number(-change.value, -change.high, -change.low), nothing=0.0, p=p, least_p=least
    )
    return Verdict.CANNOT_SAY if p is None and verdict is Verdict.FOUND else verdict


def _extremes(own: pd.DataFrame, row: pd.DataFrame) -> Compared:
    """The emotions whose words fall least and most."""
    each = own[(numbers(own, "k") == numeral(row, "k")) & ~column(own, "emotion").isin(POOLED)]
    wanted = {"metric": "label_logprob_change", "control": "", **words_of(row, "component", "mode")}
    if not holds(each, **wanted):
        return []
    changes = select(each, **wanted)
    ends = (("smallest", best(changes)), ("largest", least(changes)))
    return [(f"{name} fall, {word(one, 'emotion')}", measured(one)) for name, one in ends]


def drawn(row: pd.DataFrame) -> str:
    """The mean of random draws with their range, as text."""
    if "draw_low" not in row or math.isnan(numeral(row, "draw_low")):
        return measured(row)
    return told_number({name: numeral(row, name) for name in ("value", "draw_low", "draw_high")})


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Where the chosen components are not told apart from random ones."""
    own = table[column(table, "emotion") == column(table, "target")]
    for kind, rows in parts(own, "component", metric="projection_drop", control=""):
        most = rows[numbers(rows, "k") == numbers(rows, "k").max()]
        alone = most[~column(most, "emotion").isin(POOLED)]
        beaten = [
            word(row, "emotion")
            for _, row in groups(alone, ["emotion"])
            if not _beyond_random(own, row)
        ]
        if beaten:
            text = (
                f"for {', '.join(beaten)} the chosen {kind}s are not told apart from random ones "
                "by what they take from the projection."
            )
            yield Caution("ablation", text, kind)


def _beyond_random(own: pd.DataFrame, row: pd.DataFrame) -> bool:
    """Whether the fall is larger than that of random components beside it: surely, by its p; where
    they are too few for a p of `LEVEL`, than that of each of them.
    """
    random, p = beside(own, row, control="random"), p_of(row, "p")
    if random is None or p is None:
        return True
    return p <= max(LEVEL, 1 / (1 + numeral(random, "n")))


SECTION = Section(
    name="ablation",
    title="Ablation: does the emotion need these components?",
    question=(
        "The components that contribute most are silenced, and as many random ones of the same "
        "layers beside them."
    ),
    metrics=("projection_drop",),
    per=("component", "control", "k"),
    figures=(
        Drawing(
            ablation_projection,
            reading="The distance between solid and dotted is the effect of the chosen components.",
            needs={"metric": "projection_drop"},
        ),
        Drawing(
            ablation_label,
            reading=(
                "Below zero the emotion's own words become less likely. Solid against dotted is "
                "the effect."
            ),
        ),
        Drawing(
            ablation_specificity,
            reading=(
                "Rows are ablated, columns measured. Only a blue diagonal speaks for components "
                "of one emotion."
            ),
        ),
    ),
    findings=findings,
    claims=tuple(name for kind in _KINDS for name in (needed_claim(kind), own_claim(kind))),
    cautions=cautions,
)
