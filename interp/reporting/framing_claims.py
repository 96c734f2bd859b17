"""What may be said of framings and of doses of stress, each with its number."""

from collections.abc import Mapping

import pandas as pd

from interp.reporting.decisions import Verdict, decide
from interp.reporting.finding import number_of
from interp.reporting.formatting import number, p_value, whole
from interp.reporting.select import measured, numeral, select

_STREAM = {
    Verdict.FOUND: "Pressure moves the stream from calm, further than sentences that say nothing",
    Verdict.NOT_TOLD_APART: "Pressure moves the stream from calm, but not surely further than "
    "sentences that say nothing",
    Verdict.NOT_FOUND: "That pressure moves the stream from calm, beyond what its single wordings "
    "do, is not found",
    Verdict.INVERTED: "The wordings of pressure move the stream from calm in opposite ways",
    Verdict.CANNOT_SAY: "Whether pressure moves the stream from calm cannot be said",
}
_FRAMES = {
    "pressure": "pressure",
    "threat": "a threat",
    "positive": "an encouraging sentence (EmotionPrompt)",
    "negative": "a discouraging sentence (NegativePrompt)",
}
_SCORE = {
    Verdict.FOUND: "Behind {framing} more of the tasks are done right than behind calm",
    Verdict.NOT_FOUND: "That {framing} changes how many of the tasks are done right, beside calm, "
    "is not found",
    Verdict.INVERTED: "Behind {framing} fewer of the tasks are done right than behind calm",
    Verdict.CANNOT_SAY: "Whether {framing} changes how many tasks are done right cannot be said",
}
_TURNS = {
    Verdict.FOUND: "The {score} rises with the dose of stress and falls beyond level {turn}: an "
    "inverted U",
    Verdict.NOT_FOUND: "That the {score} rises with the dose of stress and then falls is not found",
    Verdict.INVERTED: "The {score} does not rise with the dose of stress and then fall: one of the "
    "two lines surely goes the other way",
    Verdict.CANNOT_SAY: "Whether the {score} rises with the dose of stress and then falls cannot "
    "be said",
}


def told_of_framings(table: pd.DataFrame) -> list[str]:
    """One sentence of the stream, at the layer of the directions, and those of the behaviour, which
    are said only where the model can do the tasks behind calm at all.
    """
    layer = numeral(select(table, metric="cosine"), "layer")
    rows = select(table, framing="pressure")
    rows = rows[rows["layer"] == layer]
    row, above = (select(rows, metric=one) for one in ("shift_square", "shift_square_above"))
    verdict = decide(number_of(row), nothing=0.0, above=number_of(above))
    said = [
        f"{_STREAM[verdict]} (layer {whole(layer)}; squared shift {measured(row)} of the squared "
        f"norm, less that of sentences that say nothing {measured(above)})."
    ]
    able = select(table, metric="accuracy", control="by_task")
    if decide(number_of(able), nothing=0.5) is not Verdict.FOUND:
        said.append(
            f"The model does not surely do the tasks better than by chance (accuracy behind calm "
            f"{measured(able)}, chance 0.500): what framings and stress do to the score cannot be "
            "said."
        )
        return said
    said += [_of_score(table, name, told) for name, told in _FRAMES.items()]
    said += [_of_dose(table, score) for score in ("accuracy", "margin")]
    return said


def _of_score(table: pd.DataFrame, framing: str, told: str) -> str:
    row = select(table, metric="accuracy_above", framing=framing)
    words = _SCORE[decide(number_of(row), nothing=0.0)].format(framing=told)
    return f"{words} (difference of the accuracies {measured(row)})."


def _of_dose(table: pd.DataFrame, score: str) -> str:
    row = select(table, metric="inverted_u", target=score)
    p, order = numeral(row, "p"), numeral(row, "p_order")
    turn = numeral(row, "turn")
    verdict = decide(number_of(row), nothing=0.0, p=p)
    words = _TURNS[verdict].format(score=score, turn=whole(turn))
    parts: Mapping[str, pd.DataFrame] = {
        name: select(table, metric=metric, target=score)
        for name, metric in (("up to there", "slope_below"), ("beyond", "slope_above"))
    }
    lines = ", ".join(f"{name} {measured(one)}" for name, one in parts.items())
    return (
        f"{words} (turn {whole(turn)}; change per level {lines}; larger p of the two lines "
        f"{number(p)}; other orders of the doses do as much with {p_value(order)})."
    )
