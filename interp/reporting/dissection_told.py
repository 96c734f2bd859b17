"""A model taken apart: what may be said of the tables of `interp dissect`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pandas as pd

from interp.reporting.decisions import Number, Verdict, decide
from interp.reporting.dissection import ATTENDED
from interp.reporting.finding import number_of, p_of
from interp.reporting.formatting import whole
from interp.reporting.sections import ablation
from interp.reporting.select import (
    POOLED,
    column,
    groups,
    measured,
    numbers,
    numeral,
    select,
    word,
)


def dissection_sentences(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What may be said of each table, each with its number."""
    return [text for name, table in tables.items() for text in _SAID[name](table)]


def _of_layers(table: pd.DataFrame) -> Iterator[str]:
    metric = "label_logprob_change"
    change = select(table, metric=metric, control="", emotion=POOLED)
    rows = select(table, metric=f"{metric}_above_random", control="", emotion=POOLED)
    for _, own in groups(rows, ["component"]):
        mine = select(change, component=word(own, "component"))
        lost = {layer for layer, row in groups(mine, ["layer"]) if number_of(row).high < 0}
        yield (
            f"Knocking out {_PART_NAMES[word(own, 'component')]} takes more from the emotion's "
            f"words than a random change of the same size: {_where(own, lost)}."
        )


_PART_NAMES = {
    "attention": "a layer's attention",
    "mlp": "a layer's MLP",
    "block": "all that a layer adds",
}


def _where(rows: pd.DataFrame, among: Collection[str] | None = None) -> str:
    """In which layers a difference is found, after correction over all that were tried; only
    `among` these, if any are given, is it one.
    """
    verdicts = {}
    for _, row in groups(rows, ["layer"]):
        layer = whole(numeral(row, "layer"))
        verdicts[layer] = _corrected_verdict(row)
    found, unsure = (
        [one for one in verdicts if verdicts[one] is wanted and (among is None or one in among)]
        for wanted in (Verdict.FOUND, Verdict.CANNOT_SAY)
    )
    if found:
        return f"found in {_layers(found)} (of {len(verdicts)})"
    if not unsure:
        return f"not found in any of {len(verdicts)} layers"
    if len(unsure) == len(verdicts):
        return f"cannot be said of any of {len(verdicts)} layers"
    return f"cannot be said of {_layers(unsure)}, not found in the others (of {len(verdicts)})"


def _layers(found: Sequence[str]) -> str:
    return f"layer{'s' if len(found) > 1 else ''} {', '.join(found)}"


_DIRECTION = {
    Verdict.FOUND: "lowers its own words more than random directions do",
    Verdict.NOT_FOUND: "is not found to lower its own words more than random directions do",
    Verdict.INVERTED: "raises its own words",
    Verdict.CANNOT_SAY: "cannot be said to lower its own words more than random directions do",
}
_ENHANCED = {
    Verdict.FOUND: "raises its own words in neutral texts more than random {kind}s do",
    Verdict.NOT_FOUND: "is not found to raise its own words in neutral texts more than random "
    "{kind}s do",
    Verdict.INVERTED: "lowers its own words in neutral texts",
    Verdict.CANNOT_SAY: "cannot be said to raise its own words in neutral texts more than random "
    "{kind}s do",
}


def _of_directions(table: pd.DataFrame) -> Iterator[str]:
    rows = select(table, metric="label_logprob_change", control="", emotion=POOLED)
    for _, row in groups(rows, ["reach"]):
        reach = word(row, "reach")
        place = "at all layers" if reach == "all" else f"after layer {reach}"
        verdict = _beyond(row, sign=-1)
        yield (
            f"Ablating an emotion's direction {place} {_DIRECTION[verdict]} (log-probability, "
            f"{measured(row)} nats; {_cost(table, row)})."
        )


def _of_parts(table: pd.DataFrame) -> Iterator[str]:
    ablated = select(table, method="ablation")
    words = ablated[column(ablated, "metric") != "neutral_loss_rise"]
    for finding in ablation.findings(words):
        yield f"{finding.sentence} {finding.value}".strip()
    rows = select(table, method="enhancement", metric="label_logprob_change", control="")
    for _, own in groups(select(rows, emotion=POOLED), ["component"]):
        tested = own[numbers(own, "p").notna()]  # random ones stand beside
        own = own if tested.empty else tested
        row = own[numbers(own, "k") == numbers(own, "k").max()]
        done = _ENHANCED[_beyond(row, sign=1)].format(kind=word(row, "component"))
        yield (
            f"Enhancing the top {whole(numeral(row, 'k'))} {word(row, 'component')}s of each "
            f"emotion {done} (log-probability, {measured(row)} nats)."
        )


def _beyond(row: pd.DataFrame, *, sign: int) -> Verdict:
    """The verdict on a change beside random ones, which speaks for the emotion by its sign; without
    any random ones nothing is found.
    """
    change, p = number_of(row), p_of(row, "p")
    ends = sorted((sign * change.low, sign * change.high))
    turned = Number(sign * change.value, *ends)
    verdict = decide(turned, nothing=0.0, p=p, least_p=p_of(row, "least_p"))
    return Verdict.CANNOT_SAY if p is None and verdict is Verdict.FOUND else verdict


def _cost(table: pd.DataFrame, row: pd.DataFrame) -> str:
    wanted = {"metric": "neutral_loss_rise", "control": "", "reach": word(row, "reach")}
    loss = select(table, **wanted, emotion=POOLED)
    return f"loss on neutral text {measured(loss)} nats per token"


def _of_attention(table: pd.DataFrame) -> Iterator[str]:
    for target in ("edit", "emotion"):
        found = _heads(table, target, "uniform")
        both = found & _heads(table, target, "twin")
        n = len(set(zip(column(table, "layer"), column(table, "head"), strict=True)))
        yield (
            f"{len(found)} of {n} heads attend from the last token to {ATTENDED[target]} more than "
            f"evenly spread attention would, and {len(both)} of them more than in the neutral twin "
            "(corrected over heads)."
        )


def _heads(table: pd.DataFrame, target: str, control: str) -> set[tuple[str, str]]:
    """The heads of which it is found that they attend to these tokens more than the control."""
    rows = select(table, metric=f"attention_share_above_{control}", target=target)
    return {
        (word(row, "layer"), word(row, "head"))
        for _, row in groups(rows, ["layer", "head"])
        if _corrected_verdict(row) is Verdict.FOUND
    }


def _corrected_verdict(row: pd.DataFrame) -> Verdict:
    """What may be said of a difference to a control, by its p corrected over all of its kind."""
    p, least = p_of(row, "p_corrected"), p_of(row, "least_p")
    return decide(number_of(row), nothing=0.0, p=p, least_p=least)


def _of_lens(table: pd.DataFrame) -> Iterator[str]:
    rows = select(table, metric="lens_contrast_above_twin", site="resid_post", emotion=POOLED)
    yield (
        "Read by the logit lens, the stream puts the emotion's words further above the others' "
        f"than in the neutral twin: {_where(rows)}."
    )


_SAID: Mapping[str, Callable[[pd.DataFrame], Iterator[str]]] = {
    "knockout": _of_layers,
    "direction_ablation": _of_directions,
    "parts": _of_parts,
    "attention": _of_attention,
    "lens": _of_lens,
}
