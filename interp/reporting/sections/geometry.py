"""Geometry: how the emotions lie to each other, beside the wheel, human ratings and the words."""

from collections.abc import Iterator

import pandas as pd

from interp.reporting.baselines import ABOVE_TEXT, apart_from_words
from interp.reporting.decisions import NONE, Verdict, decide
from interp.reporting.finding import Caution, Compared, Finding, claim, number_of, p_of, told_p
from interp.reporting.geometries import (
    axis_ratings,
    best_fit,
    deepest,
    emotion_map,
    emotion_similarity,
    rsa_curves,
    silhouettes,
)
from interp.reporting.section import Drawing, Section
from interp.reporting.select import column, holds, least, measured, numbers, place, select, word
from interp.reporting.site_maps import adjacent_similarity, site_similarity

_DEPTH = 2 / 3
"""The depth of which the findings speak, chosen beforehand: the layer nearest to it."""

_LEAST_RELIABILITY = 0.1
"""The share of a mean that other scenarios must repeat, so that it has cosines."""

_CLAIMS = {
    "wheel": "emotions that are near on Plutchik's wheel are near in the model",
    "ratings": "emotions that people rate alike (valence, arousal, dominance) are near in the "
    "model",
}
_HOW = " (correlation of distances at {place}, two thirds of the depth)."
_LESS, _ALIKE = (
    "but less so than in the words alone",
    "and the words alone give this, too",
)
_SENTENCES = {
    Verdict.FOUND: "{Claim}, beyond the words" + _HOW,
    Verdict.NOT_TOLD_APART: "{Claim}, {apart}" + _HOW,
    Verdict.NOT_FOUND: "It was not found that {claim}" + _HOW,
    Verdict.INVERTED: "The other way round: it is far emotions that are near in the model, where "
    "one asked whether {claim}" + _HOW,
    Verdict.CANNOT_SAY: "Whether {claim} cannot be said" + _HOW,
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Of the wheel and of the ratings together, where the battery's emotions have them."""
    known = [one for one in _CLAIMS if holds(table, metric="rsa", reference=one, control="")]
    return [_finding(table, one) for one in known]


def _finding(table: pd.DataFrame, reference: str) -> Finding:
    row = at_depth(select(table, metric="rsa", reference=reference, control=""))
    beside = _above(table, row)
    above = NONE if beside is None else number_of(beside)
    p, least_p = p_of(row, "p"), p_of(row, "least_p")
    what = _CLAIMS[reference]
    told = {"claim": what, "Claim": what[0].upper() + what[1:], "place": place(row)}
    return claim(
        "geometry",
        _claimed(reference),
        decide(number_of(row), nothing=0.0, p=p, least_p=least_p, above=above),
        row,
        _SENTENCES,
        p=p,
        compared=_compared(table, row, beside),
        about=reference,
        family="references",
        apart=apart_from_words(above, less=_LESS, alike=_ALIKE),
        **told,
    )


def _claimed(reference: str) -> str:
    """What is claimed of a reference."""
    return f"{_CLAIMS[reference]}, beyond the words"


def at_depth(rows: pd.DataFrame) -> pd.DataFrame:
    """The row of the layer nearest to `_DEPTH`."""
    away = (numbers(rows, "depth") - _DEPTH).abs()
    return rows.loc[[away.idxmin()]]


def _above(table: pd.DataFrame, row: pd.DataFrame) -> pd.DataFrame | None:
    """The paired difference to the text baseline that leaves the least, at the row's place."""
    same = {"metric": ABOVE_TEXT, "reference": word(row, "reference"), "layer": word(row, "layer")}
    if not holds(table, **same):
        return None
    return least(select(table, **same))


def _compared(table: pd.DataFrame, row: pd.DataFrame, above: pd.DataFrame | None) -> Compared:
    found: Compared = [("nothing", "0")]
    reference = word(row, "reference")
    words = best_fit(table, reference)
    if words is not None:
        found.append((f"best text baseline, {word(words, 'control')}", measured(words)))
    if above is not None:
        found.append((f"above {word(above, 'target')}, paired", measured(above)))
    p = p_of(row, "p")
    if p is not None:
        found.append((word(row, "p_of"), told_p(row, p)))
    alone = ("valence", "arousal", "dominance") if reference == "ratings" else ()
    for one in alone:
        if holds(table, metric="rsa", reference=one, control=""):
            own = at_depth(select(table, metric="rsa", reference=one, control=""))
            found.append((f"{one} alone", measured(own)))
    return found


def cautions(table: pd.DataFrame) -> Iterator[Caution]:
    """Emotions whose mean other scenarios do not repeat."""
    if not holds(table, metric="reliability"):
        return
    rows = deepest(select(table, metric="reliability"))
    noise = column(rows[~(rows["value"] > _LEAST_RELIABILITY)], "emotion").tolist()
    if noise:
        more = ", ..." if len(noise) > 8 else ""
        yield Caution(
            "geometry",
            f"of {len(rows)} emotions {len(noise)} have a mean that other scenarios hardly repeat "
            f"(at {place(rows)}): {', '.join(noise[:8])}{more}. They have no cosines.",
        )


SECTION = Section(
    name="geometry",
    title="Geometry: how do the emotions lie to each other?",
    question=(
        "Each emotion is the mean difference of its texts from their neutral twins. Are those near "
        "each other that are near on Plutchik's wheel, or in what people say of the words "
        "(valence, arousal, dominance)? A geometry that the words of the texts give, too, needs no "
        "model; so the same is asked of text baselines, on the same texts."
    ),
    metrics=("rsa", "silhouette"),
    per=("reference", "by", "control"),
    figures=(
        Drawing(
            rsa_curves,
            reading="Above zero near emotions are near. Only what lies above the dotted line may "
            "be beyond the words; the finding tests it pair by pair.",
            needs={"metric": "rsa"},
        ),
        Drawing(
            emotion_map,
            reading="Near emotions are alike. A circle with joy opposite sadness would be the "
            "wheel's; a single long axis is often valence.",
            needs={"metric": "axis_place"},
        ),
        Drawing(
            axis_ratings,
            reading="1 or -1: the axis orders the emotions as people's ratings do.",
            needs={"metric": "axis_rating"},
        ),
        Drawing(
            emotion_similarity,
            reading="Red: two emotions differ from the others in the same way; blue: opposite.",
            needs={"metric": "centred_cosine"},
        ),
        Drawing(
            site_similarity,
            reading="A red block: the emotions' directions are kept over these sites.",
            needs={"metric": "site_cosine"},
        ),
        Drawing(
            adjacent_similarity,
            reading="High: what one site writes points where the next one's does.",
            needs={"metric": "site_cosine"},
        ),
        Drawing(
            silhouettes,
            reading="If the line by scenario lies above that by emotion, texts lie with their "
            "scene first, and with their emotion second.",
        ),
    ),
    findings=findings,
    claims=tuple(map(_claimed, _CLAIMS)),
    cautions=cautions,
)
