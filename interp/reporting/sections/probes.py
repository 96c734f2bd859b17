"""Probes: their curves beside the text's own, what may be said of them, and what to doubt."""

from collections.abc import Iterator

import pandas as pd

from interp.reporting.baselines import (
    NESTED,
    apart_from_words,
    closest_words,
    text_baselines,
    text_baselines_of,
)
from interp.reporting.confusions import confusion_by_distance, confusion_matrix
from interp.reporting.decisions import Verdict, decide
from interp.reporting.depth import LATER_CLAIM, first_layer, later_emergence, layer_claim
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
from interp.reporting.formatting import interval, p_value
from interp.reporting.graded import graded_findings
from interp.reporting.hierarchy import hierarchy_scores
from interp.reporting.measure_curves import (
    compression_curves,
    depth_intervals,
    erased_scores,
    graded_curves,
    right_rank_curves,
    soft_curves,
)
from interp.reporting.probe_curves import probe_curves
from interp.reporting.section import Drawing, Section
from interp.reporting.select import (
    MEMORISED,
    beside,
    best,
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
from interp.reporting.tasks import PROBE_TASKS, claim_of, does

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
            "apart": apart_from_words(above),
            "why": why,
            "rivals": rivals,
            "answers": Question.REPRESENTED if name in PROBE_TASKS else "",
            "about": name,
        }
        found.append(
            claim(
                "probes", claim_of(task), verdict, top, _OF_A_PROBE, p=p, compared=compared, **told
            )
        )
        if name in PROBE_TASKS:
            found += first_layer(table, baselines, found[-1])
    return [*found, *later_emergence(table), *graded_findings(table)]


def _of_ridge(n: int) -> str:
    return f"p of a ridge probe, largest of {n} places (max-T)"


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
        Drawing(
            graded_curves,
            reading=(
                "0 is nothing read. The curve counts only as far as it lies above the line of the "
                "best text baseline. It is a correlation inside folds: it says that the order is "
                "read, not that the numbers are right (r2 in the table says that)."
            ),
            needs={"metric": "pearson"},
        ),
        Drawing(
            soft_curves,
            reading=(
                "0 is what the mean shares tell of every text, and 1 is every text's shares told "
                "exactly; below 0 the probe is surer than it should be. The curve counts only as "
                "far as it lies above the words and above the dotted line."
            ),
            needs={"metric": "kl_explained"},
        ),
        Drawing(
            compression_curves,
            reading=(
                "1 is a code as long as that of guessing, and higher is shorter. It counts how "
                "early in the data the probe reads the labels, too. Where the dotted line is as "
                "high, the probe remembers scenarios as easily as it reads the labels."
            ),
            needs={"metric": "compression"},
        ),
        Drawing(
            erased_scores,
            reading=(
                "Where a dot lies far to the left of the plain one, the score went with the "
                "nuisance: the probe may have read that. What is erased is linear, and on the "
                "training texts; a dot that stays does not prove that the nuisance plays no part."
            ),
            needs={"metric": "erased_change"},
        ),
        Drawing(
            right_rank_curves,
            reading=(
                "1 says that the right emotion always comes first. With K emotions, guessing gives "
                "(K + 1) / 2."
            ),
            needs={"metric": "right_rank"},
        ),
        Drawing(
            depth_intervals,
            reading=(
                "A wide whisker says that the curve is flat there: another draw of scenarios has "
                "its peak elsewhere. Emergence moves least. Two tasks are compared in the table "
                "(emergence_later), not by eye: their whiskers share scenarios."
            ),
            needs={"metric": "emergence"},
        ),
        Drawing(
            confusion_matrix,
            reading=(
                "The diagonal is what the probe gets right. Beside it: which emotion is taken for "
                "which. A column that is dark everywhere is an answer that the probe likes to give."
            ),
            table="probe_predictions",
            needs={"metric": "confusion"},
        ),
        Drawing(
            confusion_by_distance,
            reading=(
                "Dots that fall to the right say that near emotions are confused more. The number "
                "is minus the correlation, with p of the emotions changing places. Distances are "
                "of the emotions' words, and not of these texts."
            ),
            table="probe_predictions",
            needs={"metric": "confused_near"},
        ),
        Drawing(
            hierarchy_scores,
            reading=(
                "Each level is asked by itself, the one above being known: a probe that tells the "
                "valence and no more lies right of the black mark at the first level and on it "
                "below. The black mark is the share that the probe's own answers reach when they "
                "change places among the texts of a branch. Levels have other numbers of answers "
                "and of texts, so that two levels are not compared by eye."
            ),
            table="probe_predictions",
            needs={"metric": "level_accuracy"},
        ),
    ),
    findings=findings,
    claims=(
        *map(claim_of, PROBE_TASKS),
        *(layer_claim(does(task)) for task in PROBE_TASKS),
        LATER_CLAIM,
    ),
    cautions=cautions,
)
