"""Probes: their curves beside the text's own, what may be said of them, and what to doubt."""

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.reporting.baselines import NESTED, closest_words, text_baselines, text_baselines_of
from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.depth import first_layer, layer_claim
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
from interp.reporting.formatting import interval, label, p_value
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    MEMORISED,
    beside,
    best,
    column,
    groups,
    holds,
    measured,
    nuisances_of,
    numeral,
    parts,
    place,
    select,
    word,
)
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
from interp.reporting.tasks import PROBE_TASKS, claim_of, does
from interp.sites import STREAM

DEPTH = "depth = (layer + 1) / n_layers"
_SITES = ["site", "method"]


@styled
def probe_curves(table: pd.DataFrame) -> Figure:
    """AUROC of the probes by depth, a line per site, beside chance, the best text baseline and, for
    the stream, the control task.

    The stream (or the first site) has its band, other sites are faint. Panels are tasks (reception,
    categorisation), a row per position. Raises `DataError` when the table holds no probe.
    """
    scores = select(table, metric="auroc")
    probes = select(scores, control="")
    panels = groups(probes, ["position", "task"])
    columns = len(set(column(probes, "task")))
    figure, axes = facets(len(panels), columns=columns, height=3.1)
    controlled = holds(scores, control=MEMORISED)
    sites = list(dict.fromkeys(column(probes, "site")))
    main = STREAM if STREAM in sites else sites[0]
    lines = {
        _line(line): (name, look(at)._replace(faint=word(line, "site") != main))
        for at, (name, line) in enumerate(groups(probes, _SITES))
    }
    for panel, (name, rows) in zip(axes, panels, strict=True):
        _probe_panel(panel, rows, scores, name, lines)
    outer_labels(figure, axes, x=DEPTH, y="AUROC (macro, held out)")
    key(figure)
    told = "The table holds no control task."
    if controlled:
        told = (
            f"Dotted: the probe of {main} on labels drawn at random for each scenario, which it "
            "can only learn by heart (control task): the room it has."
        )
    explain(
        figure,
        title="How well a linear probe reads the emotion, by depth and site",
        caption="Scored on held-out scenarios; bands are 95 % "
        f"intervals (of {main}). {told} Where the best text baseline comes near, the words alone "
        "give the answer away.",
        rows=probes,
        unit="texts",
    )
    return figure


def _line(rows: pd.DataFrame) -> tuple[str, str]:
    return word(rows, "site"), word(rows, "method")


def _probe_panel(
    panel: Axes,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    name: str,
    lines: Mapping[tuple[str, str], tuple[str, Look]],
) -> None:
    """A task at a position; a site has the same name and look in every panel, also where it stands
    alone.
    """
    task, position = word(rows, "task"), word(rows, "position")
    for _, line in groups(rows, _SITES):
        site, drawn = lines[_line(line)]
        curve(panel, line, x="depth", look=drawn, text=site)
        known = {"task": task, "position": position, "control": MEMORISED}
        if not drawn.faint and holds(scores, **known, site=word(line, "site")):
            control = select(scores, **known, site=word(line, "site"))
            curve(panel, control, x="depth", look=drawn, text=f"{site}, control task", line=":")
    chance(panel, 0.5, "chance 0.5")
    baselines = text_baselines_of(select(scores, task=task))
    told = "no text baseline in the table"
    if len(baselines):
        top = best(baselines)
        panel.axhspan(
            numeral(top, "ci_low"), numeral(top, "ci_high"), color="black", alpha=0.07, linewidth=0
        )
        panel.axhline(
            numeral(top, "value"),
            color="black",
            linewidth=1.2,
            linestyle="-.",
            label="best text baseline",
        )
        told = f"{label(word(top, 'control'))} {measured(top)}"
    panel.set_title(f"{label(name)}\ntext alone: {told}")


_CHOSEN = "AUROC; each fold chose its place out of {n}, most often {place}"
_OF_A_PROBE = {
    Verdict.FOUND: "A linear probe {does}, beyond the words (" + _CHOSEN + ").",
    Verdict.NOT_TOLD_APART: "A linear probe {does}, {apart} (" + _CHOSEN + ").",
    Verdict.NOT_FOUND: "No place was found where a linear probe {does} (" + _CHOSEN + ").",
    Verdict.INVERTED: "A linear probe ranks the wrong way round where it {does} (" + _CHOSEN + ").",
    Verdict.CANNOT_SAY: "Whether a linear probe {does} cannot be said: {why} (AUROC at {place}, "
    "the highest of {n}).",
}
UNCHOSEN = "no place was chosen on other scenarios than those it is told of"
_BARE = "it has no interval"
_TOO_FEW = "with so few scenarios no p could be small"


def findings(table: pd.DataFrame) -> list[Finding]:
    """Of each task the nested score, held against the words on the same folds; and, where it lies
    above them, the first layer at which the stream does so by itself.
    """
    found = []
    for task, rows in groups(select(table, metric="auroc", control=""), ["task"]):
        name = word(best(rows), "task")
        nested = holds(table, metric=NESTED, task=name)
        top = select(table, metric=NESTED, task=name) if nested else best(rows)
        words, above = closest_words(table, name)
        own, largest = p_of(top, "p") if nested else None, p_of(top, "p_max_t", "p_corrected")
        p = largest if own is None else own
        number, least_p = number_of(top), p_of(top, "least_p")
        verdict = (
            decide(number, nothing=0.5, p=p, least_p=least_p, above=above)
            if nested
            else Verdict.CANNOT_SAY
        )
        compared = [("chance", "0.5"), *words, *_rivals(table, top)]
        compared += [] if own is None else [(word(top, "p_of"), p_value(own))]
        compared += [] if largest is None else [(_of_ridge(len(rows)), p_value(largest))]
        what = does(task)
        why = _TOO_FEW if nested and number.low == number.low else _BARE if nested else UNCHOSEN
        baselines = text_baselines_of(select(table, metric="auroc", task=name))
        rivals = rivals_of(
            ("words", "best text-only baseline", None if baselines.empty else best(baselines))
        )
        told = {
            "does": what,
            "place": place(top),
            "n": len(rows),
            "apart": _apart(above),
            "why": why,
            "rivals": rivals,
            "answers": Question.REPRESENTED,
            "about": name,
        }
        found.append(
            claim(
                "probes", claim_of(task), verdict, top, _OF_A_PROBE, p=p, compared=compared, **told
            )
        )
        found += first_layer(table, baselines, found[-1])
    return found


def _of_ridge(n: int) -> str:
    return f"p of a ridge probe, largest of {n} places (max-T)"


def _apart(above: Number) -> str:
    if above.high < 0:
        return "but less well than the words alone"
    if above.high >= 0:
        return "not told apart from the words alone"
    return "and whether beyond the words cannot be said: no text baseline stands beside it"


def _rivals(table: pd.DataFrame, top: pd.DataFrame) -> Compared:
    """What the same activations tell besides: labels that can only be learned by heart, and
    nuisances.
    """
    known = beside(table, top, metric="auroc", control=MEMORISED)
    found = [("labels learned by heart, same place", measured(known))] if known is not None else []
    for name, row in nuisances_of(table, top, metric="selectivity").items():
        found.append((f"more than {name} is told, same place", measured(row)))
    return found


CLOSE = 0.02
"""A nuisance this near to the probe explains its score as well as the emotion does."""


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Where the words, or a nuisance, explain the score as well as the emotion does."""
    for task, rows in parts(table, "task", metric="auroc", control=""):
        top = best(rows)
        baselines = text_baselines_of(select(table, metric="auroc", task=task))
        if baselines.empty:
            bare = "no text baseline was measured, so the probe's score says nothing about meaning."
            yield Caution("probes", bare, task)
        else:
            yield from _words_alone(table, task, baselines)
        close = [
            f"{name} ({measured(row)})"
            for name, row in nuisances_of(table, top, metric="selectivity").items()
            if numeral(row, "value") <= CLOSE or not numeral(row, "ci_low") > 0
        ]
        if close:
            text = (
                "whether the probe tells more of the emotion than of "
                f"{', '.join(close)} cannot be said (difference of the two scores in brackets)."
            )
            yield Caution("probes", text, task)


def _words_alone(table: pd.DataFrame, task: str, baselines: pd.DataFrame) -> Iterator[Caution]:
    """Where the probe does not surely lie above the best text baseline, paired on the same
    folds.
    """
    _, above = closest_words(table, task)
    if above.low > 0 or not holds(table, metric=NESTED, task=task):
        return
    top = select(table, metric=NESTED, task=task)
    far = interval(*above)
    text = (
        f"the text baseline {word(best(baselines), 'control')} reaches "
        f"{measured(best(baselines))}, the probe {measured(top)}, a paired difference of {far}: "
        "the probe is not told apart from the words alone."
    )
    yield Caution("probes", text, task)


SECTION = Section(
    name="probes",
    title="Probes: is the emotion there, and where?",
    question=(
        "A linear classifier is trained on the activations of one site and layer and tested "
        "on scenarios that it has not seen. Reception asks whether a text is emotional or its"
        " neutral twin; categorisation asks which emotion it is."
    ),
    metrics=("auroc",),
    per=("task", "position", "site", "control"),
    figures=(
        Drawing(
            probe_curves,
            reading=(
                "Higher is better; 0.5 is chance. The score counts only as far as it lies above "
                "the grey band of the best text baseline: below that, the words alone would do. "
                "The dotted line is what the same probe could learn by heart of scenarios that it "
                "has seen; the solid ones are of scenarios that it has not seen. In the table, "
                "p of a place is that of a ridge probe (column p_of); the sentence has its own, of "
                "the very AUROC that it tells."
            ),
        ),
        Drawing(
            text_baselines,
            reading=(
                "Grey bars see the text only, never the model. A grey bar near the blue one means "
                "that the battery gives the answer away on the surface."
            ),
        ),
    ),
    findings=findings,
    claims=(*map(claim_of, PROBE_TASKS), *(layer_claim(does(task)) for task in PROBE_TASKS)),
    cautions=cautions,
)
