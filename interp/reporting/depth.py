"""From which layer on the stream tells an emotion beyond the words."""

import pandas as pd

from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.finding import Finding, Question, claim, number_of, p_of, rivals_of
from interp.reporting.formatting import whole
from interp.reporting.select import best, groups, holds, least, measured, numbers, numeral, select
from interp.sites import STREAM

_AT = "(AUROC at layer {layer} of {n_layers}{reach})"
_OF_A_LAYER = {
    Verdict.FOUND: f"The stream first {{does}}, beyond the words, at layer {{layer}} {_AT}.",
    Verdict.NOT_TOLD_APART: "No single layer of the stream is surely above the words where it "
    f"{{does}} {_AT}.",
    Verdict.NOT_FOUND: f"No layer was found at which the stream by itself {{does}} {_AT}.",
    Verdict.INVERTED: f"The stream ranks the wrong way round where it {{does}} {_AT}.",
    Verdict.CANNOT_SAY: f"From which layer on the stream {{does}} cannot be said {_AT}.",
}


def layer_claim(does: str) -> str:
    """What is claimed where a layer of the stream by itself does what a probe does."""
    return f"at a layer of its own the stream {does}, beyond the words"


def first_layer(table: pd.DataFrame, baselines: pd.DataFrame, nested: Finding) -> list[Finding]:
    """The first layer at which the stream's probe lies surely beyond the words; nothing where the
    `nested` finding of the same task does not (it opens this question), or the stream was not read.

    A layer is surely beyond the words where its p allows for all places (max-T) and its interval
    lies wholly above that of every text baseline. Where none is, the highest layer is told of.
    """
    wanted = {"metric": "auroc", "control": "", "task": nested.about, "site": STREAM}
    if nested.verdict is not Verdict.FOUND or not holds(table, **wanted):
        return []
    stream = select(table, **wanted)
    stream = stream[stream["value"].notna()].sort_values("layer", kind="stable")
    if stream.empty:
        return []
    verdicts = [_beyond(stream.iloc[[at]], baselines) for at in range(len(stream))]
    surely = stream[[verdict is Verdict.FOUND for verdict in verdicts]]
    first = surely[surely["layer"] == surely["layer"].min()]
    row = best(stream if surely.empty else first)
    verdict = Verdict.FOUND
    if surely.empty:
        apart = Verdict.NOT_TOLD_APART
        verdict = apart if apart in verdicts else _beyond(row, baselines)
    words = best(baselines)
    told = {
        "does": nested.told["does"],
        "layer": whole(numeral(row, "layer")),
        "n_layers": str(round((numeral(row, "layer") + 1) / numeral(row, "depth"))),
        "reach": _reach(stream, surely),
    }
    found = claim(
        "probes",
        layer_claim(nested.told["does"]),
        verdict,
        row,
        _OF_A_LAYER,
        p=p_of(row, "p_max_t", "p_corrected"),
        compared=[("best text baseline", measured(words))],
        rivals=rivals_of(("words", "best text-only baseline", words)),
        answers=Question.LAYER,
        about=nested.about,
        after=nested.name,
        **told,
    )
    return [found]


LATER_CLAIM = "in the stream which emotion it is emerges later than that there is one"

_LATER = "({layers} layers; half-way from chance to its highest score, scenarios drawn together)"
_OF_LATER = {
    Verdict.FOUND: f"In the stream, which emotion it is emerges later than that there is one "
    f"{_LATER}.",
    Verdict.NOT_FOUND: "It was not found that, in the stream, which emotion it is emerges later "
    f"than that there is one {_LATER}.",
    Verdict.INVERTED: "In the stream, which emotion it is emerges earlier than that there is one "
    f"{_LATER}.",
    Verdict.CANNOT_SAY: "Whether, in the stream, which emotion it is emerges later than that there "
    f"is one cannot be said {_LATER}.",
}


def later_emergence(table: pd.DataFrame) -> list[Finding]:
    """How many layers later categorisation emerges than reception, where depths were measured."""
    wanted = {"metric": "emergence_later", "site": STREAM}
    if not holds(table, **wanted):
        return []
    row = select(table, **wanted).iloc[[0]]
    p = p_of(row, "p")
    verdict = decide(number_of(row), nothing=0.0, p=p)
    layers = whole(numeral(row, "value"))
    told = {"layers": layers, "about": "reception and categorisation", "p": p}
    return [claim("probes", LATER_CLAIM, verdict, row, _OF_LATER, **told)]


def _beyond(row: pd.DataFrame, baselines: pd.DataFrame) -> Verdict:
    """The verdict on one place; its distance to the words is the least that the intervals leave."""
    found = number_of(row)
    tops = [number_of(own).high for _, own in groups(baselines, ["control"])]
    words = number_of(best(baselines))
    far = Number(found.value - words.value, found.low - max(tops), found.high - words.low)
    return decide(found, nothing=0.5, p=p_of(row, "p_max_t", "p_corrected"), above=far)


def _reach(stream: pd.DataFrame, surely: pd.DataFrame) -> str:
    """How many of the layers from the first on are surely beyond the words, as text."""
    if surely.empty:
        return ", the highest of all layers"
    first = numeral(least(surely.assign(value=surely["layer"])), "layer")
    later = set(numbers(stream, "layer")[numbers(stream, "layer") >= first])
    kept = set(numbers(surely, "layer"))
    return f"; so at {len(kept)} of the {len(later)} layers read from there on"
